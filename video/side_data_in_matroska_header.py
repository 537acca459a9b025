"""Side data of a video in the header of a Matroska file, where muxers of other formats find it.

PyAV has no way to give side data to a stream. It copies what a stream has that it takes as its
template, so the first segment gets it: views of 3D, projections of 360 degree video, HDR10
metadata, and the position of chroma samples.
"""

import struct
from collections.abc import Iterator, Sequence
from pathlib import Path

from sgm_vfi.video.source_video import SourceVideo

SEGMENT, TRACKS, TRACK, VIDEO, COLOUR = 0x18538067, 0x1654AE6B, 0xAE, 0xE0, 0x55B0
OF_THE_VIDEO = (SEGMENT, TRACKS, TRACK, VIDEO)
STEREO_MODE = 0x53B8
PROJECTION, PROJECTION_TYPE, PROJECTION_PRIVATE, POSE = 0x7670, 0x7671, 0x7672, 0x7673
SITING_X, SITING_Y, MAX_LEVEL, MAX_MEAN, MASTERING = 0x55B7, 0x55B8, 0x55BC, 0x55BD, 0x55D0
PRIMARIES, BRIGHTEST, DARKEST = 0x55D1, 0x55D9, 0x55DA
STEREO_MODES = {  # type and whether the right eye is first, as FFmpeg numbers them -> Matroska
    (1, 0): 1, (2, 1): 2, (2, 0): 3, (4, 1): 4, (4, 0): 5, (6, 1): 6, (6, 0): 7, (7, 1): 8,
    (7, 0): 9, (1, 1): 11,
}  # fmt: skip
EQUIRECTANGULAR, CUBEMAP, TILED = 0, 1, 2  # projections as FFmpeg numbers them
SITINGS = {"left": (1, 2), "center": (2, 2), "topleft": (1, 1), "top": (2, 1)}  # x, y
UNKNOWN_SIZE = b"\x01" + b"\xff" * 7
HEAD_BYTES = 2**22  # of a segment, which are enough to learn all about its stream


def write_template(segment: Path, path: Path, source: SourceVideo) -> Path:
    """Return a segment, or a copy of its beginning with the side data of the source.

    Args:
        path: of the copy.
    """
    added = [*read_video_elements(source), *read_colour_elements(source)]
    if not added:
        return segment
    with segment.open("rb") as file:
        data = file.read(HEAD_BYTES)
    for parent, element in added:
        data = insert_element(data, parent, element)
    path.write_bytes(data)
    return path


def read_video_elements(source: SourceVideo) -> Iterator[tuple[Sequence[int], bytes]]:
    """Yield the elements for 3D and 360 degree video, each with the path of its parent."""
    if (stereo := source.side_data.get("STEREO3D")) is not None:
        kind, flags = struct.unpack_from("=ii", stereo)
        if mode := STEREO_MODES.get((kind, flags & 1)):
            yield OF_THE_VIDEO, number(STEREO_MODE, mode)
    if (spherical := source.side_data.get("SPHERICAL")) is not None:
        kind, *angles = struct.unpack_from("=4i", spherical)
        left, top, right, bottom, padding = struct.unpack_from("=5I", spherical, 16)
        private = {
            EQUIRECTANGULAR: bytes(20),
            TILED: struct.pack(">5I", 0, top, bottom, left, right),
            CUBEMAP: struct.pack(">3I", 0, 0, padding),
        }.get(kind)
        if private is not None:
            poses = (decimal(POSE + k, angle / 65536) for k, angle in enumerate(angles))
            content = [
                number(PROJECTION_TYPE, 2 if kind == CUBEMAP else 1),
                make_element(PROJECTION_PRIVATE, private),
            ]
            yield OF_THE_VIDEO, make_element(PROJECTION, b"".join([*content, *poses]))


def read_colour_elements(source: SourceVideo) -> Iterator[tuple[Sequence[int], bytes]]:
    """Yield the elements for HDR10 and chroma samples, each with the path of its parent."""
    parent = (*OF_THE_VIDEO, COLOUR)
    display, light = source.hdr_metadata
    if display is not None:
        *places, darkest, brightest = display
        content = [decimal(PRIMARIES + k, place / 50000) for k, place in enumerate(places)]
        content += [decimal(BRIGHTEST, brightest / 10000), decimal(DARKEST, darkest / 10000)]
        yield parent, make_element(MASTERING, b"".join(content))
    if light is not None:
        yield parent, number(MAX_LEVEL, light[0]) + number(MAX_MEAN, light[1])
    if source.chroma_location in SITINGS:
        x, y = SITINGS[source.chroma_location]
        yield parent, number(SITING_X, x) + number(SITING_Y, y)


def insert_element(data: bytes, parent: Sequence[int], element: bytes) -> bytes:
    """Return EBML data with one more element, in the parent at a path of identifiers."""
    if not parent:
        return data + element
    start = 0
    while start < len(data):
        identifier, place = read_number(data, start, marked=True)
        size, place = read_number(data, place)
        end = min(place + size, len(data))
        if identifier == parent[0]:
            inside = insert_element(data[place:end], parent[1:], element)
            return data[:start] + make_element(identifier, inside) + data[end:]
        start = end
    return data + make_element(parent[0], insert_element(b"", parent[1:], element))


def read_number(data: bytes, place: int, *, marked: bool = False) -> tuple[int, int]:
    """Return a number of variable length and where it ends.

    Args:
        marked: with the bit that tells its length, as in identifiers.
    """
    length = 9 - data[place].bit_length()
    value = int.from_bytes(data[place : place + length], "big")
    return value if marked else value - (1 << 7 * length), place + length


def make_element(identifier: int, content: bytes) -> bytes:
    """Return an element; the size of the whole segment is left unknown."""
    name = identifier.to_bytes((identifier.bit_length() + 7) // 8, "big")
    size = UNKNOWN_SIZE if identifier == SEGMENT else (1 << 56 | len(content)).to_bytes(8, "big")
    return name + size + content


def number(identifier: int, value: int) -> bytes:
    """Return an element that holds a whole number."""
    return make_element(identifier, value.to_bytes(4, "big"))


def decimal(identifier: int, value: float) -> bytes:
    """Return an element that holds a number of floating point."""
    return make_element(identifier, struct.pack(">d", value))
