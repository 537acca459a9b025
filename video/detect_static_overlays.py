"""Detection of static overlays: logos, subtitles and black bars.

A pixel belongs to an overlay if, in the last `HISTORY_FRAMES` frames,
1. its luma is constant,
2. it lies at an edge: one of its neighbours is always brighter than another ever is,
3. something moves next to it without covering it: in at least one step, at least `MOVING_SHARE` of
   the pixels around it change.
A still background does not match: moving objects cover it or stay away from it.

Black bars are the outer rows and columns that are black in all of the last frames.

Limits: overlays are protected only after these frames. Translucent overlays are not found, and
neither is the flat inside of large letters, where interpolation cannot smear anything.
"""

from collections import deque
from functools import reduce
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

HISTORY_FRAMES = 8  # a third of a second of film
MOVING_SHARE = 0.2
MAX_CHANGE = 12  # levels of 255: codecs change still pixels by less
MIN_EDGE = 48  # levels
EDGE_RADIUS = 3  # pixels
CELL_ROWS = 90  # of a grid: "around" are the cell of a pixel and its eight neighbours
BLACK, SPECK = 6, 24  # highest mean and highest pixel of a black line
LUMA_WEIGHTS = (0.299, 0.587, 0.114)


class BlackBars(NamedTuple):
    """Width of the black bar at each edge, in pixels."""

    top: int
    bottom: int
    left: int
    right: int


class OverlayTracker:
    """Finds pixels that stand still in a stream of frames of one size.

    The mask depends on the last `HISTORY_FRAMES` frames only, so that cuts need no reset. Memory:
    one byte per pixel of each of them, on the device of the frames.
    """

    def __init__(self) -> None:
        self._past: deque[Tensor] = deque(maxlen=HISTORY_FRAMES)  # luma, (1, 1, H, W), uint8
        self._moving: deque[Tensor] = deque(maxlen=HISTORY_FRAMES - 1)  # cells that changed

    def feed(self, frame: Tensor) -> None:
        """Take the next frame. Shapes: (1, 3, H, W)."""
        luma = compute_luma(frame)
        if self._past:
            before = self._past[-1]
            if luma.shape != before.shape:
                raise ValueError(
                    f"Frames must be of one size, got {tuple(luma.shape[-2:])} after "
                    f"{tuple(before.shape[-2:])}. Use one tracker per size."
                )
            changed = absolute_difference(before, luma) > MAX_CHANGE
            self._moving.append(average_cells(changed) >= MOVING_SHARE)
        self._past.append(luma)

    def mask(self) -> Tensor:
        """Return 1 where the last two frames show an overlay, less at its rim, 0 elsewhere.

        Shapes: -> (1, 1, H, W), the size of the frames; at least one frame was fed.
        """
        brightest, darkest = (
            reduce(extreme, self._past) for extreme in (torch.maximum, torch.minimum)
        )
        mask = torch.zeros(brightest.shape, device=brightest.device)
        if len(self._past) == HISTORY_FRAMES:
            moved = reduce(torch.logical_or, self._moving)
            stands = (brightest - darkest <= MAX_CHANGE) & upsample_cells(moved, mask)
            stands &= find_near_edges(brightest, darkest)
            mask = stands.float()
            mask = mask * F.avg_pool2d(mask, 3, stride=1, padding=1, count_include_pad=False)
        fill_bars(mask, find_black_bars(brightest))
        return mask


def protect_overlays(
    frame: Tensor, frame0: Tensor, frame1: Tensor, time: float, mask: Tensor
) -> Tensor:
    """Replace a frame by the mix of its neighbours where the mask is set.

    Shapes: frames (1, 3, H, W), mask (1, 1, H, W) as of `OverlayTracker` -> (1, 3, H, W).
    """
    return torch.lerp(frame, torch.lerp(frame0, frame1, time), mask)


def compute_luma(frame: Tensor) -> Tensor:
    """Compute luma. Shapes: RGB in [0, 1], (1, 3, H, W) -> 0 to 255, uint8, (1, 1, H, W)."""
    luma = torch.einsum(
        "bchw,c->bhw", frame.float(), torch.tensor(LUMA_WEIGHTS, device=frame.device)
    )
    return (luma[:, None] * 255).round().clamp(0, 255).byte()


def absolute_difference(first: Tensor, second: Tensor) -> Tensor:
    """Return |first - second| of uint8 tensors without overflow. Shapes: any, twice -> the same."""
    return torch.maximum(first, second) - torch.minimum(first, second)


def find_black_bars(luma: Tensor) -> BlackBars:
    """Count the black lines at each edge; none if the whole picture is black.

    Shapes: (1, 1, H, W), 0 to 255.
    """
    sides = []
    for axis in (1, 0):
        mean, brightest = luma[0, 0].float().mean(axis), luma[0, 0].amax(axis)
        pictured = ((mean > BLACK) | (brightest > SPECK)).nonzero().flatten().tolist()
        if not pictured:
            return BlackBars(0, 0, 0, 0)
        sides += [pictured[0], len(mean) - 1 - pictured[-1]]
    return BlackBars(*sides)


def fill_bars(mask: Tensor, bars: BlackBars) -> None:
    """Set the mask to 1 in the bars. Shapes: (1, 1, H, W)."""
    height, width = mask.shape[-2:]
    mask[..., : bars.top, :] = 1
    mask[..., height - bars.bottom :, :] = 1
    mask[..., : bars.left] = 1
    mask[..., width - bars.right :] = 1


def find_near_edges(brightest: Tensor, darkest: Tensor) -> Tensor:
    """Find pixels near an edge that all pictures share, from the extremes of each pixel.

    Shapes: (1, 1, H, W), uint8, twice -> the same, bool.
    """
    light, dark = dilate(darkest, 1), 255 - dilate(255 - brightest, 1)
    return dilate(light.clamp(min=MIN_EDGE) - MIN_EDGE > dark, EDGE_RADIUS)


def dilate(picture: Tensor, reach: int) -> Tensor:
    """Take the maximum within a square. Shapes: (1, 1, H, W), any type -> the same."""
    for axis in (2, 3):
        source, picture = picture, picture.clone()
        size = picture.shape[axis]
        for step in range(1, min(reach + 1, size)):
            for here, there in ((0, step), (step, 0)):
                part = picture.narrow(axis, here, size - step)
                torch.maximum(part, source.narrow(axis, there, size - step), out=part)
    return picture


def average_cells(changed: Tensor) -> Tensor:
    """Average over each cell and its neighbours. Shapes: (1, 1, H, W) -> (1, 1, h, w)."""
    cells = F.avg_pool2d(changed.float(), cell_size(changed), ceil_mode=True)
    return F.avg_pool2d(cells, 3, stride=1, padding=1, count_include_pad=False)


def upsample_cells(cells: Tensor, picture: Tensor) -> Tensor:
    """Repeat cells over their pixels. Shapes: (1, 1, h, w), (1, 1, H, W) -> (1, 1, H, W)."""
    height, width = picture.shape[-2:]
    side = cell_size(picture)
    cells = cells.repeat_interleave(side, dim=2)[:, :, :height]
    return cells.repeat_interleave(side, dim=3)[..., :width]


def cell_size(picture: Tensor) -> int:
    """Return the side of a cell in pixels."""
    return max(picture.shape[-2] // CELL_ROWS, 2)
