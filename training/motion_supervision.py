"""What is minimised on top where the true motion is known.

Pictures tell little of motion that is longer than their details are wide, and nothing of where to
search. A network that is told learns in minutes what it otherwise takes hours to begin with.
"""

from collections.abc import Mapping
from functools import partial

import torch
from torch import Tensor, nn

from sgm_vfi.model.ops.global_matching import cell_positions
from sgm_vfi.model.sgm.encoder import CrossFrameAttention, CrossFrameBlock
from sgm_vfi.training.losses import motion_error

Maps = tuple[Tensor, Tensor]  # a flow, and what of it can be seen


class MotionSupervision:
    """Errors of a network's flows, and of what its attention between the frames finds.

    Keeps what attention was given in the last pass in training mode, to score it.

    Args:
        flows: what a pixel's error of a flow counts.
        attention: what a nat counts by which attention misses the cell that a cell has moved to.

    Raises:
        ValueError: attention is to be told, and the network has none between frames.
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
            block.attention.register_forward_pre_hook(partial(self._note, block))

    def __call__(self, explanation: Mapping[str, Tensor], pixels: Maps, cells: Maps) -> Tensor:
        """Shapes: pixels (B, 4, H, W) twice, from the target; cells (2B, 2, h, w), (2B, 1, h, w),
        from frame 0 to 1, then back -> ().
        """
        error = self.flows * motion_error(explanation, *pixels) if self.flows else 0.0
        given, self.inputs = self.inputs, {}
        misses = [attention_match_error(block, *what, *cells) for block, what in given.items()]
        return error + self.attention * torch.stack(misses).mean() if misses else error

    def _note(
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
    """How little attention looks where each cell has moved to: cross entropy, in nats.

    Between four cells it should look at all of them, as much as bilinear interpolation does.
    Cells that are hidden, or leave their window, do not count, nor do pairs that the mask blocks.

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
