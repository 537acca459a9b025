"""Image sequences: the frames of a folder or of several files, checked for one size."""

from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from sgm_vfi.media.animated_images import is_animated_png, is_animated_webp_or_avif
from sgm_vfi.media.frame_readers import VIDEO_SUFFIXES
from sgm_vfi.media.images import (
    BITS,
    FrameError,
    describe_path,
    is_image,
    list_frames,
    read_samples,
)


def is_video(path: Path) -> bool:
    """Return True for a file that is no image, or an animated one."""
    is_animated = is_animated_png(path) or is_animated_webp_or_avif(path)
    return path.is_file() and (not is_image(path) or is_animated)


class FrameFormat(NamedTuple):
    """Size and bit depth of frames."""

    height: int
    width: int
    bits: int  # per sample: 16 if any frame has 16, else 8


def find_sequence(inputs: list[Path]) -> list[Path]:
    """Find the frames of a folder in natural order, or return two or more images as given."""
    for path in inputs:
        if not path.exists():
            raise FrameError(f"Cannot read {path}: {describe_path(path)}.")
        if path.suffix.lower() in (*VIDEO_SUFFIXES, ".gif") and not path.is_dir():
            raise FrameError(
                f"{path} is a video and cannot be combined with images. Give it alone."
            )
    if len(inputs) > 1 and any(path.is_dir() for path in inputs):
        raise FrameError(f"Got {' and '.join(map(str, inputs))}: give one folder, or two images.")
    paths = list_frames(inputs[0]) if len(inputs) == 1 and inputs[0].is_dir() else inputs
    if len(paths) < 2:
        where = "" if paths == inputs else f" in {inputs[0]}"
        raise FrameError(
            f"Interpolation needs two frames or more, got one{where} ({paths[0]}). "
            f"Give two images or a folder of frames."
        )
    return paths


def probe_frames(paths: Iterable[Path]) -> FrameFormat:
    """Read every frame once and return their common format.

    Raises:
        FrameError: a file cannot be read or differs in size from the first.
    """
    first, height, width, bits = None, 0, 0, 8
    for path in paths:
        samples = read_samples(path)
        if first is None:
            first, (height, width) = path, samples.shape[:2]
        if samples.shape[:2] != (height, width):
            raise FrameError(
                f"Frames of one sequence are of one size: {first} is {width}x{height}, "
                f"{path} is {samples.shape[1]}x{samples.shape[0]}. Crop or resize them first."
            )
        bits = max(bits, BITS[samples.dtype])
    return FrameFormat(height, width, bits)
