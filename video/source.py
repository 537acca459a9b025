"""A video file: what it holds, and its pictures with exact timestamps."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import NamedTuple

import av
from torch import Tensor

from sgm_vfi.media.display_matrix import Orientation, parse_display_matrix, read_display_matrix
from sgm_vfi.media.images import describe_path
from sgm_vfi.media.videos import VideoError, VideoReader
from sgm_vfi.video.colour import Colours
from sgm_vfi.video.frame_format import (
    Light,
    Tags,
    colours_of,
    light_of,
    tags_of,
    to_planes,
)


class OtherStream(NamedTuple):
    """A stream that is no video: to be copied."""

    index: int
    kind: str  # audio, subtitle, data or attachment
    codec: str
    language: str | None

    def __str__(self) -> str:
        language = f", {self.language}" if self.language not in (None, "und") else ""
        return f"{self.kind} stream {self.index} ({self.codec}{language})"


class Header(NamedTuple):
    """What a file says of itself, before anything is decoded."""

    codec: str
    bit_rate: int
    promised: int  # frames; 0 where the file does not say
    tick: Fraction  # of its clock, in seconds
    rate: Fraction | None  # frames per second, on average
    aspect: Fraction | None  # width of a pixel over its height
    duration: Fraction  # of all streams, in seconds; 0 where the file does not say
    others: tuple[OtherStream, ...]
    num_chapters: int
    num_more_videos: int


@dataclass(frozen=True)
class Source:
    """A video that was decoded once from end to end."""

    path: Path
    header: Header
    height: int  # as stored, before any rotation
    width: int
    colours: Colours
    tags: Tags
    light: Light
    stamps: tuple[Fraction, ...]  # seconds at which each frame appears
    end: Fraction  # seconds at which the last one disappears
    display_matrix: tuple[int, ...] | None  # where the file asks to be turned or mirrored
    notes: tuple[str, ...]  # what was guessed, repaired or cannot be kept

    @property
    def duration(self) -> Fraction:
        """In seconds, from the first frame's appearance to the last one's end."""
        return self.end - self.stamps[0]

    @property
    def orientation(self) -> Orientation:
        """How its pictures ask to be shown."""
        return parse_display_matrix(self.display_matrix)

    @property
    def rate(self) -> Fraction:
        """Frames per second, on average."""
        return len(self.stamps) / self.duration

    def planes(self, wanted: Iterable[int] | None = None) -> Iterator[tuple[int, list[Tensor]]]:
        """Index and samples of each frame that is wanted (in order; None: all); see `to_planes`.

        Always decodes from the beginning: seeking is not exact in every format, and decoding takes
        little time beside a network.
        """
        numbers = iter(range(len(self.stamps)) if wanted is None else wanted)
        next_wanted = next(numbers, None)
        for seen in Passing(self.path, self.header):
            if next_wanted is None:
                return
            if seen.index == next_wanted:
                yield seen.index, to_planes(seen.picture, self.colours.layout)
                next_wanted = next(numbers, None)


class Seen(NamedTuple):
    """A picture as it passes by."""

    index: int
    stamp: Fraction  # seconds
    picture: av.VideoFrame


def survey(path: Path, watch: Callable[[Iterator[Seen]], Iterable[Seen]] | None = None) -> Source:
    """Decode a video from end to end without keeping its pictures.

    There is no shorter way to know its timestamps, or that all of it can be decoded.

    Args:
        watch: takes all pictures as they pass by; what it gives is not looked at.

    Raises:
        VideoError: no video, no frame, or damage; says which and how far it could be read.
    """
    header = read_header(path)
    passing = Passing(path, header)
    for _ in passing if watch is None else watch(iter(passing)):
        pass
    first, stamps, dropped = passing.first, passing.stamps, passing.dropped
    if first is None:
        raise VideoError(f"{path} holds a video stream without a single frame.")
    colours, notes = colours_of(path, first)
    if dropped:
        notes.append(f"{dropped} frames whose timestamps do not advance are left out")
    if passing.is_interlaced:
        notes.append("the video is interlaced; its frames are taken as they are. Deinterlace first")
    if header.num_more_videos:
        notes.append(f"{header.num_more_videos} more video streams are left out")
    if header.promised > len(stamps) + dropped:
        notes.append(f"the file promises {header.promised} frames and gives {len(stamps)}")
    end = stamps[-1] + (passing.duration or usual_gap(stamps, header))
    if header.duration > end - stamps[0] + 2 * usual_gap(stamps, header):
        notes += missing_end(path, header.duration)
    return Source(
        path=path,
        header=header,
        height=first.height,
        width=first.width,
        colours=colours,
        tags=tags_of(first),
        light=light_of(first),
        stamps=tuple(stamps),
        end=end,
        display_matrix=read_display_matrix(first),
        notes=tuple(notes),
    )


class Passing:
    """Decodes a video once, and remembers of its pictures what takes no room."""

    def __init__(self, path: Path, header: Header) -> None:
        self.path = path
        self.header = header
        self.first: av.VideoFrame | None = None
        self.stamps: list[Fraction] = []
        self.dropped = 0
        self.duration = Fraction(0)  # of the last frame
        self.is_interlaced = False

    def __iter__(self) -> Iterator[Seen]:
        for picture in VideoReader(self.path.name, self.path).decode():
            index = len(self.stamps)
            self.first = self.first or picture
            require_alike(self.path, index, self.first, picture)
            self.is_interlaced = self.is_interlaced or picture.interlaced_frame
            stamp = stamp_of(picture, index, self.header)
            if index and stamp <= self.stamps[-1]:
                self.dropped += 1
                continue
            self.stamps.append(stamp)
            self.duration = (picture.duration or 0) * (picture.time_base or self.header.tick)
            yield Seen(index, stamp, picture)


def read_header(path: Path) -> Header:
    """Open a file and read what it says of itself.

    Raises:
        VideoError: no file, no video, or a codec that cannot be decoded here.
    """
    if not path.is_file():
        raise VideoError(f"Cannot read {path}: {describe_path(path)}.")
    if not path.stat().st_size:
        raise VideoError(f"Cannot read {path}: the file is empty.")
    try:
        with av.open(path) as container:
            videos = [s for s in container.streams.video if not is_cover(s)]
            if not videos:
                kinds = sorted({stream.type for stream in container.streams}) or ["nothing"]
                raise VideoError(f"{path} holds no video stream ({', '.join(kinds)} only).")
            stream = videos[0]
            if stream.index != container.streams.video[0].index:
                raise VideoError(
                    f"{path} has a cover picture before its video. Remove the cover first:\n"
                    f"  ffmpeg -i {path} -map 0 -map -0:v -map 0:V -c copy clean{path.suffix}"
                )
            others = [s for s in container.streams if s.type != "video"]
            return Header(
                codec=stream.codec_context.name if stream.codec_context else "unknown",
                bit_rate=stream.bit_rate or container.bit_rate or 0,
                promised=stream.frames,
                tick=stream.time_base,
                rate=stream.average_rate or stream.guessed_rate,
                aspect=stream.sample_aspect_ratio,
                duration=Fraction(container.duration or 0, av.time_base),
                others=tuple(
                    OtherStream(s.index, s.type, s.name or "", s.language) for s in others
                ),
                num_chapters=len(container.chapters()),
                num_more_videos=len(container.streams.video) - 1,
            )
    except av.error.FFmpegError as error:
        raise VideoError(
            f"{path} is no video that can be read ({error.strerror or error}): it is damaged, "
            f"truncated, or of another kind."
        ) from error


def is_cover(stream: av.VideoStream) -> bool:
    """Whether a video stream is a picture to show beside music."""
    return bool(stream.disposition & type(stream.disposition).attached_pic)


def stamp_of(picture: av.VideoFrame, index: int, header: Header) -> Fraction:
    """When a picture appears, in seconds; by counting where the file gives no timestamps."""
    if picture.pts is not None:
        return picture.pts * (picture.time_base or header.tick)
    if header.rate is None:
        raise VideoError(
            "The file gives neither timestamps nor a rate. Put it into a container first: "
            "ffmpeg -r RATE -i FILE -c copy OUT.mkv"
        )
    return index / header.rate


def missing_end(path: Path, promised: Fraction) -> list[str]:
    """A note where all streams together end sooner than the file promises.

    Matroska promises when they end; others, how long they last from when the file begins.
    """
    end = Fraction(0)
    with av.open(path) as container:
        start = 0 if "matroska" in container.format.name else container.start_time or 0
        begin = Fraction(start, av.time_base)
        for packet in container.demux():
            if packet.pts is not None:
                begin = min(begin, packet.pts * packet.time_base)
                end = max(end, (packet.pts + (packet.duration or 0)) * packet.time_base)
    length = end - min(begin, end)
    if promised - length < max(Fraction(1, 10), promised / 100):
        return []
    return [
        f"the file promises {float(promised):.3f} s and ends after {float(length):.3f} s: it was "
        f"probably cut off"
    ]


def usual_gap(stamps: list[Fraction], header: Header) -> Fraction:
    """How long a frame of unknown duration is shown: as long as most of the others."""
    if len(stamps) > 1:
        return median(after - before for before, after in pairwise(stamps))
    return 1 / header.rate if header.rate else Fraction(1, 25)


def require_alike(path: Path, index: int, first: av.VideoFrame, picture: av.VideoFrame) -> None:
    """Refuse a video that changes its size or its format on the way."""
    old, new = (f"{p.width}x{p.height} {p.format.name}" for p in (first, picture))
    if old != new:
        raise VideoError(
            f"{path} changes at frame {index} from {old} to {new}. Cut it there, and give the "
            f"parts one by one."
        )
