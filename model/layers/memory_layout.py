"""The memory layout of a network's weights, which its feature maps follow."""

import torch
from torch import nn


def set_memory_layout(network: nn.Module, layout: torch.memory_format) -> None:
    """Store weights of convolutions as channels-last, which is faster on CPUs, or contiguous."""
    network.to(memory_format=layout)  # type: ignore[call-overload]
