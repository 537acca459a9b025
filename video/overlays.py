"""What lies over the picture and does not move with it: logos, subtitles, black bars.

The rule. A pixel belongs to an overlay as long as it keeps its brightness, from the time on when
it has kept it for `FRAMES` frames, and when in `PASSES` of them something moved right beside it
without covering it: a share of `MOVING` or more of the pixels around changed.
So a still background is none: what moves there covers it, or keeps away from it. Where it is taken
for one nevertheless, along the way of something that passes, it stands still in both frames.

Black bars are the rows and columns at the edges that were black in all of the last frames.

Limits: an overlay is protected only after these frames; one that lets the picture shine through
keeps no brightness and is not found; nor is the flat inside of large letters, which has nothing
that could be smeared.
"""

from collections import deque
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

FRAMES = 6  # a quarter of a second of film
PASSES = 3
MOVING = 0.3
SAME = 12 / 255  # of brightness: codecs change what stands still by less
CELLS = 90  # rows of a grid: around are the cell of a pixel and the eight beside it
BLACK, SPECK = 6 / 255, 24 / 255  # brightness of a black line: its mean, and its brightest pixel
LUMA = (0.299, 0.587, 0.114)


class Bars(NamedTuple):
    """Black lines at each edge, in pixels."""

    top: int
    bottom: int
    left: int
    right: int


class OverlayTracker:
    """Follows what stands still in a stream of frames of one size; cuts need no reset.

    Memory: three planes of the size of a frame, however long the stream is. Any device.
    """

    def __init__(self) -> None:
        self._still = torch.empty(0)  # (1, 1, H, W): brightness since it last changed
        self._age = torch.empty(0)  # frames that have it
        self._passes = torch.empty(0)  # in how many of them something moved around
        self._bars: deque[Bars] = deque(maxlen=FRAMES)

    def feed(self, frame: Tensor) -> None:
        """Take the next frame. Shapes: (1, 3, H, W)."""
        luma = brightness(frame)
        self._bars.append(black_bars(luma))
        if not self._still.numel():
            self._still, self._age, self._passes = luma, torch.ones_like(luma), 0 * luma
            return
        if luma.shape != self._still.shape:
            raise ValueError(
                f"A stream has frames of one size, got {tuple(luma.shape[-2:])} after "
                f"{tuple(self._still.shape[-2:])}."
            )
        changed = (luma - self._still).abs() > SAME
        moving = share_around(changed.to(luma)) >= MOVING
        self._still = torch.where(changed, luma, self._still)
        self._age = torch.where(changed, 1, self._age + 1)
        self._passes = torch.where(changed, 0, self._passes + moving)

    def mask(self) -> Tensor:
        """Where the last two frames show an overlay: 1, at its rim less, elsewhere 0.

        Shapes: -> (1, 1, H, W), the size of the frames, of which one at least was fed.
        """
        stands = ((self._age >= FRAMES) & (self._passes >= PASSES)).to(self._still)
        mask = stands * F.avg_pool2d(stands, 3, stride=1, padding=1, count_include_pad=False)
        if len(self._bars) == FRAMES:
            paint(mask, Bars(*map(min, zip(*self._bars, strict=True))))
        return mask


def protect(frame: Tensor, frame0: Tensor, frame1: Tensor, time: float, mask: Tensor) -> Tensor:
    """Put what both frames show alike over a new one between them.

    Shapes: frames (1, 3, H, W), mask (1, 1, H, W) as of `OverlayTracker` -> (1, 3, H, W).
    """
    return torch.lerp(frame, torch.lerp(frame0, frame1, time), mask)


def brightness(frame: Tensor) -> Tensor:
    """Shapes: RGB (1, 3, H, W) -> (1, 1, H, W)."""
    return torch.einsum("bchw,c->bhw", frame, frame.new_tensor(LUMA))[:, None]


def black_bars(luma: Tensor) -> Bars:
    """Count the black lines at each edge; none where all of the frame is black.

    Shapes: (1, 1, H, W).
    """
    sides = []
    for axis in (1, 0):
        mean, brightest = luma[0, 0].mean(axis), luma[0, 0].amax(axis)
        pictured = ((mean > BLACK) | (brightest > SPECK)).nonzero().flatten().tolist()
        if not pictured:
            return Bars(0, 0, 0, 0)
        sides += [pictured[0], len(mean) - 1 - pictured[-1]]
    return Bars(*sides)


def paint(mask: Tensor, bars: Bars) -> None:
    """Set the mask to 1 in the bars. Shapes: (1, 1, H, W)."""
    height, width = mask.shape[-2:]
    mask[..., : bars.top, :] = 1
    mask[..., height - bars.bottom :, :] = 1
    mask[..., : bars.left] = 1
    mask[..., width - bars.right :] = 1


def share_around(changed: Tensor) -> Tensor:
    """The mean of the cell that a pixel is in, and of those around it.

    Shapes: (1, 1, H, W) -> the same.
    """
    height, width = changed.shape[-2:]
    side = max(height // CELLS, 2)
    cells = F.avg_pool2d(changed, side, ceil_mode=True)
    cells = F.avg_pool2d(cells, 3, stride=1, padding=1, count_include_pad=False)
    cells = cells.repeat_interleave(side, dim=2)[:, :, :height]
    return cells.repeat_interleave(side, dim=3)[..., :width]
