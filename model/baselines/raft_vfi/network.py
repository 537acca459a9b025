"""The network of RAFT-VFI: flows, refined once per pair, and the frame at any time from them."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from sgm_vfi.model.baselines.raft_vfi.motion import advanced, reversed_flow
from sgm_vfi.model.baselines.raft_vfi.refinement import FlowRefinement
from sgm_vfi.model.baselines.raft_vfi.synthesis import Layers, Synthesis, blend_of, compose, dilate
from sgm_vfi.model.flow.raft import RAFT
from sgm_vfi.model.interpolator import (
    Interpolation,
    Interpolator,
    flow_scale_fraction,
    require_frames,
)
from sgm_vfi.model.ops.colour_order import ColourOrder, reorder_colours, require_colour_order
from sgm_vfi.model.ops.resize import resize, resize_flow

MEAN = (0.429, 0.431, 0.397)  # taken off the channels, in the order that the weights expect


@dataclass(frozen=True, kw_only=True)
class RAFTVFIConfig:
    """Habits of the network; its shape is fixed."""

    iterations: int = 12  # updates of RAFT's flow
    colour_order: ColourOrder = "rgb"  # that the weights expect; published ones: "bgr"

    def __post_init__(self) -> None:
        require_colour_order(self.colour_order)


class View(NamedTuple):
    """A frame as the network looks at it."""

    frame: Tensor  # (B, 3, H, W), in the network's colour order
    small: Tensor  # the same at the size that motion is estimated at
    seen: Any  # what the flow's network makes of that
    flow_scale: float


class Gap(NamedTuple):
    """What serves every time between two frames; flows are in pixels of the small views."""

    view0: View
    view1: View
    raw: tuple[Tensor, Tensor]  # flow_01 and flow_10 as RAFT gives them, (B, 2, h, w)
    flow: Tensor  # both, refined, (B, 4, h, w)
    outwards: Tensor | None  # frame 0 to the one before, frame 1 to the one after, (B, 4, h, w)
    after: View | None = None  # the one after, where that flow was estimated here


class RAFTVFI(Interpolator):
    """Moves both frames along the flows between them, and blends them.

    Motion is estimated, refined, brought to time t and repaired at the flow scale; the frames are
    warped and blended at full size. Its authors take 1/2 where a frame is 1440 pixels high or
    2560 wide, or more.

    With the frames before and after the two, what moves may change its speed. Where either is
    missing, as in every call that names two frames only, it moves at one speed: so do the first
    and the last gap of a clip, and gaps next to a cut.
    """

    stride = 32
    uses_context_frames = True

    def __init__(self, config: RAFTVFIConfig | None = None) -> None:
        super().__init__()
        self.config = config or RAFTVFIConfig()
        self.flow = RAFT(self.config.iterations)
        self.refinement = FlowRefinement()
        self.synthesis = Synthesis()

    def prepare(
        self,
        frame0: Tensor,
        frame1: Tensor,
        flow_scale: float = 1.0,
        *,
        before: Tensor | None = None,
        after: Tensor | None = None,
    ) -> Gap:
        """Estimate the motion between two frames.

        Args:
            before: the frame as long before frame 0 as frame 1 is after it; None where there is
                none, or where the scene changes in between.
            after: the frame as long after frame 1.

        Shapes: frames (B, 3, H, W).
        """
        for other in (frame1, before, after):
            if other is not None:
                require_frames(frame0, other, self, flow_scale)
        view0, view1 = self.view(frame0, flow_scale), self.view(frame1, flow_scale)
        raw = self.flows(view0, view1)
        back = None
        if before is not None and after is not None:
            back = self.flow.estimate(view0.seen, self.view(before, flow_scale).seen)
        return self.gap(view0, view1, raw, back, after)

    def advance(
        self,
        state: Gap,
        frame1: Tensor,
        frame2: Tensor,
        flow_scale: float = 1.0,
        *,
        before: Tensor | None = None,
        after: Tensor | None = None,
    ) -> Gap:
        """Estimate the motion of the next pair, with what is known of its frames.

        Among frames around it, one frame is looked at and RAFT runs twice.
        """
        for other in (frame2, before, after):
            if other is not None:
                require_frames(frame1, other, self, flow_scale)
        view1 = state.view1
        if flow_scale != view1.flow_scale:
            return self.prepare(frame1, frame2, flow_scale, before=before, after=after)
        if state.after is None:
            view2 = self.view(frame2, flow_scale)
            raw = self.flows(view1, view2)
        else:
            view2 = state.after
            raw = state.outwards.chunk(2, dim=1)[1], self.flow.estimate(view2.seen, view1.seen)
        return self.gap(view1, view2, raw, None if before is None else state.raw[1], after)

    def gap(
        self,
        view0: View,
        view1: View,
        raw: tuple[Tensor, Tensor],
        back: Tensor | None,
        after: Tensor | None,
    ) -> Gap:
        """Refine the flows between two frames, and find how motion goes on.

        Args:
            back: the flow from frame 0 to the frame before it, (B, 2, h, w); None where there is
                none, as for `after`.
        """
        flow = self.refine(view0, view1, raw)
        if back is None or after is None:
            return Gap(view0, view1, raw, flow, None)
        view2 = self.view(after, view1.flow_scale)
        outwards = torch.cat((back, self.flow.estimate(view1.seen, view2.seen)), dim=1)
        return Gap(view0, view1, raw, flow, outwards, view2)

    def interpolate(self, state: Gap, time: Tensor, *, explain: bool = False) -> Interpolation:
        flow_t = self.motion(state, time)
        layers = self.layers(state, flow_t)
        frame = self.compose(state, layers, time).clamp(0, 1)
        if not explain:
            return Interpolation(frame)
        notes = {
            "initial_flow": resize_flow(flow_t, 1 / state.view0.flow_scale),
            "flow": torch.cat((layers.flow_t0, layers.flow_t1), dim=1),
            "blend": blend_of(layers.mask, time),
            "static": layers.static,
        }
        return Interpolation(frame, explanation=notes)

    def compute_modules(self) -> Iterator[nn.Module]:
        """Of convolutions and attention those that neither take nor give flows at full size."""
        raft = self.flow.network
        yield from (raft.feature_encoder, raft.context_encoder, raft.update_block.recurrent_block)
        yield from (stage.body for stage in self.refinement)
        yield from self.synthesis.compute_modules()

    def view(self, frame: Tensor, flow_scale: float = 1.0) -> View:
        """What depends on one frame only."""
        flow_scale = float(flow_scale_fraction(flow_scale))
        frame = reorder_colours(frame, self.config.colour_order)
        small = resize(frame, flow_scale)
        return View(frame, small, self.flow.encode(small), flow_scale)

    def flows(self, view0: View, view1: View) -> tuple[Tensor, Tensor]:
        """flow_01 and flow_10 before they are refined, (B, 2, h, w)."""
        return self.flow.estimate_both(view0.seen, view1.seen)

    def refine(self, view0: View, view1: View, flows: tuple[Tensor, Tensor]) -> Tensor:
        """Shapes: flow_01 and flow_10 (B, 2, h, w) -> both (B, 4, h, w)."""
        frames = self.centred(view0.small), self.centred(view1.small)
        return self.refinement(*frames, torch.cat(flows, dim=1))

    def motion(self, state: Gap, time: Tensor) -> Tensor:
        """flow_t0 and flow_t1, as the flows between the frames have them (B, 4, h, w)."""
        flow_01, flow_10 = state.flow.chunk(2, dim=1)
        before, after = (None, None) if state.outwards is None else state.outwards.chunk(2, dim=1)
        ways = advanced(flow_01, time, before), advanced(flow_10, 1 - time, after)
        return torch.cat([reversed_flow(way) for way in ways], dim=1)

    def layers(self, state: Gap, flow_t: Tensor) -> Layers:
        """What the frame is put together from, at full size."""
        frames = (self.centred(view.small) for view in (state.view0, state.view1))
        flow_t0, flow_t1, mask, static = self.synthesis(*frames, state.flow, flow_t)
        larger = 1 / state.view0.flow_scale
        return Layers(
            resize_flow(flow_t0, larger),
            resize_flow(flow_t1, larger),
            resize(mask, larger),
            resize(dilate(static), larger),
        )

    def compose(self, state: Gap, layers: Layers, time: Tensor) -> Tensor:
        """The frame, RGB; rounding may bring it out of [0, 1]."""
        frame = compose(state.view0.frame, state.view1.frame, layers, time)
        return reorder_colours(frame, self.config.colour_order)

    @staticmethod
    def centred(frame: Tensor) -> Tensor:
        """Without the mean that the weights expect to be off."""
        return frame - frame.new_tensor(MEAN).view(1, 3, 1, 1)
