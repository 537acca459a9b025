"""Animated PNG, WebP and AVIF files, which are read as videos."""

from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np

from sgm_vfi.media.images import FrameError
from sgm_vfi.storage.file_identity import FileIdentity, identify_file

HEAD = 32  # bytes in which WebP and AVIF files say that they are animations
PNG_START = 1 << 20  # bytes in which an animated PNG says that it is one
MAX_BYTES, MAX_COUNT = 1 << 32, (1 << 15) - 1  # of all frames, which OpenCV decodes at once
FASTEST = (cv2.IMWRITE_PNG_COMPRESSION, 1)


def is_animated_png(path: Path) -> bool:
    """Return True for a PNG file of several frames, which FFmpeg reads as a video."""
    if path.suffix.lower() != ".png":
        return False
    with path.open("rb") as file:
        data = file.read(PNG_START)
    return data.startswith(b"\x89PNG") and b"acTL" in data.partition(b"IDAT")[0]


def is_animated_webp_or_avif(path: Path) -> bool:
    """Return True for an animation that FFmpeg does not read."""
    if not path.is_file():
        return False
    with path.open("rb") as file:
        data = file.read(HEAD)
    if data[8:16] == b"WEBPVP8X":
        return len(data) > 20 and bool(data[20] & 2)  # the flag of animations
    return data[4:12] == b"ftypavis"


def read_as_apng(path: Path) -> bytes:
    """Return an animated WebP or AVIF file as animated PNG, with equal frames and delays.

    Raises:
        FrameError: OpenCV cannot read it, or its frames take too much memory.
    """
    return _convert(path, identify_file(path))


@lru_cache(maxsize=1)  # a job opens its input several times
def _convert(path: Path, identity: FileIdentity) -> bytes:
    remedy = f"Convert it to a video first, such as with ImageMagick: magick {path.name} OUT.gif"
    data = np.fromfile(path, np.uint8)
    is_read, animation = cv2.imdecodeanimation(data, 0, 1)
    if is_read:
        limit = MAX_BYTES // animation.frames[0].nbytes
        is_read, animation = cv2.imdecodeanimation(data, 0, min(limit + 1, MAX_COUNT))
        if len(animation.frames) > limit:
            raise FrameError(f"{path}: all its frames take over {MAX_BYTES >> 30} GiB. {remedy}")
    if not is_read:
        raise FrameError(f"{path} is an animation that cannot be read: it is damaged. {remedy}")
    return bytes(cv2.imencodeanimation(".png", animation, FASTEST)[1])
