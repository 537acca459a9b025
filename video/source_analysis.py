"""Analysis of the pictures of a source while it is read for the first time."""

from collections.abc import Iterator
from pathlib import Path

from av.video.reformatter import Interpolation as Scaling
from torch import Tensor

from sgm_vfi.media.images import as_frame
from sgm_vfi.media.scene_cuts import detect_cuts
from sgm_vfi.video.av_frames import read_pixel_format, read_planes
from sgm_vfi.video.duplicates import drop_duplicates, is_duplicate
from sgm_vfi.video.source_decoder import DecodedFrame

THUMBNAIL = (192, 128)  # width and height of the pictures in which cuts are detected


def record_cuts(
    passing: Iterator[DecodedFrame], threshold: float, cuts: set[int]
) -> Iterator[DecodedFrame]:
    """Pass pictures on, and add those that begin a scene to `cuts`."""
    for decoded, begins in detect_cuts(passing, thumbnail, threshold):
        if begins:
            cuts.add(decoded.index)
        yield decoded


def repeat_first(passing: Iterator[DecodedFrame]) -> Iterator[DecodedFrame]:
    """Pass pictures on, and the first one again after the last, as a loop shows them."""
    first = last = None
    for last in passing:
        first = first or last
        yield last
    if first is not None and last is not None:
        gap = last.timestamp - first.timestamp
        yield DecodedFrame(last.index + 1, last.timestamp + gap / max(last.index, 1), first.picture)


def thumbnail(decoded: DecodedFrame) -> Tensor:
    """Return a small RGB picture. Shapes: -> (1, 3, 128, 192)."""
    width, height = THUMBNAIL
    small = decoded.picture.reformat(width, height, "rgb24", interpolation=Scaling.AREA)
    return as_frame(small.to_ndarray())[None]


def record_distinct(
    path: Path, passing: Iterator[DecodedFrame], threshold: float, distinct: list[int]
) -> Iterator[DecodedFrame]:
    """Pass on pictures that differ from the one before, and add them to `distinct`."""

    def frame(decoded: DecodedFrame) -> Tensor:
        """Convert a decoded picture to RGB. Shapes: -> (1, 3, H, W)."""
        pixel_format, _ = read_pixel_format(path, decoded.picture)
        return pixel_format.to_rgb(read_planes(decoded.picture, pixel_format.layout))

    def is_repeat(first: DecodedFrame, second: DecodedFrame) -> bool:
        """Tell whether the second frame repeats the first."""
        return is_duplicate(frame(first), frame(second), threshold)

    for decoded in drop_duplicates(passing, is_repeat, lambda decoded: decoded.timestamp):
        distinct.append(decoded.index)
        yield decoded
