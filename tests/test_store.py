"""Checkpoints survive damage and full disks."""

from pathlib import Path

import pytest
import torch

from sgm_vfi.engine.checkpoints import CheckpointStore, UnreadableCheckpointError
from tests.fixtures.full_disk import full_disk


def some_state(step: int) -> dict[str, object]:
    return {"step": step, "weights": torch.full((50_000,), float(step))}


def test_store_keeps_the_last_and_the_one_before(tmp_path: Path) -> None:
    store = CheckpointStore(tmp_path / "ckpt")
    assert store.load() is None
    assert not store.exists()
    for step in (1, 2, 3):
        assert store.save_last(some_state(step))
    assert store.load()["step"] == 3
    previous = torch.load(tmp_path / "ckpt" / "previous.pth", weights_only=True)
    assert previous["step"] == 2
    assert sorted(p.name for p in (tmp_path / "ckpt").iterdir()) == ["last.pth", "previous.pth"]


@pytest.mark.parametrize("damage", ["truncated", "zeros", "gone", "empty"])
def test_store_falls_back_from_a_damaged_last(
    tmp_path: Path, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    store = CheckpointStore(tmp_path)
    for step in (1, 2):
        store.save_last(some_state(step))
    last = tmp_path / "last.pth"
    size = last.stat().st_size
    if damage == "gone":  # killed between the two renames
        last.unlink()
    else:
        kept = {"truncated": size // 2, "zeros": size, "empty": 0}[damage]
        data = last.read_bytes()[:kept]
        last.write_bytes(bytes(size) if damage == "zeros" else data)
    assert store.load()["step"] == 1
    assert ("last.pth" in caplog.text) == (damage != "gone")


def test_a_damaged_last_does_not_replace_the_good_one_before(tmp_path: Path) -> None:
    store = CheckpointStore(tmp_path)
    for step in (1, 2):
        store.save_last(some_state(step))
    (tmp_path / "last.pth").write_bytes(b"damaged")
    assert store.load()["step"] == 1
    assert store.save_last(some_state(3))
    assert torch.load(tmp_path / "previous.pth", weights_only=True)["step"] == 1
    assert store.save_last(some_state(4))
    assert torch.load(tmp_path / "previous.pth", weights_only=True)["step"] == 3


def test_store_refuses_to_begin_anew_in_silence(tmp_path: Path) -> None:
    store = CheckpointStore(tmp_path)
    store.save_last(some_state(1))
    (tmp_path / "last.pth").write_bytes(b"nothing")
    with pytest.raises(UnreadableCheckpointError, match=r"last\.pth \(7 bytes.*--overwrite"):
        store.load()


def test_foreign_checkpoints_are_named(tmp_path: Path) -> None:
    """Weights alone, as best.pth has them, are no state of a run; neither are other shapes."""
    CheckpointStore(tmp_path).save_last(some_state(1))
    store = CheckpointStore(tmp_path, parts=("step", "training"))
    with pytest.raises(UnreadableCheckpointError, match="holds no 'training', so it is no"):
        store.load()
    network = torch.nn.Linear(2, 2)
    with (
        pytest.raises(ValueError, match=r"does not fit this run: .*size mismatch"),
        store.explain_mismatch(),
    ):
        network.load_state_dict({"weight": torch.zeros(3), "bias": torch.zeros(2)})


def test_store_survives_a_full_disk(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    store = CheckpointStore(tmp_path)
    store.save_last(some_state(1))
    with full_disk(100_000):
        assert not store.save_last(some_state(2))
        assert not store.save_best(some_state(2))
    assert "Is the disk full?" in caplog.text
    assert [p.name for p in tmp_path.iterdir()] == ["last.pth"]
    assert store.load()["step"] == 1
    assert store.save_last(some_state(3))
    assert store.load()["step"] == 3
