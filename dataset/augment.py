"""Random changes that leave a triplet a triplet."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

import cv2
import numpy as np
import torch
from torch import Tensor

from sgm_vfi.dataset.triplet import Triplet

Images = Sequence[np.ndarray]  # (H, W, 3) each
Chance: TypeAlias = bool | float  # a coin is tossed or not; or the chance to be thrown


class TripletIndices(NamedTuple):
    """Which frames of a stack make a triplet, and where between the outer two the target lies."""

    frame0: int
    target: int
    frame1: int

    @property
    def time(self) -> float:
        return (self.target - self.frame0) / (self.frame1 - self.frame0)


@dataclass(frozen=True, kw_only=True)
class Augmentation:
    """What may happen to a training triplet, in this order.

    A switch is thrown with probability 1/2, or with the one that stands in its place.
    """

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
        self, moment: TripletIndices, random: np.random.Generator
    ) -> TripletIndices:
        """Choose the direction of time."""
        return TripletIndices(*moment[::-1]) if sample_chance(self.reverse_time, random) else moment

    def augment_images(self, images: Images, random: np.random.Generator) -> list[np.ndarray]:
        """Do the same random things to all images.

        Shapes: (H, W, 3) each -> (crop, crop, 3) each, where colours stay views of what came in.
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
    """Whether a switch is thrown this time."""
    if isinstance(switch, bool):
        return switch and bool(random.integers(2))
    return bool(random.random() < switch)


def random_crop(images: Images, side: int, random: np.random.Generator) -> list[np.ndarray]:
    """Cut the same random square out of all images, every position as likely."""
    height, width = images[0].shape[:2]
    require_crop_fits(height, width, side)
    top = int(random.integers(height - side + 1))
    left = int(random.integers(width - side + 1))
    return [image[top : top + side, left : left + side] for image in images]


def centre_crop(images: Images, side: int) -> list[np.ndarray]:
    """Cut the central square out of all images."""
    height, width = images[0].shape[:2]
    require_crop_fits(height, width, side)
    top, left = (height - side) // 2, (width - side) // 2
    return [image[top : top + side, left : left + side] for image in images]


def require_crop_fits(height: int, width: int, side: int) -> None:
    """Refuse a crop that is larger than the frame."""
    if min(height, width) < side:
        raise ValueError(
            f"Frames of {width}x{height} hold no {side}x{side} crop. "
            f"Ask for crops of at most {min(height, width)}."
        )


def random_rotation(images: Images, random: np.random.Generator) -> list[np.ndarray]:
    """Turn all images by the same random number of quarter turns."""
    height, width = images[0].shape[:2]
    if height != width:
        raise ValueError(
            f"Frames of {width}x{height} cannot be turned by 90 degrees and stay in one batch. "
            f"Crop squares out of them."
        )
    turns = int(random.integers(4))
    return [np.rot90(image, turns) for image in images]


def jitter_colours(
    images: Sequence[np.ndarray], amount: float, random: np.random.Generator
) -> list[np.ndarray]:
    """Change brightness, contrast, saturation and hue, in random order, as torchvision does it.

    Args:
        amount: the first three by factors of 1 - amount to 1 + amount; hue by that share of the
            circle, at most 1/2, either way.

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


IFRNET_AUGMENTATION = Augmentation(  # with which it was published
    reverse_time=True,
    enlarge=0.1,
    crop=224,
    reverse_colours=True,
    flip_vertically=0.3,
    flip_horizontally=True,
    transpose=0.05,
)
PERVFI_AUGMENTATION = Augmentation(reverse_time=True, jitter=0.05, crop=256)  # likewise


def as_triplet(images: Images, time: float) -> Triplet:
    """Make one sample of bytes.

    Shapes: three images (H, W, 3) -> frames (3, H, W), time (1, 1, 1).
    """
    frame0, target, frame1 = (as_byte_tensor(image) for image in images)
    return Triplet(frame0, target, frame1, torch.full((1, 1, 1), time))


def as_byte_tensor(image: np.ndarray) -> Tensor:
    """Shapes: (H, W, 3), uint8 -> (3, H, W), uint8, a copy."""
    return torch.from_numpy(np.array(image.transpose(2, 0, 1), order="C"))
