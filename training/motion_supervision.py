"""Motion supervision: losses on flows and attention where the true motion is known.

The interpolation loss says little about motion larger than the details of an image. With the true
motion as a target a network learns in minutes what otherwise takes hours to begin.
"""

from collections.abc import Mapping
from functools import partial

import torch
from torch import Tensor, nn

from sgm_vfi.model.ops.global_matching import cell_positions
from sgm_vfi.model.sgm.local_encoder import CrossFrameAttention, CrossFrameBlock
from sgm_vfi.training.loss_functions import motion_error

Maps = tuple[Tensor, Tensor]  # a flow and its visibility


class MotionSupervision:
    """Loss of a network's flows and of its cross-frame attention against the true motion.

    Records the inputs of attention in the last forward pass in training mode.

    Args:
        flows: weight of the end-point error, per pixel.
        attention: weight of the cross entropy of attention, per nat.

    Raises:
        ValueError: `attention` is set, but the network has no attention between frames.
    """

    def __init__(self, network: nn.Module, flows: float, attention: float) -> None:
        self.flows, self.attention = flows, attention
        self.inputs: dict[CrossFrameBlock, tuple[Tensor, Tensor | None]] = {}
        blocks = [part for part in network.modules() if isinstance(part, CrossFrameBlock)]
        if attention and not blocks:
            raise ValueError(
                f"{type(network).__name__} has no attention between frames: "
                f"set training.attention_loss=0."
            )
        for block in blocks if attention else ():
            block.attention.register_forward_pre_hook(partial(self._record_inputs, block))

    def __call__(self, explanation: Mapping[str, Tensor], pixels: Maps, cells: Maps) -> Tensor:
        """Compute the loss.

        Shapes: pixels, flow and visibility (B, 4, H, W) from the target; cells, flow (2B, 2, h, w)
        and visibility (2B, 1, h, w) from frame 0 to frame 1, then back -> ().
        """
        none = pixels[0].new_zeros(())
        error = self.flows * motion_error(explanation, *pixels) if self.flows else none
        given, self.inputs = self.inputs, {}
        misses = [attention_match_error(block, *what, *cells) for block, what in given.items()]
        return error + self.attention * torch.stack(misses).mean() if misses else error

    def _record_inputs(
        self,
        block: CrossFrameBlock,
        attention: CrossFrameAttention,
        inputs: tuple[Tensor, Tensor | None],
    ) -> None:
        if attention.training:
            self.inputs[block] = inputs


def attention_match_error(
    block: CrossFrameBlock, windows: Tensor, mask: Tensor | None, flow: Tensor, visible: Tensor
) -> Tensor:
    """Cross entropy of attention against the true match of each cell, in nats.

    A match between four cells has their bilinear weights as target. Occluded cells, cells that
    leave their window and masked pairs do not count.

    Shapes: windows (2B, n, T, C) and mask (n, T, T) as attention is given them, flow
    (2B, 2, h, w) in cells, visible (2B, 1, h, w) -> ().
    """
    height, width = flow.shape[-2:]
    here = cell_positions(height, width, like=flow).view(1, height, width, 2)
    there = here + flow.permute(0, 2, 3, 1)
    cells = block.cut(torch.cat((here, torch.ones_like(here[..., :1])), dim=-1))
    sought = block.cut(torch.cat((there, visible.permute(0, 2, 3, 1)), dim=-1))
    distance = (sought[..., None, :2] - cells[..., None, :, :2]).abs()  # (2B, n, T, T, 2)
    share = (1 - distance).clamp(min=0).prod(dim=-1) * sought[..., 2:] * cells[..., None, :, 2]
    scores = block.attention.scores(windows.float())
    if mask is not None:
        scores, share = scores + mask[:, None], share * (mask == 0)
    missed = -(share[:, :, None] * scores.log_softmax(dim=-1)).sum() / scores.shape[2]
    return missed / share.sum().clamp(min=1)
