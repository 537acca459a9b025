"""Filling of holes by weighted means of their surroundings, coarse to fine."""

import torch
import torch.nn.functional as F
from torch import Tensor

from sgm_vfi.model.ops.resize import resize_to


def fill_holes(values: Tensor, weight: Tensor, *, epsilon: float = 1e-6) -> Tensor:
    """Fill pixels of low weight with the weighted mean of their surroundings.

        out = weight * values + (1 - weight) * enlarged(fill_holes(halved))

    Halving takes the weighted mean of 2 x 2 pixels and adds up their weights, clamped to one. A
    weight of one keeps the value; without any weight the values stay.

    Shapes: values (B, C, H, W), weight (B, 1, H, W), clamped to [0, 1] -> (B, C, H, W).
    """
    weight = weight.clamp(0, 1)
    height, width = values.shape[-2:]
    if height == width == 1:
        return values
    halved = F.avg_pool2d(
        torch.cat((values * weight, weight), dim=1), 2, ceil_mode=True, count_include_pad=False
    )
    mean, coarse = halved[:, :-1] / (halved[:, -1:] + epsilon), 4 * halved[:, -1:]
    filled = fill_holes(mean, coarse, epsilon=epsilon)
    return torch.lerp(resize_to(filled, (height, width)), values, weight)
