"""What lies over the picture and does not move with it: logos, subtitles, black bars.

The rule. A pixel belongs to an overlay if in the last `HISTORY_FRAMES` frames
1. it kept its brightness,
2. it was at an edge: of its neighbours one was always brighter than another ever was,
3. something moved right beside it without covering it: in one of the steps or more a share of
   `MOVING_SHARE` or more of the pixels around changed.
So a still background is none: what moves there covers it, or keeps away from it. Where it is taken
for one nevertheless, along the way of something that passes, it stands still in both frames.

Black bars are the rows and columns at the edges that were black in all of the last frames.

Limits: an overlay is protected only after these frames; one that lets the picture shine through
keeps no brightness and is not found; nor is the flat inside of large letters, where nothing can be
smeared.
"""

from collections import deque
from functools import reduce
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

HISTORY_FRAMES = 8  # a third of a second of film
MOVING_SHARE = 0.2
MAX_CHANGE = 12  # levels of 255 of brightness: codecs change what stands still by less
MIN_EDGE = 48  # levels
EDGE_RADIUS = 3  # pixels
CELL_ROWS = 90  # rows of a grid: around are the cell of a pixel and the eight beside it
BLACK, SPECK = 6, 24  # levels of a black line: its mean, and its brightest pixel
LUMA_WEIGHTS = (0.299, 0.587, 0.114)


class BlackBars(NamedTuple):
    """Black lines at each edge, in pixels."""

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
        self._past: deque[Tensor] = deque(
            maxlen=HISTORY_FRAMES
        )  # brightness, (1, 1, H, W) in bytes
        self._moving: deque[Tensor] = deque(
            maxlen=HISTORY_FRAMES - 1
        )  # steps: cells where much changed

    def feed(self, frame: Tensor) -> None:
        """Take the next frame. Shapes: (1, 3, H, W)."""
        luma = compute_luma(frame)
        if self._past:
            before = self._past[-1]
            if luma.shape != before.shape:
                raise ValueError(
                    f"A stream has frames of one size, got {tuple(luma.shape[-2:])} after "
                    f"{tuple(before.shape[-2:])}."
                )
            self._moving.append(
                average_cells(absolute_difference(before, luma) > MAX_CHANGE) >= MOVING_SHARE
            )
        self._past.append(luma)

    def mask(self) -> Tensor:
        """Where the last two frames show an overlay: 1, at its rim less, elsewhere 0.

        Shapes: -> (1, 1, H, W), the size of the frames, of which one at least was fed.
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
    """Put what both frames show alike over a new one between them.

    Shapes: frames (1, 3, H, W), mask (1, 1, H, W) as of `OverlayTracker` -> (1, 3, H, W).
    """
    return torch.lerp(frame, torch.lerp(frame0, frame1, time), mask)


def compute_luma(frame: Tensor) -> Tensor:
    """Shapes: RGB in [0, 1], (1, 3, H, W) -> 0 to 255, uint8, (1, 1, H, W)."""
    luma = torch.einsum(
        "bchw,c->bhw", frame.float(), torch.tensor(LUMA_WEIGHTS, device=frame.device)
    )
    return (luma[:, None] * 255).round().clamp(0, 255).byte()


def absolute_difference(first: Tensor, second: Tensor) -> Tensor:
    """The distance of bytes, which does not wrap around. Shapes: any, twice -> the same."""
    return torch.maximum(first, second) - torch.minimum(first, second)


def find_black_bars(luma: Tensor) -> BlackBars:
    """Count the black lines at each edge; none where all of the picture is black.

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
    """Where an edge lies near in all of some pictures, known by each pixel's extremes.

    Shapes: (1, 1, H, W), bytes, twice -> the same, truth values.
    """
    light, dark = dilate(darkest, 1), 255 - dilate(255 - brightest, 1)
    return dilate(light.clamp(min=MIN_EDGE) - MIN_EDGE > dark, EDGE_RADIUS)


def dilate(picture: Tensor, reach: int) -> Tensor:
    """The largest value within a square. Shapes: (1, 1, H, W) -> the same, of any type."""
    for axis in (2, 3):
        source, picture = picture, picture.clone()
        size = picture.shape[axis]
        for step in range(1, min(reach + 1, size)):
            for here, there in ((0, step), (step, 0)):
                part = picture.narrow(axis, here, size - step)
                torch.maximum(part, source.narrow(axis, there, size - step), out=part)
    return picture


def average_cells(changed: Tensor) -> Tensor:
    """The share of each cell and of those around it. Shapes: (1, 1, H, W) -> (1, 1, h, w)."""
    cells = F.avg_pool2d(changed.float(), cell_size(changed), ceil_mode=True)
    return F.avg_pool2d(cells, 3, stride=1, padding=1, count_include_pad=False)


def upsample_cells(cells: Tensor, picture: Tensor) -> Tensor:
    """What holds for a cell, for each of its pixels. Shapes: (1, 1, h, w), (1, 1, H, W) -> that."""
    height, width = picture.shape[-2:]
    side = cell_size(picture)
    cells = cells.repeat_interleave(side, dim=2)[:, :, :height]
    return cells.repeat_interleave(side, dim=3)[..., :width]


def cell_size(picture: Tensor) -> int:
    """Of a cell, in pixels."""
    return max(picture.shape[-2] // CELL_ROWS, 2)
