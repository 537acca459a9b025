"""Sizes that image files declare, read before anything is decoded.

A few bytes can declare a picture of gigabytes. Formats that are not listed here are limited by
OpenCV itself, to 2^30 pixels.
"""

import re
import struct

MAX_PIXELS = 2**28  # as FFmpeg's limit for videos: 16384x16384
TIFF_ORDERS = {b"II": "<", b"MM": ">"}
TIFF_WIDTH, TIFF_HEIGHT, TIFF_SHORT = 256, 257, 3  # tags, and the type of 16-bit values
JPEG_SIZE_MARKERS = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}  # start of frame
JPEG_BARE_MARKERS = {0x01, 0xFF, *range(0xD0, 0xD9)}  # without a length


def read_declared_size(data: bytes) -> tuple[int, int] | None:
    """Return the height and width that an image file declares, or None if it is not known."""
    try:
        if data.startswith(b"\x89PNG\r\n\x1a\n"):
            width, height = struct.unpack_from(">II", data, 16)
        elif data.startswith(b"\xff\xd8"):
            return _read_jpeg(data)
        elif data[:2] in TIFF_ORDERS:
            return _read_tiff(data)
        elif data.startswith(b"BM"):
            width, height = map(abs, struct.unpack_from("<ii", data, 18))
        elif data[:4] == b"RIFF" and data[8:16] == b"WEBPVP8X":
            width, height = (int.from_bytes(data[at : at + 3], "little") + 1 for at in (24, 27))
        elif match := re.match(rb"P[1-6]\s+(?:#[^\n]*\n\s*)*(\d{1,9})\s+(\d{1,9})", data[:1024]):
            width, height = int(match[1]), int(match[2])
        else:
            return None
    except struct.error:  # the file ends before
        return None
    return height, width


def _read_jpeg(data: bytes) -> tuple[int, int] | None:
    """Walk over the segments to the start of the frame."""
    at = 2
    while at + 9 <= len(data) and data[at] == 0xFF:
        marker = data[at + 1]
        if marker in JPEG_SIZE_MARKERS:
            height, width = struct.unpack_from(">HH", data, at + 5)
            return height, width
        at += 1 if marker == 0xFF else 2
        if marker not in JPEG_BARE_MARKERS:
            at += struct.unpack_from(">H", data, at)[0]
    return None


def _read_tiff(data: bytes) -> tuple[int, int] | None:
    """Read the tags of the first picture."""
    order = TIFF_ORDERS[data[:2]]
    start = struct.unpack_from(f"{order}I", data, 4)[0]
    found = {}
    for number in range(struct.unpack_from(f"{order}H", data, start)[0]):
        tag, kind = struct.unpack_from(f"{order}HH", data, start + 2 + 12 * number)
        value = "H" if kind == TIFF_SHORT else "I"
        found[tag] = struct.unpack_from(f"{order}{value}", data, start + 10 + 12 * number)[0]
    if TIFF_WIDTH not in found or TIFF_HEIGHT not in found:
        return None
    return found[TIFF_HEIGHT], found[TIFF_WIDTH]
