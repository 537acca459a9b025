"""Convolutions with an activation, as one oneDNN operation on the CPU."""

import torch
import torch.nn.functional as F
from torch import Tensor

from sgm_vfi.model.ops.onednn_linear import runs_on_onednn, wants_gradient


def runs_fused(x: Tensor, weight: Tensor) -> bool:
    """Return whether oneDNN computes a convolution and its activation at once: inference, fp32."""
    return not wants_gradient(x, weight) and runs_on_onednn(x, weight)


def conv_leaky_relu(
    x: Tensor, weight: Tensor, bias: Tensor | None, slope: float, stride: int = 1
) -> Tensor:
    """Return leaky_relu(conv2d(x)), padded to keep the size. Shapes: as `F.conv2d`."""
    padding = weight.shape[-1] // 2
    if wants_gradient(bias) or not runs_fused(x, weight):
        return F.leaky_relu(F.conv2d(x, weight, bias, stride, padding), slope)
    x = x.contiguous(memory_format=torch.channels_last)  # twice as fast as the other layout
    options = ([padding] * 2, [stride] * 2, [1, 1], 1, "leaky_relu", [slope], "")
    return torch.ops.mkldnn._convolution_pointwise(x, weight, bias, *options)
