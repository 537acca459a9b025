"""What training an IFRNet minimises (its paper, section 3)."""

import torch
from torch import Tensor

from sgm_vfi.model.baselines.ifrnet.network import IFRNetTrainingOutput
from sgm_vfi.model.ops.resize import resize_flow
from sgm_vfi.training.losses import census_loss, charbonnier

GEOMETRY_WEIGHT = DISTILLATION_WEIGHT = 0.01
CONFIDENCE = 0.3  # how fast a label is trusted less, per pixel that the finest flow is from it


def ifrnet_loss(
    lesson: IFRNetTrainingOutput,
    label: Tensor | None = None,
    distillation: float = DISTILLATION_WEIGHT,
) -> Tensor:
    """Sum of the three losses; without a label, of the first two.

    Args:
        distillation: weight of the third.

    Shapes: label (B, 4, H, W) in pixels, flow_t0 and flow_t1 -> ().
    """
    loss = reconstruction_loss(lesson.frame, lesson.target) + geometry_loss(lesson)
    return loss if label is None else loss + distillation_loss(lesson.flows, label, distillation)


def reconstruction_loss(frame: Tensor, target: Tensor) -> Tensor:
    """Charbonnier in colour, census over 7 x 7 pixels of grey. Shapes: (B, 3, H, W) -> ()."""
    grey, true_grey = (image.mean(dim=1, keepdim=True) for image in (frame, target))
    return charbonnier(frame - target) + census_loss(grey, true_grey, patch=7, border=3)


def geometry_loss(lesson: IFRNetTrainingOutput) -> Tensor:
    """Features of the frame between are to have the structure of the true frame's features.

    Gradients go into both: the encoder learns from it too.
    """
    pairs = zip(lesson.features, lesson.target_features, strict=True)
    return GEOMETRY_WEIGHT * sum(census_loss(*pair, patch=3, border=1) for pair in pairs)


def distillation_loss(
    flows: tuple[Tensor, ...], label: Tensor, weight: float = DISTILLATION_WEIGHT
) -> Tensor:
    """Draw the coarse flows to a label, most where the finest agrees with it.

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
    """Shapes: flow less label (B, 2, H, W) -> (B, 1, H, W) in (0, 1]."""
    return torch.exp(-CONFIDENCE * difference.norm(dim=1, keepdim=True))


def adaptive_charbonnier(difference: Tensor, trust: Tensor) -> Tensor:
    """Mean of (d^2 + epsilon^2)^(trust / 2), epsilon = 10^(-(10 trust - 1) / 3).

    Full trust is nearly an absolute value; the less of it, the flatter and rounder the penalty.

    Shapes: difference (B, C, H, W), trust (B, 1, H, W) -> ().
    """
    epsilon = 10 ** (-(10 * trust - 1) / 3)
    return ((difference.square() + epsilon.square()) ** (trust / 2)).mean()
