"""Where one scene ends and the next begins.

The test is the one that video encoders live by: does motion explain the next frame? Both frames
are reduced to thumbnails; each block of one is sought in the other. What no place explains, as a
share of what there is to explain, is the score: near 0 within a scene, fast motion included, above
a half across a cut. A light that flashes, a fade and a dissolve change no scene: see `CutDetector`.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import pairwise
from typing import NamedTuple, TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor

Item = TypeVar("Item")

THRESHOLD = 0.42  # of 300 pairs of unrelated scenes none had a score below 0.5
THUMBNAIL_SIZE = (32, 48)  # height and width of a thumbnail
SAMPLES_PER_CELL = (
    4  # pixels of the frame per pixel of the thumbnail and side: more say nothing more
)
BLOCK = 8
SEARCH_RADIUS = (8, 12)  # of the search: a quarter of the frame, down and to the right
KEPT_SHARE = 0.75  # share of the blocks that counts
NOISE_FLOOR = 2e-5  # squared: structure that grain leaves on a thumbnail
MAX_GAIN = 2.0  # contrast that a change of light may add or take away
MIN_GAIN_CHANGE = 0.02  # difference in contrast that makes none
MAX_FLASH_FRAMES = 3  # frames that a flash lasts at most
LUMA_WEIGHTS = (0.299, 0.587, 0.114)


class Thumbnail(NamedTuple):
    """What is known of a frame, on the CPU."""

    luma: Tensor  # (1, 1, h, w)
    colour: Tensor  # red and blue less luma, (1, 2, h, w)
    contrast: float

    @property
    def picture(self) -> Tensor:
        return torch.cat((self.luma, self.colour), dim=1)


class CutDetector:
    """Finds scene cuts in a stream of frames; motion, flashes, fades and dissolves are none.

    A frame begins a scene if its score exceeds the scores of its neighbours by the threshold,
    unless the scene before it returns within `MAX_FLASH_FRAMES` frames (a flash), or the change
    continues in the next step or began in the previous one (a fade or a dissolve). The detector
    reads up to `MAX_FLASH_FRAMES` frames ahead where the score is high. The first frame begins no
    scene. Memory: a few thumbnails.

    Args:
        threshold: a score from which on two frames belong to different scenes, in (0, 1]. Lower
            finds more cuts, and takes very fast motion for some.
    """

    def __init__(self, threshold: float = THRESHOLD) -> None:
        if not 0 < threshold <= 1:
            raise ValueError(f"The threshold of cuts lies in (0, 1], got {threshold:g}.")
        self.threshold = threshold
        self._past: deque[Thumbnail] = deque(maxlen=MAX_FLASH_FRAMES + 1)
        self._ahead: deque[Thumbnail] = deque()  # of frames that are not judged yet

    def is_cut(self, frame0: Tensor, frame1: Tensor) -> bool:
        """True where two frames, seen alone, share no scene. Shapes: (1, 3, H, W) each."""
        return measure_change(make_thumbnail(frame0), make_thumbnail(frame1)) >= self.threshold

    def feed(self, frame: Tensor) -> list[bool]:
        """Take the next frame; tell of each frame that can be judged now if it begins a scene.

        Verdicts come in the order of the frames, as many in all as frames: the last ones from
        `finish`.

        Shapes: (1, 3, H, W), on any device.
        """
        self._ahead.append(make_thumbnail(frame))
        return self._judge(is_last=False)

    def finish(self) -> list[bool]:
        """The verdicts still owed when no more frames come; then the next stream may begin."""
        verdicts = self._judge(is_last=True)
        self._past.clear()
        return verdicts

    def scan(
        self, items: Iterable[Item], frame_of: Callable[[Item], Tensor]
    ) -> Iterator[tuple[Item, bool]]:
        """Give every item as it came, and whether a new scene begins with its frame.

        Args:
            frame_of: the frame (1, 3, H, W) in an item.
        """
        detector, waiting = CutDetector(self.threshold), deque[Item]()
        for item in items:
            waiting.append(item)
            for verdict in detector.feed(frame_of(item)):
                yield waiting.popleft(), verdict
        yield from zip(waiting, detector.finish(), strict=True)

    def _judge(self, *, is_last: bool) -> list[bool]:
        verdicts = []
        while self._ahead:
            cut = False
            if self._past and measure_change(self._past[-1], self._ahead[0]) >= self.threshold:
                if len(self._ahead) <= MAX_FLASH_FRAMES and not is_last:
                    break
                cut = self._begins_scene(
                    list(self._past), list(self._ahead)[: MAX_FLASH_FRAMES + 1]
                )
            self._past.append(self._ahead.popleft())
            verdicts.append(cut)
        return verdicts

    def _begins_scene(self, past: Sequence[Thumbnail], ahead: Sequence[Thumbnail]) -> bool:
        """Whether the first of the frames ahead begins a scene."""
        around = [*past[-2:], *ahead[:2]]
        scores = [measure_change(*pair) for pair in pairwise(around)]
        here = scores[min(len(past), 2) - 1]
        level = (sum(scores) - here) / 2  # of the neighbours
        if here - level / 2 < self.threshold:
            return False
        return not (is_gradual(past, ahead) or self._comes_back(past, ahead))

    def _comes_back(self, past: Sequence[Thumbnail], ahead: Sequence[Thumbnail]) -> bool:
        """Whether some frame before is like some frame after, not more than a flash apart."""
        return any(
            measure_change(before, after) < self.threshold
            for i, before in enumerate(reversed(past))
            for j, after in enumerate(ahead)
            if 0 < i + j <= MAX_FLASH_FRAMES
        )


def is_gradual(past: Sequence[Thumbnail], ahead: Sequence[Thumbnail]) -> bool:
    """Whether a neighbouring step changes the picture as this one does, by half as much or more."""
    step = ahead[0].picture - past[-1].picture
    others = []
    if len(ahead) > 1:
        others.append(ahead[1].picture - ahead[0].picture)
    if len(past) > 1:
        others.append(past[-1].picture - past[-2].picture)
    return any((step * other).sum() > step.square().sum() / 2 for other in others)


def make_thumbnail(frame: Tensor) -> Thumbnail:
    """Shapes: RGB in [0, 1], (1, 3, H, W), on any device."""
    if frame.ndim != 4 or frame.shape[:2] != (1, 3):
        raise ValueError(f"Cuts are sought in frames (1, 3, H, W), got {tuple(frame.shape)}.")
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
    """The share of two frames that neither explains of the other, in [0, 1].

    As they are, or with light and contrast made equal, whichever explains more: what enters the
    frame may change its contrast as well.
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
    """The mean over blocks of both, weighted by how much structure there is to explain.

    The worst blocks are left out: what enters and leaves the frame is new in any motion.
    """
    missing, whole = torch.cat((match_blocks(first, second), match_blocks(second, first)), dim=1)
    share, order = (missing / whole).sort()
    kept = round(KEPT_SHARE * len(share))
    weight = whole[order].sqrt()[:kept]
    return ((share[:kept] * weight).sum() / weight.sum()).item()


def scale_brightness(thumb: Thumbnail, gain: float) -> Thumbnail:
    """With so much more light."""
    return thumb._replace(luma=thumb.luma * gain, colour=thumb.colour * gain)


def match_blocks(target: Thumbnail, source: Thumbnail) -> Tensor:
    """Seek each block of the target in the source.

    Of brightness only the structure within blocks counts, of colour only what changes; squared.

    Returns: what the best place does not explain of each block, and all of it: (2, N).
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
    """One for each block, from its upper left corner on.

    Shapes: (1, C, h, w) -> (N, C, height, width).
    """
    found = picture.unfold(2, height, BLOCK).unfold(3, width, BLOCK)
    return found[0].flatten(1, 2).transpose(0, 1)


def average_blocks(picture: Tensor) -> Tensor:
    """Of the block that begins at each pixel."""
    return F.avg_pool2d(picture, BLOCK, stride=1)
