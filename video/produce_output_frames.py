"""Produce each output frame: a source frame, an interpolated frame, or a fallback."""

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any, NamedTuple

from torch import Tensor

from sgm_vfi.model.interpolator import require_finite
from sgm_vfi.video.colour_conversion import shared_overshoot
from sgm_vfi.video.detect_static_overlays import HISTORY_FRAMES as OVERLAY_FRAMES
from sgm_vfi.video.detect_static_overlays import OverlayTracker, protect_overlays
from sgm_vfi.video.frame_schedule import OutputFrame
from sgm_vfi.video.memory_fallback import MemoryAwareInterpolator
from sgm_vfi.video.reliability import Fallback, make_fallback, measure_reliability

MAX_LISTED = 10  # least reliable frames that are remembered


class ProducedFrame(NamedTuple):
    """An output frame and its source frames. Shapes: (1, 3, H, W) each."""

    output_frame: OutputFrame
    frame: Tensor
    frame0: Tensor
    frame1: Tensor
    explanation: dict[str, Tensor] | None  # of the network; None: the network was not used
    other: Tensor | None = None  # the output frame of a second network, to compare with


class FrameWindow:
    """The source frames around the current output frame; drops earlier ones.

    Args:
        stream: yields the index and the RGB frame of source frames, in order.
        observe: called with every frame that is read.
    """

    def __init__(
        self, stream: Iterator[tuple[int, Tensor]], observe: Callable[[Tensor], None]
    ) -> None:
        self.stream = stream
        self.observe = observe
        self.frames: dict[int, Tensor] = {}

    def get_pair(self, output_frame: OutputFrame) -> tuple[Tensor, Tensor]:
        """Return the left and the right frame. Shapes: (1, 3, H, W) each."""
        for index in [index for index in self.frames if index < output_frame.first]:
            del self.frames[index]
        self._read(output_frame.first, output_frame.right)
        return self.frames[output_frame.left], self.frames[output_frame.right]

    def get_context(self, output_frame: OutputFrame) -> dict[str, Tensor]:
        """Return the frames `before` and `after` the pair that the output frame names.

        Reads no further than `get_pair` if it names none. Shapes: (1, 3, H, W) each.
        """
        indices = {"before": output_frame.before, "after": output_frame.after}
        named = {name: index for name, index in indices.items() if index is not None}
        for index in named.values():
            self._read(output_frame.first, index)
        return {name: self.frames[index] for name, index in named.items()}

    def _read(self, first: int, last: int) -> None:
        """Read the stream up to index `last`, and keep frames from index `first` on."""
        while last not in self.frames:
            index, frame = next(self.stream)
            self.observe(frame)
            if index >= first:
                self.frames[index] = frame


@dataclass(frozen=True, kw_only=True)
class ProducerOptions:
    """When to interpolate and when to fall back."""

    cuts: Collection[int] = frozenset()  # source frames that begin a scene
    at_cuts: Fallback = "hold"
    min_reliability: float | None = None  # less reliable frames are blended; None: no test
    protect_static: bool = False
    explain: bool = False  # keep the network's explanations

    @property
    def num_history(self) -> int:
        """Number of source frames, up to the right one, that the producer must observe."""
        return OVERLAY_FRAMES if self.protect_static else 1

    def crosses_cut(self, left: int, right: int) -> bool:
        """Return whether a scene begins after source frame `left` and up to `right`."""
        return any(index in self.cuts for index in range(left + 1, right + 1))

    def drop_context_across_cuts(self, frame: OutputFrame) -> OutputFrame:
        """Return the output frame without context frames that belong to another scene."""
        before, after = frame.before, frame.after
        if before is not None and self.crosses_cut(before, frame.left):
            before = None
        if after is not None and self.crosses_cut(frame.right, after):
            after = None
        return frame._replace(before=before, after=after)


@dataclass
class SegmentStats:
    """Statistics of the frames of a segment."""

    num_interpolated: int = 0
    num_rejected: int = 0  # interpolated frames that were not reliable
    least_reliable: list[tuple[float, Fraction]] = field(default_factory=list)  # score, seconds

    def add_score(self, score: float, timestamp: Fraction) -> None:
        """Record the reliability of a frame; keep the lowest, of equals the earlier."""
        self.least_reliable = sorted([*self.least_reliable, (score, timestamp)])[:MAX_LISTED]

    def to_json(self) -> dict[str, Any]:
        """Return the statistics as JSON values."""
        worst = [[round(score, 4), str(timestamp)] for score, timestamp in self.least_reliable]
        return {"made": self.num_interpolated, "refused": self.num_rejected, "worst": worst}


