"""The part of a video that is used, from a start up to an end, exact to the frame."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple

import av

from sgm_vfi.media.open_local_media import open_input
from sgm_vfi.model.cli_options import parse_fraction, parse_whole
from sgm_vfi.video.output_timestamps import to_pts

MAX_SLACK = Fraction(1, 1000)  # seconds that a rounded timestamp may miss a position by
TIMECODE = re.compile(r"(?:(?:(\d+):)?([0-5]?\d):)?([0-5]?\d(?:\.\d+)?)")


class Position(NamedTuple):
    """A position in a video, counted from its first frame."""

    value: Fraction
    is_frame: bool = False  # a number of frames, not of seconds

    def __str__(self) -> str:
        return f"{self.value}f" if self.is_frame else f"{float(self.value):.6g} s"

    def is_after(self, index: int, seconds: Fraction, slack: Fraction) -> bool:
        """Return whether a frame lies before this position.

        Args:
            seconds: from the first frame.
            slack: by which the timestamp may have been rounded down, in seconds.
        """
        if self.is_frame:
            return index < self.value
        return seconds + slack <= self.value


@dataclass(frozen=True)
class Trim:
    """The first position that is used, and the first that is not; None: all."""

    start: Position | None = None
    end: Position | None = None

    def __bool__(self) -> bool:
        return self.start is not None or self.end is not None

    def __str__(self) -> str:
        start = "the start" if self.start is None else str(self.start)
        return f"{start} to {'the end' if self.end is None else self.end}"

    def is_before(self, index: int, seconds: Fraction, tick: Fraction) -> bool:
        """Return whether a frame lies before the part that is used; see `Position.is_after`."""
        return self.start is not None and self.start.is_after(index, seconds, min(tick, MAX_SLACK))

    def is_over(self, index: int, seconds: Fraction, tick: Fraction) -> bool:
        """Return whether a frame lies after the part that is used."""
        return self.end is not None and not self.end.is_after(index, seconds, min(tick, MAX_SLACK))


WHOLE = Trim()


def parse_position(text: str) -> Position:
    """Parse seconds (75.5), a timecode (1:15.5 or 00:01:15.500) or a frame number (120f)."""
    given, is_frame = text, text.endswith("f")
    try:
        if is_frame:
            text = str(parse_whole(text[:-1]))
        parts = (text.split(":") if TIMECODE.fullmatch(text) else [text])[::-1]
        seconds = sum(parse_fraction(part) * 60**power for power, part in enumerate(parts))
        if seconds < 0:
            raise ValueError("before the start")
        return Position(Fraction(seconds), is_frame)
    except ValueError as error:
        raise ValueError(
            "expected seconds (75.5), a timecode (00:01:15.500) or a frame (120f), got "
            f"{given[:40]!r}"
        ) from error


def read_chapters(path: Path, *, follow_playlists: bool = False) -> list[dict[str, Any]]:
    """Return the chapters of a file as PyAV gives them."""
    with open_input(path, follow_playlists=follow_playlists) as container:
        return [dict(chapter) for chapter in container.chapters()]


def trim_chapters(chapters: Sequence[Any], offset: Fraction, end: Fraction) -> list[Any]:
    """Return the parts of chapters inside a window, whose start becomes 0.

    Args:
        offset: start of the window in seconds.
        end: its end, from its start.
    """
    kept = []
    for chapter in chapters:
        time_base = chapter["time_base"]
        begin, until = (
            min(max(chapter[name] * time_base - offset, Fraction(0)), end)
            for name in ("start", "end")
        )
        if begin < until:
            ticks = {"start": round(begin / time_base), "end": round(until / time_base)}
            kept.append({**chapter, **ticks})
    return kept


def stretch_chapters(chapters: list[Any], start: Fraction, stretch: Fraction) -> list[Any]:
    """Return the chapters of a video that is stretched in time from its start on."""

    def moved(count: int, time_base: Fraction) -> int:
        """Return a timestamp of the source in the time of the output."""
        return to_pts(start + (count * time_base - start) * stretch, time_base)

    return [
        {**c, **{end: moved(c[end], c["time_base"]) for end in ("start", "end")}} for c in chapters
    ]


def trim_packet(packet: av.Packet, offset: Fraction, end: Fraction) -> bool:
    """Move a packet in time, and return whether it belongs to the part that is used.

    Sound is kept in whole packets: those that begin in the part and lie in it by half or more. A
    subtitle is cut to the part.

    Args:
        offset: timestamp of the part's start, in seconds.
        end: of the part, from its start.
    """
    if packet.pts is None:
        return False
    tick = packet.time_base
    begin, length = packet.pts * tick - offset, (packet.duration or 0) * tick
    if packet.stream.type == "subtitle":
        until = min(begin + length, end)
        begin = max(begin, Fraction(0))
        if begin >= end or (length and until <= begin):
            return False
        packet.duration = to_pts(until - begin, tick) if length else 0
        packet.pts = packet.dts = to_pts(begin, tick)
        return True
    if begin < 0 or begin + length / 2 >= end:
        return False
    moved = to_pts(offset, tick)
    packet.pts -= moved
    packet.dts = packet.pts if packet.dts is None else packet.dts - moved
    return True
