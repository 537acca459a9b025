"""Frames that repeat the one before: footage animated on twos, or shot at another rate.

Between two equal frames nothing moves, and after them all the motion comes at once. So a run of
repeats is taken as one frame that lasts longer, up to the next frame that differs: what moves then
moves evenly, and no time is lost.
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
BLOCK = 8  # pixels: grain and the noise of a codec average out, a mouth that moves does not
MAX_RUN = Fraction(1, 4)  # seconds: six frames of film; what stands longer is meant to stand


def is_duplicate(frame0: Tensor, frame1: Tensor, threshold: float = THRESHOLD) -> bool:
    """Whether two frames show the same picture but for the noise of a codec.

    True where the mean colour of no block of 8 x 8 pixels differs by more than the threshold;
    equal frames alone are duplicates at 0.

    Args:
        threshold: in [0, 1], as frames are.

    Shapes: (1, 3, H, W), twice.
    """
    if not 0 <= threshold <= 1:
        raise ValueError(f"The threshold of duplicates lies in [0, 1], got {threshold:g}.")
    if frame0.shape != frame1.shape:
        raise ValueError(
            f"Frames of one size are compared, got {tuple(frame0.shape)} and {tuple(frame1.shape)}."
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
    """Give the first item of each run of repeats, which then lasts until the next one differs.

    A run that lasts longer than the bound is a hold that is meant: its items stay as they are, and
    motion begins after the last of them. So do those of a run that ends the stream, whose last
    frame says when it ended. Times are not changed, so the duration is not either.

    Args:
        is_repeat: whether an item (the second argument) repeats the one that began the run.
        time_of: when an item is shown.
        longest: of a run, in seconds, from its first frame to the next one that differs.
    """
    first: Item | None = None
    repeats: list[Item] = []  # of `first`, within the bound
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
