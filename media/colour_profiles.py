"""ICC colour profiles in image files."""

import logging
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

logger = logging.getLogger(__name__)

PROFILE_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp")  # formats into which OpenCV writes profiles


def read_profile(path: Path) -> bytes | None:
    """Read the profile of an image file; None if there is none."""
    data = np.fromfile(path, np.uint8)
    _, kinds, contents = cv2.imdecodeWithMetadata(data, cv2.IMREAD_GRAYSCALE)
    found = dict(zip(kinds, contents, strict=True)).get(cv2.IMAGE_METADATA_ICCP)
    return None if found is None else np.asarray(found).tobytes()


def find_common_profile(paths: Sequence[Path], written: Path) -> bytes | None:
    """Return the profile of new frames: that of the first and the last image if it is the same.

    Logs a warning and returns None if they differ or the output format holds no profiles.
    """
    first, last = (read_profile(path) for path in (paths[0], paths[-1])) if paths else (None, None)
    if first != last:
        logger.warning(
            "%s and %s state different colour profiles, or one of them none. Their colours are "
            "taken as they stand, and new frames state no profile.",
            paths[0],
            paths[-1],
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
