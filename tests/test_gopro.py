"""GoPro as a set to learn from, and the augmentation that IFRNet was published with."""

from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from sgm_vfi.config_base import SMALL_SCENES
from sgm_vfi.dataset import gopro, vimeo90k
from sgm_vfi.dataset.augment import IFRNET_AUGMENTATION, Augmentation, TripletIndices, sample_chance
from sgm_vfi.dataset.data_config_and_loaders import (
    DataConfig,
    LoaderShard,
    build_augmentation,
    build_loader,
)
from sgm_vfi.dataset.stand_in_data_sets import write_stand_in
from sgm_vfi.dataset.triplet_sampling import SampleKey, build_generator, sample_inner_frame
from sgm_vfi.engine.distributed import process_group
from sgm_vfi.training.baseline_recipes import EXPERIMENTS
from sgm_vfi.training.baselines import BaselineTrainer
from tests.fixtures.training_runs import run_in

SHARE = LoaderShard(torch.device("cpu"))


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sequence in either split."""
    root = tmp_path_factory.mktemp("trees") / "gopro"
    write_stand_in("gopro", root, scenes=1, size=(32, 48), config=SMALL_SCENES)
    train = next((root / "test").iterdir())
    (root / "train").mkdir()
    (root / "train" / "GOPR0372_07_00").symlink_to(train)
    return root


def test_every_window_is_shown_as_often_as_it_has_targets(tree: Path) -> None:
    windows = gopro.split_windows(tree, "train")
    assert {len(window) for window in windows} == {9}
    dataset = gopro.build_training_set(tree, Augmentation())
    assert len(dataset) == 7 * len(windows)
    times = {
        round(8 * dataset[SampleKey(index, e)].time.item()) for index in range(7) for e in range(9)
    }
    assert times == set(range(1, 8))
    sample = dataset[SampleKey(0)]
    assert np.array_equal(sample.frame0.movedim(0, -1), dataset.stacks[0][0])
    assert np.array_equal(sample.frame1.movedim(0, -1), dataset.stacks[0][8])
    number = round(8 * sample.time.item())
    assert np.array_equal(sample.target.movedim(0, -1), dataset.stacks[0][number])


def test_reversed_windows_reverse_their_times() -> None:
    random = build_generator("test", 1)
    moments = {
        Augmentation(reverse_time=True).augment_indices(TripletIndices(0, 3, 8), random)
        for _ in range(40)
    }
    assert moments == {TripletIndices(0, 3, 8), TripletIndices(8, 3, 0)}
    assert TripletIndices(8, 3, 0).time == 5 / 8


def test_targets_lie_within_and_anywhere() -> None:
    random = build_generator("test", 2)
    assert {sample_inner_frame(9, random) for _ in range(200)} == {
        TripletIndices(0, k, 8) for k in range(1, 8)
    }
    with pytest.raises(ValueError, match="3 frames or more, got a stack of 2"):
        sample_inner_frame(2, random)


def test_validation_sees_all_targets(tree: Path) -> None:
    dataset = gopro.build_validation_set(tree, crop=32)
    assert len(dataset) == 7 * len(gopro.split_windows(tree, "test"))
    assert [dataset[SampleKey(i)].time.item() for i in range(7)] == [k / 8 for k in range(1, 8)]
    assert dataset[SampleKey(0)].target.shape == (3, 32, 32)


def test_it_is_opened_by_a_recipe(tree: Path) -> None:
    config = DataConfig(
        source="gopro", train_path=str(tree), patch_size=24, any_time=True, workers=0
    )
    batch = next(iter(build_loader(config, 3, SHARE, training=True))).to("cpu")
    assert batch.target.shape == (3, 3, 24, 24)
    with pytest.raises(ValueError, match=r"set data\.any_time and model\.any_time"):
        gopro.build_training_set(tree, any_time=False)


# ---- augmentation --------------------------------------------------------------------------------


def test_a_switch_names_its_chance() -> None:
    random = build_generator("test", 3)
    counts = {s: sum(sample_chance(s, random) for _ in range(2000)) for s in (True, 0.3, 0.05)}
    assert abs(counts[True] - 1000) < 120
    assert abs(counts[0.3] - 600) < 120
    assert abs(counts[0.05] - 100) < 50
    assert not any(sample_chance(False, random) or sample_chance(0.0, random) for _ in range(50))


def test_enlarged_frames_are_cropped_after() -> None:
    """Neighbours differ by half as much, and the crop has its size."""
    ramp = np.mgrid[:24, :24][1].astype(np.uint8)[..., None].repeat(3, axis=2) * 8
    steps = Counter()
    for number in range(60):
        (image,) = Augmentation(enlarge=0.5, crop=20).augment_images(
            [ramp], build_generator("test", 4, number)
        )
        assert image.shape == (20, 20, 3)
        steps[int(image[0, 11, 0]) - int(image[0, 9, 0])] += 1
    assert set(steps) == {16, 8}
    assert 15 < steps[8] < 45


def test_transposed_frames_swap_rows_and_columns() -> None:
    image = np.random.default_rng(0).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    (turned,) = Augmentation(transpose=1.0).augment_images([image], build_generator("test", 5))
    assert np.array_equal(turned, image.swapaxes(0, 1))


def test_the_published_one_is_asked_for_by_name() -> None:
    rows = (IFRNET_AUGMENTATION.enlarge, IFRNET_AUGMENTATION.flip_vertically)
    assert (*rows, IFRNET_AUGMENTATION.transpose, IFRNET_AUGMENTATION.crop) == (0.1, 0.3, 0.05, 224)
    vimeo = DataConfig(patch_size=24)
    assert build_augmentation(vimeo) == replace(vimeo90k.PUBLISHED_AUGMENTATION, crop=24)
    ifrnet = replace(vimeo, augmentation="ifrnet")
    assert build_augmentation(ifrnet) == replace(IFRNET_AUGMENTATION, crop=24)
    whole = replace(ifrnet, need_patch=False)
    assert build_augmentation(whole) == replace(IFRNET_AUGMENTATION, crop=None)


# ---- training ------------------------------------------------------------------------------------


def test_ifrnet_learns_from_it(tree: Path, tmp_path: Path) -> None:
    """The recipe's own way from files to a step, with a small network."""
    published = EXPERIMENTS["ifrnet_gopro"]
    assert published.data.augmentation == "ifrnet"
    assert (published.training.batch_size, published.training.epochs) == (14, 600)
    small = EXPERIMENTS["smoke-ifrnet_gopro"]
    paths = {"train_path": str(tree), "val_path": str(tree), "workers": 0, "patch_size": 32}
    experiment = replace(
        published,
        model=small.model,
        data=replace(published.data, **paths),
        training=replace(published.training, steps=2, batch_size=2, log_every=1, validate_every=99),
    )
    with process_group(torch.device("cpu")):
        trainer = BaselineTrainer(experiment, run_in(tmp_path))
        convolutions = [w for w in trainer.model.parameters() if w.ndim > 1]
        before = [weight.clone() for weight in convolutions]
        trainer.train_epoch()
        assert trainer.step == 2
        assert not any(torch.equal(a, b) for a, b in zip(before, convolutions, strict=True))
