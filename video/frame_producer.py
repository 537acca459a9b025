"""The frame of each moment: a source frame as it is, a new one, or what takes its place."""

from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from torch import Tensor

from sgm_vfi.video.colour_conversion import shared_overshoot
from sgm_vfi.video.memory_fallback import MemoryAwareInterpolator
from sgm_vfi.video.overlays import HISTORY_FRAMES as OVERLAY_FRAMES
from sgm_vfi.video.overlays import OverlayTracker, protect_overlays
from sgm_vfi.video.pipeline import FrameWindow
from sgm_vfi.video.reliability import Fallback, LeastReliable, make_fallback, measure_reliability
from sgm_vfi.video.timeline import OutputFrame


class ProducedFrame(NamedTuple):
    """An output frame, and what it was made from. Shapes: (1, 3, H, W) each."""

    output_frame: OutputFrame
    frame: Tensor
    frame0: Tensor
    frame1: Tensor
    explanation: dict[str, Tensor] | None  # the network's explanation, where it made the frame


@dataclass(frozen=True, kw_only=True)
class ProducerOptions:
    """When not to believe a network."""

    cuts: Collection[int] = frozenset()  # source frames that begin a scene
    at_cuts: Fallback = "hold"
    min_reliability: float | None = None  # of a new frame, below which it is not shown
    protect_static: bool = False
    explain: bool = False  # keep the network's explanations

    @property
    def num_history(self) -> int:
        """How many source frames up to the right one are needed to judge a pair."""
        return OVERLAY_FRAMES if self.protect_static else 1

    def crosses_cut(self, left: int, right: int) -> bool:
        """Whether a scene begins after one source frame and up to another."""
        return any(index in self.cuts for index in range(left + 1, right + 1))

    def of_one_scene(self, output_frame: OutputFrame) -> OutputFrame:
        """A moment without those of the frames around it that a cut keeps from it."""
        left, right, before, after = (
            output_frame.left,
            output_frame.right,
            output_frame.before,
            output_frame.after,
        )
        if before is not None and self.crosses_cut(before, left):
            before = None
        if after is not None and self.crosses_cut(right, after):
            after = None
        return output_frame._replace(before=before, after=after)


@dataclass
class SegmentStats:
    """What is to be known about the frames of a segment."""

    num_interpolated: int = 0  # by the network
    num_rejected: int = 0  # of them, as not reliable
    least_reliable: LeastReliable = field(default_factory=LeastReliable)

    def record(self) -> dict[str, Any]:
        """For JSON."""
        worst = [[round(score, 4), str(shown)] for score, shown in self.least_reliable.to_list()]
        return {"made": self.num_interpolated, "refused": self.num_rejected, "worst": worst}


class FrameProducer:
    """Makes shots in the order of their moments.

    Networks see frames clamped to [0, 1]. What both neighbours have beyond is added to their
    result, so that it does not flicker.
    """

    def __init__(
        self, interpolator: MemoryAwareInterpolator, producer_options: ProducerOptions
    ) -> None:
        self.interpolator = interpolator
        self.producer_options = producer_options
        self.stats = SegmentStats()
        self.pair: tuple[int, int] | None = None
        self.clamped: tuple[Tensor, Tensor]
        self.around: dict[str, Tensor] = {}  # frames on either side, where they are of use
        self.excess: Tensor
        self.overlay: Tensor | None = None
        self.tracker = OverlayTracker()

    def observe(self, frame: Tensor) -> None:
        """Take note of a source frame, of each that comes by. Shapes: (1, 3, H, W)."""
        if self.producer_options.protect_static:
            self.tracker.feed(frame)

    def produce(self, output_frame: OutputFrame, frames: FrameWindow) -> ProducedFrame:
        """The frame of a moment."""
        frame0, frame1 = frames.get_pair(output_frame)
        if not output_frame.time:
            return ProducedFrame(output_frame, frame0, frame0, frame0, None)
        pair, time = (output_frame.left, output_frame.right), float(output_frame.time)
        if self.producer_options.crosses_cut(*pair):
            frame = make_fallback(frame0, frame1, time, self.producer_options.at_cuts)
            return ProducedFrame(output_frame, frame, frame0, frame1, None)
        if pair != self.pair:
            self.prepare(output_frame, frames)
        frame, notes = self.interpolated(output_frame)
        frame = frame.clamp(0, 1).add_(self.excess)
        if self.overlay is not None:
            frame = protect_overlays(frame, frame0, frame1, time, self.overlay)
        return ProducedFrame(output_frame, frame, frame0, frame1, notes)

    def prepare(self, output_frame: OutputFrame, frames: FrameWindow) -> None:
        """Do what is done once for all moments between two frames."""
        frame0, frame1 = frames.get_pair(output_frame)
        self.pair = (output_frame.left, output_frame.right)
        self.clamped = (frame0.clamp(0, 1), frame1.clamp(0, 1))
        self.excess = shared_overshoot(frame0, frame1)
        if self.producer_options.protect_static:
            self.overlay = self.tracker.mask()  # before frames that come after the pair are seen
        around = frames.get_context(self.producer_options.of_one_scene(output_frame))
        self.around = {name: frame.clamp(0, 1) for name, frame in around.items()}

    def interpolated(self, output_frame: OutputFrame) -> tuple[Tensor, dict[str, Tensor] | None]:
        """The network's frame, or a cross-fade where that is not to be trusted."""
        producer_options, stats = self.producer_options, self.stats
        is_scored = producer_options.min_reliability is not None
        pair = (output_frame.left, output_frame.right)
        made = self.interpolator.interpolate(
            pair,
            *self.clamped,
            output_frame.time,
            explain=is_scored or producer_options.explain,
            **self.around,
        )
        stats.num_interpolated += 1
        score = measure_reliability(*self.clamped, made) if is_scored else None
        if score is not None:
            stats.least_reliable.add(score, output_frame.timestamp)
            if score < producer_options.min_reliability:
                stats.num_rejected += 1
                return make_fallback(
                    *self.clamped, float(output_frame.time), "blend"
                ), made.explanation
        return made.frame, made.explanation

    def take_stats(self) -> dict[str, Any]:
        """What is known since the last call; what follows does not depend on it.

        So that frames are the same, to the bit, whether those before were made in this run.
        """
        self.interpolator.reset()
        stats, self.stats = self.stats, SegmentStats()
        return stats.record()
