"""Samples dealt out to processes, epoch by epoch, in triplets."""

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sgm_vfi.dataset import vimeo90k, x4k1000fps
from sgm_vfi.dataset.augment import Augmentation, as_triplet
from sgm_vfi.dataset.clip_frames import ImageFileStack
from sgm_vfi.dataset.loader import ShardSampler, TripletLoader
from sgm_vfi.dataset.triplet import GroundTruth, Triplet, stack_triplets
from sgm_vfi.dataset.triplet_sampling import TrainingTriplets, build_generator
from sgm_vfi.media.images import FrameError, read_samples
from tests.fixtures.data_sets import Painted

# ---- dealing out ---------------------------------------------------------------------------------


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 90), st.integers(1, 7), st.integers(0, 5))
def test_training_shards_are_disjoint_even_and_fresh(size: int, world: int, epoch: int) -> None:
    shards = []
    for rank in range(world):
        sampler = ShardSampler(size, rank=rank, world=world, seed=3)
        sampler.set_epoch(epoch)
        shards.append([draw.item for draw in sampler])
        assert len(shards[-1]) == len(sampler) == size // world
    together = [index for shard in shards for index in shard]
    assert len(set(together)) == len(together)
    assert set(together) <= set(range(size))


def test_every_epoch_deals_again() -> None:
    sampler = ShardSampler(64, rank=1, world=2)
    orders = []
    for epoch in range(4):
        sampler.set_epoch(epoch)
        orders.append([draw.item for draw in sampler])
    assert len({tuple(order) for order in orders}) == 4
    assert len({frozenset(order) for order in orders}) == 4


def test_randomness_never_coincides() -> None:
    """Not between purposes, nor between numbers that differ by zeros only."""
    streams = [("a",), ("a", 0), ("a", 0, 0), ("a", 1), ("a", 1, 0), ("a", 0, 1), ("b", 0), ("aa",)]
    firsts = {build_generator(*arguments).integers(2**62) for arguments in streams}
    assert len(firsts) == len(streams)
    assert build_generator("a", 3).integers(2**62) == build_generator("a", 3).integers(2**62)


def test_global_batches_do_not_depend_on_the_number_of_processes() -> None:
    """Two processes with batches of 4 see in each step what one sees with batches of 8."""
    alone = [draw.item for draw in ShardSampler(40, seed=1)]
    halves = [[d.item for d in ShardSampler(40, rank=r, world=2, seed=1)] for r in (0, 1)]
    for step in range(5):
        shared = halves[0][4 * step : 4 * step + 4] + halves[1][4 * step : 4 * step + 4]
        assert set(shared) == set(alone[8 * step : 8 * step + 8])


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 40), st.integers(1, 6))
def test_validation_shards_cover_everything_once(size: int, world: int) -> None:
    samplers = [ShardSampler(size, rank=r, world=world, training=False) for r in range(world)]
    shards = [[draw.item for draw in sampler] for sampler in samplers]
    assert [len(shard) for shard in shards] == [len(sampler) for sampler in samplers]
    assert sorted(index for shard in shards for index in shard) == list(range(size))


def test_loader_resumes_in_the_middle_of_an_epoch(trees: dict[str, Path]) -> None:
    """Started at batch 2, with real worker processes, it goes on as if never stopped."""
    dataset = vimeo90k.build_training_set(trees["vimeo90k"], Augmentation(crop=32, rotate=True))
    whole = TripletLoader(dataset, 2, seed=7)
    whole.set_epoch(3)
    batches = list(whole)
    assert len(batches) == len(whole) == 4
    resumed = TripletLoader(dataset, 2, seed=7, workers=2)
    resumed.set_epoch(3, start=2)
    rest = list(resumed)
    assert len(rest) == 2
    for expected, got in zip(batches[2:], rest, strict=True):
        for one, other in zip(expected[:4], got[:4], strict=True):
            assert torch.equal(one, other)
    resumed.set_epoch(4)
    assert len(list(resumed)) == 4  # the workers of the last epoch go on


