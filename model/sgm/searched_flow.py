"""Step 0 without learning: a first estimate of the motion by sparse matches and dense search."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sgm_vfi.model.flow.motion_hypotheses import (
    SHRINK,
    BidirectionalMotion,
    Layer,
    compose_layers,
    plausibility,
    prepare_hypotheses,
    render,
)
from sgm_vfi.model.flow.sift_dis import SIFTDISFlow
from sgm_vfi.model.ops.resize import resize_flow
from sgm_vfi.model.sgm.flow_compensation import replace_unmatched

BETTER = 1.2  # times as likely as what was searched is what a match has to be
LEAST = 1e-3  # share of a frame in the blend: logits stay such that a network can change them


class FlowSearch(nn.Module):
    """Searches for the motion between two frames; at a time, takes the likeliest guess of it.

    In place of the encoder's attention and of the head at 1/8. Holds no weights, and gives no
    gradient. What of OpenCV it needs runs on the CPU, wherever the frames are.
    """

    scale = SHRINK

    def __init__(self) -> None:
        super().__init__()
        self.flow = SIFTDISFlow()

    @torch.no_grad()
    def prepare(self, frames: Tensor) -> BidirectionalMotion:
        """What serves every time. Shapes: frames (2B, 3, H, W), all first frames before all second.

        Flows and weights are at 1/4, in pixels of that size.
        """
        frame0, frame1 = frames.chunk(2)
        return prepare_hypotheses(frame0, frame1, *self.flow.bidirectional(frame0, frame1))

    @torch.no_grad()
    def forward(
        self, flows: BidirectionalMotion, time: Tensor, frames: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Read off two flows and a blend mask, as `FlowHead` does, at 1/`scale`; draft the frame.

        Shapes: time (B, 1, 1, 1), frames (2B, 3, H', W') of any size -> (B, 5, H/4, W/4), and what
        a mixture of all guesses looks like, (B, 3, H', W').
        """
        parts = compose_layers(flows, time)
        flow0, share0 = likeliest(parts.layers[:2], parts.still0)
        flow1, share1 = likeliest(parts.layers[2:], parts.still1)
        logits = (share0 / (share0 + share1)).logit(eps=LEAST)
        return torch.cat((flow0, flow1, logits), dim=1), render(parts, *frames.chunk(2))

    @torch.no_grad()
    def confirm(
        self, flows: BidirectionalMotion, time: Tensor, shifted: Tensor, local: Tensor
    ) -> Tensor:
        """Drop the matches on which both frames agree no more than on the flow that was searched.

        Shapes: shifted matches and local flow (B, 4, h, w), in cells -> (B, 4, h, w), the matches,
        zero where dropped.
        """
        matched = agreement(flows, time, replace_unmatched(shifted, local))
        is_better = matched > BETTER * agreement(flows, time, local)
        return torch.where(is_better.repeat_interleave(2, dim=1), shifted, 0)


def agreement(flows: BidirectionalMotion, time: Tensor, flow: Tensor) -> Tensor:
    """How well both frames agree if all moves on as a flow towards either of them says.

    Shapes: flow (B, 4, h, w) in cells -> (B, 2, h, w), for each of the two.
    """
    flow_t0, flow_t1 = resize_flow(flow, 2).chunk(2, dim=1)
    velocities = (-flow_t0 / time, flow_t1 / (1 - time))
    both = [plausibility(flows, velocity, time) for velocity in velocities]
    return F.avg_pool2d(torch.cat(both, dim=1), 2)


def likeliest(layers: list[Layer], still: Tensor) -> tuple[Tensor, Tensor]:
    """The flow of largest weight, which may be none, and the weight of all.

    Shapes: still (B, 1, h, w) -> (B, 2, h, w), (B, 1, h, w).
    """
    weights = torch.cat((still, *(layer.weight for layer in layers)), dim=1)
    flows = torch.stack((torch.zeros_like(layers[0].flow), *(layer.flow for layer in layers)), 1)
    choice = weights.argmax(dim=1)[:, None, None].expand(-1, -1, *flows.shape[2:])
    return flows.gather(1, choice)[:, 0], weights.sum(dim=1, keepdim=True)
