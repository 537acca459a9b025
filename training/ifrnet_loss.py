"""Training loss of IFRNet (its paper, section 3)."""

from collections.abc import Callable

import torch
from torch import Tensor

from sgm_vfi.model.baselines.ifrnet.network import IFRNetTrainingOutput
from sgm_vfi.model.ops.resize import resize_flow
from sgm_vfi.training.loss_functions import census_loss, charbonnier

GEOMETRY_WEIGHT = DISTILLATION_WEIGHT = 0.01
CONFIDENCE = 0.3  # how fast a label is trusted less, per pixel that the finest flow is from it


def ifrnet_loss(
    output: IFRNetTrainingOutput,
    label: Tensor | None = None,
    distillation: float = DISTILLATION_WEIGHT,
    frame_loss: Callable[[Tensor, Tensor], Tensor] | None = None,
) -> Tensor:
    """Sum of reconstruction, geometry and, given a label, distillation loss.

    Args:
        distillation: weight of the distillation loss.
        frame_loss: of a frame, given the true one, instead of the reconstruction loss.

    Shapes: label (B, 4, H, W) in pixels, flow_t0 and flow_t1 -> ().
    """
    loss = (frame_loss or reconstruction_loss)(output.frame, output.target) + geometry_loss(output)
    return loss if label is None else loss + distillation_loss(output.flows, label, distillation)


def reconstruction_loss(frame: Tensor, target: Tensor) -> Tensor:
    """Charbonnier in colour, census over 7 x 7 pixels of grey. Shapes: (B, 3, H, W) -> ()."""
    grey, true_grey = (image.mean(dim=1, keepdim=True) for image in (frame, target))
    return charbonnier(frame - target) + census_loss(grey, true_grey, patch=7, border=3)


def geometry_loss(output: IFRNetTrainingOutput) -> Tensor:
    """Census loss between decoded features and those of the target, with gradients for both."""
    pairs = zip(output.features, output.target_features, strict=True)
    losses = (census_loss(*pair, patch=3, border=1) for pair in pairs)
    return GEOMETRY_WEIGHT * sum(losses, output.frame.new_zeros(()))


def distillation_loss(
    flows: tuple[Tensor, ...], label: Tensor, weight: float = DISTILLATION_WEIGHT
) -> Tensor:
    """Distance of the coarse flows from a label, weighted by how well the finest agrees.

    Shapes: flows as in `IFRNetTrainingOutput`, label (B, 4, H, W) -> ().
    """
    *coarse, finest = flows
    loss = label.new_zeros(())
    for direction in (slice(0, 2), slice(2, 4)):
        true = label[:, direction]
        trust = label_trust(finest[:, direction].detach() - true)
        for level, flow in enumerate(coarse):
            full = resize_flow(flow[:, direction], 2 ** (len(coarse) - level))
            loss = loss + adaptive_charbonnier(full - true, trust)
    return weight * loss


def label_trust(difference: Tensor) -> Tensor:
    """Weight of a label. Shapes: flow minus label (B, 2, H, W) -> (B, 1, H, W) in (0, 1]."""
    return torch.exp(-CONFIDENCE * difference.norm(dim=1, keepdim=True))


def adaptive_charbonnier(difference: Tensor, trust: Tensor) -> Tensor:
    """Mean of (d^2 + epsilon^2)^(trust / 2), epsilon = 10^(-(10 trust - 1) / 3).

    Full trust gives nearly an absolute value; less trust a flatter and rounder penalty.

    Shapes: difference (B, C, H, W), trust (B, 1, H, W) -> ().
    """
    epsilon = 10 ** (-(10 * trust - 1) / 3)
    return ((difference.square() + epsilon.square()) ** (trust / 2)).mean()
