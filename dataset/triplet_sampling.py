"""Sampling of triplets from frame stacks: random ones for training, fixed ones for validation."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from torch.utils.data import Dataset

from sgm_vfi.dataset.augment import Augmentation, TripletIndices, as_triplet, centre_crop
from sgm_vfi.dataset.clip_frames import FrameStack, read_frames
from sgm_vfi.dataset.triplet import Triplet

IndexSampler = Callable[[int, np.random.Generator], TripletIndices]  # from the stack's length


class SampleKey(NamedTuple):
    """Key of one sample of one epoch, which determines all its randomness.

    A sample is the same in any process or worker and after resuming.
    """

    item: int
    epoch: int = 0
    seed: int = 0

    def random(self) -> np.random.Generator:
        """Return the generator of this sample."""
        return build_generator("sample", *self[::-1])


def build_generator(purpose: str, *numbers: int) -> np.random.Generator:
    """Return an independent generator for a purpose and numbers >= 0.

    NumPy treats (1, 2) and (1, 2, 0) as the same seed, so the seed holds the count and the purpose.
    """
    return np.random.default_rng((len(numbers), *purpose.encode(), *numbers, 1))


def sample_middle_frame(length: int, random: np.random.Generator) -> TripletIndices:
    """Sample frames a, a + g, a + 2 g, as published.

    `a` is uniform in 0 .. length - 3, then `g` in 1 .. (length - 1 - a) / 2, rounded down.
    """
    first = int(random.integers(require_triplet_length(length) - 2))
    gap = int(random.integers(1, (length - 1 - first) // 2 + 1))
    return TripletIndices(first, first + gap, first + 2 * gap)


def sample_any_frame(length: int, random: np.random.Generator) -> TripletIndices:
    """Sample frames a < m < b with the target anywhere between."""
    first = int(random.integers(require_triplet_length(length) - 2))
    last = int(random.integers(first + 2, length))
    return TripletIndices(first, int(random.integers(first + 1, last)), last)


def sample_inner_frame(length: int, random: np.random.Generator) -> TripletIndices:
    """Sample a target between the first and the last frame."""
    return TripletIndices(
        0, int(random.integers(1, require_triplet_length(length) - 1)), length - 1
    )


def require_triplet_length(length: int) -> int:
    """Return the length of a stack; raise ValueError if it is too short for a triplet."""
    if length < 3:
        raise ValueError(f"A triplet is made of 3 frames or more, got a stack of {length}.")
    return length


class TrainingTriplets(Dataset[Triplet]):
    """Random triplets of bytes, one frame stack per item, indexed by `SampleKey`."""

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

    def __getitem__(self, key: SampleKey) -> Triplet:
        stack, random = self.stacks[key.item], key.random()
        indices = self.augmentation.augment_indices(self.choose(len(stack), random), random)
        images = read_frames(stack, indices)
        return as_triplet(self.augmentation.augment_images(images, random), indices.time)


class FixedTriplets(Dataset[Triplet]):
    """Fixed triplets for validation, not augmented: (stack, indices) each."""

    def __init__(
        self, picks: Sequence[tuple[FrameStack, TripletIndices]], crop: int | None = None
    ) -> None:
        self.picks = picks
        self.crop = crop  # side of a central square, in pixels; None keeps the whole frame

    def __len__(self) -> int:
        return len(self.picks)

    def __getitem__(self, key: SampleKey) -> Triplet:
        stack, indices = self.picks[key.item]
        images = read_frames(stack, indices)
        if self.crop is not None:
            images = centre_crop(images, self.crop)
        return as_triplet(images, indices.time)
