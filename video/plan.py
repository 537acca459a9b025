"""What will be done with a video, known before any of it is done."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

from av.video.reformatter import Interpolation as Scaling
from torch import Tensor

from sgm_vfi.media.images import as_frame
from sgm_vfi.media.videos import require_quarter_turn
from sgm_vfi.video.av_frames import read_pixel_format, read_planes
from sgm_vfi.video.duplicates import drop_duplicates, is_duplicate
from sgm_vfi.video.encoding import EncoderSettings, choose_encoding
from sgm_vfi.video.frame_producer import ProducerOptions
from sgm_vfi.video.image_output import (
    choose_png_encoding,
    find_folder_losses,
    is_folder,
    require_empty,
)
from sgm_vfi.video.mux import CopiedStreams, FrameClock, choose_copied_streams
from sgm_vfi.video.options import VideoOptions
from sgm_vfi.video.output_paths import default_output, free_space, output_paths, require_outputs
from sgm_vfi.video.scene_cuts import CutDetector
from sgm_vfi.video.segments import Segment, segments
from sgm_vfi.video.source_video import DecodedFrame, SourceVideo, probe_video
from sgm_vfi.video.timeline import OutputFrame, Timeline, to_pts
from sgm_vfi.video.writer import COMPARE, EXPLAIN

BITS_PER_PIXEL = 0.25  # of x264 at CRF 16, on footage
LOSSLESS_BITS = 5  # per pixel
PNG_BITS = 12
PANEL = 1920 * 1080  # pixels of the network's steps, about
VIEWS = {COMPARE: "beside frames repeated", EXPLAIN: "with the steps of the network"}
THUMBNAIL = (192, 128)  # width and height of what cuts are sought in
NAMED_CUTS = 12  # that are listed; the receipt has all


@dataclass(frozen=True, kw_only=True)
class VideoPlan:
    """What becomes of a video."""

    source: SourceVideo
    output: Path
    options: VideoOptions
    timeline: Timeline
    cuts: frozenset[int]  # source frames that begin a scene
    encoding: EncoderSettings
    kept: CopiedStreams
    gathered: int = 0  # bytes of frames that are yet to be put into a video

    @property
    def producer_options(self) -> ProducerOptions:
        """When not to believe the network."""
        options = self.options
        return ProducerOptions(
            cuts=self.cuts,
            at_cuts=options.at_cuts,
            min_reliability=options.min_reliability,
            protect_static=options.protect_static,
            explain=options.explain,
        )

    @property
    def outputs(self) -> dict[str, Path]:
        """What is written, by name, and where to."""
        return output_paths(self.output, self.options)

    def output_frames(self, *, uses_context_frames: bool = False) -> Iterator[OutputFrame]:
        """Every output frame; with the frames around, for a network that looks there."""
        is_cut = self.producer_options.crosses_cut if self.options.at_cuts == "hold" else None
        return self.timeline.output_frames(is_cut, uses_context_frames=uses_context_frames)

    def segments(self, *, uses_context_frames: bool = False) -> Iterator[Segment]:
        """The pieces of the work."""
        output_frames = self.output_frames(uses_context_frames=uses_context_frames)
        return segments(output_frames, self.cuts, self.options.segment_frames)

    def clock(self) -> FrameClock:
        """When output frames are shown."""
        time_base = self.timeline.output_time_base
        times = (to_pts(output_frame.timestamp, time_base) for output_frame in self.output_frames())
        return FrameClock(time_base, times, to_pts(self.timeline.output_end, time_base))

    @property
    def duration(self) -> Fraction:
        """Of the output, in seconds."""
        return self.timeline.output_end - self.timeline.start

    @property
    def bytes_needed(self) -> int:
        """On disk, about: the pieces and the whole, for a moment both."""
        bits = LOSSLESS_BITS if self.options.encoding.lossless else BITS_PER_PIXEL
        if is_folder(self.output):
            bits = PNG_BITS
        pixels = self.encoding.height * self.encoding.width
        shown = {None: 0, "side": 2 * pixels, "split": pixels}[self.options.compare]
        shown += PANEL if self.options.explain else 0
        frame_bits = pixels * bits + shown * BITS_PER_PIXEL
        return self.gathered + 2 * int(frame_bits * self.timeline.num_frames / 8)

    def settings(self) -> dict[str, Any]:
        """All that decides about pixels, to tell one run from another."""
        state = self.source.path.stat()
        options, target = self.options, self.options.target
        return {
            "input": str(self.source.path.resolve()),
            "input bytes": state.st_size,
            "input changed": state.st_mtime_ns,
            "frames": self.timeline.num_frames,
            "multi": target.multi,
            "fps": None if target.fps is None else str(target.fps),
            "slow": target.slow,
            "encoding": str(self.encoding),
            "pix_fmt": self.encoding.pixel_format.layout.pix_fmt,
            "cuts": sorted(self.cuts),
            "at_cuts": options.at_cuts,
            "dedup": options.dedup,
            "dedup_threshold": options.dedup_threshold,
            "protect_static": options.protect_static,
            "min_reliability": options.min_reliability,
            "compare": options.compare,
            "explain": options.explain,
            "segment_frames": options.segment_frames,
        }


def plan_video(path: Path, output: Path | None, options: VideoOptions) -> VideoPlan:
    """Look at a video from end to end, and plan what will be done with it.

    Raises:
        ValueError: the video cannot be read, or what is asked for cannot be done.
    """
    output = output or default_output(path, options)
    require_outputs(path, output, options)
    cuts: set[int] = set()
    distinct: list[int] = []

    def watch(passing: Iterator[DecodedFrame]) -> Iterable[DecodedFrame]:
        if options.cuts:
            passing = record_cuts(passing, options.cut_threshold, cuts)
        if options.dedup:
            passing = record_distinct(path, passing, options.dedup_threshold, distinct)
        return passing

    source = probe_video(path, watch)
    if len(source.timestamps) < 2:
        raise ValueError(f"{path} holds one frame; something lies between two or more.")
    return complete_plan(source, output, options, cuts, distinct if options.dedup else None)


def complete_plan(
    source: SourceVideo,
    output: Path,
    options: VideoOptions,
    cuts: Iterable[int] = (),
    distinct: Sequence[int] | None = None,
) -> VideoPlan:
    """Settle what will be done with a video that was looked at.

    Args:
        cuts: frames that begin a scene.
        distinct: frames that do not repeat the one before; None: all.

    Raises:
        ValueError: what is asked for cannot be done.
    """
    timeline = Timeline(
        source.timestamps,
        source.end,
        options.target,
        source.header.time_base,
        distinct,
    )
    if is_folder(output) or options.compare or options.explain:  # what is shown upright
        require_quarter_turn(source.orientation)
    rate = timeline.num_frames / (timeline.output_end - timeline.start)
    suffix = output.suffix.lower()
    if is_folder(output):
        require_empty(output)
        if options.compare or options.explain:
            raise ValueError("--compare and --explain are videos: name one with --output.")
        encoding = choose_png_encoding(options.encoding, source, rate)
        kept = find_folder_losses(source)
    else:
        encoding = choose_encoding(options.encoding, source, rate, suffix)
        kept = choose_copied_streams(source, encoding, suffix, options.target.stretch)
    return VideoPlan(
        source=source,
        output=output,
        options=options,
        timeline=timeline,
        cuts=frozenset(cuts),
        encoding=encoding,
        kept=kept,
    )


def record_cuts(
    passing: Iterator[DecodedFrame], threshold: float, cuts: set[int]
) -> Iterator[DecodedFrame]:
    """Pass pictures on, and note those that begin a scene."""
    for decoded, begins in CutDetector(threshold).scan(passing, thumbnail):
        if begins:
            cuts.add(decoded.index)
        yield decoded


def thumbnail(decoded: DecodedFrame) -> Tensor:
    """A small picture. Shapes: -> (1, 3, 128, 192)."""
    width, height = THUMBNAIL
    small = decoded.picture.reformat(width, height, "rgb24", interpolation=Scaling.AREA)
    return as_frame(small.to_ndarray())[None]


def record_distinct(
    path: Path, passing: Iterator[DecodedFrame], threshold: float, distinct: list[int]
) -> Iterator[DecodedFrame]:
    """Pass on pictures that differ from the one before, and note which they are."""

    def frame(decoded: DecodedFrame) -> Tensor:
        pixel_format, _ = read_pixel_format(path, decoded.picture)
        return pixel_format.to_rgb(read_planes(decoded.picture, pixel_format.layout))

    def is_repeat(first: DecodedFrame, second: DecodedFrame) -> bool:
        return is_duplicate(frame(first), frame(second), threshold)

    for decoded in drop_duplicates(passing, is_repeat, lambda decoded: decoded.timestamp):
        distinct.append(decoded.index)
        yield decoded


def describe_plan(plan: VideoPlan) -> str:
    """A plan in words, for the terminal."""
    source, timeline = plan.source, plan.timeline
    encoding, kept = plan.encoding, plan.kept
    out_rate = timeline.num_frames / plan.duration
    lines = [
        (
            "input",
            f"{source.path}: {len(source.timestamps)} frames, {format_rate(source.frame_rate)}, "
            f"{float(source.duration):.3f} s, {source.width}x{source.height} "
            f"{source.pixel_format.pix_fmt}, {source.header.codec}",
        ),
        (
            "output",
            f"{plan.output}: {timeline.num_frames} frames, {format_rate(out_rate)}, "
            f"{float(plan.duration):.3f} s, {encoding.pixel_format.layout.pix_fmt}, {encoding}",
        ),
        *(("also", f"{path}, {VIEWS[name]}") for name, path in plan.outputs.items() if name),
        ("cuts", describe_cuts(plan)),
    ]
    if timeline.distinct is not None:
        repeats = len(source.timestamps) - len(timeline.distinct)
        lines.append(("repeats", f"{repeats} of the frames repeat the one before"))
    beside = [str(s) for s in source.header.other_streams if s.index in kept.streams]
    beside += [f"{source.header.num_chapters} chapters"] if kept.chapters else []
    beside += [] if is_folder(plan.output) else ["metadata", "colour tags"]
    lines.append(("copied", ", ".join(beside) or "nothing"))
    lines += [("lost", text) for text in kept.lost]
    lines += [("note", text) for text in (*source.notes, *encoding.notes)]
    free = free_space(plan.output)
    disk = f"about {format_bytes(plan.bytes_needed)} while at work, {format_bytes(free)} free"
    lines.append(("disk", disk + (": that may not do" if free < plan.bytes_needed else "")))
    return "\n".join(f"{name:8}{text}" for name, text in lines)


def describe_cuts(plan: VideoPlan) -> str:
    """How many cuts there are, and where the first are."""
    if not plan.options.cuts:
        return "not looked for"
    if not plan.cuts:
        return "none found"
    cuts = sorted(plan.cuts)
    named = ", ".join(f"{float(plan.source.timestamps[cut]):.2f}" for cut in cuts[:NAMED_CUTS])
    more = f" and {len(cuts) - NAMED_CUTS} more" if len(cuts) > NAMED_CUTS else ""
    what = "the frame before is held" if plan.options.at_cuts == "hold" else "frames are blended"
    return f"{len(cuts)}, at {named}{more} s; there {what}"


def format_rate(rate: Fraction) -> str:
    """Frames per second, in the digits that matter."""
    return f"{float(rate):.5g} fps"


def format_bytes(count: int) -> str:
    """A size on disk."""
    return f"{count / 1e9:.1f} GB" if count >= 1e8 else f"{count / 1e6:.1f} MB"
