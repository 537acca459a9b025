"""Convolutions with their activations."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sgm_vfi.model.layers.prelu import PReLU
from sgm_vfi.model.ops.onednn_convolution import conv_leaky_relu, runs_fused


def conv_prelu(
    in_channels: int, out_channels: int, stride: int = 1, kernel_size: int = 3
) -> nn.Sequential:
    """Build a padded convolution and a PReLU with a slope per channel.

    Args:
        kernel_size: an odd number.
    """
    return nn.Sequential(
        nn.Conv2d(in_channels, out_channels, kernel_size, stride, padding=kernel_size // 2),
        PReLU(out_channels),
    )


class LeakyConv(nn.Sequential):
    """A 3 x 3 convolution followed by a LeakyReLU, one operation where possible."""

    def __init__(self, in_channels: int, out_channels: int, slope: float, stride: int = 1) -> None:
        super().__init__(
            nn.Conv2d(in_channels, out_channels, kernel_size=3, stride=stride, padding=1),
            nn.LeakyReLU(slope),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Shapes: (B, C, H, W) -> (B, C', H / stride, W / stride)."""
        conv, activation = self[0], self[1]
        assert isinstance(conv, nn.Conv2d)
        assert isinstance(activation, nn.LeakyReLU)
        slope = activation.negative_slope
        return conv_leaky_relu(x, conv.weight, conv.bias, slope, conv.stride[0])


class ScaledResidualConv(nn.Module):
    """A 3 x 3 convolution, scaled by a learned factor per channel and added to its input.

    Shapes: (B, channels, H, W) -> the same.
    """

    def __init__(self, channels: int, slope: float) -> None:
        super().__init__()
        self.slope = slope
        self.conv = nn.Conv2d(channels, channels, kernel_size=3, padding=1)
        self.beta = nn.Parameter(torch.ones(1, channels, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        """Return leaky_relu(conv(x) * beta + x)."""
        weight, bias, beta = self.conv.weight, self.conv.bias, self.beta.flatten()
        if not runs_fused(x, weight):
            return F.leaky_relu(self.conv(x) * self.beta + x, self.slope)
        assert bias is not None
        weight = weight * beta[:, None, None, None]  # factor and addition are part of the weights
        weight[:, :, 1, 1].diagonal().add_(1)
        return conv_leaky_relu(x, weight, bias * beta, self.slope)
