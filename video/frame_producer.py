"""The frame of each moment: a source frame as it is, a new one, or what takes its place."""

from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from torch import Tensor

from sgm_vfi.video.colour import shared_excess
from sgm_vfi.video.memory_fallback import Synthesis
from sgm_vfi.video.overlays import FRAMES as OVERLAY_FRAMES
from sgm_vfi.video.overlays import OverlayTracker, protect
from sgm_vfi.video.pipeline import Frames
from sgm_vfi.video.reliability import FallBack, Worst, fall_back, reliability
from sgm_vfi.video.timeline import Moment


class Shot(NamedTuple):
    """An output frame, and what it was made from. Shapes: (1, 3, H, W) each."""

    moment: Moment
    frame: Tensor
    frame0: Tensor
    frame1: Tensor
    notes: dict[str, Tensor] | None  # the network's explanation, where it made the frame


@dataclass(frozen=True, kw_only=True)
class Judgement:
    """When not to believe a network."""

    cuts: Collection[int] = frozenset()  # source frames that begin a scene
    at_cuts: FallBack = "hold"
    min_reliability: float | None = None  # of a new frame, below which it is not shown
    protect_static: bool = False
    explain: bool = False  # keep the network's explanations

    @property
    def lead(self) -> int:
        """How many source frames up to the right one are needed to judge a pair."""
        return OVERLAY_FRAMES if self.protect_static else 1

    def crosses_cut(self, left: int, right: int) -> bool:
        """Whether a scene begins after one source frame and up to another."""
        return any(index in self.cuts for index in range(left + 1, right + 1))

    def of_one_scene(self, moment: Moment) -> Moment:
        """A moment without those of the frames around it that a cut keeps from it."""
        left, right, before, after = moment.left, moment.right, moment.before, moment.after
        if before is not None and self.crosses_cut(before, left):
            before = None
        if after is not None and self.crosses_cut(right, after):
            after = None
        return moment._replace(before=before, after=after)


@dataclass
class Tally:
    """What is to be known about the frames of a segment."""

    made: int = 0  # by the network
    refused: int = 0  # of them, as not reliable
    worst: Worst = field(default_factory=Worst)

    def record(self) -> dict[str, Any]:
        """For JSON."""
        worst = [[round(score, 4), str(shown)] for score, shown in self.worst.listed()]
        return {"made": self.made, "refused": self.refused, "worst": worst}


class Maker:
    """Makes shots in the order of their moments.

    Networks see frames clamped to [0, 1]. What both neighbours have beyond is added to their
    result, so that it does not flicker.
    """

    def __init__(self, synthesis: Synthesis, judgement: Judgement) -> None:
        self.synthesis = synthesis
        self.judgement = judgement
        self.tally = Tally()
        self.pair: tuple[int, int] | None = None
        self.clamped: tuple[Tensor, Tensor]
        self.around: dict[str, Tensor] = {}  # frames on either side, where they are of use
        self.excess: Tensor
        self.overlay: Tensor | None = None
        self.tracker = OverlayTracker()

    def see(self, frame: Tensor) -> None:
        """Take note of a source frame, of each that comes by. Shapes: (1, 3, H, W)."""
        if self.judgement.protect_static:
            self.tracker.feed(frame)

    def shoot(self, moment: Moment, frames: Frames) -> Shot:
        """The frame of a moment."""
        frame0, frame1 = frames.pair(moment)
        if not moment.time:
            return Shot(moment, frame0, frame0, frame0, None)
        pair, time = (moment.left, moment.right), float(moment.time)
        if self.judgement.crosses_cut(*pair):
            frame = fall_back(frame0, frame1, time, self.judgement.at_cuts)
            return Shot(moment, frame, frame0, frame1, None)
        if pair != self.pair:
            self.prepare(moment, frames)
        frame, notes = self.interpolated(moment)
        frame = frame.clamp(0, 1).add_(self.excess)
        if self.overlay is not None:
            frame = protect(frame, frame0, frame1, time, self.overlay)
        return Shot(moment, frame, frame0, frame1, notes)

    def prepare(self, moment: Moment, frames: Frames) -> None:
        """Do what is done once for all moments between two frames."""
        frame0, frame1 = frames.pair(moment)
        self.pair = (moment.left, moment.right)
        self.clamped = (frame0.clamp(0, 1), frame1.clamp(0, 1))
        self.excess = shared_excess(frame0, frame1)
        if self.judgement.protect_static:
            self.overlay = self.tracker.mask()  # before frames that come after the pair are seen
        around = frames.around(self.judgement.of_one_scene(moment))
        self.around = {name: frame.clamp(0, 1) for name, frame in around.items()}

    def interpolated(self, moment: Moment) -> tuple[Tensor, dict[str, Tensor] | None]:
        """The network's frame, or a cross-fade where that is not to be trusted."""
        judgement, tally = self.judgement, self.tally
        is_scored = judgement.min_reliability is not None
        pair = (moment.left, moment.right)
        made = self.synthesis.interpolate(
            pair,
            *self.clamped,
            moment.time,
            explain=is_scored or judgement.explain,
            **self.around,
        )
        tally.made += 1
        score = reliability(*self.clamped, made) if is_scored else None
        if score is not None:
            tally.worst.add(score, moment.shown)
            if score < judgement.min_reliability:
                tally.refused += 1
                return fall_back(*self.clamped, float(moment.time), "blend"), made.explanation
        return made.frame, made.explanation

    def take_tally(self) -> dict[str, Any]:
        """What is known since the last call; what follows does not depend on it.

        So that frames are the same, to the bit, whether those before were made in this run.
        """
        self.synthesis.forget()
        tally, self.tally = self.tally, Tally()
        return tally.record()
