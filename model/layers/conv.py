"""Convolutions with the activation that this family of networks uses."""

from torch import nn


def conv_prelu(in_channels: int, out_channels: int, stride: int = 1) -> nn.Sequential:
    """A 3 x 3 convolution and a PReLU with one slope per channel."""
    return nn.Sequential(
        nn.Conv2d(in_channels, out_channels, kernel_size=3, stride=stride, padding=1),
        nn.PReLU(out_channels),
    )
