"""Optical flow by matching at two scales (GMFlow with refinement, Xu et al., CVPR 2022).

Stages:
1. Backbone: features of each frame at 1/8 and 1/4 resolution, by one convolution at two strides.
2. At 1/8: transformer in 2 x 2 windows, matching over the whole frame, global propagation.
3. At 1/4: the second frame's features are warped by that flow; transformer in 8 x 8 windows,
   matching in a window of radius 4, propagation among neighbours.
4. Convex upsampling by 4.

Transformer, propagation and upsampler share their weights between the scales. Flows are in pixels
of their own resolution, (x, y). Written from a specification; the published code is Apache-2.0.
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sgm_vfi.model.flow.estimator import FlowEstimator
from sgm_vfi.model.flow.gmflow import (
    COLOUR_MEAN,
    COLOUR_SPREAD,
    HEAD_NAMES,
    FlowPropagation,
    build_upsampler,
)
from sgm_vfi.model.flow.gmflow_features import (
    CHANNELS,
    FLOW_HEAD_PREFIXES,
    PUBLISHED_NAMES,
    FeatureTransformer,
    GMFlowFeatures,
    ResidualUnit,
)
from sgm_vfi.model.layers.position_encoding import sine_position_encoding
from sgm_vfi.model.ops.banded_convolution import apply_per_sample
from sgm_vfi.model.ops.correlation import local_correlation
from sgm_vfi.model.ops.global_matching import cell_positions, match_positions
from sgm_vfi.model.ops.instance_norm import instance_norm_relu
from sgm_vfi.model.ops.pixel_grid import pixel_grid
from sgm_vfi.model.ops.resize import symmetric_padding
from sgm_vfi.model.ops.warp import backward_warp
from sgm_vfi.model.weight_io import Weights, load_weights, translate_name

SPLITS = (2, 8)  # windows of attention each way, at 1/8 and 1/4
MATCHING_RADIUS, PROPAGATION_RADIUS = 4, 1  # cells, at 1/4
CELL = 4  # pixels of the finer scale
MULTIPLE = 64  # pixels: windows at both scales have even sides
OUTSIDE = -1e9  # score of a place outside the frame
TRIDENT_WEIGHT = "backbone.trident_conv.weight"  # only published weights of two scales have it
SCOPES = (*PUBLISHED_NAMES, *HEAD_NAMES)


class FrameFeatures(NamedTuple):
    """Features of one frame, and how its sides were padded."""

    coarse: Tensor  # (B, 128, H/8, W/8)
    fine: Tensor  # (B, 128, H/4, W/4)
    padding: tuple[int, int, int, int]  # left, right, top, bottom, in pixels


class GMFlowRefine(FlowEstimator):
    """Flow by global matching at 1/8 resolution and local matching at 1/4.

    Frames of any size are padded by their edge pixels to multiples of 64, centred. No score matrix
    of the whole frame is stored.
    """

    def __init__(self, num_layers: int = 6) -> None:
        super().__init__()
        self.backbone = TwoScaleBackbone()
        self.transformer = FeatureTransformer(num_layers, whole_rows=True)
        self.propagation = FlowPropagation()
        self.upsampler = build_upsampler(CELL)

    def forward(self, source: Tensor, target: Tensor) -> Tensor:
        """Return the flow from the source to the target. Shapes: (B, 3, H, W) -> (B, 2, H, W)."""
        return self.estimate(self.encode(source), self.encode(target))

    def encode(self, frame: Tensor) -> FrameFeatures:
        """Extract the features of a frame. Shapes: (B, 3, H, W)."""
        (left, right), (top, bottom) = (
            symmetric_padding(side, MULTIPLE) for side in reversed(frame.shape[-2:])
        )
        padding = (left, right, top, bottom)
        frame = F.pad(normalise_colours(frame), padding, mode="replicate")
        coarse, fine = self.backbone(frame)
        return FrameFeatures(coarse, fine, padding)

    def estimate(self, source: FrameFeatures, target: FrameFeatures) -> Tensor:
        """Return the flow from the source to the target, in pixels. Shapes: -> (B, 2, H, W)."""
        tokens, others = self.attend(source.coarse, target.coarse, SPLITS[0])
        return self.refine(source, target, self.match_globally(tokens, others))

    def estimate_both(
        self, features0: FrameFeatures, features1: FrameFeatures
    ) -> tuple[Tensor, Tensor]:
        """Return both flows; the coarse features serve them both."""
        tokens0, tokens1 = self.attend(features0.coarse, features1.coarse, SPLITS[0])
        flow_01 = self.refine(features0, features1, self.match_globally(tokens0, tokens1))
        return flow_01, self.refine(features1, features0, self.match_globally(tokens1, tokens0))

    def attend(self, source: Tensor, target: Tensor, splits: int) -> tuple[Tensor, Tensor]:
        """Run the transformer on both maps. Shapes: (B, 128, h, w) -> (B, h, w, 128), twice."""
        tokens = torch.cat((source, target)).permute(0, 2, 3, 1)
        height, width = (side // splits for side in tokens.shape[1:3])
        embedding = sine_position_encoding(height, width, CHANNELS, tokens.device)
        tokens = tokens + embedding.to(tokens.dtype).repeat(splits, splits, 1)
        first, second = self.transformer(tokens, splits).chunk(2)
        return first, second

    def match_globally(self, source: Tensor, target: Tensor) -> Tensor:
        """Match with all cells, then propagate. Shapes: (B, h, w, 128), twice -> (B, 2, h, w)."""
        height, width = source.shape[1:3]
        tokens, others = source.flatten(1, 2), target.flatten(1, 2)
        matched = match_positions(tokens, others, height, width)
        flow = self.propagation(tokens, matched - cell_positions(height, width, like=tokens))
        return flow.transpose(1, 2).unflatten(2, (height, width))

    def refine(self, source: FrameFeatures, target: FrameFeatures, flow: Tensor) -> Tensor:
        """Correct a flow at 1/8 by local matching at 1/4. Shapes: (B, 2, h, w) -> (B, 2, H, W)."""
        from torchvision.models.optical_flow._utils import upsample_flow

        size = source.fine.shape[-2:]
        flow = 2 * F.interpolate(flow, size=size, mode="bilinear", align_corners=True)
        warped = backward_warp(target.fine, flow, padding="zeros")
        tokens, others = (
            each.permute(0, 3, 1, 2) for each in self.attend(source.fine, warped, SPLITS[1])
        )
        flow = flow + match_locally(tokens, others, MATCHING_RADIUS)
        flow = self.propagation.among_neighbours(tokens, flow, PROPAGATION_RADIUS)
        flow = upsample_flow(flow, self.upsampler(torch.cat((flow, tokens), dim=1)), CELL)
        return F.pad(flow, [-margin for margin in source.padding])


class TwoScaleBackbone(nn.Module):
    """Residual network down to 1/4, and one convolution at two strides.

    Shapes: (B, 3, H, W) -> (B, 128, H/8, W/8), (B, 128, H/4, W/4).
    """

    channels_per_pixel = 16  # of its widest maps: 64 channels at 1/2

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 64, kernel_size=7, stride=2, padding=3, bias=False)
        self.layer1 = nn.Sequential(ResidualUnit(64, 64), ResidualUnit(64, 64))
        self.layer2 = nn.Sequential(ResidualUnit(64, 96, stride=2), ResidualUnit(96, 96))
        self.layer3 = nn.Sequential(ResidualUnit(96, CHANNELS), ResidualUnit(CHANNELS, CHANNELS))
        self.conv2 = nn.Conv2d(CHANNELS, CHANNELS, kernel_size=1)
        self.trident_conv = nn.Conv2d(CHANNELS, CHANNELS, kernel_size=3, padding=1, bias=False)

    def forward(self, frame: Tensor) -> tuple[Tensor, Tensor]:
        """Return features at 1/8 and at 1/4. Shapes: (B, 3, H, W)."""
        x = apply_per_sample(self.quarter, frame, channels=self.channels_per_pixel)
        weight = self.trident_conv.weight
        return F.conv2d(x, weight, stride=2, padding=1), F.conv2d(x, weight, padding=1)

    def quarter(self, frame: Tensor) -> Tensor:
        """Return the features that both scales derive from. Shapes: -> (B, 128, H/4, W/4)."""
        x = instance_norm_relu(self.conv1(frame))
        for unit in (*self.layer1, *self.layer2, *self.layer3):
            x = unit(x)
        return self.conv2(x)


class GMFlowRefineFeatures(GMFlowFeatures):
    """The features at 1/8 of the two-scale network, for global matching.

    Frames are RGB; they are normalised here.
    """

    def __init__(self, num_layers: int = 6) -> None:
        super().__init__(num_layers, splits=SPLITS[0])
        self.backbone = TwoScaleBackbone()  # type: ignore[assignment]

    def extract(self, frames: Tensor) -> Tensor:
        """Compute the coarse features of frames. Shapes: (B, 3, H, W) -> (B, 128, H/8, W/8)."""
        return self.backbone(normalise_colours(frames))[0]


def normalise_colours(frame: Tensor) -> Tensor:
    """Normalise RGB in [0, 1] as the published weights expect it. Shapes: (B, 3, H, W)."""
    mean, deviation = (
        frame.new_tensor(values).view(3, 1, 1) for values in (COLOUR_MEAN, COLOUR_SPREAD)
    )
    return (frame - mean) / deviation


def match_locally(source: Tensor, target: Tensor, radius: int) -> Tensor:
    """Return the expected displacement to the cells of the target around each cell.

    Shapes: (B, C, h, w) twice -> (B, 2, h, w), (x, y).
    """
    height, width = source.shape[-2:]
    scores = local_correlation(source, target, radius) * source.shape[1] ** 0.5
    x, y = pixel_grid(source)
    steps = torch.arange(-radius, radius + 1, device=source.device, dtype=source.dtype)
    across = steps.repeat(len(steps))[:, None, None]  # (81, 1, 1), x fastest
    down = steps.repeat_interleave(len(steps))[:, None, None]
    inside = (x + across >= 0) & (x + across < width) & (y + down >= 0) & (y + down < height)
    weights = scores.masked_fill(~inside, OUTSIDE).softmax(dim=1)
    return torch.stack([(weights * step).sum(dim=1) for step in (across, down)], dim=1)


def load_gmflow_refine_weights(
    network: GMFlowRefine | GMFlowRefineFeatures, weights: Weights
) -> None:
    """Load published weights, all or none; features leave out the flow head."""
    state = {
        translate_name(name, SCOPES): tensor
        for name, tensor in weights.state.items()
        if isinstance(network, GMFlowRefine) or not name.startswith(FLOW_HEAD_PREFIXES)
    }
    load_weights(network, weights._replace(state=state))
