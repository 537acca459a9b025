"""GMFlow: Learning Optical Flow via Global Matching (Xu et al., CVPR 2022), the one-scale network.

Stages, in order:
    1. `encode_pair`: features of both frames at 1/8 (`gmflow_features.py`), with attention inside
       2 x 2 windows.
    2. `flow`: softmax matching over the whole frame gives the expected position of each cell.
    3. `FlowPropagation` spreads the flow to occluded cells by self-attention.
    4. The flow is enlarged to full size by learnt convex combinations, and cropped.

Tensors: frames (B, 3, H, W), RGB in [0, 1]; tokens (B, h', w', 128); flows (B, 2, H, W), (u, v)
in pixels. Written from a specification (published code: Apache-2.0).
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sgm_vfi.model.flow.estimator import FlowEstimator
from sgm_vfi.model.flow.gmflow_features import (
    CHANNELS,
    FLOW_HEAD_PREFIXES,
    PADDED_TO,
    PUBLISHED_NAMES,
    GMFlowFeatures,
)
from sgm_vfi.model.ops.correlation import local_correlation
from sgm_vfi.model.ops.global_matching import blockwise_attention, cell_positions, match_positions
from sgm_vfi.model.ops.resize import symmetric_padding
from sgm_vfi.model.weight_io import NameScope, Weights, load_weights, translate_name

HEAD_NAMES = (
    NameScope("feature_flow_attn.q_proj.", "propagation.query."),
    NameScope("feature_flow_attn.k_proj.", "propagation.key."),
)
CELL = 8  # pixels, each way
COLOUR_MEAN = (0.485, 0.456, 0.406)  # of ImageNet, which the published weights expect removed
COLOUR_SPREAD = (0.229, 0.224, 0.225)


class GMFlow(FlowEstimator):
    """Flow by global feature matching; frames are padded by replication to multiples of 16."""

    def __init__(self, num_layers: int = 6) -> None:
        super().__init__()
        self.features = GMFlowFeatures(num_layers, splits=2)
        self.propagation = FlowPropagation()
        self.upsampler = build_upsampler(CELL)

    def forward(self, source: Tensor, target: Tensor) -> Tensor:
        """Return the flow from `source` to `target`."""
        return self.flow(*self.encode_pair(source, target), like=source)

    def bidirectional(self, frame0: Tensor, frame1: Tensor) -> tuple[Tensor, Tensor]:
        """Return flow_01 and flow_10 from one run of the features."""
        tokens0, tokens1 = self.encode_pair(frame0, frame1)
        return self.flow(tokens0, tokens1, like=frame0), self.flow(tokens1, tokens0, like=frame0)

    def encode_pair(self, frame0: Tensor, frame1: Tensor) -> tuple[Tensor, Tensor]:
        """Compute features, padded. Shapes: (B, 3, H, W) -> (B, h', w', 128), twice."""
        frames = torch.cat((frame0, frame1))
        mean, spread = (
            frames.new_tensor(values).view(3, 1, 1) for values in (COLOUR_MEAN, COLOUR_SPREAD)
        )
        tokens = self.features.attend(self.features.encode((frames - mean) / spread))
        first, second = tokens.chunk(2)
        return first, second

    def flow(self, source: Tensor, target: Tensor, like: Tensor) -> Tensor:
        """Match, propagate, enlarge, and crop to the size of `like`.

        Shapes: tokens (B, h', w', 128), like (B, 3, H, W) -> (B, 2, H, W), in pixels.
        """
        from torchvision.models.optical_flow._utils import upsample_flow

        rows, columns = source.shape[1:3]
        tokens, others = source.flatten(1, 2), target.flatten(1, 2)
        matched = match_positions(tokens, others, rows, columns)
        flow = self.propagation(tokens, matched - cell_positions(rows, columns, like=tokens))
        flow = flow.transpose(1, 2).unflatten(2, (rows, columns))
        mask = self.upsampler(torch.cat((flow, source.permute(0, 3, 1, 2)), dim=1))
        height, width = like.shape[-2:]
        top, left = symmetric_padding(height, PADDED_TO)[0], symmetric_padding(width, PADDED_TO)[0]
        flow = upsample_flow(flow, mask)
        return flow[..., top : top + height, left : left + width].contiguous()


def build_upsampler(cell: int) -> nn.Sequential:
    """Build the head of convex upsampling: nine weights for each of the cell x cell pixels."""
    return nn.Sequential(
        nn.Conv2d(CHANNELS + 2, 256, kernel_size=3, padding=1),
        nn.ReLU(),
        nn.Conv2d(256, cell**2 * 9, kernel_size=1),
    )


class FlowPropagation(nn.Module):
    """Propagates flow between cells with similar features, which covers occlusions."""

    def __init__(self) -> None:
        super().__init__()
        self.query = nn.Linear(CHANNELS, CHANNELS)
        self.key = nn.Linear(CHANNELS, CHANNELS)

    def forward(self, tokens: Tensor, flow: Tensor) -> Tensor:
        """Shapes: tokens (B, L, 128), flow (B, L, 2) -> (B, L, 2)."""
        queries = self.query(tokens)
        keys = self.key(queries)  # as published: keys are computed from the queries
        return blockwise_attention(queries, keys, flow)

    def among_neighbours(self, tokens: Tensor, flow: Tensor, radius: int) -> Tensor:
        """Propagate among neighbouring cells only; outside the map keys and flow are zero.

        Shapes: tokens (B, 128, h, w), flow (B, 2, h, w) -> (B, 2, h, w).
        """
        cells = tokens.permute(0, 2, 3, 1)
        queries, keys = (layer(cells).permute(0, 3, 1, 2) for layer in (self.query, self.key))
        scores = local_correlation(queries, keys, radius) * CHANNELS**0.5
        size = 2 * radius + 1
        flows = F.unfold(flow, size, padding=radius).unflatten(1, (2, size**2))
        flows = flows.unflatten(3, flow.shape[-2:])  # (B, 2, 9, h, w)
        return (flows * scores.softmax(dim=1)[:, None]).sum(dim=2)


def load_gmflow_weights(estimator: GMFlow, weights: Weights) -> None:
    """Load published weights."""
    state = {
        translate_name(name, HEAD_NAMES)
        if name.startswith(FLOW_HEAD_PREFIXES)
        else "features." + translate_name(name, PUBLISHED_NAMES): tensor
        for name, tensor in weights.state.items()
    }
    load_weights(estimator, weights._replace(state=state))
