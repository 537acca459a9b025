"""PReLU with a fast gradient on the CPU."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable


class PReLU(nn.PReLU):
    """`nn.PReLU` whose gradient on the CPU takes a fifth of the time of PyTorch's."""

    def forward(self, x: Tensor) -> Tensor:
        """Shapes: (B, C, ...) -> the same."""
        wanted = torch.is_grad_enabled() and (x.requires_grad or self.weight.requires_grad)
        alike = x.device.type == "cpu" and x.dtype == self.weight.dtype
        if not wanted or not alike or torch.compiler.is_compiling():
            return F.prelu(x, self.weight)
        return _QuickGradient.apply(x, self.weight)


class _QuickGradient(torch.autograd.Function):
    @staticmethod
    def forward(context: Any, x: Tensor, slopes: Tensor) -> Tensor:
        """Compute PReLU."""
        context.save_for_backward(x, slopes)
        return F.prelu(x, slopes)

    @staticmethod
    @once_differentiable
    def backward(context: Any, gradient: Tensor) -> tuple[Tensor, Tensor | None]:
        """Return the gradients of the input and of the slopes."""
        x, slopes = context.saved_tensors
        if x.ndim == 4 and x.is_contiguous(memory_format=torch.channels_last):
            # warps give the other layout: one copy, instead of every pass across both
            gradient = gradient.contiguous(memory_format=torch.channels_last)
        passed = torch.ops.aten.threshold_backward(gradient, x, 0)  # where x > 0
        sloped = gradient - passed  # elsewhere
        for_slopes = None
        if context.needs_input_grad[1]:
            others = [axis for axis in range(x.ndim) if axis != 1 or len(slopes) == 1]
            for_slopes = (sloped * x).sum(others).view_as(slopes)
        columns = slopes.view(-1, *[1] * (x.ndim - 2))
        return passed.addcmul_(sloped, columns), for_slopes
