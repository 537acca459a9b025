"""Optical flow for large motion that needs no trained weights: sparse global matching, then DIS.

Key points (Lowe, Distinctive Image Features from Scale-Invariant Keypoints, IJCV 2004; compared as
Arandjelovic and Zisserman, Three things everyone should know, CVPR 2012) are matched wherever they
went. Dense inverse search begins at those matches where they fit better than what it finds from
coarse to fine: small things that move far are lost on small frames.
"""

import math
from collections.abc import Sequence
from itertools import repeat
from typing import NamedTuple

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from sgm_vfi.model.flow.dis import DISFlow, map_in_threads, to_grey_uint8
from sgm_vfi.model.flow.estimator import FlowEstimator

MOST_POINTS = 8000  # of a frame, the clearest ones
FAINTEST = 0.004  # contrast of a point; OpenCV's own is 0.04 / 3
EDGES = 20  # how much longer than wide a point may be
RATIO = 0.9  # of the distance to the second best match, which a match has to stay below
CLEAR = 0.6  # the same of a match that may go a way of its own, as small things do; of others,
AROUND = 6  # of the nearest matches,
WITNESSES = 2  # have to move alike, to within
TOLERANCE = (4.0, 0.1)  # pixels, and a share of the way
LARGEST = 2**18  # pixels of a frame in which points are looked for,
SIZES = 2  # and of it halved: in soft footage fine points are noise, in sharp footage coarse few
SMALLEST = 16  # pixels: smaller frames have no key points
ROWS = 1024  # compared at once


class KeyPoints(NamedTuple):
    """Of one frame. Shapes: (N, 2), x and y in pixels; (N, 128), of length 1."""

    places: Tensor
    descriptors: Tensor


class SIFTFeatures(NamedTuple):
    """What of a batch of frames serves every flow from and to them."""

    frame: Tensor
    points: list[tuple[KeyPoints, ...]]  # of each sample, by size


class Matches(NamedTuple):
    """Points seen in two frames, in an order that does not depend on which frame comes first.

    Shapes: (N, 2), x and y in pixels of either frame; (N,), whether nothing else looks alike.
    """

    places0: Tensor
    places1: Tensor
    clear: Tensor

    def reversed(self) -> "Matches":
        """From frame 1 to frame 0."""
        return Matches(self.places1, self.places0, self.clear)

    def select(self, which: Tensor | slice) -> "Matches":
        """Those at an index, or where a mask is true."""
        return Matches(*(part[which] for part in self))


class SIFTDISFlow(FlowEstimator):
    """DIS flow that is also tried from sparse matches; on the CPU, deterministic."""

    def __init__(self, dense: DISFlow | None = None) -> None:
        super().__init__()
        self.dense = dense or DISFlow()

    def forward(self, source: Tensor, target: Tensor) -> Tensor:
        """Return the flow from `source` to `target`."""
        return self.estimate(self.encode(source), self.encode(target))

    def encode(self, frame: Tensor) -> SIFTFeatures:
        """Find the key points of each frame."""
        return SIFTFeatures(
            frame, map_in_threads(find_keypoints, to_grey_uint8(frame, (0, 0, 0, 0)))
        )

    def estimate(self, source: SIFTFeatures, target: SIFTFeatures) -> Tensor:
        """Match the key points, then search."""
        return self.search(
            source, target, map_in_threads(match_frames, source.points, target.points)
        )

    def estimate_both(self, seen0: SIFTFeatures, seen1: SIFTFeatures) -> tuple[Tensor, Tensor]:
        """Match once, search twice."""
        found = map_in_threads(match_frames, seen0.points, seen1.points)
        turned = [pairs.reversed() for pairs in found]
        return self.search(seen0, seen1, found), self.search(seen1, seen0, turned)

    def search(self, source: SIFTFeatures, target: SIFTFeatures, found: list[Matches]) -> Tensor:
        """The dense flow that begins at matches, `places0` of which lie in the source."""
        starts = map_in_threads(densify_matches, found, repeat(source.frame.shape[-2:]))
        return self.dense(source.frame, target.frame, torch.stack(starts))


@torch.no_grad()
def match_frames(points0: Sequence[KeyPoints], points1: Sequence[KeyPoints]) -> Matches:
    """Where two frames show the same, at any size; turned round, the same matches."""
    found = [match_keypoints(*both) for both in zip(points0, points1, strict=True)]
    return filter_matches(Matches(*(torch.cat(places) for places in zip(*found, strict=True))))


