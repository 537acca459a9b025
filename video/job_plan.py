"""Everything that is decided about a video job before any frame is made."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

from sgm_vfi.media.frame_readers import require_quarter_turn
from sgm_vfi.media.sequences import find_sequence
from sgm_vfi.storage.file_identity import FileIdentity, fingerprint_files, identify_files
from sgm_vfi.video.animated_output import (
    ANIMATIONS,
    choose_animation_target,
    describe_left_out,
    is_animation_output,
)
from sgm_vfi.video.container_trial import choose_copied_streams
from sgm_vfi.video.encoder_choice import EncoderSettings, choose_encoding, needs_even_size
from sgm_vfi.video.encoding_options import PURPOSE_SOUND
from sgm_vfi.video.frame_schedule import NO_HOLDS, OutputFrame
from sgm_vfi.video.image_sequence_source import probe_images
from sgm_vfi.video.input_frame_size import fit_size
from sgm_vfi.video.job_paths import (
    is_folder,
    output_paths,
    require_empty_or_unfinished,
    require_outputs,
    require_rate,
)
from sgm_vfi.video.long_gaps import find_holds
from sgm_vfi.video.losses_of_picture_only_outputs import find_picture_losses
from sgm_vfi.video.mux import CONTAINERS, CopiedStreams, FrameClock
from sgm_vfi.video.options import EncodingOptions, VideoOptions
from sgm_vfi.video.options_from_dataclass_fields import saved_values
from sgm_vfi.video.output_timestamps import Timeline, to_pts
from sgm_vfi.video.produce_output_frames import ProducerOptions
from sgm_vfi.video.progress_bar import count_declared_frames, show_progress
from sgm_vfi.video.read_header import read_header
from sgm_vfi.video.segment_writers import choose_png_encoding
from sgm_vfi.video.segments_and_ranks import Segment, split_segments
from sgm_vfi.video.source_analysis import record_cuts, record_distinct, repeat_first
from sgm_vfi.video.source_decoder import DecodedFrame
from sgm_vfi.video.source_rate import find_usual_rate
from sgm_vfi.video.source_video import SourceVideo, probe_video

BITS_PER_PIXEL = 0.25  # of x264 at CRF 16, on footage
LOSSLESS_BITS = 5  # per pixel
PNG_BITS = 12
PANEL = 1920 * 1080  # pixels of the network's steps, about


@dataclass(frozen=True, kw_only=True)
class VideoPlan:
    """A video job: its source, its output, and how each output frame is made and encoded."""

    source: SourceVideo
    inputs: Sequence[FileIdentity]  # the files that are read, as they were before
    output: Path
    options: VideoOptions
    timeline: Timeline
    cuts: frozenset[int]  # source frames that begin a scene
    encoding: EncoderSettings
    copied: CopiedStreams

    @property
    def producer_options(self) -> ProducerOptions:
        """Options of the frame producer."""
        return self.options.producer_options(self.cuts)

    @property
    def outputs(self) -> dict[str, Path]:
        """Paths of the video and of its views, by name."""
        return output_paths(self.output, self.options)

    def output_frames(self, *, uses_context_frames: bool = False) -> Iterator[OutputFrame]:
        """Yield every output frame; with context frames for a network that uses them."""
        is_cut = self.producer_options.crosses_cut if self.options.at_cuts == "hold" else None
        return self.timeline.output_frames(is_cut, uses_context_frames=uses_context_frames)

    def is_new(self, frame: OutputFrame) -> bool:
        """Return whether the network makes an output frame."""
        return bool(frame.time) and not self.producer_options.crosses_cut(frame.left, frame.right)

    def segments(
        self, length: int, first: int | None = None, *, uses_context_frames: bool = False
    ) -> Iterator[Segment]:
        """Yield the segments of the job; see `split_segments`."""
        output_frames = self.output_frames(uses_context_frames=uses_context_frames)
        return split_segments(output_frames, self.cuts, length, first)

    def clock(self) -> FrameClock:
        """Return when output frames are shown."""
        time_base = self.timeline.output_time_base
        times = (to_pts(output_frame.timestamp, time_base) for output_frame in self.output_frames())
        return FrameClock(time_base, times, to_pts(self.timeline.output_end, time_base))

    @property
    def duration(self) -> Fraction:
        """Duration of the output in seconds."""
        return self.timeline.output_end - self.timeline.start

    @property
    def rate(self) -> Fraction:
        """Output frames per second, on average."""
        return self.timeline.num_frames / self.duration

    @property
    def bytes_needed(self) -> int:
        """Estimated bytes on disk: all segments, and the output joined from them."""
        bits = LOSSLESS_BITS if self.options.encoding.lossless else BITS_PER_PIXEL
        if is_folder(self.output):
            bits = PNG_BITS
        pixels = self.encoding.height * self.encoding.width
        shown = {None: 0, "side": 2 * pixels, "split": pixels}[self.options.compare]
        shown += PANEL if self.options.explain else 0
        frame_bits = pixels * bits + shown * BITS_PER_PIXEL
        return 2 * int(frame_bits * self.timeline.num_frames / 8)

    def settings(self) -> dict[str, Any]:
        """Return everything that decides about pixels, to tell one job from another."""
        return {
            "input": str(self.source.path.resolve()),
            "input files": fingerprint_files(self.inputs),
            "start": str(self.source.offset),
            "frames": self.timeline.num_frames,
            "encoding": str(self.encoding),
            "pix_fmt": self.encoding.pixel_format.layout.pix_fmt,
            "cuts": sorted(self.cuts),
            **saved_values(self.options.target),
            **saved_values(self.options),
        }


def probe_source(
    path: Path,
    inputs: Sequence[Path],
    options: VideoOptions,
    watch: Callable[[Iterator[DecodedFrame]], Iterable[DecodedFrame]],
) -> SourceVideo:
    """Read a video, or the images of a folder, from end to end; `watch` sees the frames."""
    if options.rate is not None:
        return probe_images(
            path,
            inputs,
            Fraction(options.rate),
            watch if options.cuts or options.dedup else None,
            options.trim,
            fill_missing=options.fill_missing,
        )
    header = read_header(path, options.stream, follow_playlists=options.follow_playlists)
    total = count_declared_frames(header)
    return probe_video(
        path,
        lambda frames: watch(show_progress(frames, "reading", total)),
        options.trim,
        stream=options.stream,
        follow_playlists=options.follow_playlists,
    )


def plan_video(path: Path, output: Path, options: VideoOptions) -> VideoPlan:
    """Read a video, or a folder of images, from end to end, and plan its job.

    Raises:
        ValueError: the input cannot be read, or the options cannot be satisfied.
    """
    require_rate(path, output, options)
    inputs = find_sequence([path]) if path.is_dir() else [path]
    require_outputs(inputs, output, options)
    identities = identify_files(inputs)
    cuts: set[int] = set()
    distinct: list[int] = []

    def watch(passing: Iterator[DecodedFrame]) -> Iterable[DecodedFrame]:
        """Record cuts and repeats of the frames that pass."""
        if options.loop:
            passing = repeat_first(passing)
        if options.cuts:
            passing = record_cuts(passing, options.cut_threshold, cuts)
        if options.dedup:
            passing = record_distinct(path, passing, options.dedup_threshold, distinct)
        return passing

    source = fit_source(probe_source(path, inputs, options, watch), output, options)
    if len(source.timestamps) < 2:
        where = f" from {options.trim}" if options.trim else ""
        raise ValueError(f"{path} holds one frame{where}; something lies between two or more.")
    suffix = output.suffix.lower()
    target, notes = choose_animation_target(options.target, source.timestamps, suffix)
    timeline = Timeline(
        source.timestamps,
        source.end,
        replace(target, source_rate=find_usual_rate(source)),
        source.header.time_base,
        distinct if options.dedup else None,
        *find_irregularities(source, options),
        is_loop=options.loop,
    )
    notes += describe_left_out((f.timestamp for f in timeline.output_frames()), suffix)
    encoding, copied = choose_output_format(source, timeline, output, options)
    return VideoPlan(
        source=source,
        inputs=identities,
        output=output,
        options=options,
        timeline=timeline,
        cuts=frozenset(cuts),
        encoding=replace(encoding, notes=(*encoding.notes, *notes)),
        copied=copied,
    )


def fit_source(source: SourceVideo, output: Path, options: VideoOptions) -> SourceVideo:
    """Return the source with frames of the size that the options and the output ask for."""
    suffix, largest = output.suffix.lower(), options.max_size
    if largest is not None and source.orientation.quarter_turns % 2:
        largest = largest[::-1]  # frames are stored on their side
    is_even = suffix in CONTAINERS and needs_even_size(options.encoding, source, suffix)
    return source.with_size(*fit_size(source.height, source.width, largest, is_even=is_even))


def find_irregularities(
    source: SourceVideo, options: VideoOptions
) -> tuple[Mapping[int, Fraction], Fraction | None]:
    """Return the held frames of a video, or the spacing of images, some of which are missing."""
    if options.rate is not None:
        return NO_HOLDS, 1 / Fraction(options.rate)
    times = (*source.timestamps, source.end) if options.loop else source.timestamps
    return find_holds(times, options.hold_gaps), None


def choose_output_format(
    source: SourceVideo, timeline: Timeline, output: Path, options: VideoOptions
) -> tuple[EncoderSettings, CopiedStreams]:
    """Choose the encoding, and the streams that are copied.

    Raises:
        ValueError: the output cannot hold what the options ask for.
    """
    if is_folder(output) or options.compare or options.explain:  # which show pictures upright
        require_quarter_turn(source.orientation)
    rate = timeline.num_frames / (timeline.output_end - timeline.start)
    if is_folder(output):
        require_empty_or_unfinished(output)
        if options.compare or options.explain:
            raise ValueError("--compare and --explain are videos: name one with --output.")
        encoding = choose_png_encoding(options.encoding, source, rate)
        return encoding, find_picture_losses(source, options.drop)
    suffix = output.suffix.lower()
    encoding = choose_video_encoding(options.encoding, source, rate, suffix)
    if is_animation_output(output):
        return encoding, find_picture_losses(source, options.drop, suffix)
    copied = choose_copied_streams(
        source,
        encoding,
        suffix,
        options.target.stretch,
        options.drop,
        stretches_sound=options.slow_sound != "drop",
        sound_codecs=PURPOSE_SOUND.get(options.encoding.purpose or ""),
    )
    return encoding, copied


def choose_video_encoding(
    requested: EncodingOptions, source: SourceVideo, rate: Fraction, suffix: str
) -> EncoderSettings:
    """Choose the encoding of a video, or of the lossless one that an animation is made of."""
    if suffix not in ANIMATIONS:
        return choose_encoding(requested, source, rate, suffix)
    if requested != EncodingOptions():
        raise ValueError(f"{suffix} files take no options of encoders. Name a video instead.")
    return choose_encoding(EncodingOptions(lossless=True), source, rate, ".mkv")
