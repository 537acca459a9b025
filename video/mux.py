"""Muxing: segments are joined without encoding, and other streams of the source are copied.

Packets of audio, subtitles and data are copied unchanged; so are chapters and metadata.
"""

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from fractions import Fraction
from heapq import merge
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

import av
import torch

from sgm_vfi.media.display_matrix import parse_display_matrix, read_display_matrix
from sgm_vfi.video.av_frames import read_colour_tags, read_hdr_metadata
from sgm_vfi.video.encoding import EncoderSettings
from sgm_vfi.video.segment_encoder import SEGMENT_RATE, SegmentEncoder
from sgm_vfi.video.source_video import SourceVideo
from sgm_vfi.video.timeline import to_pts
from sgm_vfi.video.trim import trim_chapters, trim_packet

CONTAINERS = (".mp4", ".m4v", ".mov", ".mkv", ".webm")  # which hold any timestamps
OF_THE_CONTAINER = ("major_brand", "minor_version", "compatible_brands", "encoder", "duration")

COUNTED = ("bps", "number_of_frames", "number_of_bytes", "_statistics_")  # begin mkvmerge's tags


class EncodedSegment(NamedTuple):
    """A finished segment."""

    path: Path
    reorder: int  # how many places before its turn a packet may come, at most


class FrameClock(NamedTuple):
    """When output frames are shown, in whole to_pts."""

    time_base: Fraction  # seconds
    times: Iterator[int]
    end: int  # when the last one disappears


@dataclass(frozen=True, kw_only=True)
class CopiedStreams:
    """What is copied from the source besides its pictures."""

    streams: tuple[int, ...] = ()  # by their index in the source
    chapters: bool = False
    stretch: int = 1  # how many times as long everything lasts
    lost: tuple[str, ...] = ()  # what is not copied, and why, as text


def choose_copied_streams(
    source: SourceVideo, encoding: EncoderSettings, suffix: str, stretch: int = 1
) -> CopiedStreams:
    """Find out which streams a container can hold, by writing a trial file.

    Args:
        stretch: duration of the output over that of the source; above 1, sound is lost.

    Raises:
        ValueError: the container cannot hold the video itself.
    """
    streams, lost = [], []
    with tempfile.TemporaryDirectory() as folder:
        piece = Path(folder, "piece.mkv")
        writer = SegmentEncoder(piece, encoding)
        writer.write(torch.full((1, 3, source.height, source.width), 0.5))
        writer.close()
        trial = Path(folder, f"trial{suffix}")
        clock = (Fraction(1, SEGMENT_RATE), iter((0,)), 1)
        try:
            assemble(trial, source, [EncodedSegment(piece, 0)], FrameClock(*clock), CopiedStreams())
        except (ValueError, av.error.FFmpegError) as error:
            raise ValueError(
                f"{suffix} cannot hold {encoding.encoder} ({error}). Name another --output, such "
                f"as .mkv, or another --codec."
            ) from error
        lost += find_format_changes(trial, source, encoding)
        for other in source.header.other_streams:
            if source.trim and other.kind == "data":
                lost.append(f"{other}: it cannot be cut with the pictures")
            elif stretch != 1:
                lost.append(f"{other}: it is not slowed down with the pictures")
            elif can_hold(trial, source.path, piece, other.index):
                streams.append(other.index)
            else:
                lost.append(f"{other}: {suffix} cannot hold it")
    return CopiedStreams(
        streams=tuple(streams),
        chapters=source.header.num_chapters > 0,
        stretch=stretch,
        lost=tuple(lost),
    )


def find_folder_losses(source: SourceVideo) -> CopiedStreams:
    """Return what a folder of images keeps of the source besides its pictures: nothing."""
    lost = [f"{other}: a folder holds frames only" for other in source.header.other_streams]
    if source.header.pixel_aspect not in (None, 1):
        lost.append(f"the shape of its pixels, {source.header.pixel_aspect}")
    return CopiedStreams(lost=tuple(lost))


