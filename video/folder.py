"""Frames as a folder of files instead of a video, on either side."""

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
from tqdm import tqdm

from dataset.frames import list_frames, read_frame, write_frame
from dataset.sequence import FrameFormat
from video.colour import LAYOUTS, Colours
from video.encoding import Encoding, EncodingError, Wish
from video.maker import Shot
from video.picture import to_picture, turned
from video.source import Source
from video.target import Kept

TIMES = "timestamps.txt"  # in the format that mkvmerge and others read, version 2


def is_folder(output: Path) -> bool:
    """Whether a name is that of a folder, as it has no suffix."""
    return not output.suffix


def require_empty(output: Path) -> None:
    """Refuse to write among other files."""
    if output.is_file() or (output.is_dir() and any(output.iterdir())):
        raise ValueError(f"{output} is there already. Name another folder, or empty it.")


@contextmanager
def filmed(
    paths: Sequence[Path], rate: Fraction, frame_format: FrameFormat, film: Path
) -> Iterator[None]:
    """While it is open, `film` holds these images as a video that has lost nothing.

    It is as old as the newest of them, so that work on it goes on where it was: written again, it
    is the same file.

    Args:
        rate: frames per second.
        film: ends in .avi, whose clock counts any rate exactly.
    """
    codec, pix_fmt = ("utvideo", "gbrp") if frame_format.bits == 8 else ("ffv1", "gbrp16le")
    colours = Colours(LAYOUTS[pix_fmt], is_full=True)
    film.parent.mkdir(parents=True, exist_ok=True)
    try:
        with av.open(film, "w", options={"fflags": "bitexact"}) as container:
            size = {"height": frame_format.height, "width": frame_format.width}
            stream = container.add_stream(codec, rate=rate, pix_fmt=pix_fmt, **size)
            for number, path in enumerate(tqdm(paths, "gathering", leave=False)):
                picture = to_picture(read_frame(path)[None], colours)
                picture.pts, picture.time_base = number, 1 / rate
                container.mux(stream.encode(picture))
            container.mux(stream.encode(None))
        newest = max(path.stat().st_mtime_ns for path in paths)
        os.utime(film, ns=(newest, newest))
        yield
    finally:
        film.unlink(missing_ok=True)


def png_encoding(wish: Wish, source: Source, rate: Fraction) -> Encoding:
    """PNG holds RGB of 8 or 16 bits, and there is nothing to choose."""
    if wish != Wish():
        raise EncodingError(
            "A folder of PNG files takes no options of encoders. Name a video, such as "
            "--output out.mp4."
        )
    return Encoding(
        encoder="png",
        colours=source.colours,
        tags=source.tags,
        options=(("bits", "8" if source.colours.layout.bits == 8 else "16"),),
        height=source.height,
        width=source.width,
        aspect=source.header.aspect,
        rate=rate,
    )


def kept_in_folder(source: Source) -> Kept:
    """Pictures alone; they are turned as the source asks."""
    lost = [f"{other}: a folder holds frames only" for other in source.header.others]
    if source.header.aspect not in (None, 1):
        lost.append(f"the shape of its pixels, {source.header.aspect}")
    return Kept(lost=tuple(lost))


class FolderWriter:
    """Writes one segment as numbered PNG files."""

    def __init__(self, folder: Path, encoding: Encoding, quarters: int) -> None:
        folder.mkdir()
        self.folder = folder
        self.bits = int(dict(encoding.options)["bits"])
        self.quarters = quarters
        self.count = 0

    def write(self, made: Shot) -> None:
        """Write a frame; colours beyond RGB are lost."""
        picture = turned(made.frame, self.quarters)[0]
        self.count += 1
        write_frame(self.folder / f"{self.count:06d}.png", picture, self.bits)

    def close(self) -> dict[str, Any]:
        """Give what is to be known of the segment."""
        return {"frames": self.count, "reels": {"": {"frames": self.count}}}


def gather(whole: Path, folders: Sequence[Path], times: Iterable[Fraction]) -> int:
    """Move the files of all segments into one folder, numbered from 1, with their times.

    May be done again where it was interrupted.

    Returns: how many frames there are.
    """
    whole.mkdir(exist_ok=True)
    stamps = ["# timestamp format v2"]
    stamps += [f"{float(time * 1000):.6f}" for time in times]
    (whole / TIMES).write_text("\n".join([*stamps, ""]))
    done = len(list_frames(whole)) if any(whole.glob("*.png")) else 0
    for folder in folders:
        for file in sorted(folder.glob("*.png")):
            done += 1
            file.replace(whole / f"{done:06d}.png")
    return done
