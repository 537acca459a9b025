"""The source video: its frames, their exact timestamps, and all that is known of them."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
from torch import Tensor

from sgm_vfi.media.display_matrix import Orientation, parse_display_matrix, read_display_matrix
from sgm_vfi.media.open_local_media import VideoError, open_input
from sgm_vfi.video.av_frames import (
    ColourTags,
    HDRMetadata,
    read_chroma_location,
    read_colour_tags,
    read_hdr_metadata,
    read_pixel_format,
    read_planes,
)
from sgm_vfi.video.colour_conversion import PixelFormat
from sgm_vfi.video.detect_telecine import TelecineDetector
from sgm_vfi.video.input_frame_size import resize_planes
from sgm_vfi.video.missing_end import (
    count_declared_frames,
    estimate_frame_duration,
    find_missing_end,
)
from sgm_vfi.video.read_header import VideoHeader, read_header
from sgm_vfi.video.side_data import TRANSPARENCY
from sgm_vfi.video.source_decoder import DecodedFrame, SourceDecoder
from sgm_vfi.video.trim import WHOLE, Trim, read_chapters, trim_chapters

TELECINED = (
    "the video is telecined (3:2 pulldown): two of five frames mix two frames of film. Restore the "
    "film first: ffmpeg -i IN -vf fieldmatch,decimate OUT"
)
INTERLACED = (
    "the video is interlaced; its frames are taken as they are. Deinterlace first: "
    "ffmpeg -i IN -vf bwdif OUT"
)


@dataclass(frozen=True)
class SourceVideo:
    """A video that was decoded once from end to end."""

    path: Path
    header: VideoHeader
    height: int  # of the frames that are used, as stored, before any rotation
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
    chroma_location: str = "left"  # of 4:2:0 samples, by FFmpeg's name
    stored_size: tuple[int, int] | None = None  # (height, width), if frames are resized

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

    def open_file(self) -> av.container.InputContainer:
        """Open the file again, to copy from it."""
        return open_input(self.path, follow_playlists=self.header.follow_playlists)

    def with_size(self, height: int, width: int) -> "SourceVideo":
        """Return this source with all frames brought to a size as they are read."""
        if (height, width) == (self.height, self.width):
            return self
        is_cut = self.height - height < 2 and self.width - width < 2
        sizes = f"{self.width}x{self.height}", f"{width}x{height}"
        note = "{} is scaled to {} before new frames are made"
        if is_cut:
            note = "{} loses its odd row or column, as players need: {}"
        note = note.format(*sizes)
        return replace(
            self,
            height=height,
            width=width,
            stored_size=(self.height, self.width),
            notes=(*self.notes, note),
        )

    def resize(self, planes: list[Tensor]) -> list[Tensor]:
        """Bring the samples of a stored frame to the size of this source."""
        return resize_planes(planes, self.pixel_format.layout, self.height, self.width)

    def planes(self, wanted: Iterable[int] | None = None) -> Iterator[tuple[int, list[Tensor]]]:
        """Yield the index and the samples (see `read_planes`) of the wanted frames, in order.

        Always decodes from the beginning: seeking is not exact in every format, and decoding is
        fast compared to a network.

        Args:
            wanted: increasing frame indices; None: all. After the last one, the first frame comes
                again, for loops.
        """
        indices = iter(range(len(self.timestamps)) if wanted is None else wanted)
        next_index, first = next(indices, None), None
        for decoded in SourceDecoder(self.path, self.header, self.trim):
            if next_index is None:
                return
            first = first or decoded.picture
            if decoded.index == next_index:
                yield next_index, self._read(decoded.picture)
                next_index = next(indices, None)
        if first is not None and next_index == len(self.timestamps):
            yield next_index, self._read(first)

    def _read(self, picture: av.VideoFrame) -> list[Tensor]:
        return self.resize(read_planes(picture, self.pixel_format.layout))


def probe_video(
    path: Path,
    analyse: Callable[[Iterator[DecodedFrame]], Iterable[DecodedFrame]] | None = None,
    trim: Trim = WHOLE,
    *,
    stream: int | None = None,
    follow_playlists: bool = False,
) -> SourceVideo:
    """Decode a video, or a part of it, from end to end without keeping its frames.

    Only this finds all timestamps, and any damage.

    Args:
        analyse: receives the iterator of all frames and yields as many items.
        stream: index of the video stream in the file; by default, the one that players show.
        follow_playlists: allow playlists and concat scripts, which name other local files.

    Raises:
        VideoError: there is no video or no frame, or the file is damaged.
    """
    header = read_header(path, stream, follow_playlists=follow_playlists)
    decoder, telecine = SourceDecoder(path, header, trim), TelecineDetector()
    first = read_all_frames(path, decoder, telecine, analyse)
    pixel_format, notes = read_pixel_format(path, first)
    end, missing = find_end(path, header, decoder, trim)
    notes += [*describe_decoding(path, header, decoder, telecine), *missing]
    offset = decoder.timestamps[0] if trim else Fraction(0)
    if trim:
        chapters = read_chapters(path, follow_playlists=follow_playlists)
        header = trim_header(header, chapters, offset, end, decoder.skipped)
        notes.append(f"only {trim} is used; sound is cut between its packets")
    if decoder.is_transparent and TRANSPARENCY not in header.lost:
        header = header._replace(lost=(*header.lost, TRANSPARENCY))
    return SourceVideo(
        path=path,
        header=header,
        height=first.height,
        width=first.width,
        pixel_format=pixel_format,
        tags=read_colour_tags(first),
        hdr_metadata=read_hdr_metadata(first),
        chroma_location=read_chroma_location(first) if pixel_format.layout.step_y > 1 else "left",
        timestamps=tuple(timestamp - offset for timestamp in decoder.timestamps),
        end=end - offset,
        display_matrix=read_display_matrix(first),
        notes=tuple(notes),
        trim=trim,
        offset=offset,
        side_data=decoder.side_data,
    )


def read_all_frames(
    path: Path,
    decoder: "SourceDecoder",
    telecine: TelecineDetector,
    analyse: Callable[[Iterator[DecodedFrame]], Iterable[DecodedFrame]] | None,
) -> av.VideoFrame:
    """Decode all frames, record whether they are interlaced, and return the first."""

    def observe_fields() -> Iterator[DecodedFrame]:
        """Pass frames on to the detector of telecine."""
        for decoded in decoder:
            telecine.observe(decoded.picture)
            yield decoded

    for _ in observe_fields() if analyse is None else analyse(observe_fields()):
        pass
    if decoder.first is None:
        trim, where = decoder.trim, "no frames"
        if trim:
            where = f"no frame from {trim}; it has {decoder.skipped} before"
        raise VideoError(f"{path} has a video stream with {where}. Use another file or part.")
    return decoder.first


def find_end(
    path: Path, header: VideoHeader, decoder: "SourceDecoder", trim: Trim
) -> tuple[Fraction, list[str]]:
    """Return when the last frame ends, and notes if the file promises more than it has."""
    timestamps = decoder.timestamps
    duration = estimate_frame_duration(timestamps, header.frame_rate)
    end = decoder.end or timestamps[-1] + (decoder.duration or duration)
    if trim.end is None and header.duration > end - timestamps[0] + 2 * duration:
        return end, find_missing_end(path, header)
    return end, []


def trim_header(
    header: VideoHeader, chapters: Sequence[Any], start: Fraction, end: Fraction, num_skipped: int
) -> VideoHeader:
    """Return the header of the part from `start` to `end`: its chapters, and no false timecode."""
    header = header._replace(num_chapters=len(trim_chapters(chapters, start, end - start)))
    if not num_skipped or header.timecode is None:
        return header
    lost = f"timecode {header.timecode}: the part that is used begins later"
    return header._replace(timecode=None, lost=(*header.lost, lost))


def describe_decoding(
    path: Path, header: VideoHeader, decoder: "SourceDecoder", telecine: TelecineDetector
) -> list[str]:
    """Return what a user should know of a video that was decoded: fields, streams, gaps."""
    notes = []
    if decoder.dropped:
        notes.append(f"{decoder.dropped} frames whose timestamps do not advance are left out")
    if telecine.is_telecined:
        notes.append(TELECINED)
    elif decoder.is_interlaced:
        notes.append(INTERLACED)
    if header.other_videos:
        notes.append(
            f"stream {header.stream} is interpolated; left out: {', '.join(header.other_videos)}"
        )
    if header.follow_playlists:
        notes.append("it may be a playlist; changes of the files that it names are not noticed")
    given = decoder.skipped + len(decoder.timestamps)
    if decoder.trim.end is None and header.num_declared_frames > given + decoder.dropped:
        declared = count_declared_frames(path, header)
        if declared > given + decoder.dropped:
            notes.append(f"the file promises {declared} frames and gives {given}")
    is_assumed = decoder.has_missing_timestamps or header.is_rate_assumed
    if is_assumed and header.frame_rate is not None:
        notes.append(
            f"it gives no timestamps; {float(header.frame_rate):.5g} fps are assumed. For another "
            f"rate put it into a container first: ffmpeg -r RATE -i FILE -c copy OUT.mkv"
        )
    return notes
