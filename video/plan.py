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
from sgm_vfi.video.cuts import CutDetector
from sgm_vfi.video.duplicates import is_duplicate, without_repeats
from sgm_vfi.video.encoding import Encoding, choose_encoding
from sgm_vfi.video.frame_format import colours_of, to_planes
from sgm_vfi.video.frame_producer import Judgement
from sgm_vfi.video.image_output import (
    choose_png_encoding,
    find_folder_losses,
    is_folder,
    require_empty,
)
from sgm_vfi.video.mux import CopiedStreams, FrameClock, choose_copied_streams
from sgm_vfi.video.options import VideoOptions
from sgm_vfi.video.output_paths import default_output, free_space, output_paths, require_outputs
from sgm_vfi.video.segments import Segment, segments
from sgm_vfi.video.source import Seen, Source, survey
from sgm_vfi.video.timeline import Moment, Timeline, ticks
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

    source: Source
    output: Path
    options: VideoOptions
    timeline: Timeline
    cuts: frozenset[int]  # source frames that begin a scene
    encoding: Encoding
    kept: CopiedStreams
    gathered: int = 0  # bytes of frames that are yet to be put into a video

    @property
    def judgement(self) -> Judgement:
        """When not to believe the network."""
        options = self.options
        return Judgement(
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

    def moments(self, *, uses_context_frames: bool = False) -> Iterator[Moment]:
        """Every output frame; with the frames around, for a network that looks there."""
        is_cut = self.judgement.crosses_cut if self.options.at_cuts == "hold" else None
        return self.timeline.moments(is_cut, uses_context_frames=uses_context_frames)

    def segments(self, *, uses_context_frames: bool = False) -> Iterator[Segment]:
        """The pieces of the work."""
        moments = self.moments(uses_context_frames=uses_context_frames)
        return segments(moments, self.cuts, self.options.segment_frames)

    def clock(self) -> FrameClock:
        """When output frames are shown."""
        tick = self.timeline.out_tick
        times = (ticks(moment.shown, tick) for moment in self.moments())
        return FrameClock(tick, times, ticks(self.timeline.out_end, tick))

    @property
    def duration(self) -> Fraction:
        """Of the output, in seconds."""
        return self.timeline.out_end - self.timeline.start

    @property
    def bytes_needed(self) -> int:
        """On disk, about: the pieces and the whole, for a moment both."""
        bits = LOSSLESS_BITS if self.options.wish.lossless else BITS_PER_PIXEL
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
            "pix_fmt": self.encoding.colours.layout.pix_fmt,
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

    def watch(passing: Iterator[Seen]) -> Iterable[Seen]:
        if options.cuts:
            passing = record_cuts(passing, options.cut_threshold, cuts)
        if options.dedup:
            passing = record_distinct(path, passing, options.dedup_threshold, distinct)
        return passing

    source = survey(path, watch)
    if len(source.stamps) < 2:
        raise ValueError(f"{path} holds one frame; something lies between two or more.")
    return complete_plan(source, output, options, cuts, distinct if options.dedup else None)


def complete_plan(
    source: Source,
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
        source.stamps,
        source.end,
        options.target,
        source.header.tick,
        distinct,
    )
    if is_folder(output) or options.compare or options.explain:  # what is shown upright
        require_quarter_turn(source.orientation)
    rate = timeline.num_frames / (timeline.out_end - timeline.start)
    suffix = output.suffix.lower()
    if is_folder(output):
        require_empty(output)
        if options.compare or options.explain:
            raise ValueError("--compare and --explain are videos: name one with --output.")
        encoding = choose_png_encoding(options.wish, source, rate)
        kept = find_folder_losses(source)
    else:
        encoding = choose_encoding(options.wish, source, rate, suffix)
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


def record_cuts(passing: Iterator[Seen], threshold: float, cuts: set[int]) -> Iterator[Seen]:
    """Pass pictures on, and note those that begin a scene."""
    for seen, begins in CutDetector(threshold).scan(passing, thumbnail):
        if begins:
            cuts.add(seen.index)
        yield seen


def thumbnail(seen: Seen) -> Tensor:
    """A small picture. Shapes: -> (1, 3, 128, 192)."""
    width, height = THUMBNAIL
    small = seen.picture.reformat(width, height, "rgb24", interpolation=Scaling.AREA)
    return as_frame(small.to_ndarray())[None]


def record_distinct(
    path: Path, passing: Iterator[Seen], threshold: float, distinct: list[int]
) -> Iterator[Seen]:
    """Pass on pictures that differ from the one before, and note which they are."""

    def frame(seen: Seen) -> Tensor:
        colours, _ = colours_of(path, seen.picture)
        return colours.to_rgb(to_planes(seen.picture, colours.layout))

    def is_repeat(first: Seen, second: Seen) -> bool:
        return is_duplicate(frame(first), frame(second), threshold)

    for seen in without_repeats(passing, is_repeat, lambda seen: seen.stamp):
        distinct.append(seen.index)
        yield seen


def describe_plan(plan: VideoPlan) -> str:
    """A plan in words, for the terminal."""
    source, timeline = plan.source, plan.timeline
    encoding, kept = plan.encoding, plan.kept
    out_rate = timeline.num_frames / plan.duration
    lines = [
        (
            "input",
            f"{source.path}: {len(source.stamps)} frames, {format_rate(source.rate)}, "
            f"{float(source.duration):.3f} s, {source.width}x{source.height} "
            f"{source.colours.pix_fmt}, {source.header.codec}",
        ),
        (
            "output",
            f"{plan.output}: {timeline.num_frames} frames, {format_rate(out_rate)}, "
            f"{float(plan.duration):.3f} s, {encoding.colours.layout.pix_fmt}, {encoding}",
        ),
        *(("also", f"{path}, {VIEWS[name]}") for name, path in plan.outputs.items() if name),
        ("cuts", describe_cuts(plan)),
    ]
    if timeline.distinct is not None:
        repeats = len(source.stamps) - len(timeline.distinct)
        lines.append(("repeats", f"{repeats} of the frames repeat the one before"))
    beside = [str(s) for s in source.header.others if s.index in kept.streams]
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
    named = ", ".join(f"{float(plan.source.stamps[cut]):.2f}" for cut in cuts[:NAMED_CUTS])
    more = f" and {len(cuts) - NAMED_CUTS} more" if len(cuts) > NAMED_CUTS else ""
    what = "the frame before is held" if plan.options.at_cuts == "hold" else "frames are blended"
    return f"{len(cuts)}, at {named}{more} s; there {what}"


def format_rate(rate: Fraction) -> str:
    """Frames per second, in the digits that matter."""
    return f"{float(rate):.5g} fps"


def format_bytes(count: int) -> str:
    """A size on disk."""
    return f"{count / 1e9:.1f} GB" if count >= 1e8 else f"{count / 1e6:.1f} MB"
