"""Muxing: segments are joined without encoding, and other streams of the source are copied.

Packets of audio, subtitles and data are copied unchanged; so are chapters and metadata.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from fractions import Fraction
from heapq import merge
from itertools import chain
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import av
from av.bitstream import BitStreamFilterContext

from sgm_vfi.media.open_local_media import is_cover_art, open_input, open_output
from sgm_vfi.video.metadata_tags import TIMECODE, copyable_tags
from sgm_vfi.video.mp4_stereo import hide_eyes_box
from sgm_vfi.video.other_streams import demux_shown
from sgm_vfi.video.output_timestamps import to_pts
from sgm_vfi.video.read_header import VideoHeader
from sgm_vfi.video.segment_encoder import SEGMENT_RATE
from sgm_vfi.video.side_data_in_matroska_header import write_template
from sgm_vfi.video.slow_sound import SoundFile, add_sound
from sgm_vfi.video.source_video import SourceVideo
from sgm_vfi.video.trim import stretch_chapters, trim_chapters, trim_packet

CONTAINERS = (".mp4", ".m4v", ".mov", ".mkv", ".webm")  # which hold any timestamps
MP4 = (".mp4", ".m4v", ".mov")


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
    stretch: Fraction = Fraction(1)  # how many times as long everything lasts
    encoded_again: tuple[int, ...] = ()  # sound that is encoded again, by its index in the source
    lost: tuple[str, ...] = ()  # what is not copied, and why, as text
    notes: tuple[str, ...] = ()
    timecode: str | None = None  # of the first frame, at the rate of the output
    timecode_rate: Fraction = Fraction(SEGMENT_RATE)
    any_keys: bool = False  # write metadata as MP4 keys of any name, not as those of iTunes
    kinds: tuple[str, ...] = ()  # of all streams of the output, as its trial has them

    def describe(self, header: VideoHeader) -> list[str]:
        """Name what is copied."""
        names = [str(s) for s in header.other_streams if s.index in self.streams]
        again = [str(s) for s in header.other_streams if s.index in self.encoded_again]
        names += [f"{name}, encoded again" for name in again]
        names += [f"{header.num_chapters} chapters"] if self.chapters else []
        return names + ([f"timecode as {self.timecode}"] if self.timecode else [])


def assemble(
    output: Path,
    source: SourceVideo,
    segments: Sequence[EncodedSegment],
    clock: FrameClock,
    copied: CopiedStreams,
    *,
    with_rotation: bool = True,
    max_packets: Mapping[int, int] | None = None,
    sounds: Sequence[SoundFile] = (),
) -> None:
    """Join segments into a file with the timestamps of the clock, and copy streams of the source.

    Nothing is decoded or encoded, and only a few packets are held in memory.

    Args:
        with_rotation: ask players to rotate the pictures as the source does.
        max_packets: of each copied stream, for a trial; by default all.
        sounds: stretched sound to add.
    """
    is_mp4 = output.suffix.lower() in MP4
    with ExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory()))
        template = write_template(segments[0].path, folder / "template.mkv", source)
        first = stack.enter_context(open_input(template))
        container = stack.enter_context(open_output(output, **choose_muxer_options(output, copied)))
        rate = copied.timecode_rate if is_mp4 and copied.timecode else None
        video = add_video(container, first.streams.video[0], rate)
        video.time_base = clock.time_base
        if copied.timecode is not None:
            video.metadata[TIMECODE] = copied.timecode
        if is_mp4 and first.streams.video[0].codec_context.name == "hevc":
            video.codec_context.codec_tag = "hvc1"  # which Apple's players insist on
        if with_rotation and source.display_matrix is not None:
            video.set_display_matrix(source.display_matrix)
        packets = [hold_last(read_video_packets(segments, clock, video), clock.end)]
        if source.path.is_file():  # images have no container
            original = stack.enter_context(source.open_file())
            film = original.streams[source.header.stream]
            video.metadata.update(copyable_tags(film.metadata, of_video=True))
            video.disposition = film.disposition
            if copies := copy_headers(original, container, copied, source):
                packets.append(read_copied_packets(original, copies, source, max_packets))
        for sound in sounds:
            made = stack.enter_context(open_input(sound.path))
            packets.append(add_sound(container, made, sound, original, source))
        for _, packet in merge(*packets, key=lambda timed: timed[0]):
            container.mux_one(packet)
    if is_mp4 and "STEREO3D" in source.side_data:
        hide_eyes_box(output)


def choose_muxer_options(output: Path, copied: CopiedStreams) -> dict[str, str]:
    """Return what the writer of MP4 must be told; 3D and spheres count as unofficial."""
    if output.suffix.lower() not in MP4:
        return {}
    flags = "+faststart+use_metadata_tags" if copied.any_keys else "+faststart"
    return {"movflags": flags, "strict": "unofficial"}


def add_video(
    container: av.container.OutputContainer, template: av.VideoStream, rate: Fraction | None
) -> av.VideoStream:
    """Add the stream of the video.

    Args:
        rate: frames per second, which MP4 needs for a track of timecodes. PyAV sets it for streams
            of encoders only: the stream is one of MPEG-4, until it gets its parameters.
    """
    if rate is None:
        return container.add_stream_from_template(template, opaque=True)
    video = container.add_stream("mpeg4", rate=rate, width=64, height=48)
    video.codec_context.framerate = Fraction(
        SEGMENT_RATE
    )  # of this encoder, which knows some rates only
    video.codec_context.time_base = Fraction(1, SEGMENT_RATE)
    video.codec_context.open()
    BitStreamFilterContext("null", template, video)
    video.codec_context.codec_tag = "\0\0\0\0"  # that of the new container
    return video


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
        is_cover = isinstance(template, av.VideoStream) and is_cover_art(template)
        if is_cover and container.format.name == "matroska":
            attach_cover(container, source, index)
            continue
        copies[index] = container.add_stream_from_template(template, opaque=True)
        copies[index].metadata.update(copyable_tags(template.metadata))
        copies[index].disposition = template.disposition
    container.metadata.update(copyable_tags(original.metadata))
    if copied.chapters:
        chapters: list[Any] = list(map(dict, original.chapters()))
        if source.trim:
            chapters = trim_chapters(chapters, source.offset, source.end)
        container.set_chapters(stretch_chapters(chapters, source.timestamps[0], copied.stretch))
    return copies


def attach_cover(container: av.container.OutputContainer, source: SourceVideo, index: int) -> None:
    """Attach the cover picture in a stream of the source, as Matroska has them."""
    with source.open_file() as original:
        cover = original.streams[index]
        packet = next(p for p in original.demux(cover) if p.size)
        kind, tags = (cover.name or "").replace("mjpeg", "jpeg"), copyable_tags(cover.metadata)
    name = tags.pop("filename", f"cover.{kind.replace('jpeg', 'jpg')}")
    attached = container.add_attachment(name, tags.pop("mimetype", f"image/{kind}"), bytes(packet))
    attached.metadata.update(tags)


def read_video_packets(
    segments: Sequence[EncodedSegment], clock: FrameClock, stream: av.VideoStream
) -> Iterator[tuple[Fraction, av.Packet]]:
    """Yield the packets of all segments in decoding order, with their decoding times in seconds.

    A packet is decoded when the frame `reorder` places before it is shown, so that it is never
    late and decoding times increase as presentation times do.
    """
    delay = max(segment.reorder for segment in segments)
    timestamps = TimestampLookup(clock)
    place = start = 0  # among all packets, and where the segment begins
    for segment in segments:
        with open_input(segment.path) as container:
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


def hold_last(
    packets: Iterator[tuple[Fraction, av.Packet]], end: int
) -> Iterator[tuple[Fraction, av.Packet]]:
    """Pass packets on, the last of which lasts as long as the video lacks, as MP4 adds durations.

    Args:
        end: of the video, in ticks.
    """
    waiting, start, first_pts, last_pts = None, 0, 0, 0
    for timed in packets:
        pts, dts = timed[1].pts or 0, timed[1].dts or 0
        if waiting is None:
            start, first_pts, last_pts = dts, pts, pts
        else:
            yield waiting
        waiting, last_pts = timed, max(last_pts, pts)
    if waiting is not None:
        packet = waiting[1]
        if packet.pts != last_pts:  # the last frame that is shown was decoded before
            left = (end - first_pts) - ((packet.dts or 0) - start)
            packet.duration = max(packet.duration or 0, left)
        yield waiting


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
    original: av.container.InputContainer,
    copies: dict[int, av.stream.Stream],
    source: SourceVideo,
    max_packets: Mapping[int, int] | None = None,
) -> Iterator[tuple[Fraction, av.Packet]]:
    """Yield the packets of other streams, with their decoding times in seconds.

    They are unchanged, but moved in time where the source is trimmed.

    Args:
        max_packets: how many of each stream, by its index; by default all.
    """
    last = Fraction(0)
    left = dict(max_packets or {})
    for packet in demux_shown(original, [original.streams[index] for index in copies]):
        if max_packets is not None and not any(left[index] for index in copies):
            return
        if packet.size == 0 and packet.dts is None:  # the end
            continue
        if source.trim and not trim_packet(packet, source.offset, source.end):
            continue
        index = packet.stream.index
        if max_packets is not None:
            left[index] -= 1
            if left[index] < 0:
                left[index] = 0
                continue
        timestamp = packet.dts if packet.dts is not None else packet.pts
        last = last if timestamp is None else timestamp * packet.time_base
        packet.stream = copies[index]
        yield last, packet
