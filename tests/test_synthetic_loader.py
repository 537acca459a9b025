"""Synthetic scenes in batches: fresh, disjoint, held back, shown."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from sgm_vfi.dataset.__main__ import main
from sgm_vfi.dataset.synthetic import ReusingLoader, SyntheticLoader
from sgm_vfi.media.images import read_frame
from tests.fixtures.scenes import CLEAN


@pytest.fixture
def small_loader() -> Iterator[type]:
    def build(scenes: int, batch_size: int, **settings: object) -> SyntheticLoader:
        config = replace(CLEAN, size=(16, 16), textures=4, texture_size=32, masks=4, mask_size=24)
        return SyntheticLoader(config, scenes, batch_size, device="cpu", **settings)

    return build


def frames_of(loader: SyntheticLoader) -> set[bytes]:
    return {frame.numpy().tobytes() for batch in loader for frame in batch.frame0}


def test_loader_shards_are_disjoint_and_fresh(small_loader: type) -> None:
    loaders = [small_loader(16, 4, rank=rank, world=2) for rank in (0, 1)]
    epochs = []
    for epoch in (0, 1):
        for loader in loaders:
            loader.set_epoch(epoch)
        epochs.append([frames_of(loader) for loader in loaders])
        assert all(len(frames) == 8 for frames in epochs[-1])
    sets = [frames for epoch in epochs for frames in epoch]
    assert len(set.union(*sets)) == 32


def test_scenes_grow_in_variety(small_loader: type) -> None:
    """At first one surface that moves as a whole; in the end, and in validation, what is asked."""
    config = replace(CLEAN, growing=4, still=0.5, nonrigid=1.0, objects=(2, 6))
    first, half, last = (config.at_epoch(epoch) for epoch in (0, 2, 4))
    assert (first.objects, first.still, first.nonrigid) == ((0, 0), 0, 0)
    assert (half.objects, half.still, half.nonrigid) == ((1, 3), 0.25, 0.5)
    assert last == config
    least, most = config.camera
    assert first.camera == pytest.approx(((least * most) ** 0.5, most))
    assert least < half.camera[0] < first.camera[0]

    loaders = [small_loader(4, 4, training=training) for training in (True, False)]
    for loader in loaders:
        loader.generator.config = replace(loader.generator.config, growing=1)
        alone = {frame for epoch in (0, 1, 0) for frame in frames_at(loader, epoch)}
        assert len(alone) == (8 if loader.sampler.training else 4)
    grown, plain = small_loader(4, 4), small_loader(4, 4)
    grown.generator.config = replace(grown.generator.config, growing=1)
    assert frames_at(grown, 0).isdisjoint(frames_at(plain, 0))
    assert frames_at(grown, 1) == frames_at(plain, 1)


def frames_at(loader: SyntheticLoader, epoch: int) -> set[bytes]:
    loader.set_epoch(epoch)
    return frames_of(loader)


def test_validation_scenes_are_fixed_and_held_back(small_loader: type) -> None:
    validation = small_loader(10, 4, training=False)
    assert [len(batch.time) for batch in validation] == [4, 4, 2]
    assert len(validation) == 3
    first = frames_of(validation)
    validation.set_epoch(1)
    assert frames_of(validation) == first
    training = small_loader(12, 4)
    assert not frames_of(training) & first
    shards = [frames_of(small_loader(10, 4, rank=r, world=3, training=False)) for r in range(3)]
    assert sorted(map(len, shards)) == [3, 3, 4]
    assert set.union(*shards) == first


def test_loader_resumes_and_gives_truth(small_loader: type) -> None:
    loader = small_loader(16, 4, truth=True, seed=9)
    loader.set_epoch(2)
    whole = list(loader)
    assert len(whole) == len(loader) == 4
    loader.set_epoch(2, start=3)
    rest = list(loader)
    assert len(rest) == len(loader) == 1
    assert torch.equal(rest[0].frame1, whole[3].frame1)
    assert torch.equal(rest[0].truth.flow_t1, whole[3].truth.flow_t1)
    assert rest[0].truth.visible_10.shape == (4, 1, 16, 16)


def test_loader_refuses_to_give_nothing(small_loader: type) -> None:
    with pytest.raises(ValueError, match="Ask for 8 or more"):
        small_loader(7, 4, world=2)


def test_sheet_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["sheet", str(tmp_path / "sheet.png"), "--scenes", "1", "--size", "32x24"]
    assert main(arguments) == 0
    assert "1 scenes" in capsys.readouterr().out
    picture = read_frame(tmp_path / "sheet.png")
    assert picture.shape[2] >= 1500
    assert picture.std() > 0.1


def test_scenes_are_used_again_with_their_truth(small_loader: type) -> None:
    """In batches drawn from the epoch so far, of frames as bytes; a resumed epoch is the same."""
    fresh = list(small_loader(8, 4, truth=True))
    loader = ReusingLoader(small_loader(8, 4, truth=True), reuse=3, seed=0)
    assert len(loader) == 6
    batches = list(loader)
    assert torch.equal(batches[0].frame0, fresh[0].frame0)
    assert torch.equal(batches[3].frame0, fresh[1].frame0)
    scenes = torch.cat([batch.frame0 for batch in fresh])
    flows = torch.cat([batch.truth.flow_t1 for batch in fresh])
    for batch in (batches[1], batches[5]):
        for frame, flow in zip(batch.frame0, batch.truth.flow_t1, strict=True):
            errors = (scenes - frame).abs().amax(dim=(1, 2, 3))
            assert errors.min() <= 0.5 / 255 + 1e-6
            torch.testing.assert_close(flow, flows[errors.argmin()], atol=1e-2, rtol=1e-2)
    loader.set_epoch(0, 4)
    rest = list(loader)
    assert all(torch.equal(a.target, b.target) for a, b in zip(rest, batches[4:], strict=True))
