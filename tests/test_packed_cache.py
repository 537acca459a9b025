"""Data sets packed into few large files: the same samples, checked."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from sgm_vfi.dataset import packed_cache as packed
from sgm_vfi.dataset import vimeo90k, x4k1000fps
from sgm_vfi.dataset.__main__ import main
from sgm_vfi.dataset.augment import Augmentation
from sgm_vfi.dataset.triplet_sampling import SampleKey
from tests.fixtures.data_sets import damage


def test_packed_cache_gives_the_same_samples(trees: dict[str, Path], tmp_path: Path) -> None:
    for name, module, part in (("vimeo90k", vimeo90k, ""), ("x4k1000fps", x4k1000fps, "train")):
        assert main(["pack", name, str(trees[name]), str(tmp_path / name)]) == 0
        augmentation = Augmentation(crop=32, reverse_time=True, rotate=True, flip_vertically=True)
        loose = module.build_training_set(trees[name] / part, augmentation)
        cached = module.build_training_set(tmp_path / name / part, augmentation)
        assert isinstance(cached.stacks[0], packed.PackedFrameStack)
        assert len(cached) == len(loose)
        for index in range(len(loose)):
            for one, other in zip(
                loose[SampleKey(index, 5)][:4], cached[SampleKey(index, 5)][:4], strict=True
            ):
                assert torch.equal(one, other)


def test_packing_goes_on_with_what_is_missing(
    trees: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["pack", "x4k1000fps", str(trees["x4k1000fps"]), str(tmp_path / "cache")]
    assert main(command) == 0
    shutil.rmtree(tmp_path / "cache" / "val")
    assert main(command) == 0
    assert capsys.readouterr().out.count("packed already") == 2
    assert len(x4k1000fps.build_validation_set(tmp_path / "cache" / "val", crop=16)) == 1


def test_packed_shards_split_and_are_checked(trees: dict[str, Path], tmp_path: Path) -> None:
    stacks = vimeo90k.open_stacks(trees["vimeo90k"], "train")
    packed.write_packed(stacks, tmp_path / "cache", shard_bytes=30_000)
    cached = packed.read_packed(tmp_path / "cache")
    assert len({stack.file for stack in cached}) == len(stacks)
    assert [stack.name for stack in cached] == [stack.name for stack in stacks]
    assert np.array_equal(cached[-1][2], stacks[-1][2])
    cached[3].file.write_bytes(cached[3].file.read_bytes()[:-1])
    with pytest.raises(ValueError, match=f"{cached[3].file} has .* not complete"):
        packed.read_packed(tmp_path / "cache")


def test_unfinished_packing_leaves_nothing(vimeo: Path, tmp_path: Path) -> None:
    damage(vimeo90k.find_image_stacks(vimeo, "train")[5].files[0])
    with pytest.raises(SystemExit) as stop:
        main(["pack", "vimeo90k", str(vimeo), str(tmp_path / "cache")])
    assert stop.value.code == 2
    assert not [path for path in (tmp_path / "cache").iterdir() if path.name != "tri_test"]
