"""The source video: its header, exact timestamps, and decoding."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

import av
from torch import Tensor

from sgm_vfi.media.display_matrix import Orientation, parse_display_matrix, read_display_matrix
from sgm_vfi.media.images import describe_path
from sgm_vfi.media.videos import VideoError, VideoReader
from sgm_vfi.video.av_frames import (
    ColourTags,
    HDRMetadata,
    has_alpha,
    read_colour_tags,
    read_hdr_metadata,
    read_pixel_format,
    read_planes,
    require_same_format,
)
from sgm_vfi.video.colour_conversion import PixelFormat
from sgm_vfi.video.missing_end import (
    count_declared_frames,
    estimate_frame_duration,
    find_missing_end,
)
from sgm_vfi.video.other_streams import OtherStream, find_other_streams, is_cover_art
from sgm_vfi.video.side_data import TRANSPARENCY, find_header_losses, read_content_data
from sgm_vfi.video.tags import read_timecode
from sgm_vfi.video.trim import WHOLE, Trim, read_chapters, trim_chapters

RAW_FORMATS = ("h264", "hevc", "vvc")  # of FFmpeg: streams without a container


class VideoHeader(NamedTuple):
    """The header of a file, read without decoding."""

    codec: str
    bit_rate: int
    num_declared_frames: int  # 0: not declared
    time_base: Fraction  # seconds per tick
    frame_rate: Fraction | None  # mean frames per second
    pixel_aspect: Fraction | None  # width of a pixel over its height
    duration: Fraction  # of all streams, in seconds; 0: not declared
    other_streams: tuple[OtherStream, ...]
    num_chapters: int
    num_extra_videos: int
    timecode: str | None = None  # of the first frame
    lost: tuple[str, ...] = ()  # what the header says of the video and no output says


@dataclass(frozen=True)
class SourceVideo:
    """A video that was decoded once from end to end."""

    path: Path
    header: VideoHeader
    height: int  # as stored, before any rotation
    width: int
    pixel_format: PixelFormat
    tags: ColourTags
    hdr_metadata: HDRMetadata
    timestamps: tuple[Fraction, ...]  # seconds
    end: Fraction  # of the last frame, in seconds
    display_matrix: tuple[int, ...] | None  # rotation and mirroring, if any
    notes: tuple[str, ...]  # what was assumed or repaired
    trim: Trim = WHOLE  # frames and timestamps are those of this part of the file
    offset: Fraction = Fraction(0)  # timestamp in the file of what is shown at 0 s
    side_data: Mapping[str, bytes] = field(default_factory=dict)  # the first of each kind
    lost: tuple[str, ...] = ()  # what no output keeps

    @property
    def duration(self) -> Fraction:
        """Seconds from the first timestamp to the end of the last frame."""
        return self.end - self.timestamps[0]

    @property
    def orientation(self) -> Orientation:
        """Rotation and mirroring for display."""
        return parse_display_matrix(self.display_matrix)

    @property
    def frame_rate(self) -> Fraction:
        """Mean frames per second."""
        return len(self.timestamps) / self.duration

    def planes(self, wanted: Iterable[int] | None = None) -> Iterator[tuple[int, list[Tensor]]]:
        """Yield the index and the samples (see `read_planes`) of the wanted frames, in order.

        Always decodes from the beginning: seeking is not exact in every format, and decoding is
        fast compared to a network.

        Args:
            wanted: increasing frame indices; None: all.
        """
        indices = iter(range(len(self.timestamps)) if wanted is None else wanted)
        next_index = next(indices, None)
        for decoded in SourceDecoder(self.path, self.header, self.trim):
            if next_index is None:
                return
            if decoded.index == next_index:
                yield decoded.index, read_planes(decoded.picture, self.pixel_format.layout)
                next_index = next(indices, None)


@dataclass(frozen=True)
class DecodedFrame:
    """A decoded frame and its timestamp."""

    index: int
    timestamp: Fraction  # seconds
    picture: av.VideoFrame


def probe_video(
    path: Path,
    analyse: Callable[[Iterator[DecodedFrame]], Iterable[DecodedFrame]] | None = None,
    trim: Trim = WHOLE,
) -> SourceVideo:
    """Decode a video, or a part of it, from end to end without keeping its frames.

    Only this finds all timestamps, and any damage.

    Args:
        analyse: receives the iterator of all frames and yields as many items.

    Raises:
        VideoError: there is no video or no frame, or the file is damaged.
    """
    header = read_header(path)
    decoder = SourceDecoder(path, header, trim)
    for _ in decoder if analyse is None else analyse(iter(decoder)):
        pass
    first, timestamps, dropped = decoder.first, decoder.timestamps, decoder.dropped
    if first is None:
        where = f"no frame from {trim}; it has {decoder.skipped} before" if trim else "no frames"
        raise VideoError(f"{path} has a video stream with {where}. Use another file or part.")
    pixel_format, notes = read_pixel_format(path, first)
    if dropped:
        notes.append(f"{dropped} frames whose timestamps do not advance are left out")
    if decoder.is_interlaced:
        notes.append("the video is interlaced; its frames are taken as they are. Deinterlace first")
    if header.num_extra_videos:
        notes.append(f"{header.num_extra_videos} more video streams are left out")
    is_whole, given = trim.end is None, decoder.skipped + len(timestamps)
    if is_whole and header.num_declared_frames > given + dropped:
        declared = count_declared_frames(path)
        if declared > given + dropped:
            notes.append(f"the file promises {declared} frames and gives {given}")
    if decoder.has_missing_timestamps and header.frame_rate is not None:
        notes.append(
            f"it gives no timestamps; {float(header.frame_rate):.5g} fps are assumed. For another "
            f"rate put it into a container first: ffmpeg -r RATE -i FILE -c copy OUT.mkv"
        )
    lost = header.lost
    if has_alpha(first) and TRANSPARENCY not in lost:
        lost = (*lost, TRANSPARENCY)
    if decoder.skipped and header.timecode is not None:
        lost = (*lost, f"timecode {header.timecode}: the part that is used begins later")
        header = header._replace(timecode=None)
    end = decoder.end or timestamps[-1] + (
        decoder.duration or estimate_frame_duration(timestamps, header.frame_rate)
    )
    if is_whole and header.duration > end - timestamps[0] + 2 * estimate_frame_duration(
        timestamps, header.frame_rate
    ):
        notes += find_missing_end(path, header.duration)
    offset = timestamps[0] if trim else Fraction(0)
    if trim:
        chapters = trim_chapters(read_chapters(path), offset, end - offset)
        header = header._replace(num_chapters=len(chapters))
        notes.append(f"only {trim} is used; sound is cut between its packets")
    return SourceVideo(
        path=path,
        header=header,
        height=first.height,
        width=first.width,
        pixel_format=pixel_format,
        tags=read_colour_tags(first),
        hdr_metadata=read_hdr_metadata(first),
        timestamps=tuple(timestamp - offset for timestamp in timestamps),
        end=end - offset,
        display_matrix=read_display_matrix(first),
        notes=tuple(notes),
        trim=trim,
        offset=offset,
        side_data=decoder.side_data,
        lost=lost,
    )


class SourceDecoder:
    """Decodes a video, or a part of it, once and collects its timestamps."""

    def __init__(self, path: Path, header: VideoHeader, trim: Trim = WHOLE) -> None:
        self.path = path
        self.header = header
        self.trim = trim
        self.first: av.VideoFrame | None = None
        self.timestamps: list[Fraction] = []
        self.dropped = 0
        self.skipped = 0  # frames before the part that is used
        self.end: Fraction | None = None  # timestamp of the first frame after that part
        self.duration = Fraction(0)  # of the last frame
        self.is_interlaced = False
        self.has_missing_timestamps = False
        self.side_data: dict[str, bytes] = {}

    def __iter__(self) -> Iterator[DecodedFrame]:
        start = last = None
        for picture in VideoReader(self.path.name, self.path).decode():
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
            self.side_data = read_content_data(picture) | self.side_data
            self.timestamps.append(timestamp)
            self.duration = (picture.duration or 0) * (picture.time_base or self.header.time_base)
            yield DecodedFrame(index, timestamp, picture)


def read_header(path: Path) -> VideoHeader:
    """Read the header of a file.

    Raises:
        VideoError: there is no file or no video, or its codec is not supported.
    """
    if not path.is_file():
        raise VideoError(f"Cannot read {path}: {describe_path(path)}.")
    if not path.stat().st_size:
        raise VideoError(f"Cannot read {path}: the file is empty. Copy it again.")
    try:
        with av.open(path) as container:
            videos = [s for s in container.streams.video if not is_cover_art(s)]
            if not videos:
                kinds = ", ".join(sorted({s.type for s in container.streams})) or "nothing"
                raise VideoError(f"{path} holds no video stream ({kinds} only).")
            stream = videos[0]
            if stream.index != container.streams.video[0].index:
                raise VideoError(
                    f"{path} has a cover picture before its video. Remove the cover first:\n"
                    f"  ffmpeg -i {path} -map 0 -map -0:v -map 0:V -c copy clean{path.suffix}"
                )
            return VideoHeader(
                codec=stream.codec_context.name if stream.codec_context else "unknown",
                bit_rate=stream.bit_rate or container.bit_rate or 0,
                num_declared_frames=stream.frames,
                time_base=stream.time_base or Fraction(0),
                frame_rate=read_frame_rate(stream),
                pixel_aspect=stream.sample_aspect_ratio,
                duration=Fraction(container.duration or 0, av.time_base),
                other_streams=tuple(find_other_streams(container)),
                num_chapters=len(container.chapters()),
                num_extra_videos=len(videos) - 1,
                timecode=read_timecode(x.metadata for x in (stream, container, *container.streams)),
                lost=find_header_losses(container, stream),
            )
    except av.error.FFmpegError as error:
        raise VideoError(
            f"{path} is no video that can be read ({error.strerror or error}): it is damaged, "
            f"truncated, or of another kind."
        ) from error


def read_frame_rate(stream: av.VideoStream) -> Fraction | None:
    """Return the mean frame rate; of raw streams, where FFmpeg says 25, that of the codec."""
    if stream.container.format.name in RAW_FORMATS:
        return stream.guessed_rate or stream.average_rate
    return stream.average_rate or stream.guessed_rate


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
