"""Chunks of PNG files that state what the colours of the samples are."""

import struct
import zlib
from collections.abc import Collection, Iterable, Iterator
from io import BytesIO
from pathlib import Path
from typing import BinaryIO

SIGNATURE = b"\x89PNG\r\n\x1a\n"
HEADER_SIZE = 33  # bytes of the signature and the first chunk
COLOUR_CHUNKS = ("cICP", "mDCV", "cLLI", "sRGB", "gAMA", "cHRM")  # besides iCCP, the ICC profile

Chunk = tuple[str, bytes]  # name and content


def read_colour_chunks(path: Path) -> tuple[Chunk, ...]:
    """Return the chunks of an image file that state colours; none of a file that is no PNG."""
    with path.open("rb") as file:
        found = dict(read_chunks(file, COLOUR_CHUNKS))
    return tuple((name, found[name]) for name in COLOUR_CHUNKS if name in found)


def find_chunk(data: bytes, name: str) -> bytes | None:
    """Return the content of a chunk before the pixels of a PNG file; None if it has none."""
    return dict(read_chunks(BytesIO(data), (name,))).get(name)


def read_chunks(file: BinaryIO, names: Collection[str]) -> Iterator[Chunk]:
    """Yield the named chunks of a PNG file that come before its pixels."""
    if file.read(len(SIGNATURE)) != SIGNATURE:
        return
    while len(head := file.read(8)) == 8:
        size, name = struct.unpack(">I4s", head)
        if name in (b"IDAT", b"IEND"):
            return
        if name.decode("latin-1") in names:
            yield name.decode("latin-1"), file.read(size)
            size = 0
        file.seek(size + 4, 1)  # with the checksum


def insert_chunks(png: bytes, chunks: Iterable[Chunk]) -> bytes:
    """Return a PNG file with chunks after its header."""
    added = b"".join(
        struct.pack(">I", len(content)) + body + struct.pack(">I", zlib.crc32(body))
        for name, content in chunks
        for body in (name.encode("latin-1") + content,)
    )
    return png[:HEADER_SIZE] + added + png[HEADER_SIZE:]
