"""Duplicate frames: animation on twos, or footage shot at another rate.

A run of duplicates is treated as one frame that lasts until the next different frame. Motion then
becomes even, and the duration stays.
"""

from collections.abc import Callable, Iterable, Iterator
from fractions import Fraction
from typing import TypeVar

import torch.nn.functional as F
from torch import Tensor

Item = TypeVar("Item")

# x264 changes the mean of a block of a repeated frame by up to 4 levels of 255 at CRF 16, 7 at
# CRF 23; the least that moved in footage changed one by 7, most of it by 50 and more.
THRESHOLD = 6 / 255
BLOCK = 8  # pixels: grain and codec noise average out, a moving mouth does not
MAX_RUN = Fraction(1, 4)  # seconds: six frames of film; longer runs are intended still images


def is_duplicate(frame0: Tensor, frame1: Tensor, threshold: float = THRESHOLD) -> bool:
    """Return whether two frames differ by no more than codec noise.

    Args:
        threshold: largest difference, in [0, 1], of the mean colours of a block of 8 x 8 pixels;
            0: frames must be equal.

    Shapes: (1, 3, H, W), twice.
    """
    if not 0 <= threshold <= 1:
        raise ValueError(f"The duplicate threshold must lie in [0, 1], got {threshold:g}.")
    if frame0.shape != frame1.shape:
        raise ValueError(
            f"Frames must be of one size, got {tuple(frame0.shape)} and {tuple(frame1.shape)}."
        )
    difference = frame0 - frame1
    if threshold:
        difference = F.avg_pool2d(difference, BLOCK, ceil_mode=True)
    return difference.abs().max().item() <= threshold


def drop_duplicates(
    items: Iterable[Item],
    is_repeat: Callable[[Item, Item], bool],
    time_of: Callable[[Item], Fraction],
    longest: Fraction = MAX_RUN,
) -> Iterator[Item]:
    """Yield the first item of each run of duplicates.

    Runs longer than the limit are intended still images: their items are all yielded, and motion
    begins after the last. So are the items of a run that ends the stream, as the last one tells
    when it ended. Timestamps do not change.

    Args:
        is_repeat: returns whether an item (the second argument) repeats the first of its run.
        time_of: returns the timestamp of an item.
        longest: longest run in seconds, from its first frame to the next different one.
    """
    first: Item | None = None
    repeats: list[Item] = []  # of `first`, within the limit
    for item in items:
        is_over = first is None or not is_repeat(first, item)
        if not is_over:
            repeats.append(item)
        if first is not None and time_of(item) - time_of(first) > longest:
            yield from repeats
            repeats = []
        if is_over:
            yield item
            first, repeats = item, []
    yield from repeats
