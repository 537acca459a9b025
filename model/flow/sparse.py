"""Optical flow for large motion that needs no trained weights: sparse global matching, then DIS.

Key points (Lowe, Distinctive Image Features from Scale-Invariant Keypoints, IJCV 2004; compared as
Arandjelovic and Zisserman, Three things everyone should know, CVPR 2012) are matched wherever they
went. Dense inverse search begins at those matches where they fit better than what it finds from
coarse to fine: small things that move far are lost on small frames.
"""

import math
from itertools import repeat
from typing import NamedTuple

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from model.flow.classical import DISFlow, grey_bytes, in_threads
from model.flow.estimator import FlowEstimator

MOST_POINTS = 8000  # of a frame, the clearest ones
FAINTEST = 0.004  # contrast of a point; OpenCV's own is 0.04 / 3
EDGES = 20  # how much longer than wide a point may be
RATIO = 0.9  # of the distance to the second best match, which a match has to stay below
AROUND = 6  # nearest matches, of which
WITNESSES = 2  # have to move alike, to within
TOLERANCE = (4.0, 0.1)  # pixels, and a share of the way
LARGEST = 2**20  # pixels of a frame in which points are looked for
SMALLEST = 16  # pixels: smaller frames have no key points
ROWS = 1024  # compared at once


class KeyPoints(NamedTuple):
    """Of one frame. Shapes: (N, 2), x and y in pixels; (N, 128), of length 1."""

    places: Tensor
    descriptors: Tensor


class Seen(NamedTuple):
    """What of a batch of frames serves every flow from and to them."""

    frame: Tensor
    points: list[KeyPoints]


class MatchedFlow(FlowEstimator):
    """DIS flow that is also tried from sparse matches; on the CPU, deterministic."""

    def __init__(self, dense: DISFlow | None = None) -> None:
        super().__init__()
        self.dense = dense or DISFlow()

    def forward(self, source: Tensor, target: Tensor) -> Tensor:
        return self.between(self.look(source), self.look(target))

    def look(self, frame: Tensor) -> Seen:
        return Seen(frame, in_threads(find_keypoints, grey_bytes(frame, (0, 0, 0, 0))))

    def between(self, source: Seen, target: Seen) -> Tensor:
        size = repeat(source.frame.shape[-2:])
        starts = in_threads(starting_flow, source.points, target.points, size)
        return self.dense(source.frame, target.frame, torch.stack(starts))


@torch.no_grad()
def starting_flow(source: KeyPoints, target: KeyPoints, size: tuple[int, int]) -> Tensor:
    """Where matches say that everything goes. Shapes: -> (2, *size)."""
    return spread(*agreeing(*match_keypoints(source, target)), size)


def find_keypoints(grey: np.ndarray) -> KeyPoints:
    """Large frames are halved first: where a search begins need not be exact.

    Shapes: 8-bit grey, (H, W).
    """
    halvings = max(math.ceil(math.log(grey.size / LARGEST, 4)), 0)
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


def match_keypoints(source: KeyPoints, target: KeyPoints) -> tuple[Tensor, Tensor]:
    """Those that are each other's best match, and clearly better than the second best.

    Shapes: -> (N, 2) places in the source, (N, 2) ways from there.
    """
    if min(len(source.places), len(target.places)) < 2:
        return source.places[:0], source.places[:0]
    best, clear, back = [], [], None
    for first, rows in enumerate(source.descriptors.split(ROWS)):
        alike = rows @ target.descriptors.T
        (most, second), (found, _) = (part.unbind(1) for part in alike.topk(2))
        best.append(found)
        clear.append((1 - most).clamp(min=0) < RATIO**2 * (1 - second))  # squares of distances
        largest, row = alike.max(dim=0)
        here = (largest, row + first * ROWS)
        back = here if back is None else first_larger(back, here)
    best, clear = torch.cat(best), torch.cat(clear)
    mutual = clear & (back[1][best] == torch.arange(len(best)))
    places = source.places[mutual]
    return places, target.places[best[mutual]] - places


def first_larger(one: tuple[Tensor, Tensor], other: tuple[Tensor, Tensor]) -> tuple:
    """Values and their rows, from two blocks of rows; of equal values the first."""
    return tuple(torch.where(other[0] > one[0], b, a) for a, b in zip(one, other, strict=True))


def agreeing(places: Tensor, ways: Tensor) -> tuple[Tensor, Tensor]:
    """Drop matches that go a way of their own. Shapes: (N, 2) twice, before and after."""
    if len(places) <= AROUND:
        return places[:0], ways[:0]
    near = torch.cat(
        [torch.cdist(p, places).topk(AROUND + 1, largest=False)[1] for p in places.split(ROWS)]
    )
    apart = (ways[near] - ways[:, None]).norm(dim=-1)
    pixels, share = TOLERANCE
    alike = apart < pixels + share * ways.norm(dim=-1, keepdim=True)
    kept = alike.sum(dim=1) > WITNESSES  # itself is one of them
    return places[kept], ways[kept]


def spread(places: Tensor, ways: Tensor, size: tuple[int, int]) -> Tensor:
    """The way of the nearest match; no motion where there is none at all.

    Shapes: (N, 2) twice -> (2, *size).
    """
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
