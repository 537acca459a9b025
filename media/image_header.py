"""Sizes and colours that image files declare, read before anything is decoded.

A few bytes can declare a picture of gigabytes. Formats that are not listed here are limited by
OpenCV itself, to 2^30 pixels.
"""

import re
import struct
from contextlib import suppress
from pathlib import Path

MAX_PIXELS = 2**28  # as FFmpeg's limit for videos: 16384x16384
TIFF_ORDERS = {b"II": "<", b"MM": ">"}
TIFF_WIDTH, TIFF_HEIGHT, TIFF_COLOURS, TIFF_SHORT = 256, 257, 262, 3  # tags, a type of values
TIFF_INKS = {5: "CMYK", 8: "CIELab", 9: "CIELab", 10: "CIELab"}  # by its tag of colours
JPEG_SIZE_MARKERS = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}  # start of frame
JPEG_BARE_MARKERS = {0x01, 0xFF, *range(0xD0, 0xD9)}  # without a length


def read_declared_size(data: bytes) -> tuple[int, int] | None:
    """Return the height and width that an image file declares, or None if it is not known."""
    try:
        if data.startswith(b"\x89PNG\r\n\x1a\n"):
            width, height = struct.unpack_from(">II", data, 16)
        elif data.startswith(b"\xff\xd8"):
            height, width = struct.unpack_from(">HH", data, _find_jpeg_frame(data) + 5)
        elif data[:2] in TIFF_ORDERS:
            tags = _read_tiff(data)
            height, width = tags[TIFF_HEIGHT], tags[TIFF_WIDTH]
        elif data.startswith(b"BM"):
            width, height = map(abs, struct.unpack_from("<ii", data, 18))
        elif data[:4] == b"RIFF" and data[8:16] == b"WEBPVP8X":
            width, height = (int.from_bytes(data[at : at + 3], "little") + 1 for at in (24, 27))
        elif match := re.match(rb"P[1-6]\s+(?:#[^\n]*\n\s*)*(\d{1,9})\s+(\d{1,9})", data[:1024]):
            width, height = int(match[1]), int(match[2])
        else:
            return None
    except (struct.error, LookupError):  # the file ends before, or does not say
        return None
    return height, width


def find_ink_model(path: Path) -> str | None:
    """Return the name of the colours of an image file that have no exact RGB without a profile."""
    with path.open("rb") as file:
        start = file.read(2)
        if start != b"\xff\xd8" and start not in TIFF_ORDERS:
            return None
        data = start + file.read()
    with suppress(struct.error, IndexError):  # the file is damaged
        if start in TIFF_ORDERS:
            return TIFF_INKS.get(_read_tiff(data).get(TIFF_COLOURS, 0))
        return "CMYK" if data[_find_jpeg_frame(data) + 9] == 4 else None
    return None


def _find_jpeg_frame(data: bytes) -> int:
    """Walk over the segments to the start of the frame; raise struct.error if there is none."""
    at = 2
    while data[at : at + 1] == b"\xff":
        marker = data[at + 1]
        if marker in JPEG_SIZE_MARKERS:
            return at
        at += 1 if marker == 0xFF else 2
        if marker not in JPEG_BARE_MARKERS:
            at += struct.unpack_from(">H", data, at)[0]
    raise struct.error("no frame begins")


def _read_tiff(data: bytes) -> dict[int, int]:
    """Return the numbers in the tags of the first picture."""
    order = TIFF_ORDERS[data[:2]]
    start = struct.unpack_from(f"{order}I", data, 4)[0]
    found = {}
    for number in range(struct.unpack_from(f"{order}H", data, start)[0]):
        tag, kind = struct.unpack_from(f"{order}HH", data, start + 2 + 12 * number)
        value = "H" if kind == TIFF_SHORT else "I"
        found[tag] = struct.unpack_from(f"{order}{value}", data, start + 10 + 12 * number)[0]
    return found
