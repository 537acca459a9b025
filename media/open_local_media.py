"""Opening of media files with FFmpeg: a path always means a local file, never a URL or a pattern.

FFmpeg takes names such as `10:20.mkv`, `http:x.mp4`, `concat:a|b` or `frame%d.png` for addresses,
lists and patterns, and follows the names inside of playlists. Every file of this package is opened
here, with the protocol `file:` and no other.
"""

from contextlib import suppress
from io import BytesIO
from pathlib import Path

import av
from av.codec.context import Flags
from av.container import InputContainer, OutputContainer
from av.stream import Disposition

from sgm_vfi.media.animated_images import is_animated_webp_or_avif, read_as_apng

# Demuxers of texts that name other files or addresses, and of numbered images.
PLAYLIST_FORMATS = ("concat", "hls", "dash", "imf")
REFUSED_FORMATS = (
    *("image2", "sdp", "rtp", "rtsp", "sap", "webm_dash_manifest"),
    *("avisynth", "vapoursynth", "lavfi", "vobsub"),
)
LOCAL_FILES = {"protocol_whitelist": "file"}
REFUSED = "Format not on whitelist"  # in FFmpeg's log
GIVE_VIDEOS = "Give the videos themselves."
FOLLOW = "Give the videos themselves; or add --follow_playlists, if you trust the list."


class VideoError(ValueError):
    """An unreadable video or folder of frames; the message names it and the remedy."""


def open_input(path: Path, *, follow_playlists: bool = False) -> InputContainer:
    """Open a local media file to read.

    Args:
        follow_playlists: allow playlists and concat scripts, which name other local files.

    Raises:
        VideoError: the file is a playlist or a script, and these are not followed.
        FrameError: it is an animated image that cannot be read.
        av.error.FFmpegError: FFmpeg cannot read the file.
    """
    refused = REFUSED_FORMATS if follow_playlists else (*REFUSED_FORMATS, *PLAYLIST_FORMATS)
    options = LOCAL_FILES | {"format_whitelist": ",".join(av.formats_available - {*refused})}
    options |= {"safe": "0"} if follow_playlists else {}  # concat scripts may name any local file
    try:
        file = BytesIO(read_as_apng(path)) if is_animated_webp_or_avif(path) else to_url(path)
        return av.open(file, "r", options=options, metadata_errors="surrogateescape")
    except av.error.FFmpegError as error:
        if is_refused_format(path, options):
            raise VideoError(
                f"{path} is no video, but a list of other files or addresses, which are not read. "
                f"{GIVE_VIDEOS if follow_playlists else FOLLOW}"
            ) from error
        raise type(error)(error.errno or 0, error.strerror or "", str(path)) from error


def open_output(path: Path, *, format: str | None = None, **options: str) -> OutputContainer:
    """Open a local media file to write.

    Args:
        format: name of FFmpeg's muxer; by default, that of the suffix.
        options: of the muxer.
    """
    return av.open(
        to_url(path),
        "w",
        format=format,
        container_options=LOCAL_FILES | options,
        metadata_errors="surrogateescape",
    )


def to_url(path: Path) -> str:
    """Return the URL of a local file, with which FFmpeg reads nothing else into its name."""
    return f"file:{path}"


def is_refused_format(path: Path, options: dict[str, str]) -> bool:
    """Return whether the demuxer is not on the whitelist, which only FFmpeg's log tells."""
    level, skips = av.logging.get_level(), av.logging.get_skip_repeated()
    av.logging.set_level(av.logging.ERROR)
    av.logging.set_skip_repeated(False)
    try:
        with av.logging.Capture() as messages, suppress(av.error.FFmpegError):
            av.open(to_url(path), options=options).close()
    finally:
        av.logging.set_level(level)
        av.logging.set_skip_repeated(skips)
    return any(REFUSED in text for _, _, text in messages)


def choose_video_stream(
    path: Path, container: InputContainer, index: int | None = None
) -> av.VideoStream:
    """Return the video stream that players show: of those marked default, the largest.

    Cover pictures and thumbnails are no videos. If no stream is marked, the largest is chosen. Its
    decoder cuts off exactly what the stream tells it to: FFmpeg's default keeps columns on the left
    for the alignment of memory.

    Args:
        index: of the stream in the file, from 0, to choose it instead.

    Raises:
        VideoError: there is no such stream.
    """
    videos = [stream for stream in container.streams.video if not is_cover_art(stream)]
    if not videos:
        kinds = {"cover picture" if is_cover_art(s) else s.type for s in container.streams}
        held = ", ".join(sorted(kinds)) or "nothing"
        raise VideoError(f"{path} holds no video stream ({held} only).")
    if index is None:
        marked = [stream for stream in videos if stream.disposition & Disposition.default]
        return crop_exactly(max(marked or videos, key=count_pixels))  # of equals, the first
    for stream in videos:
        if stream.index == index:
            return crop_exactly(stream)
    known = "; ".join(map(describe_video_stream, videos))
    raise VideoError(f"{path} has no video in stream {index}. It has {known}.")


def crop_exactly(stream: av.VideoStream) -> av.VideoStream:
    """Make the decoder of a stream crop to the column, and return the stream."""
    if stream.codec_context is not None:  # None: the codec is unknown
        stream.codec_context.flags |= Flags.unaligned
    return stream


def is_cover_art(stream: av.stream.Stream) -> bool:
    """Return whether a stream is a cover picture or holds thumbnails."""
    return stream.type == "video" and bool(
        stream.disposition & (Disposition.attached_pic | Disposition.timed_thumbnails)
    )


def count_pixels(stream: av.VideoStream) -> int:
    """Return the pixels of a frame; 0 if the codec is unknown."""
    context = stream.codec_context
    return context.width * context.height if context else 0


def describe_video_stream(stream: av.VideoStream) -> str:
    """Return the index, size and codec of a stream, as text."""
    context = stream.codec_context
    what = f"{context.width}x{context.height} {context.name}" if context else "unknown codec"
    marked = ", default" if stream.disposition & Disposition.default else ""
    return f"stream {stream.index} ({what}{marked})"