def find_keypoints(grey: np.ndarray) -> tuple[KeyPoints, ...]:
    """Large frames are halved first: where a search begins need not be exact.

    Shapes: 8-bit grey, (H, W) -> by size, the largest first; places are those in the whole frame.
    """
    halvings = max(math.ceil(math.log(grey.size / LARGEST, 4)), 0)
    return tuple(detect_keypoints(grey, halvings + more) for more in range(SIZES))


def detect_keypoints(grey: np.ndarray, halvings: int) -> KeyPoints:
    """Those of a frame halved so many times. Shapes: 8-bit grey, (H, W)."""
    if halvings:
        size = [max(side >> halvings, 1) for side in grey.shape[::-1]]
        grey = cv2.resize(grey, size, interpolation=cv2.INTER_AREA)
    points, descriptors = [], None
    if min(grey.shape) >= SMALLEST:
        sift = cv2.SIFT_create(MOST_POINTS, contrastThreshold=FAINTEST, edgeThreshold=EDGES)
        points, descriptors = sift.detectAndCompute(grey, None)
    if descriptors is None:
        return KeyPoints(torch.empty(0, 2), torch.empty(0, 128))
    places = (torch.tensor([point.pt for point in points]) + 0.5) * 2**halvings - 0.5
    return KeyPoints(places, F.normalize(torch.from_numpy(descriptors), p=1).sqrt())


def match_keypoints(points0: KeyPoints, points1: KeyPoints) -> Matches:
    """Those that are each other's best match, for both clearly better than their second best."""
    if min(len(points0.places), len(points1.places)) < 2:
        return Matches(points0.places[:0], points1.places[:0], torch.zeros(0, dtype=torch.bool))
    rows, columns = [], []  # the best two of each point, and where they are
    for first, part in enumerate(points0.descriptors.split(ROWS)):
        alike = part @ points1.descriptors.T
        rows.append(alike.topk(2))
        best, here = alike.topk(min(2, len(alike)), dim=0)
        columns.append((best, here + first * ROWS))
    best0, found = (torch.cat(parts) for parts in zip(*rows, strict=True))
    best1, back = (torch.cat(parts) for parts in zip(*columns, strict=True))
    best1, which = best1.topk(2, dim=0)
    found, back = found[:, 0], back.gather(0, which)[0]
    mutual = back[found] == torch.arange(len(found))
    kept, clear = (
        mutual & is_clear(best0, ratio) & is_clear(best1.T, ratio)[found]
        for ratio in (RATIO, CLEAR)
    )
    return sort_matches(Matches(points0.places, points1.places[found], clear).select(kept))


def is_clear(best: Tensor, ratio: float) -> Tensor:
    """The ratio test, on products of unit vectors. Shapes: (N, 2), larger first -> (N,)."""
    first, second = 2 - 2 * best.clamp(max=1).T  # squares of distances
    return first < ratio**2 * second


def sort_matches(found: Matches) -> Matches:
    """Sorted by what does not depend on which frame comes first."""
    middle, ways = found.places0 + found.places1, (found.places1 - found.places0).abs()
    keys = torch.cat((ways, middle), dim=1).T.numpy()
    return found.select(torch.from_numpy(np.lexsort(keys)))


def filter_matches(found: Matches) -> Matches:
    """Drop matches that go a way of their own, unless they are clear."""
    if len(found.places0) <= AROUND:
        return found.select(found.clear)
    middle, ways = (found.places0 + found.places1) / 2, found.places1 - found.places0
    near = torch.cat(
        [torch.cdist(p, middle).topk(AROUND + 1, largest=False)[1] for p in middle.split(ROWS)]
    )
    apart = (ways[near] - ways[:, None]).norm(dim=-1)
    pixels, share = TOLERANCE
    alike = apart < pixels + share * ways.norm(dim=-1, keepdim=True)
    return found.select(found.clear | (alike.sum(dim=1) > WITNESSES))  # itself is one of them


def densify_matches(found: Matches, size: tuple[int, int]) -> Tensor:
    """The way of the nearest match; no motion where there is none at all.

    Shapes: -> (2, *size), of the frame that `places0` lie in.
    """
    places, ways = found.places0, found.places1 - found.places0
    height, width = size
    if not len(places):
        return torch.zeros(2, height, width)
    x, y = (part.numpy() for part in places.round().long().unbind(1))
    x, y = x.clip(0, width - 1), y.clip(0, height - 1)
    free = np.full((height, width), 255, np.uint8)
    free[y, x] = 0
    _, label = cv2.distanceTransformWithLabels(free, cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL)
    table = np.zeros((label.max() + 1, 2), np.float32)
    table[label[y, x]] = ways.numpy()
    return torch.from_numpy(table[label]).movedim(-1, 0)
