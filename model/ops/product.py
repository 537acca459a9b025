"""Matrix products, by the fastest library at hand.

PyTorch gives convolutions on the CPU to oneDNN, but products in float32 to MKL, which on
processors of AMD reaches less than half of oneDNN's speed.
"""

import torch
import torch.nn.functional as F
from torch import Tensor


def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """x weight^T + bias, in float32 on the CPU by oneDNN where no gradient is wanted.

    Shapes: x (..., K), weight (N, K), bias (N) -> (..., N).
    """
    if runs_on_onednn(x, weight):
        return torch.ops.mkldnn._linear_pointwise(x, weight, bias, "none", [], "")
    return F.linear(x, weight, bias)


def linear_gelu(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """GELU of `linear`, in one pass where oneDNN does it. Shapes: as `linear`."""
    if runs_on_onednn(x, weight):
        return torch.ops.mkldnn._linear_pointwise(x, weight, bias, "gelu", [], "none")
    return F.gelu(F.linear(x, weight, bias))


def runs_on_onednn(*tensors: Tensor) -> bool:
    """Whether a product of these tensors is better asked of oneDNN; a compiler chooses itself."""
    if torch.compiler.is_compiling():
        return False
    if not torch.backends.mkldnn.is_available() or not torch.backends.mkldnn.enabled:
        return False
    if not hasattr(torch.ops.mkldnn, "_linear_pointwise") or torch.is_autocast_enabled("cpu"):
        return False
    wanted = torch.is_grad_enabled() and any(tensor.requires_grad for tensor in tensors)
    return not wanted and all(
        tensor.device.type == "cpu" and tensor.dtype == torch.float32 for tensor in tensors
    )
