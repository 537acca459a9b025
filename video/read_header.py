"""The header of a video file, read without decoding."""

from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

import av

from sgm_vfi.media.images import describe_path
from sgm_vfi.media.open_local_media import (
    VideoError,
    choose_video_stream,
    describe_video_stream,
    is_cover_art,
    open_input,
)
from sgm_vfi.video.metadata_tags import read_timecode
from sgm_vfi.video.other_streams import OtherStream, find_other_streams
from sgm_vfi.video.side_data import find_header_losses

RATELESS_FORMATS = ("mjpeg", "mjpeg_2000")  # of FFmpeg, which counts pictures at 25 fps
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
    stream: int  # index of the video in the file
    other_videos: tuple[str, ...]  # which are not used
    is_rate_assumed: bool = False  # by FFmpeg, as nothing in the file states it
    follow_playlists: bool = False
    timecode: str | None = None  # of the first frame
    lost: tuple[str, ...] = ()  # what the header says of the video and no output says


def read_header(
    path: Path, stream: int | None = None, *, follow_playlists: bool = False
) -> VideoHeader:
    """Read the header of a file.

    Args:
        stream: index of the video stream in the file; by default, the one that players show.
        follow_playlists: allow playlists and concat scripts, which name other local files.

    Raises:
        VideoError: there is no file or no video, or its codec is not supported.
    """
    if not path.is_file():
        raise VideoError(f"Cannot read {path}: {describe_path(path)}.")
    if not path.stat().st_size:
        raise VideoError(f"Cannot read {path}: the file is empty. Copy it again.")
    try:
        with open_input(path, follow_playlists=follow_playlists) as container:
            video = choose_video_stream(path, container, stream)
            return VideoHeader(
                codec=video.codec_context.name if video.codec_context else "unknown",
                bit_rate=(video.codec_context and video.bit_rate) or container.bit_rate or 0,
                num_declared_frames=video.frames,
                time_base=video.time_base or Fraction(0),
                frame_rate=read_frame_rate(video),
                pixel_aspect=video.sample_aspect_ratio,
                duration=Fraction(container.duration or 0, av.time_base),
                other_streams=tuple(find_other_streams(container)),
                num_chapters=len(container.chapters()),
                stream=video.index,
                other_videos=tuple(
                    describe_video_stream(s)
                    for s in container.streams.video
                    if s.index != video.index and not is_cover_art(s)
                ),
                is_rate_assumed=container.format.name in RATELESS_FORMATS,
                follow_playlists=follow_playlists,
                timecode=read_timecode(x.metadata for x in (video, container, *container.streams)),
                lost=find_header_losses(container, video),
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
