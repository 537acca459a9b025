"""SIFT+DIS: optical flow for large motion from sparse global matches, without trained weights.

Stages, in order:
    1. `find_keypoints`: SIFT key points (Lowe, IJCV 2004) at two sizes of each frame, with
       RootSIFT descriptors (Arandjelovic and Zisserman, CVPR 2012).
    2. `match_frames`: mutual nearest neighbours that pass the ratio test, without matches whose
       neighbours move differently.
    3. `densify_matches`: the vector of the nearest match at each pixel.
    4. DIS (`dis.py`) starts at these vectors where they fit better than its coarse flow.

Tensors: frames (B, 3, H, W), RGB in [0, 1]; flows (B, 2, H, W) and positions (N, 2), in pixels.
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

MAX_POINTS = 8000  # per frame
CONTRAST_THRESHOLD = 0.004  # of a key point; OpenCV's default is 0.04 / 3
EDGE_THRESHOLD = 20  # largest ratio of the principal curvatures of a key point
RATIO = 0.9  # largest ratio of the distances to the best and the second best match
CLEAR_RATIO = 0.6  # the same for matches that are kept without supporting neighbours
NUM_NEIGHBOURS = 6  # nearest matches that are compared with a match
MIN_SUPPORT = 2  # of these that have to move alike
TOLERANCE = (4.0, 0.1)  # of their difference: pixels, and a share of the motion
MAX_PIXELS = 2**18  # of a frame in which key points are detected; larger ones are halved
NUM_SIZES = 2  # at which key points are detected: the frame, and its half
MIN_SIDE = 16  # pixels: smaller frames have no key points
ROWS = 1024  # of descriptors compared at a time


class KeyPoints(NamedTuple):
    """Key points of a frame. Shapes: (N, 2), (x, y) in pixels; (N, 128), unit vectors."""

    places: Tensor
    descriptors: Tensor


class SIFTFeatures(NamedTuple):
    """A batch of frames with their key points."""

    frame: Tensor
    points: list[tuple[KeyPoints, ...]]  # of each sample, by size


class Matches(NamedTuple):
    """Matches of two frames, in an order that does not depend on the order of the frames.

    Shapes: (N, 2), (x, y) in pixels of either frame; (N,), whether the match is unambiguous.
    """

    places0: Tensor
    places1: Tensor
    clear: Tensor

    def reversed(self) -> "Matches":
        """Return the matches from frame 1 to frame 0."""
        return Matches(self.places1, self.places0, self.clear)

    def select(self, which: Tensor | slice) -> "Matches":
        """Select matches by a mask or an index."""
        return Matches(*(part[which] for part in self))


class SIFTDISFlow(FlowEstimator):
    """DIS flow that starts at sparse matches; on the CPU, deterministic."""

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
        found = map_in_threads(match_frames, source.points, target.points)
        starts = map_in_threads(densify_matches, found, repeat(source.frame.shape[-2:]))
        return self.dense(source.frame, target.frame, torch.stack(starts))

    def estimate_both(self, seen0: SIFTFeatures, seen1: SIFTFeatures) -> tuple[Tensor, Tensor]:
        """Match once, and search in both directions."""
        found = map_in_threads(match_frames, seen0.points, seen1.points)
        found += [pairs.reversed() for pairs in found]
        starts = map_in_threads(densify_matches, found, repeat(seen0.frame.shape[-2:]))
        return self.dense.search_both(seen0.frame, seen1.frame, torch.stack(starts))


@torch.no_grad()
def match_frames(points0: Sequence[KeyPoints], points1: Sequence[KeyPoints]) -> Matches:
    """Match the key points of two frames at each size; the order of the frames is irrelevant."""
    found = [match_keypoints(*both) for both in zip(points0, points1, strict=True)]
    return filter_matches(Matches(*(torch.cat(places) for places in zip(*found, strict=True))))


def find_keypoints(grey: np.ndarray) -> tuple[KeyPoints, ...]:
    """Find key points at two sizes; large frames are halved first.

    Shapes: 8-bit grey, (H, W) -> the larger size first, positions in pixels of the whole frame.
    """
    halvings = max(math.ceil(math.log(grey.size / MAX_PIXELS, 4)), 0)
    return tuple(detect_keypoints(grey, halvings + more) for more in range(NUM_SIZES))


def detect_keypoints(grey: np.ndarray, halvings: int) -> KeyPoints:
    """Detect key points of a frame halved `halvings` times. Shapes: 8-bit grey, (H, W)."""
    if halvings:
        size = [max(side >> halvings, 1) for side in grey.shape[::-1]]
        grey = cv2.resize(grey, size, interpolation=cv2.INTER_AREA)
    points: Sequence[cv2.KeyPoint] = ()
    descriptors = None
    if min(grey.shape) >= MIN_SIDE:
        sift = cv2.SIFT.create(
            MAX_POINTS, contrastThreshold=CONTRAST_THRESHOLD, edgeThreshold=EDGE_THRESHOLD
        )
        points, descriptors = sift.detectAndCompute(grey, None)
    if descriptors is None:
        return KeyPoints(torch.empty(0, 2), torch.empty(0, 128))
    places = (torch.tensor([point.pt for point in points]) + 0.5) * 2**halvings - 0.5
    return KeyPoints(places, F.normalize(torch.from_numpy(descriptors), p=1).sqrt())


def match_keypoints(points0: KeyPoints, points1: KeyPoints) -> Matches:
    """Match mutual nearest neighbours that pass the ratio test both ways."""
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
        for ratio in (RATIO, CLEAR_RATIO)
    )
    return sort_matches(Matches(points0.places, points1.places[found], clear).select(kept))


def is_clear(best: Tensor, ratio: float) -> Tensor:
    """Apply the ratio test to products of unit vectors. Shapes: (N, 2), larger first -> (N,)."""
    first, second = 2 - 2 * best.clamp(max=1).T  # squares of distances
    return first < ratio**2 * second


def sort_matches(found: Matches) -> Matches:
    """Sort matches by keys that do not depend on the order of the frames."""
    middle, ways = found.places0 + found.places1, (found.places1 - found.places0).abs()
    keys = torch.cat((ways, middle), dim=1).T.numpy()
    return found.select(torch.from_numpy(np.lexsort(keys)))


def filter_matches(found: Matches) -> Matches:
    """Drop matches whose neighbours move differently, except for unambiguous ones."""
    if len(found.places0) <= NUM_NEIGHBOURS:
        return found.select(found.clear)
    middle, ways = (found.places0 + found.places1) / 2, found.places1 - found.places0
    near = torch.cat(
        [
            torch.cdist(p, middle).topk(NUM_NEIGHBOURS + 1, largest=False)[1]
            for p in middle.split(ROWS)
        ]
    )
    apart = (ways[near] - ways[:, None]).norm(dim=-1)
    pixels, share = TOLERANCE
    alike = apart < pixels + share * ways.norm(dim=-1, keepdim=True)
    return found.select(found.clear | (alike.sum(dim=1) > MIN_SUPPORT))  # itself is one of them


def densify_matches(found: Matches, size: tuple[int, int]) -> Tensor:
    """Return the vector of the nearest match at each pixel; zero without matches.

    Shapes: -> (2, *size), on the frame of `places0`.
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
