"""Which frames of a stack are shown, and what is done to all of them alike."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch

from sgm_vfi.dataset import vimeo90k, x4k1000fps
from sgm_vfi.dataset.augment import Augmentation, jitter_colours
from sgm_vfi.dataset.triplet_sampling import (
    SampleKey,
    TrainingTriplets,
    sample_any_frame,
    sample_middle_frame,
)
from tests.fixtures.data_sets import Painted

# ---- choosing frames -----------------------------------------------------------------------------


def test_published_choice_reaches_exactly_the_allowed_frames() -> None:
    """Brute force over a short clip: every (a, a + g, a + 2 g) inside it, and nothing else."""
    length = 9
    allowed = {
        (a, a + g, a + 2 * g) for a in range(length) for g in range(1, length) if a + 2 * g < length
    }
    random = np.random.default_rng(0)
    drawn = Counter(tuple(sample_middle_frame(length, random)) for _ in range(4000))
    assert set(drawn) == allowed


def test_published_choice_is_uniform_in_the_start() -> None:
    """First the start, 0 to 62 of 65 frames alike; then the gap, alike among those that fit."""
    random = np.random.default_rng(1)
    drawn = [sample_middle_frame(65, random) for _ in range(12600)]
    starts = Counter(moment.frame0 for moment in drawn)
    assert set(starts) == set(range(63))
    assert max(abs(count - 200) for count in starts.values()) < 5 * 200**0.5
    gaps = Counter(moment.target - moment.frame0 for moment in drawn if moment.frame0 < 2)
    assert set(gaps) == set(range(1, 33))


def test_any_frame_reaches_all_orders() -> None:
    random = np.random.default_rng(0)
    drawn = {tuple(sample_any_frame(7, random)) for _ in range(4000)}
    assert drawn == {(a, m, b) for a in range(7) for m in range(a + 1, 7) for b in range(m + 1, 7)}
    with pytest.raises(ValueError, match="stack of 2"):
        sample_any_frame(2, random)


# ---- augmentation --------------------------------------------------------------------------------


def test_augmentation_does_the_same_to_all_frames() -> None:
    """Pixels of the three frames come from one place; all that may happen does happen."""
    everything = Augmentation(
        crop=12,
        reverse_colours=True,
        reverse_time=True,
        flip_vertically=True,
        flip_horizontally=True,
        rotate=True,
    )
    dataset = TrainingTriplets([Painted()], everything, sample_any_frame)
    seen = Counter()
    for epoch in range(400):
        sample = dataset[SampleKey(0, epoch)]
        frames = [frame.long() for frame in sample[:3]]
        reversed_colours = bool(frames[0][0, 0, 0] >= 200)
        row, column, number = torch.stack(
            [frame.flip(0) if reversed_colours else frame for frame in frames]
        ).movedim(1, 0)
        assert (row == row[0]).all()
        assert (column == column[0]).all()
        first, target, last = number.flatten(1).unique(dim=1).squeeze(1).tolist()
        assert sample.time.item() == pytest.approx((target - first) / (last - first))
        places = set(map(tuple, torch.stack((row[0], column[0]), -1).flatten(0, 1).tolist()))
        top, left = row.min().item(), column.min().item()
        assert places == {(top + r, left + c) for r in range(12) for c in range(12)}
        step_down = (row[0, 1, 0] - row[0, 0, 0]).item(), (column[0, 1, 0] - column[0, 0, 0]).item()
        step_right = (
            (row[0, 0, 1] - row[0, 0, 0]).item(),
            (column[0, 0, 1] - column[0, 0, 0]).item(),
        )
        seen["orientation", step_down, step_right] += 1
        seen["colours", reversed_colours] += 1
        seen["time", first > last] += 1
        seen["top", top] += 1
    assert sum(kind[0] == "orientation" for kind in seen) == 8
    assert sum(kind[0] == "top" for kind in seen) == 29
    for switch in ("colours", "time"):
        assert 140 < seen[switch, True] < 260


def test_augmentation_switched_off_changes_nothing() -> None:
    sample = TrainingTriplets([Painted()], Augmentation())[SampleKey(0)]
    assert np.array_equal(sample.frame0[:2].numpy().transpose(1, 2, 0), Painted()[0][..., :2])


def test_published_augmentations() -> None:
    """Stage 1 does everything; stage 2 neither flips vertically nor reverses colours."""
    vimeo, x4k = vimeo90k.PUBLISHED_AUGMENTATION, x4k1000fps.PUBLISHED_AUGMENTATION
    assert (vimeo.crop, x4k.crop) == (256, 512)
    assert all((vimeo.reverse_time, vimeo.flip_horizontally, vimeo.rotate))
    assert all((vimeo.reverse_colours, vimeo.flip_vertically))
    assert all((x4k.reverse_time, x4k.flip_horizontally, x4k.rotate))
    assert not any((x4k.reverse_colours, x4k.flip_vertically))


def test_jitter_changes_colours_a_little_and_alike() -> None:
    """The same for frames that are the same; grey stays grey; every change has its share."""
    grey = np.mgrid[:16, :16][0].astype(np.uint8)[..., None].repeat(3, axis=2) * 15
    red = np.zeros((16, 16, 3), np.uint8)
    red[..., 0] = 200
    seen = set()
    for number in range(20):
        images = (grey, red, red)
        changed = jitter_colours(images, 0.05, np.random.default_rng(number))
        assert [image.shape for image in changed] == [(16, 16, 3)] * 3
        assert all(image.dtype == np.uint8 for image in changed)
        assert np.array_equal(changed[1], changed[2])
        assert (changed[0] == changed[0][..., :1]).all()
        assert np.abs(changed[0].astype(int) - grey).max() < 30
        assert np.abs(changed[1].astype(int) - red).max() < 80
        seen.add(tuple(changed[1][0, 0]))
    assert len(seen) > 15
    once, again = (jitter_colours((red,), 0.05, np.random.default_rng(1))[0] for _ in range(2))
    assert np.array_equal(once, again)
    assert np.array_equal(jitter_colours((red,), 0.0, np.random.default_rng(1))[0], red)


def test_impossible_crops_and_turns_are_refused(trees: dict[str, Path]) -> None:
    with pytest.raises(ValueError, match="hold no 41x41 crop"):
        TrainingTriplets([Painted()], Augmentation(crop=41))[SampleKey(0)]
    with pytest.raises(ValueError, match="cannot be rotated"):
        vimeo90k.build_training_set(trees["vimeo90k"], Augmentation(rotate=True))[SampleKey(0)]
