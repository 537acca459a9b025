"""Streams of a file beside its video: which are copied, and which are left out on request."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import av
from av.stream import Discard

from sgm_vfi.media.open_local_media import is_cover_art, open_input
from sgm_vfi.video.metadata_tags import is_timecode_track

KINDS = ("audio", "subtitle", "data", "attachment", "cover")


@dataclass(frozen=True)
class OtherStream:
    """A stream other than the video that is interpolated, which is copied."""

    index: int
    kind: str  # one of `KINDS`
    codec: str
    language: str | None

    def __str__(self) -> str:
        language = f", {self.language}" if self.language not in (None, "und") else ""
        return f"{self.kind} stream {self.index} ({self.codec}{language})"


def find_other_streams(container: av.container.InputContainer) -> Iterator[OtherStream]:
    """Find the streams that are copied: neither videos nor what is written anew.

    The latter are tracks of timecodes and of the titles of chapters.
    """
    for stream in container.streams:
        is_cover = isinstance(stream, av.VideoStream) and is_cover_art(stream)
        if stream.type == "video" and not is_cover:
            continue
        is_chapters = stream.type == "data" and stream.discard == Discard.all
        if is_timecode_track(stream) or (is_chapters and container.chapters()):
            continue
        kind = "cover" if is_cover else stream.type
        yield OtherStream(stream.index, kind, stream.name or "unknown codec", stream.language)


def parse_drop(text: str) -> tuple[str, ...]:
    """Parse kinds and indices of streams, such as "data,3"."""
    names = tuple(name.strip().lower() for name in text.split(","))
    for name in names:
        if name not in KINDS and not name.isdecimal():
            raise ValueError(
                f"streams are left out by kind ({', '.join(KINDS)}) or by index, got {name!r}"
            )
    return names


def find_dropped(streams: Iterable[OtherStream], drop: Iterable[str] | None) -> set[int]:
    """Return the indices of the streams that are left out on request.

    Raises:
        ValueError: an index that none of the streams has.
    """
    streams, names = list(streams), set(drop or ())
    indices = {str(stream.index) for stream in streams}
    if unknown := {name for name in names if name.isdecimal()} - indices:
        known = "; ".join(map(str, streams)) or "none beside the video"
        raise ValueError(f"--drop {min(unknown)}: no such stream; the file has {known}.")
    return {stream.index for stream in streams if {str(stream.index), stream.kind} & names}


def demux_shown(
    container: av.container.InputContainer, streams: list[av.stream.Stream]
) -> Iterator[av.Packet]:
    """Yield the packets of streams without those that an edit list hides, as of a trimmed clip.

    Of each stream the last hidden packet before the first shown one stays, as decoders need it.
    """
    waiting: dict[int, av.Packet] = {}
    begun: set[int] = set()
    for packet in container.demux(streams):
        index = packet.stream.index
        if packet.is_discard:
            if index not in begun:
                waiting[index] = packet
            continue
        begun.add(index)
        if index in waiting:
            yield waiting.pop(index)
        yield packet


def read_streams(file: Path) -> list[tuple[str, str, bool]]:
    """Return kind, codec and whether there are packets, of all streams of a file but the first."""
    with open_input(file) as container:
        streams = list(container.streams)[1:]
        filled = {packet.stream.index for packet in container.demux(streams) if packet.size}
        return [(*describe_stream(s), s.type == "attachment" or s.index in filled) for s in streams]


def describe_stream(stream: av.stream.Stream) -> tuple[str, str]:
    """Return kind and codec of a stream, as `OtherStream` has them."""
    is_cover = isinstance(stream, av.VideoStream) and is_cover_art(stream)
    return "cover" if is_cover else stream.type, stream.name or "unknown codec"