def can_hold(trial: Path, source: Path, piece: Path, index: int) -> bool:
    """Return whether a container takes a stream beside the video."""
    try:
        with av.open(source) as original, av.open(piece) as video, av.open(trial, "w") as container:
            container.add_stream_from_template(video.streams[0], opaque=True)
            container.add_stream_from_template(original.streams[index], opaque=True)
            container.start_encoding()
    except (ValueError, av.error.FFmpegError):
        return False
    return True


def find_format_changes(file: Path, source: SourceVideo, encoding: EncoderSettings) -> list[str]:
    """List the differences of a file's picture format from what was asked for."""
    with av.open(file) as container:
        stream = container.streams.video[0]
        picture = next(container.decode(stream))
        aspect = stream.sample_aspect_ratio or 1
    pix_fmt = picture.format.name.replace("yuvj", "yuv")
    size = f"{picture.width}x{picture.height} {pix_fmt}"
    wanted_size = f"{encoding.width}x{encoding.height} {encoding.pixel_format.layout.pix_fmt}"
    found = [] if size == wanted_size else [f"its pictures: {size} for {wanted_size}"]
    orientation = parse_display_matrix(read_display_matrix(picture))
    if orientation != source.orientation:
        found.append(f"its rotation: {orientation} for {source.orientation}")
    if (source.header.pixel_aspect or 1) != aspect:
        found.append(f"the shape of its pixels: {aspect} for {source.header.pixel_aspect}")
    if read_hdr_metadata(picture) != source.hdr_metadata:
        found.append("its HDR10 metadata (mastering display, light levels)")
    tags = zip(encoding.tags._fields, encoding.tags, read_colour_tags(picture), strict=True)
    for name, wanted, got in tags:
        both_narrow = name == "colour_range" and {wanted, got} == {0, 1}  # unstated means narrow
        if wanted != got and not both_narrow:
            found.append(f"the tag of its {name.replace('_', ' ')}: {got} for {wanted}")
    return found


def assemble(
    output: Path,
    source: SourceVideo,
    segments: Sequence[EncodedSegment],
    clock: FrameClock,
    copied: CopiedStreams,
    *,
    with_rotation: bool = True,
) -> None:
    """Join segments into a file with the timestamps of the clock, and copy streams of the source.

    Nothing is decode_rgb or encoded, and only a few packets are held in memory.

    Args:
        with_rotation: ask players to rotate the pictures as the source does.
    """
    is_mp4 = output.suffix.lower() in (".mp4", ".m4v", ".mov")
    options = {"movflags": "+faststart"} if is_mp4 else {}
    with ExitStack() as stack:
        first = stack.enter_context(av.open(segments[0].path))
        container = stack.enter_context(av.open(output, "w", container_options=options))
        video = container.add_stream_from_template(first.streams.video[0], opaque=True)
        video.time_base = clock.time_base
        if is_mp4 and first.streams.video[0].codec_context.name == "hevc":
            video.codec_context.codec_tag = "hvc1"  # which Apple's players insist on
        if with_rotation and source.display_matrix is not None:
            video.set_display_matrix(source.display_matrix)
        packets = [read_video_packets(segments, clock, video)]
        if source.path.is_file():  # images have no container
            original = stack.enter_context(av.open(source.path))
            tags = without_container_tags(original.streams.video[0].metadata)
            video.metadata.update(without_packet_tags(tags))
            copies = copy_headers(original, container, copied, source)
            packets += [read_copied_packets(original, copies, source)] if copies else []
        for _, packet in merge(*packets, key=lambda timed: timed[0]):
            container.mux_one(packet)


def copy_headers(
    original: av.container.InputContainer,
    container: av.container.OutputContainer,
    copied: CopiedStreams,
    source: SourceVideo,
) -> dict[int, av.stream.Stream]:
    """Copy metadata and chapters, and add the copied streams; return these by source index."""
    copies = {}
    for index in copied.streams:
        template = original.streams[index]
        copies[index] = container.add_stream_from_template(template, opaque=True)
        copies[index].metadata.update(without_container_tags(template.metadata))
        copies[index].disposition = template.disposition
    container.metadata.update(without_container_tags(original.metadata))
    if copied.chapters:
        chapters: list[Any] = list(map(dict, original.chapters()))
        if source.trim:
            chapters = trim_chapters(chapters, source.offset, source.end)
        container.set_chapters(stretch_chapters(chapters, source.timestamps[0], copied.stretch))
    return copies


