"""The arrangement of the views of a 3D video in an MP4 file."""

import re
from pathlib import Path

EYES_BOX = re.compile(rb"vexu(?=\0\0\0.(eyes|proj))", re.DOTALL)
HEAD_BYTES = 2**22  # which hold the header of the file


def hide_eyes_box(file: Path) -> None:
    """Turn FFmpeg's box of the eyes of a 3D video, without their arrangement, into free space.

    Readers prefer it to the box before it (st3d), which states the arrangement.
    """
    with file.open("r+b") as output:
        if found := EYES_BOX.search(output.read(HEAD_BYTES)):
            output.seek(found.start())
            output.write(b"free")
