"""GMA: optical flow with Global Motion Aggregation (Jiang et al., ICCV 2021).

Stages are those of RAFT (`raft.py`), with one change: in each update, the motion features are also
aggregated by attention over the context of the whole frame (`AggregatingUpdate`). Tensor
conventions are those of RAFT. Written from a specification, with torchvision's parts of RAFT.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.models.optical_flow.raft import (
    FlowHead,
    MotionEncoder,
    RecurrentBlock,
    UpdateBlock,
)

from sgm_vfi.model.flow.raft import RAFT, from_published
from sgm_vfi.model.weight_io import NameScope, Weights, load_weights

CHANNELS = 128  # of the context, of the motion features and of the hidden state
CORRELATIONS = 4 * 9**2  # looked up around each cell: 9 x 9 in each of four maps
PUBLISHED_NAMES = (
    NameScope("att.to_qk.", "update_block.query_key."),
    NameScope("update_block.aggregator.to_v.", "update_block.value."),
    NameScope("update_block.aggregator.gamma", "update_block.gamma"),
)
UNUSED = "att.pos_emb."  # position tables of published files, which the network does not use


class GMA(RAFT):
    """RAFT whose updates share motion between cells of similar context."""

    def __init__(self, iterations: int = 20) -> None:
        super().__init__(iterations)
        self.network.update_block = AggregatingUpdate()


class AggregatingUpdate(UpdateBlock):
    """torchvision's update block with motion features aggregated by attention.

    The attention is equal in all updates; it is recomputed to save memory.
    """

    def __init__(self) -> None:
        super().__init__(
            motion_encoder=MotionEncoder(in_channels_corr=CORRELATIONS, out_channels=CHANNELS),
            recurrent_block=RecurrentBlock(input_size=3 * CHANNELS, hidden_size=CHANNELS),
            flow_head=FlowHead(in_channels=CHANNELS, hidden_size=256),
        )
        self.query_key = nn.Conv2d(CHANNELS, 2 * CHANNELS, kernel_size=1, bias=False)
        self.value = nn.Conv2d(CHANNELS, CHANNELS, kernel_size=1, bias=False)
        self.gamma = nn.Parameter(torch.zeros(1))

    def forward(
        self, hidden_state: Tensor, context: Tensor, corr_features: Tensor, flow: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Shapes: hidden_state, context (B, 128, h, w), flow (B, 2, h, w) -> state, flow update."""
        motion = self.motion_encoder(flow, corr_features)
        queries, keys = tokens(self.query_key(context)).chunk(2, dim=-1)
        shared = F.scaled_dot_product_attention(queries, keys, tokens(self.value(motion)))
        shared = shared[:, 0].transpose(1, 2).view_as(motion)
        seen = torch.cat((context, motion, motion + self.gamma * shared), dim=1)
        hidden_state = self.recurrent_block(hidden_state, seen)
        return hidden_state, self.flow_head(hidden_state)


def tokens(maps: Tensor) -> Tensor:
    """Shapes: (B, C, h, w) -> (B, 1, h w, C), one head of attention."""
    return maps.flatten(2).transpose(1, 2)[:, None]


def load_gma_weights(estimator: GMA, weights: Weights) -> None:
    """Load published weights, except for unused tables."""
    state = {n: t for n, t in weights.state.items() if not n.startswith(UNUSED)}
    weights = from_published(weights._replace(state=state), PUBLISHED_NAMES)
    load_weights(estimator.network, weights)
