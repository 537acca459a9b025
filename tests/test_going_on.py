"""What a run goes on from: whole checkpoints, the main process's disk, each weight's own past."""

from pathlib import Path
from unittest.mock import patch

import pytest
import torch
from torch import nn

from sgm_vfi.engine.checkpoints import CheckpointStore
from sgm_vfi.engine.distributed import World
from sgm_vfi.engine.guarded_adamw import GuardedAdamW
from sgm_vfi.model import load_interpolator
from sgm_vfi.model.weight_io import CheckpointError
from tests.fixtures.training_runs import run_in


def flip_a_bit(path: Path, place: int) -> None:
    data = bytearray(path.read_bytes())
    data[place] ^= 1
    path.write_bytes(data)


def place_of(path: Path, value: float) -> int:
    """Where a file holds the first of many equal numbers."""
    return path.read_bytes().index(torch.full((4,), value).numpy().tobytes())


def test_a_flipped_bit_is_seen(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """PyTorch reads such a file without a word."""
    store = CheckpointStore(tmp_path)
    for value in (1.5, 2.5):
        store.save_last({"weight": torch.full((100,), value)})
    last = tmp_path / "last.pth"
    flip_a_bit(last, place_of(last, 2.5))
    assert torch.load(last, weights_only=True)["weight"][0] != 2.5
    assert store.load()["weight"].unique().tolist() == [1.5]
    assert "last.pth" in caplog.text


def test_a_flipped_bit_in_weights_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "weights.pth"
    torch.save({"a.weight": torch.full((100,), 2.5)}, path)
    with pytest.raises(CheckpointError, match="no SGM-VFI checkpoint"):
        load_interpolator(path)
    flip_a_bit(path, place_of(path, 2.5))
    with pytest.raises(CheckpointError, match=r"damaged.*checksum"):
        load_interpolator(path)


def optimiser(model: nn.Sequential, frozen: int | None = None) -> GuardedAdamW:
    weights = [w for name, w in model.named_parameters() if name[0] != str(frozen)]
    return GuardedAdamW(model, weights, weight_decay=0.0)


def test_each_weight_gets_its_own_past_back() -> None:
    """Also where others are trained than before."""
    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2), nn.Linear(2, 2))
    whole = optimiser(model)
    for number, weight in enumerate(model.parameters(), start=1):
        weight.grad = torch.full_like(weight, number)
    whole.step(0.1)
    fewer = optimiser(model, frozen=0)
    fewer.load_state_dict(whole.state_dict(), model.state_dict())
    for number, weight in enumerate(fewer.weights, start=3):
        assert torch.all(fewer.adamw.state[weight]["exp_avg"] == 0.1 * torch.tensor(number))
    again = optimiser(model)
    again.load_state_dict(fewer.state_dict(), model.state_dict())
    assert [again.adamw.state[weight] != {} for weight in again.weights] == 2 * [False] + 4 * [True]


def test_the_main_process_knows_whether_there_is_a_checkpoint(tmp_path: Path) -> None:
    """A process whose own disk has none goes on with the others, and does not wait for them."""
    run = run_in(tmp_path, resume=True)
    assert not run.has_other_weights
    with patch.object(World, "broadcast", lambda world, value: True):
        assert run.has_other_weights
