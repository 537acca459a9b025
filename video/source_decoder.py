"""Decoding of a source video, or of a part of it, with exact timestamps."""

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av

from sgm_vfi.media.frame_readers import VideoReader
from sgm_vfi.media.open_local_media import VideoError
from sgm_vfi.video.av_frames import is_transparent, require_same_format
from sgm_vfi.video.read_header import VideoHeader
from sgm_vfi.video.side_data import read_content_data
from sgm_vfi.video.trim import WHOLE, Trim


@dataclass(frozen=True)
class DecodedFrame:
    """A decoded frame and its timestamp."""

    index: int
    timestamp: Fraction  # seconds
    picture: av.VideoFrame


class SourceDecoder:
    """Decodes a video, or a part of it, once and collects its timestamps."""

    def __init__(self, path: Path, header: VideoHeader, trim: Trim = WHOLE) -> None:
        self.path = path
        self.header = header
        self.trim = trim
        self.reader = VideoReader(path.name, path, header.stream, header.follow_playlists)
        self.first: av.VideoFrame | None = None
        self.timestamps: list[Fraction] = []
        self.dropped = 0
        self.skipped = 0  # frames before the part that is used
        self.end: Fraction | None = None  # timestamp of the first frame after that part
        self.duration = Fraction(0)  # of the last frame
        self.is_interlaced = False
        self.has_missing_timestamps = False
        self.is_transparent = False
        self.side_data: dict[str, bytes] = {}

    def __iter__(self) -> Iterator[DecodedFrame]:
        start = last = None
        for picture in self.reader.decode():
            index, number = len(self.timestamps), self.skipped + len(self.timestamps)
            self.has_missing_timestamps = self.has_missing_timestamps or picture.pts is None
            timestamp = read_timestamp(picture, number, self.header)
            if last is not None and timestamp <= last:
                self.dropped += 1
                continue
            start, last = (timestamp if start is None else start), timestamp
            position = (number, timestamp - start, self.header.time_base)
            if self.trim.is_before(*position):
                self.skipped += 1
                continue
            if self.trim.is_over(*position):
                self.end = timestamp
                return
            self.first = self.first or picture
            require_same_format(self.path, number, self.first, picture)
            self.is_interlaced = self.is_interlaced or picture.interlaced_frame
            self.is_transparent = self.is_transparent or is_transparent(picture)
            self.side_data = read_content_data(picture) | self.side_data
            self.timestamps.append(timestamp)
            self.duration = (picture.duration or 0) * (picture.time_base or self.header.time_base)
            yield DecodedFrame(index, timestamp, picture)


def read_timestamp(picture: av.VideoFrame, index: int, header: VideoHeader) -> Fraction:
    """Return the timestamp in seconds; count frames if the file has no timestamps."""
    if picture.pts is not None:
        return picture.pts * (picture.time_base or header.time_base)
    if header.frame_rate is None:
        raise VideoError(
            "The file gives neither timestamps nor a rate. Put it into a container first: "
            "ffmpeg -r RATE -i FILE -c copy OUT.mkv"
        )
    return index / header.frame_rate