def stretch_chapters(chapters: list[Any], start: Fraction, stretch: int) -> list[Any]:
    """Return the chapters of a video that is stretched in time from its start on."""

    def moved(count: int, time_base: Fraction) -> int:
        return to_pts(start + (count * time_base - start) * stretch, time_base)

    return [
        {**c, **{end: moved(c[end], c["time_base"]) for end in ("start", "end")}} for c in chapters
    ]


def without_container_tags(metadata: dict[str, str]) -> dict[str, str]:
    """Return the metadata of a file or a stream without that of its container."""
    return {key: text for key, text in metadata.items() if key not in OF_THE_CONTAINER}


def without_packet_tags(metadata: dict[str, str]) -> dict[str, str]:
    """Return the metadata of a stream without statistics of its old packets."""
    of_packets = (*OF_THE_CONTAINER, *COUNTED)  # Matroska has them in capitals
    return {k: text for k, text in metadata.items() if not k.lower().startswith(of_packets)}


def read_video_packets(
    segments: Sequence[EncodedSegment], clock: FrameClock, stream: av.VideoStream
) -> Iterator[tuple[Fraction, av.Packet]]:
    """Yield the packets of all segments in decoding order, with their decoding times in seconds.

    A packet is decode_rgb when the frame `reorder` places before it is shown, so that it is never
    late and decoding times increase as presentation times do.
    """
    delay = max(segment.reorder for segment in segments)
    timestamps = TimestampLookup(clock)
    place = start = 0  # among all packets, and where the segment begins
    for segment in segments:
        with av.open(segment.path) as container:
            for packet in container.demux(container.streams[0]):
                if packet.pts is None:  # the end
                    continue
                number = start + to_pts(packet.pts * packet.time_base, Fraction(1, SEGMENT_RATE))
                packet.stream = stream
                packet.time_base = clock.time_base
                packet.pts, packet.dts = timestamps.get(number), timestamps.get(place - delay)
                packet.duration = timestamps.get(number + 1) - packet.pts
                timestamps.drop(place - delay - 1)
                place += 1
                yield packet.dts * clock.time_base, packet
        start = place


class TimestampLookup:
    """Timestamps by frame number, read from a clock as they are needed."""

    def __init__(self, clock: FrameClock) -> None:
        self.upcoming = chain(clock.times, (clock.end,))
        self.known: dict[int, int] = {}
        self.count = 0

    def get(self, number: int) -> int:
        """Return the timestamp of a frame in ticks; numbers below 0 are extrapolated."""
        while self.count <= max(number, 1):
            self.known[self.count] = next(self.upcoming)
            self.count += 1
        if number < 0:
            return self.known[0] + number * (self.known[1] - self.known[0])
        return self.known[number]

    def drop(self, number: int) -> None:
        """Drop the timestamp of a frame that is not needed again."""
        self.known.pop(number, None)


def read_copied_packets(
    original: av.container.InputContainer, copies: dict[int, av.stream.Stream], source: SourceVideo
) -> Iterator[tuple[Fraction, av.Packet]]:
    """Yield the packets of other streams, with their decoding times in seconds.

    They are unchanged, but moved in time where the source is trimmed.
    """
    last = Fraction(0)
    for packet in original.demux([original.streams[index] for index in copies]):
        if packet.size == 0 and packet.dts is None:  # the end
            continue
        if source.trim and not trim_packet(packet, source.offset, source.end):
            continue
        timestamp = packet.dts if packet.dts is not None else packet.pts
        last = last if timestamp is None else timestamp * packet.time_base
        packet.stream = copies[packet.stream.index]
        yield last, packet