def test_a_file_that_goes_missing_while_training_is_named(vimeo: Path) -> None:
    """The worker's error comes through with the file's name, whole."""
    dataset = vimeo90k.build_training_set(vimeo, Augmentation(crop=32))
    missing = dataset.stacks[5].files[1]
    missing.unlink()
    with pytest.raises(FrameError, match=f"Cannot read a frame from {missing}"):
        list(TripletLoader(dataset, 2, workers=1))


def test_loader_leaves_the_global_generators_alone(trees: dict[str, Path]) -> None:
    dataset = vimeo90k.build_training_set(trees["vimeo90k"], Augmentation(crop=32, rotate=True))
    np.random.seed(0)
    before = np.random.get_state()[1].copy()
    first = next(iter(TripletLoader(dataset, 4)))
    assert np.array_equal(np.random.get_state()[1], before)
    torch.manual_seed(1234)
    assert torch.equal(next(iter(TripletLoader(dataset, 4))).frame0, first.frame0)


def test_loader_refuses_to_give_nothing(trees: dict[str, Path]) -> None:
    dataset = vimeo90k.build_training_set(trees["vimeo90k"])
    with pytest.raises(ValueError, match=r"8 samples over 4 process\(es\) fill no batch of 3"):
        TripletLoader(dataset, 3, world=4)
    with pytest.raises(ValueError, match="rank 4 of 4"):
        ShardSampler(8, rank=4, world=4)


def test_validation_loader_gives_the_last_batch() -> None:
    dataset = TrainingTriplets([Painted() for _ in range(5)], Augmentation())
    sizes = [len(batch.time) for batch in TripletLoader(dataset, 2, training=False)]
    assert sizes == [2, 2, 1]


# ---- triplets ------------------------------------------------------------------------------------


def test_triplets_become_floats_where_they_are_moved() -> None:
    images = [Painted()[number] for number in range(3)]
    batch = stack_triplets([as_triplet(images, 0.25)] * 2)
    moved = batch.to("cpu")
    assert moved.time.flatten().tolist() == [0.25, 0.25]
    assert moved.frame1.shape == (2, 3, 40, 40)
    torch.testing.assert_close(moved.frame1 * 255, batch.frame1.float())
    assert torch.equal(moved.to("cpu").frame0, moved.frame0)


def test_mixed_sizes_are_refused() -> None:
    samples = [as_triplet([Painted(side)[0]] * 3, 0.5) for side in (8, 9)]
    with pytest.raises(ValueError, match=r"\(3, 8, 8\), \(3, 9, 9\)"):
        stack_triplets(samples)


def test_resizing_keeps_motion_true() -> None:
    """Half the size has half the flow; at 1/4 a pixel is the mean of the middle four of sixteen."""
    frame = torch.rand(1, 3, 16, 16)
    flow = torch.tensor((8.0, -4.0)).view(1, 2, 1, 1).expand(1, 2, 16, 16)
    seen = torch.ones(1, 1, 16, 16)
    seen[..., :3] = 0
    truth = GroundTruth(*[flow] * 4, *[seen] * 4)
    small = Triplet(frame, frame, frame, torch.full((1, 1, 1, 1), 0.5), truth).resized(0.25)
    torch.testing.assert_close(small.target[0, :, 1, 2], frame[0, :, 5:7, 9:11].mean((1, 2)))
    assert small.truth.flow_t1[0, :, 2, 2].tolist() == [2.0, -1.0]
    assert small.truth.visible_01[0, 0, 0].tolist() == [0, 1, 1, 1]


def test_file_stack_reads_on_demand(trees: dict[str, Path]) -> None:
    stack = x4k1000fps.find_image_stacks(trees["x4k1000fps"] / "train")[0]
    assert isinstance(stack, ImageFileStack)
    assert len(stack) == 65
    assert np.array_equal(stack[64], read_samples(stack.files[64]))
