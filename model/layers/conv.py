"""Convolution with PReLU."""

from torch import nn

from sgm_vfi.model.layers.prelu import PReLU


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
