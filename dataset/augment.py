"""Random augmentation of triplets: time reversal, colour, crops, flips, rotations."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

import cv2
import numpy as np
import torch
from torch import Tensor

from sgm_vfi.dataset.triplet import Triplet

Images = Sequence[np.ndarray]  # (H, W, 3) each
Chance: TypeAlias = bool | float  # True: probability 1/2; False: never; else the probability


class TripletIndices(NamedTuple):
    """Indices of the three frames of a triplet in a frame stack."""

    frame0: int
    target: int
    frame1: int

    @property
    def time(self) -> float:
        """The time of the target, in (0, 1)."""
        return (self.target - self.frame0) / (self.frame1 - self.frame0)


@dataclass(frozen=True, kw_only=True)
class Augmentation:
    """Random augmentation of a training triplet, applied in this order."""

    reverse_time: Chance = False  # frame 0 <-> frame 1, and time -> 1 - time
    jitter: float = 0.0  # of brightness, contrast, saturation and hue, at most
    enlarge: Chance = False  # to twice the size, bilinearly
    crop: int | None = None  # side of a random square, in pixels; None keeps the whole frame
    reverse_colours: Chance = False  # red, green, blue -> blue, green, red
    flip_vertically: Chance = False
    flip_horizontally: Chance = False
    transpose: Chance = False  # rows <-> columns; square frames only
    rotate: bool = False  # by 0, 90, 180 or 270 degrees, each as likely; square frames only

    def augment_indices(
        self, indices: TripletIndices, random: np.random.Generator
    ) -> TripletIndices:
        """Reverse the time at random."""
        return (
            TripletIndices(*indices[::-1]) if sample_chance(self.reverse_time, random) else indices
        )

    def augment_images(self, images: Images, random: np.random.Generator) -> list[np.ndarray]:
        """Apply the same random changes to all images.

        Shapes: (H, W, 3) each -> (crop, crop, 3) each.
        """
        if self.jitter:
            images = jitter_colours(images, self.jitter, random)
        if sample_chance(self.enlarge, random):
            images = [cv2.resize(image, None, fx=2, fy=2) for image in images]
        if self.crop is not None:
            images = random_crop(images, self.crop, random)
        if sample_chance(self.reverse_colours, random):
            images = [image[..., ::-1] for image in images]
        if sample_chance(self.flip_vertically, random):
            images = [image[::-1] for image in images]
        if sample_chance(self.flip_horizontally, random):
            images = [image[:, ::-1] for image in images]
        if sample_chance(self.transpose, random):
            images = [image.swapaxes(0, 1) for image in images]
        if self.rotate:
            images = random_rotation(images, random)
        return list(images)


def sample_chance(switch: Chance, random: np.random.Generator) -> bool:
    """Return True with the given probability."""
    if isinstance(switch, bool):
        return switch and bool(random.integers(2))
    return bool(random.random() < switch)


def random_crop(images: Images, side: int, random: np.random.Generator) -> list[np.ndarray]:
    """Crop the same random square from all images, uniformly over positions."""
    height, width = images[0].shape[:2]
    require_crop_fits(height, width, side)
    top = int(random.integers(height - side + 1))
    left = int(random.integers(width - side + 1))
    return [image[top : top + side, left : left + side] for image in images]


def centre_crop(images: Images, side: int) -> list[np.ndarray]:
    """Crop the central square from all images."""
    height, width = images[0].shape[:2]
    require_crop_fits(height, width, side)
    top, left = (height - side) // 2, (width - side) // 2
    return [image[top : top + side, left : left + side] for image in images]


def require_crop_fits(height: int, width: int, side: int) -> None:
    """Raise ValueError if a crop is larger than the frame."""
    if min(height, width) < side:
        raise ValueError(
            f"Frames of {width}x{height} hold no {side}x{side} crop. "
            f"Ask for crops of at most {min(height, width)}."
        )


def random_rotation(images: Images, random: np.random.Generator) -> list[np.ndarray]:
    """Rotate all images by the same random number of quarter turns."""
    height, width = images[0].shape[:2]
    if height != width:
        raise ValueError(
            f"Frames of {width}x{height} cannot be rotated by 90 degrees within one batch. "
            f"Crop them to squares."
        )
    turns = int(random.integers(4))
    return [np.rot90(image, turns) for image in images]


def jitter_colours(
    images: Sequence[np.ndarray], amount: float, random: np.random.Generator
) -> list[np.ndarray]:
    """Change brightness, contrast, saturation and hue in random order, as torchvision does.

    Args:
        amount: the first three change by factors of 1 - amount to 1 + amount, hue by up to this
            share of the circle either way, at most 1/2.

    Shapes: (H, W, 3) each, RGB bytes -> the same.
    """
    from torchvision.transforms import functional as colours

    adjustments = (
        colours.adjust_brightness,
        colours.adjust_contrast,
        colours.adjust_saturation,
        colours.adjust_hue,
    )
    factors = random.uniform(1 - amount, 1 + amount, len(adjustments) - 1)
    strengths = (*factors, random.uniform(-amount, amount))
    order = random.permutation(len(adjustments))
    jittered = []
    for image in images:
        frame = torch.from_numpy(np.ascontiguousarray(image)).movedim(-1, 0)
        for index in order:
            frame = adjustments[index](frame, strengths[index])
        jittered.append(frame.movedim(0, -1).numpy())
    return jittered


IFRNET_AUGMENTATION = Augmentation(  # of the published training
    reverse_time=True,
    enlarge=0.1,
    crop=224,
    reverse_colours=True,
    flip_vertically=0.3,
    flip_horizontally=True,
    transpose=0.05,
)
PERVFI_AUGMENTATION = Augmentation(
    reverse_time=True, jitter=0.05, crop=256
)  # of the published training


def as_triplet(images: Images, time: float) -> Triplet:
    """Convert three images to a triplet of bytes.

    Shapes: three images (H, W, 3) -> frames (3, H, W), time (1, 1, 1).
    """
    frame0, target, frame1 = (as_byte_tensor(image) for image in images)
    return Triplet(frame0, target, frame1, torch.full((1, 1, 1), time))


def as_byte_tensor(image: np.ndarray) -> Tensor:
    """Copy an image to a tensor. Shapes: (H, W, 3), uint8 -> (3, H, W), uint8."""
    return torch.from_numpy(np.array(image.transpose(2, 0, 1), order="C"))
