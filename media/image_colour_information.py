"""What image files state about their colours: ICC profiles, and chunks of PNG files."""

import logging
import zlib
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from sgm_vfi.media.image_header import find_ink_model
from sgm_vfi.media.png_colour_chunks import SIGNATURE, Chunk, read_chunks, read_colour_chunks

logger = logging.getLogger(__name__)

MAX_PROFILE = 2**24  # bytes
PROFILE_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp")  # formats into which OpenCV writes profiles


class ImageColours(NamedTuple):
    """What an image file states about its colours."""

    profile: bytes | None = None  # ICC
    chunks: tuple[Chunk, ...] = ()  # of PNG


def find_common_colours(paths: Sequence[Path], written: Path) -> ImageColours:
    """Return what new frames state about their colours: what all given images state.

    Logs a warning about what is lost.
    """
    inks = ((path, find_ink_model(path)) for path in paths)
    if found := next(((path, model) for path, model in inks if model), None):
        logger.warning(
            "%s holds %s. It is converted to RGB by a formula, not by a colour profile, so that "
            "colours are approximate. Convert such images to sRGB first for exact ones.",
            *found,
        )
    return ImageColours(find_common_profile(paths, written), find_common_chunks(paths, written))


def find_common_chunks(paths: Sequence[Path], written: Path) -> tuple[Chunk, ...]:
    """Return the colour chunks that all images have.

    Logs a warning and returns none if they differ, or the output is no PNG file.
    """
    first: tuple[Chunk, ...] = ()
    for number, path in enumerate(paths):
        chunks = read_colour_chunks(path)
        first = first if number else chunks
        if chunks != first:
            logger.warning(
                "%s states other colours (%s) than %s (%s). Their samples are taken as they "
                "stand, and new frames state none.",
                path,
                name_chunks(chunks),
                paths[0],
                name_chunks(first),
            )
            return ()
    if first and written.suffix.lower() != ".png":
        logger.warning(
            "%s states colours (%s) that %s files cannot: new frames state none. Write .png.",
            paths[0],
            name_chunks(first),
            written.suffix,
        )
        return ()
    return first


def name_chunks(chunks: Sequence[Chunk]) -> str:
    """Return the names of chunks as text."""
    return ", ".join(name for name, _ in chunks) or "nothing"


def read_profile(path: Path) -> bytes | None:
    """Read the profile of an image file; None if there is none."""
    with path.open("rb") as file:
        if file.read(len(SIGNATURE)) == SIGNATURE:  # which needs no decoding of pixels
            file.seek(0)
            _, _, packed = dict(read_chunks(file, ["iCCP"])).get("iCCP", b"").partition(b"\0")
            with suppress(zlib.error):
                return unpack_profile(packed[1:]) if packed else None
    data = np.fromfile(path, np.uint8)
    _, kinds, contents = cv2.imdecodeWithMetadata(data, cv2.IMREAD_GRAYSCALE)
    found = dict(zip(kinds, contents, strict=True)).get(cv2.IMAGE_METADATA_ICCP)
    return None if found is None else np.asarray(found).tobytes()


def unpack_profile(packed: bytes) -> bytes:
    """Unpack a profile, up to the largest size: one that is larger is damaged, and not kept."""
    return zlib.decompressobj().decompress(packed, MAX_PROFILE)


def find_common_profile(paths: Sequence[Path], written: Path) -> bytes | None:
    """Return the profile of new frames: that of all images if it is the same.

    Logs a warning and returns None if they differ or the output format holds no profiles.
    """
    first = read_profile(paths[0]) if paths else None
    if other := next((path for path in paths[1:] if read_profile(path) != first), None):
        logger.warning(
            "%s and %s state different colour profiles, or one of them none. Their colours are "
            "taken as they stand, and new frames state no profile.",
            paths[0],
            other,
        )
        return None
    if first is not None and first[16:20] != b"RGB ":
        logger.warning(
            "%s states a colour profile for %s, which does not describe RGB frames: new frames "
            "state none.",
            paths[0],
            first[16:20].decode("latin-1").strip(),
        )
        return None
    if first is not None and not is_supported(first, written.suffix.lower()):
        logger.warning(
            "%s states a colour profile that is not kept in %s files: new frames state none. "
            "Profiles are kept in %s, unless they are damaged.",
            paths[0],
            written.suffix,
            ", ".join(PROFILE_SUFFIXES),
        )
        return None
    return first


def is_supported(profile: bytes, suffix: str) -> bool:
    """Return True if a format accepts the profile; some refuse damaged ones."""
    return (
        suffix in PROFILE_SUFFIXES
        and encode_with_profile(suffix, np.zeros((1, 1, 3), np.uint8), profile)[0]
    )


def encode_with_profile(
    suffix: str, samples: np.ndarray, profile: bytes
) -> tuple[bool, np.ndarray]:
    """Encode an image with a profile. Shapes: (H, W, 3), BGR, uint8 or uint16."""
    content = [np.frombuffer(profile, np.uint8)]
    try:
        return cv2.imencodeWithMetadata(suffix, samples, [cv2.IMAGE_METADATA_ICCP], content)
    except cv2.error:
        return False, np.empty(0, np.uint8)
