"""Scene cut detection.

The test is that of video encoders: does motion explain the next frame? Both frames are reduced to
thumbnails, and each block of one is searched in the other. The score is the share of the structure
that no match explains: near 0 within a scene, even with fast motion, and above 0.5 across a cut.
Flashes, fades and dissolves are not cuts: see `detect_cuts`.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice, pairwise
from typing import NamedTuple, TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor

Item = TypeVar("Item")

THRESHOLD = 0.42  # 300 pairs of unrelated scenes all scored 0.5 or more
THUMBNAIL_SIZE = (32, 48)  # height and width of a thumbnail
SAMPLES_PER_CELL = 4  # per thumbnail pixel and side: more do not improve the score
BLOCK = 8
SEARCH_RADIUS = (8, 12)  # down and right: a quarter of the frame
KEPT_SHARE = 0.75  # share of the blocks that count
NOISE_FLOOR = 2e-5  # squared structure that grain leaves on a thumbnail
MAX_GAIN = 2.0  # largest change of contrast explained by light
MIN_GAIN_CHANGE = 0.02  # smaller changes of contrast are ignored
MAX_FLASH_FRAMES = 3  # longest flash
LUMA_WEIGHTS = (0.299, 0.587, 0.114)


class Thumbnail(NamedTuple):
    """A reduced frame, on the CPU."""

    luma: Tensor  # (1, 1, h, w)
    colour: Tensor  # red and blue less luma, (1, 2, h, w)
    contrast: float

    @property
    def picture(self) -> Tensor:
        """Luma and colour. Shapes: -> (1, 3, h, w)."""
        return torch.cat((self.luma, self.colour), dim=1)


def detect_cuts(
    items: Iterable[Item], frame_of: Callable[[Item], Tensor], threshold: float = THRESHOLD
) -> Iterator[tuple[Item, bool]]:
    """Yield every item of a stream and whether its frame begins a scene.

    A frame begins a scene if its score exceeds the scores of its neighbours by the threshold,
    unless the scene before it returns within `MAX_FLASH_FRAMES` frames (a flash), or the change
    continues in the next step or began in the previous one (a fade or a dissolve). Only where the
    score is high, `MAX_FLASH_FRAMES` frames are read ahead. The first frame begins no scene.

    Args:
        frame_of: returns the frame (1, 3, H, W) of an item, on any device.
        threshold: lowest score of a cut, in (0, 1]. Lower values find more cuts, but may take very
            fast motion for a cut.
    """
    if not 0 < threshold <= 1:
        raise ValueError(f"The cut threshold must lie in (0, 1], got {threshold:g}.")
    stream = iter(items)
    past: deque[Thumbnail] = deque(maxlen=MAX_FLASH_FRAMES + 1)
    ahead: deque[tuple[Item, Thumbnail]] = deque()

    def read_ahead(count: int) -> None:
        """Read until `count` frames wait."""
        for item in islice(stream, max(count - len(ahead), 0)):
            ahead.append((item, make_thumbnail(frame_of(item))))

    while True:
        read_ahead(1)
        if not ahead:
            return
        is_cut = False
        if past and measure_change(past[-1], ahead[0][1]) >= threshold:
            read_ahead(MAX_FLASH_FRAMES + 1)
            is_cut = begins_scene(list(past), [thumbnail for _, thumbnail in ahead], threshold)
        item, thumbnail = ahead.popleft()
        past.append(thumbnail)
        yield item, is_cut


def begins_scene(past: Sequence[Thumbnail], ahead: Sequence[Thumbnail], threshold: float) -> bool:
    """Return whether the first of the frames ahead begins a scene."""
    scores = [measure_change(*pair) for pair in pairwise([*past[-2:], *ahead[:2]])]
    score = scores[min(len(past), 2) - 1]
    if score - (sum(scores) - score) / 4 < threshold:  # half the mean of the neighbours
        return False
    returns = any(  # at most a flash apart
        measure_change(before, after) < threshold
        for i, before in enumerate(reversed(past))
        for j, after in enumerate(ahead)
        if 0 < i + j <= MAX_FLASH_FRAMES
    )
    return not returns and not is_gradual(past, ahead)


def is_gradual(past: Sequence[Thumbnail], ahead: Sequence[Thumbnail]) -> bool:
    """Return whether a neighbouring step continues this change, by half as much or more."""
    step = ahead[0].picture - past[-1].picture
    others = []
    if len(ahead) > 1:
        others.append(ahead[1].picture - ahead[0].picture)
    if len(past) > 1:
        others.append(past[-1].picture - past[-2].picture)
    return any((step * other).sum() > step.square().sum() / 2 for other in others)


def make_thumbnail(frame: Tensor) -> Thumbnail:
    """Reduce a frame. Shapes: RGB in [0, 1], (1, 3, H, W), on any device."""
    if frame.ndim != 4 or frame.shape[:2] != (1, 3):
        raise ValueError(f"Frames must be (1, 3, H, W), got {tuple(frame.shape)}.")
    rows, columns = (
        max(side // (cells * SAMPLES_PER_CELL), 1)
        for side, cells in zip(frame.shape[-2:], THUMBNAIL_SIZE, strict=True)
    )
    small = F.interpolate(
        frame[..., ::rows, ::columns].float(), size=THUMBNAIL_SIZE, mode="area"
    ).cpu()
    luma = torch.einsum("bchw,c->bhw", small, torch.tensor(LUMA_WEIGHTS))[:, None]
    contrast = luma.std().item() + 1e-3
    return Thumbnail(luma, small[:, [0, 2]] - luma, contrast)


def measure_change(first: Thumbnail, second: Thumbnail) -> float:
    """Return the share of two frames that neither explains of the other, in [0, 1].

    The smaller of two values: of the frames as they are, and with equalised contrast. An object
    that enters the frame changes its contrast too.
    """
    ratio = second.contrast / first.contrast
    gain = min(max(ratio, 1 / MAX_GAIN**2), MAX_GAIN**2) ** 0.5
    shares = [measure_unexplained(first, second)]
    if abs(gain - 1) > MIN_GAIN_CHANGE:
        shares.append(
            measure_unexplained(scale_brightness(first, gain), scale_brightness(second, 1 / gain))
        )
    return min(shares)


def measure_unexplained(first: Thumbnail, second: Thumbnail) -> float:
    """Average the unexplained share over the blocks of both, weighted by their structure.

    The worst blocks do not count, as any motion brings new content into the frame.
    """
    missing, whole = torch.cat((match_blocks(first, second), match_blocks(second, first)), dim=1)
    share, order = (missing / whole).sort()
    kept = round(KEPT_SHARE * len(share))
    weight = whole[order].sqrt()[:kept]
    return ((share[:kept] * weight).sum() / weight.sum()).item()


def scale_brightness(thumb: Thumbnail, gain: float) -> Thumbnail:
    """Multiply luma and colour by a gain."""
    return thumb._replace(luma=thumb.luma * gain, colour=thumb.colour * gain)


def match_blocks(target: Thumbnail, source: Thumbnail) -> Tensor:
    """Find the best match of each block of the target in the source.

    Luma counts by its structure within the block, colour by its change.

    Returns:
        The squared structure that the match does not explain, and all of it. Shapes: (2, N).
    """
    down, right = SEARCH_RADIUS
    luma, colour = (
        F.pad(picture, (right, right, down, down), mode="replicate")
        for picture in (source.luma, source.colour)
    )
    blocks = extract_windows(target.luma, BLOCK, BLOCK)  # (N, 1, BLOCK, BLOCK)
    blocks = blocks - blocks.mean(dim=(2, 3), keepdim=True)
    own = blocks.square().mean(dim=(1, 2, 3))
    around = extract_windows(luma, BLOCK + 2 * down, BLOCK + 2 * right).transpose(0, 1)
    shared = F.conv2d(around, blocks / BLOCK**2, groups=len(blocks))[0]  # (N, places)
    found = extract_windows(
        average_blocks(luma.square()) - average_blocks(luma).square(), 2 * down + 1, 2 * right + 1
    )[:, 0]
    missing, place = (own[:, None, None] + found - 2 * shared).flatten(1).min(dim=1)
    missing = missing.clamp(min=0).minimum(own)
    there = extract_windows(average_blocks(colour), 2 * down + 1, 2 * right + 1).flatten(
        2
    )  # (N, 2, places)
    there = there.gather(2, place[:, None, None].expand(-1, 2, 1))[..., 0]
    here = extract_windows(target.colour, BLOCK, BLOCK).mean(dim=(2, 3))
    changed = (here - there).square().sum(dim=1) / 2
    return torch.stack((missing + changed, own + changed + NOISE_FLOOR))


def extract_windows(picture: Tensor, height: int, width: int) -> Tensor:
    """Extract one window per block, starting at its upper left corner.

    Shapes: (1, C, h, w) -> (N, C, height, width).
    """
    found = picture.unfold(2, height, BLOCK).unfold(3, width, BLOCK)
    return found[0].flatten(1, 2).transpose(0, 1)


def average_blocks(picture: Tensor) -> Tensor:
    """Average the block that starts at each pixel, along rows and then along columns."""
    return F.avg_pool2d(F.avg_pool2d(picture, (1, BLOCK), stride=1), (BLOCK, 1), stride=1)
