"""SGM-VFI: Sparse Global Matching for Video Frame Interpolation (Liu et al., CVPR 2024).

Stages, in order:
    0. Local branch: `encoder.py` computes features of both frames by convolutions and attention
       in shifted windows; `flow_head.py` estimates both flows and a blend mask at 1/8.
    1. `difference_map.py` finds where these flows are wrong, and selects key points there.
    2. `flow_compensation.py` matches the key points over the whole other frame, by features of
       GMFlow (`model/flow/gmflow_features.py`), and splats the matches to time t.
    3. `flow_merge.py` merges local flow and matches; a second head at 1/4 refines the result.
    4. `model/layers/synthesis_unet.py` warps both frames, blends them and adds a residual.
Without key points (`keypoint_ratio=None`) steps 1 to 3 reduce to the head at 1/4.

Tensors: frames (2B, 3, H, W) are stacked on the batch axis, all first frames before all second
ones. Flows (B, 4, H, W) lead from time t to frame 0, then to frame 1, as (u, v) in pixels of
their own size. Cells are pixels at 1/8.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sgm_vfi.model.flow.gmflow_features import CHANNELS as GLOBAL_CHANNELS
from sgm_vfi.model.flow.gmflow_features import GMFlowFeatures, tokens_to_map
from sgm_vfi.model.flow.gmflow_two_scales import GMFlowRefineFeatures
from sgm_vfi.model.interpolator import Interpolation, TileableInterpolator, Window, convert_frames
from sgm_vfi.model.layers.memory_layout import set_memory_layout
from sgm_vfi.model.layers.synthesis_unet import SynthesisNetwork, blend
from sgm_vfi.model.ops.cat_channels import cat_channels
from sgm_vfi.model.ops.colour_order import ColourOrder, reorder_colours, require_colour_order
from sgm_vfi.model.ops.resize import resize, resize_flow
from sgm_vfi.model.ops.warp import warp_pair
from sgm_vfi.model.sgm.difference_map import difference_map
from sgm_vfi.model.sgm.flow_compensation import (
    match_globally,
    replace_unmatched,
    select_keypoints,
    shift_to_time,
)
from sgm_vfi.model.sgm.flow_head import FlowHead, coarse_input, expand_motion, fine_input
from sgm_vfi.model.sgm.flow_merge import FlowMatching, refine_input
from sgm_vfi.model.sgm.local_encoder import LocalEncoder, initialise_weights
from sgm_vfi.model.sgm.state import SGMFrames, SGMMotion, SGMState

CELL = 8  # pixels, each way, of one cell of the coarse maps
FEATURES = {"gmflow": GMFlowFeatures, "gmflow_refine": GMFlowRefineFeatures}


@dataclass(frozen=True, kw_only=True)
class SGMConfig:
    """Options of the network; channels, depths and window decide which checkpoints fit."""

    channels: int = 16  # F in the paper; stages are F, 2F, 4F and 8F wide
    depths: tuple[int, ...] = (2, 2, 2, 4)  # layers per stage, fine to coarse
    window: int = 7  # attention window of the local branch, in cells
    keypoint_ratio: float | None = 0.5  # share of cells matched; 1: all; None: no matching branch
    dense_up_to: int = 32  # cells: maps no higher than this match every cell, as published
    colour_order: ColourOrder = "rgb"  # that the weights expect; published ones: "bgr"
    features: Literal["gmflow", "gmflow_refine"] = "gmflow"  # for matching: one scale, as published
    any_time: bool = False  # whether the weights were trained at times other than 1/2

    def __post_init__(self) -> None:
        if self.keypoint_ratio is not None and not 0 <= self.keypoint_ratio <= 1:
            raise ValueError(
                f"keypoint_ratio is a share in [0, 1] (1 matches every cell), or None for the "
                f"local branch alone, got {self.keypoint_ratio}."
            )
        require_colour_order(self.colour_order)
        if self.features == "gmflow_refine" and self.colour_order != "rgb":
            raise ValueError("Features of gmflow_refine need colour_order=rgb, got bgr.")


SGM_SMALL = SGMConfig()
SGM_BASE = SGMConfig(channels=32, depths=(2, 2, 2, 6))


class SGM(TileableInterpolator):
    """Local flow estimation, corrected by sparse global matching where it fails."""

    stride = 16
    halo = 80  # the U-Net sees 76 pixels around each one

    def __init__(self, config: SGMConfig = SGM_SMALL) -> None:
        super().__init__()
        self.config = config
        self.any_time = config.any_time
        channels = config.channels
        self.encoder = LocalEncoder(channels, config.depths, config.window)
        heads = FlowHead(7 + 16 * channels), FlowHead(18 + 8 * channels)  # at 1/8 and at 1/4
        self.local_flow = nn.ModuleList(heads)
        self.synthesis = SynthesisNetwork(2 * channels)
        self.synthesis.unet.apply(initialise_weights)
        has_matching = config.keypoint_ratio is not None
        self.gmflow = FEATURES[config.features]() if has_matching else None
        feature_channels = 2 * (GLOBAL_CHANNELS + 8 * channels)
        self.matching = FlowMatching(channels, feature_channels) if has_matching else None
        # Features follow this layout, so that convolutions need no copies.
        set_memory_layout(self, torch.channels_last)

    def prepare(self, frame0: Tensor, frame1: Tensor, flow_scale: float = 1.0) -> SGMState:
        """Compute the features of both frames."""
        frame0, frame1 = convert_frames(frame0, frame1, self)
        height, width = frame0.shape[-2:]
        self._require_scale(height, width, flow_scale)
        return self._build_state(self._encode(torch.cat((frame0, frame1)), flow_scale), flow_scale)

    def advance(  # type: ignore[override]
        self, state: SGMState, frame1: Tensor, frame2: Tensor, flow_scale: float = 1.0
    ) -> SGMState:
        """Reuse the features of `frame1`."""
        if state.flow_scale != flow_scale or len(state.frames) != 2 * len(frame2):
            return self.prepare(frame1, frame2, flow_scale)
        frame1, frame2 = convert_frames(frame1, frame2, self)
        known, new = state.encoded, self._encode(frame2, flow_scale)
        return self._build_state(known.advance(new), flow_scale)

    def _encode(self, frames: Tensor, flow_scale: float) -> SGMFrames:
        frames = self._reorder_colours(frames)
        small = resize(frames, flow_scale)
        matchable = None
        if self.gmflow is not None:
            with torch.no_grad():  # nothing in this branch trains its features
                matchable = self.gmflow.encode(small)
        fine, tokens = self.encoder.look(small)
        return SGMFrames(frames, small, fine, tokens, matchable, self.synthesis.context(frames))

    def _build_state(self, encoded: SGMFrames, flow_scale: float) -> SGMState:
        coarse, matchable = self.encoder.relate(encoded.tokens), None
        if self.gmflow is not None:
            assert encoded.matchable is not None
            with torch.no_grad():
                height, width = coarse.shape[-2:]
                matchable = tokens_to_map(self.gmflow.attend(encoded.matchable), height, width)
        return SGMState(encoded, coarse, matchable, flow_scale)

    def estimate(self, state: SGMState, time: Tensor, *, explain: bool = False) -> SGMMotion:
        """Estimate flow and blend mask at `time`: steps 0 to 3."""
        if self.training and state.flow_scale != 1:
            raise ValueError(
                f"In training mode motion is estimated at full size: flow_scale is 1, "
                f"got {state.flow_scale:g}. Call eval() to interpolate."
            )
        notes: dict[str, Tensor] | None = {} if explain else None
        raw = self.local_flow[0](coarse_input(state.small, time, state.coarse))
        flow, logits = expand_motion(raw, CELL)
        warped = warp_pair(state.small, flow)
        merged = [blend(warped, logits)] if self.training else []
        if notes is not None:
            notes["initial_flow"] = flow
        if self.matching is not None:
            local = raw[:, :4].detach()
            correction = self._compensate(state, time, local, (flow, logits, warped), notes)
            flow, logits = _add(flow, logits, expand_motion(correction, CELL))
            warped = warp_pair(state.small, flow)
            merged += [blend(warped, logits)] if self.training else []
        raw = self.local_flow[-1](
            fine_input(state.small, warped, flow, logits, time, state.encoded.fine)
        )
        flow, logits = _add(flow, logits, expand_motion(raw, CELL // 2))
        enlarged = 1 / state.flow_scale
        flow, logits = resize_flow(flow, enlarged), resize(logits, enlarged)
        if notes is not None:
            notes = _at_full_size(notes, state) | {"flow": flow, "blend": logits.sigmoid()}
        return SGMMotion(flow, logits, tuple(merged), notes)

    def synthesise(
        self, state: SGMState, motion: SGMMotion, window: Window | None = None
    ) -> Interpolation:
        """Synthesise the frame, or a window of it: step 4."""
        height, width = state.frames.shape[-2:]
        window = window or Window(0, height, 0, width)
        outer = window.expanded(self.halo, state.frames)
        frame, merged = self.synthesis(
            state.frames,
            state.encoded.context,
            outer.crop(motion.flow),
            outer.crop(motion.blend_logits),
            origin=(outer.top, outer.left),
        )
        inner = window.relative_to(outer)
        stages = (*motion.merged, inner.crop(merged)) if self.training else ()
        explanation = motion.explanation
        if explanation is not None:
            explanation = {name: window.crop(picture) for name, picture in explanation.items()}
        return Interpolation(
            self._reorder_colours(inner.crop(frame)),
            tuple(self._reorder_colours(window.crop(stage)) for stage in stages),
            explanation,
        )

    def compute_modules(self) -> Iterator[nn.Module]:
        """Yield the convolutions and attention between warps, splats and matches.

        The last layer of a flow head is excluded: it outputs pixels at 1/8 or 1/4, where bfloat16
        rounds by whole pixels of the frame.
        """
        yield from self.encoder.children()
        yield from (self.synthesis.context, self.synthesis.unet)
        heads: list[Any] = list(self.local_flow)
        if self.matching is not None and self.gmflow is not None:
            yield from (self.gmflow.backbone, self.gmflow.transformer)
            yield self.matching.merge.logits
            heads.append(self.matching.refine)
        for head in heads:
            yield from (head.head, head.residual)

    def frozen_modules(self) -> Iterator[nn.Module]:
        """Yield the modules that the second training stage freezes."""
        yield from (self.encoder, self.local_flow, self.synthesis.unet)
        if self.gmflow is not None:
            yield self.gmflow

    def _compensate(
        self,
        state: SGMState,
        time: Tensor,
        local: Tensor,
        estimate: tuple[Tensor, Tensor, Tensor],
        notes: dict[str, Tensor] | None,
    ) -> Tensor:
        """Return the raw correction of the coarse motion; its inputs get no gradient.

        Shapes: local (B, 4, h, w) in cells, estimate = flow, blend logits, warped frames
        -> (B, 5, h, w).
        """
        assert self.matching is not None
        assert state.matchable is not None
        flow, logits, warped = (tensor.detach() for tensor in estimate)
        with torch.no_grad():
            keypoints = self._keypoints(state, flow, warped, notes)
            matched = match_globally(state.matchable, keypoints)
            count = None if keypoints is None else keypoints.shape[1]
            shifted = shift_to_time(matched, time, count)
        features = (*state.matchable.chunk(2), *state.coarse.detach().chunk(2))
        compensated = replace_unmatched(shifted, local)
        merged = self.matching.merge(local, compensated, cat_channels(features))
        if notes is not None:
            notes |= {"compensation": shifted, "merged_flow": merged}
        return self.matching.refine(refine_input(state.small, warped, flow, logits, merged))

    def _keypoints(
        self, state: SGMState, flow: Tensor, warped: Tensor, notes: dict[str, Tensor] | None
    ) -> Tensor | None:
        """Return the cells to match, (2B, K), or None to match all."""
        height, width = state.coarse.shape[-2:]
        ratio = self.config.keypoint_ratio
        assert ratio is not None
        is_dense = ratio == 1 or height <= self.config.dense_up_to
        if is_dense and notes is None:
            return None
        difference = difference_map(state.small, warped, flow)
        chosen = None
        if not is_dense:
            chosen = select_keypoints(resize(difference, 1 / CELL), int(ratio * height * width))
        if notes is not None:
            cells = difference.new_full((len(difference), height * width), float(is_dense))
            marked = cells if chosen is None else cells.scatter(1, chosen, 1)
            marked = marked.view(-1, 1, height, width)
            notes["difference"] = torch.cat(difference.chunk(2), dim=1)
            notes["keypoints"] = torch.cat(marked.chunk(2), dim=1)
        return chosen

    def _reorder_colours(self, frames: Tensor) -> Tensor:
        """Convert between RGB and the colour order of the weights."""
        return reorder_colours(frames, self.config.colour_order)

    def _require_scale(self, height: int, width: int, flow_scale: float) -> None:
        """Raise ValueError if the cells at this scale do not fit the frame."""
        multiple = self.size_multiple(flow_scale)
        scaled = [side * flow_scale for side in (height, width)]
        if any(abs(side / CELL - round(side / CELL)) > 1e-6 for side in scaled):
            raise ValueError(
                f"At flow_scale {flow_scale:g} SGM takes heights and widths divisible by "
                f"{multiple}, got {height}x{width}. Wrap it: Padded(SGM(...))."
            )


def _add(flow: Tensor, logits: Tensor, correction: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
    return flow + correction[0], logits + correction[1]


def _at_full_size(notes: dict[str, Tensor], state: SGMState) -> dict[str, Tensor]:
    """Enlarge explanations to the size of the frames, with flows in their pixels."""
    height, width = state.frames.shape[-2:]
    full = {}
    for name, picture in notes.items():
        smaller = height / picture.shape[-2]
        picture = F.interpolate(picture, size=(height, width), mode="nearest-exact")
        full[name] = picture * smaller if "flow" in name or name == "compensation" else picture
    return full
