"""Which frames a sample is made of, and the data sets that make samples of stacks of frames."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from torch.utils.data import Dataset

from sgm_vfi.dataset.augment import Augmentation, TripletIndices, as_triplet, centre_crop
from sgm_vfi.dataset.frame_stack import FrameStack
from sgm_vfi.dataset.triplet import Triplet

IndexSampler = Callable[
    [int, np.random.Generator], TripletIndices
]  # number of frames, randomness -> frames


class SampleKey(NamedTuple):
    """One sample of one epoch; all that is random about it follows from these numbers.

    So a sample is the same whichever process or worker makes it, and however often training was
    stopped and resumed before.
    """

    index: int
    epoch: int = 0
    seed: int = 0

    def random(self) -> np.random.Generator:
        """The generator that belongs to this sample alone."""
        return build_generator("sample", *self[::-1])


def build_generator(purpose: str, *numbers: int) -> np.random.Generator:
    """Independent randomness for each purpose and numbers >= 0.

    NumPy takes (1, 2) and (1, 2, 0) for the same seed; so how many numbers there are, and what
    they are for, is part of it.
    """
    return np.random.default_rng((len(numbers), *purpose.encode(), *numbers, 1))


def sample_middle_frame(length: int, random: np.random.Generator) -> TripletIndices:
    """Choose frames a, a + g, a + 2 g, as published: first a, then the gap among those that fit.

    `a` is uniform in 0 .. length - 3, `g` in 1 .. (length - 1 - a) / 2, rounded down; so late
    starts only allow short gaps.
    """
    first = int(random.integers(require_triplet_length(length) - 2))
    gap = int(random.integers(1, (length - 1 - first) // 2 + 1))
    return TripletIndices(first, first + gap, first + 2 * gap)


def sample_any_frame(length: int, random: np.random.Generator) -> TripletIndices:
    """Choose frames a < m < b with the target anywhere between: any time, not only the middle."""
    first = int(random.integers(require_triplet_length(length) - 2))
    last = int(random.integers(first + 2, length))
    return TripletIndices(first, int(random.integers(first + 1, last)), last)


def sample_inner_frame(length: int, random: np.random.Generator) -> TripletIndices:
    """Choose a target anywhere between the first frame and the last one."""
    return TripletIndices(
        0, int(random.integers(1, require_triplet_length(length) - 1)), length - 1
    )


def require_triplet_length(length: int) -> int:
    """Refuse a stack too short for a triplet."""
    if length < 3:
        raise ValueError(f"A triplet is made of 3 frames or more, got a stack of {length}.")
    return length


class TrainingTriplets(Dataset[Triplet]):
    """Random triplets out of stacks of frames, one stack per item.

    Items are asked for by `SampleKey`; they are single triplets of bytes (see `as_triplet`).
    """

    def __init__(
        self,
        stacks: Sequence[FrameStack],
        augmentation: Augmentation,
        choose: IndexSampler = sample_middle_frame,
    ) -> None:
        self.stacks = stacks
        self.augmentation = augmentation
        self.choose = choose

    def __len__(self) -> int:
        return len(self.stacks)

    def __getitem__(self, draw: SampleKey) -> Triplet:
        stack, random = self.stacks[draw.index], draw.random()
        moment = self.augmentation.augment_indices(self.choose(len(stack), random), random)
        images = [stack[frame] for frame in moment]
        return as_triplet(self.augmentation.augment_images(images, random), moment.time)


class FixedTriplets(Dataset[Triplet]):
    """The same triplets every time, for validation: (stack, frames) each, not augmented."""

    def __init__(
        self, picks: Sequence[tuple[FrameStack, TripletIndices]], crop: int | None = None
    ) -> None:
        self.picks = picks
        self.crop = crop  # side of a central square, in pixels; None keeps the whole frame

    def __len__(self) -> int:
        return len(self.picks)

    def __getitem__(self, draw: SampleKey) -> Triplet:
        stack, moment = self.picks[draw.index]
        images = [stack[frame] for frame in moment]
        if self.crop is not None:
            images = centre_crop(images, self.crop)
        return as_triplet(images, moment.time)
