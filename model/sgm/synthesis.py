"""Step 4: from two frames and the motion to the frame between them."""

import math

from torch import nn

from sgm_vfi.model.layers.synthesis_unet import SynthesisNetwork


def build_synthesis(channels: int) -> SynthesisNetwork:
    """Synthesis with fresh weights, its U-Net's as published."""
    synthesis = SynthesisNetwork(channels)
    synthesis.unet.apply(_initialise)
    return synthesis


def _initialise(module: nn.Module) -> None:
    """Specification 2.3; transposed convolutions keep PyTorch's own rule."""
    if isinstance(module, nn.Conv2d):
        fan_out = math.prod(module.kernel_size) * module.out_channels
        nn.init.normal_(module.weight, std=math.sqrt(2 / fan_out))
        nn.init.zeros_(module.bias)
