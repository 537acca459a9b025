"""Linear layers by oneDNN on the CPU.

PyTorch computes float32 products with MKL, which on AMD processors reaches less than half of
oneDNN's speed.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable


def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Compute x weight^T + bias; in float32 on the CPU, it and the gradient of x by oneDNN.

    Shapes: x (..., K), weight (N, K), bias (N) -> (..., N).
    """
    if not runs_on_onednn(x, weight):
        return F.linear(x, weight, bias)
    if not wants_gradient(x, weight, bias):
        return _product(x, weight, bias)
    return _Learnt.apply(x, weight, bias)


def linear_gelu(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Compute the GELU of `linear`, fused by oneDNN if possible. Shapes: as `linear`."""
    if not wants_gradient(x, weight, bias) and runs_in_bfloat16(x, weight):
        x, weight, bias = x.bfloat16(), weight.bfloat16(), None if bias is None else bias.bfloat16()
    elif wants_gradient(x, weight, bias) or not runs_on_onednn(x, weight):
        return F.gelu(linear(x, weight, bias))
    return torch.ops.mkldnn._linear_pointwise(x, weight, bias, "gelu", [], "none")


def wants_gradient(*tensors: Tensor | None) -> bool:
    """Return whether operations on these tensors are differentiated."""
    return torch.is_grad_enabled() and any(t is not None and t.requires_grad for t in tensors)


def runs_on_onednn(*tensors: Tensor) -> bool:
    """Return whether to compute products of these tensors by oneDNN; not when compiling."""
    if torch.compiler.is_compiling():
        return False
    if not torch.backends.mkldnn.is_available() or not torch.backends.mkldnn.enabled:
        return False
    if not hasattr(torch.ops.mkldnn, "_linear_pointwise") or torch.is_autocast_enabled("cpu"):
        return False
    return all(tensor.device.type == "cpu" and tensor.dtype == torch.float32 for tensor in tensors)


def runs_in_bfloat16(*tensors: Tensor) -> bool:
    """Return whether autocast computes products of these tensors in bfloat16 by oneDNN."""
    if torch.compiler.is_compiling() or not torch.is_autocast_enabled("cpu"):
        return False
    if torch.get_autocast_dtype("cpu") != torch.bfloat16:
        return False
    if not hasattr(torch.ops.mkldnn, "_linear_pointwise") or not onednn_supports("bf16"):
        return False
    return all(tensor.device.type == "cpu" for tensor in tensors)


def onednn_supports(half: str) -> bool:
    """Return whether oneDNN and this processor support "bf16" or "fp16"."""
    if not torch.backends.mkldnn.is_available() or not torch.backends.mkldnn.enabled:
        return False
    ask = getattr(torch.ops.mkldnn, f"_is_mkldnn_{half}_supported", None)
    return ask is not None and ask()


def _product(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    return torch.ops.mkldnn._linear_pointwise(x, weight, bias, "none", [], "")


class _Learnt(torch.autograd.Function):
    @staticmethod
    def forward(context: Any, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        """Compute the product."""
        context.save_for_backward(x, weight)
        return _product(x, weight, bias)

    @staticmethod
    @once_differentiable
    def backward(context: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        """Return the gradients of the input, the weight and the bias."""
        x, weight = context.saved_tensors
        for_x, for_weight, for_bias = None, None, None
        if context.needs_input_grad[0]:
            for_x = _product(gradient, weight.t())
        rows, seen = (tensor.reshape(-1, tensor.shape[-1]) for tensor in (gradient, x))
        if context.needs_input_grad[1]:  # MKL's sum over two samples is that of each one's sum
            for_weight = rows.t() @ seen
        if context.needs_input_grad[2]:
            for_bias = rows.sum(0)
        return for_x, for_weight, for_bias