class FrameProducer:
    """Produces output frames in order.

    The network receives frames clamped to [0, 1]. What both source frames have outside of that
    range is added to its result, so that such colours do not flicker.
    """

    def __init__(self, interpolator: MemoryAwareInterpolator, options: ProducerOptions) -> None:
        self.interpolator = interpolator
        self.options = options
        self.stats = SegmentStats()
        self.pair: tuple[int, int] | None = None
        self.clamped: tuple[Tensor, Tensor]
        self.context: dict[str, Tensor] = {}
        self.overshoot: Tensor
        self.overlay: Tensor | None = None
        self.tracker = OverlayTracker()

    def observe(self, frame: Tensor) -> None:
        """Observe the next source frame. Shapes: (1, 3, H, W)."""
        if self.options.protect_static:
            self.tracker.feed(frame)

    def produce(self, output_frame: OutputFrame, frames: FrameWindow) -> ProducedFrame:
        """Produce an output frame from its source frames."""
        frame0, frame1 = frames.get_pair(output_frame)
        if not output_frame.time:
            return ProducedFrame(output_frame, frame0, frame0, frame0, None)
        pair, time = (output_frame.left, output_frame.right), float(output_frame.time)
        if self.options.crosses_cut(*pair):
            frame = make_fallback(frame0, frame1, time, self.options.at_cuts)
            return ProducedFrame(output_frame, frame, frame0, frame1, None)
        if pair != self.pair:
            self._prepare(output_frame, frames)
        frame, explanation = self._interpolate(output_frame)
        frame = frame.clamp(0, 1).add_(self.overshoot)
        if self.overlay is not None:
            frame = protect_overlays(frame, frame0, frame1, time, self.overlay)
        return ProducedFrame(output_frame, frame, frame0, frame1, explanation)

    def _prepare(self, output_frame: OutputFrame, frames: FrameWindow) -> None:
        """Compute what all output frames between two source frames share."""
        frame0, frame1 = frames.get_pair(output_frame)
        follows = self.pair is not None and self.pair[1] == output_frame.left
        self.pair = (output_frame.left, output_frame.right)
        self.clamped = (self.clamped[1] if follows else frame0.clamp(0, 1), frame1.clamp(0, 1))
        self.overshoot = shared_overshoot(frame0, frame1)
        if self.options.protect_static:
            self.overlay = self.tracker.mask()  # before the tracker observes later frames
        context = frames.get_context(self.options.drop_context_across_cuts(output_frame))
        self.context = {name: frame.clamp(0, 1) for name, frame in context.items()}

    def _interpolate(self, output_frame: OutputFrame) -> tuple[Tensor, dict[str, Tensor] | None]:
        """Return the network's frame, or a blend if it is not reliable, and the explanation."""
        minimum = self.options.min_reliability
        result = self.interpolator.interpolate(
            (output_frame.left, output_frame.right),
            *self.clamped,
            output_frame.time,
            explain=minimum is not None or self.options.explain,
            **self.context,
        )
        require_finite(
            result.frame,
            type(self.interpolator.network).__name__,
            f"at {float(output_frame.timestamp):.3f} s, between source frames {output_frame.left} "
            f"and {output_frame.right}",
        )
        self.stats.num_interpolated += 1
        score = None if minimum is None else measure_reliability(*self.clamped, result)
        if minimum is not None and score is not None:
            self.stats.add_score(score, output_frame.timestamp)
            if score < minimum:
                self.stats.num_rejected += 1
                blend = make_fallback(*self.clamped, float(output_frame.time), "blend")
                return blend, result.explanation
        return result.frame, result.explanation

    def take_stats(self) -> dict[str, Any]:
        """Return the statistics since the last call and reset them, and the network's state.

        Frames after the call do not depend on those before it, so that resumed work is bit-exact.
        """
        self.interpolator.reset()
        stats, self.stats = self.stats, SegmentStats()
        return stats.to_json()
