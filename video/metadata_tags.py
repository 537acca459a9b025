"""Metadata of files and streams, key by key: what is copied, what changes, and what is lost."""

import re
from collections.abc import Iterable, Mapping
from fractions import Fraction
from math import floor

from av.stream import Stream

OF_THE_CONTAINER = ("major_brand", "minor_version", "compatible_brands", "encoder", "duration")
STATISTICS = ("bps", "number_of_frames", "number_of_bytes", "_statistics_")  # begin mkvmerge's tags
FALSE = (*STATISTICS, "alpha_mode")  # of pictures that are encoded anew, without alpha
DEFAULTS = {  # key -> values that muxers write by themselves
    "language": ("und",),
    "handler_name": ("VideoHandler", "SoundHandler", "SubtitleHandler", "DataHandler"),
    "vendor_id": ("FFMP", "[0][0][0][0]"),
}
WHOLE_SECOND = re.compile(r"\.0+Z$")  # of dates, which only some muxers write with fractions
TIMECODE = "timecode"
TIMECODE_FORMAT = re.compile(r"(\d\d:\d\d:\d\d)([:;.])(\d+)")


def copyable_tags(metadata: Mapping[str, str], *, of_video: bool = False) -> dict[str, str]:
    """Return the metadata of a file or a stream that stays true in another container.

    Args:
        of_video: leave out what is false of pictures that are encoded anew.
    """
    tags = {k: text for k, text in metadata.items() if k.lower() not in OF_THE_CONTAINER}
    tags = {k: text for k, text in tags.items() if k.lower() != TIMECODE}  # see `convert_timecode`
    return {k: text for k, text in tags.items() if not (of_video and is_false(k))}


def is_false(key: str) -> bool:
    """Return whether a tag of a video stream is false after its pictures were encoded anew."""
    return key.lower().startswith(FALSE)  # Matroska has them in capitals


def find_lost_keys(wanted: Mapping[str, str], found: Mapping[str, str]) -> list[str]:
    """Return the keys of wanted metadata that are missing or different in what was found."""
    texts = {key.lower(): WHOLE_SECOND.sub("Z", text) for key, text in found.items()}
    return [
        key
        for key, text in wanted.items()
        if texts.get(key.lower()) != WHOLE_SECOND.sub("Z", text)
        and text not in DEFAULTS.get(key.lower(), ())
    ]


def read_timecode(metadata: Iterable[Mapping[str, str]]) -> str | None:
    """Return the timecode of the first frame: that of the first metadata that has one."""
    found = (text for tags in metadata for key, text in tags.items() if key.lower() == TIMECODE)
    return next(found, None)


def is_timecode_track(stream: Stream) -> bool:
    """Return whether a stream is a timecode track (tmcd), which is written anew."""
    return stream.type == "data" and any(key.lower() == TIMECODE for key in stream.metadata)


def convert_timecode(text: str, old: Fraction, new: Fraction) -> str | None:
    """Return a timecode HH:MM:SS:FF at another frame rate; None if it cannot be read.

    A semicolon before the frames means drop-frame counting, which multiples of 30000/1001 have.
    """
    match = TIMECODE_FORMAT.fullmatch(text)
    if match is None:
        return None
    clock, separator, frames = match.groups()
    count = floor(int(frames) * Fraction(round(new)) / max(round(old), 1))
    multiple = new / Fraction(30000, 1001)
    can_drop = abs(multiple - round(multiple)) < Fraction(1, 2000) and multiple > Fraction(1, 2)
    return f"{clock}{separator if can_drop else ':'}{count:02d}"
