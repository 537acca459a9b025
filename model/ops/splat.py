"""Forward splatting (Niklaus and Liu, Softmax Splatting, CVPR 2020)."""

import logging
from collections.abc import Callable
from functools import cache
from typing import Literal, TypeAlias

import torch
from torch import Tensor

from sgm_vfi.model.ops.pixel_grid import pixel_grid

CORNERS = ((0, 0), (1, 0), (0, 1), (1, 1))  # (dx, dy) of the four pixels around a landing point
FIXED_POINT = 2.0**32  # of the deterministic sum: steps of 2.3e-10, sums up to 2.1e9
Kernel: TypeAlias = Callable[[Tensor, Tensor], Tensor]
logger = logging.getLogger(__name__)


def bilinear(x: Tensor, y: Tensor) -> Tensor:
    """Return bilinear weights, which sum to one over the four corners."""
    return (1 - x) * (1 - y)


def gaussian(x: Tensor, y: Tensor) -> Tensor:
    """Return Gaussian weights of the distances."""
    return torch.exp(-(x * x + y * y))


def splat_sum(
    source: Tensor, flow: Tensor, *, kernel: Kernel = bilinear, deterministic: bool = False
) -> Tensor:
    """Add each source pixel, by its weights, to the four pixels around where its flow lands.

    With the bilinear kernel it is the adjoint of `backward_warp(..., padding="zeros")`. Pixels that
    land outside of the frame or have a flow that is not finite are dropped. Half precision is
    summed in float32.

    Args:
        kernel: weight of a corner by its distances from the landing point, each in [0, 1]. Where
            that is a whole pixel, gradients are those towards the right and down.
        deterministic: sum in 64-bit fixed point, which gives equal bits in every run, and with
            the bilinear kernel on every device. Without gradient.

    Shapes: source (B, C, H, W), flow (B, 2, H, W) -> (B, C, H, W).
    """
    if deterministic and torch.is_grad_enabled() and (source.requires_grad or flow.requires_grad):
        raise ValueError("A deterministic splat has no gradient: call it under torch.no_grad().")
    if runs_in_triton(source, kernel):
        from sgm_vfi.model.ops.splat_kernel import scatter  # Triton is not everywhere

        out = scatter(source, flow, kernel is gaussian, FIXED_POINT if deterministic else 0.0)
    else:
        out = splat_sum_pytorch(source, flow, kernel=kernel, deterministic=deterministic)
    if deterministic:
        out = out.double() / FIXED_POINT
    return out.to(source.dtype)


def runs_in_triton(source: Tensor, kernel: Kernel) -> bool:
    """Return whether the Triton kernel computes this splat.

    It does not support other kernels or PyTorch's deterministic mode.
    """
    if not source.is_cuda or kernel not in (bilinear, gaussian):
        return False
    return not torch.are_deterministic_algorithms_enabled() and has_triton()


def has_triton() -> bool:
    """Return whether Triton is installed; a constant for torch.compile."""
    return _find_triton()


# What torch.compiler.assume_constant_result does; itself, it would load the whole compiler, which
# takes as long as all else that is imported here.
has_triton.__dict__["_dynamo_marked_constant"] = True


@cache
def _find_triton() -> bool:
    """Where Triton is not installed, say once what that costs."""
    try:
        import sgm_vfi.model.ops.splat_kernel  # noqa: F401
    except ImportError as error:
        logger.warning(
            "Splats run on the GPU as some fifty PyTorch kernels instead of one, for Triton cannot "
            "be imported (%s). It comes with PyTorch on Linux, or by: pip install triton",
            error,
        )
        return False
    return True


def splat_sum_pytorch(
    source: Tensor, flow: Tensor, *, kernel: Kernel, deterministic: bool
) -> Tensor:
    """`splat_sum` from PyTorch's operations, on any device, before it is rounded to its type.

    Shapes: as `splat_sum`; in float32 or float64, or int64 steps of 1 / FIXED_POINT.
    """
    wide = torch.promote_types(torch.promote_types(source.dtype, flow.dtype), torch.float32)
    source, flow = source.to(wide), flow.to(wide)
    height, width = source.shape[-2:]
    x, y = pixel_grid(flow)
    x, y = x + flow[:, 0], y + flow[:, 1]  # landing points, (B, H, W)
    near = (x >= -1) & (x < width) & (y >= -1) & (y < height)  # False where not finite
    x, y = torch.where(near, x, -1), torch.where(near, y, -1)
    dtype = torch.int64 if deterministic else wide
    out = source.new_zeros(source.shape, dtype=dtype).flatten(2)  # (B, C, HW)
    for dx, dy in CORNERS:
        column, row = x.floor() + dx, y.floor() + dy
        inside = near & (column >= 0) & (column < width) & (row >= 0) & (row < height)
        weight = kernel(column - x if dx else x - column, row - y if dy else y - row) * inside
        target = torch.where(inside, row.long() * width + column.long(), 0)  # (B, H, W)
        share = source * weight[:, None]  # (B, C, H, W)
        if deterministic:
            share = (share.double() * FIXED_POINT).round().long()
        out = out.scatter_add(2, target.flatten(1)[:, None].expand_as(out), share.flatten(2))
    return out.view_as(source)


def splat(
    source: Tensor,
    flow: Tensor,
    weight: Tensor | None = None,
    *,
    epsilon: float = 1e-7,
    guard: Literal["add", "clip", "zero"] = "add",
    deterministic: bool = False,
) -> tuple[Tensor, Tensor]:
    """Splat as a weighted mean: of what lands on a pixel, the mean; where nothing lands, zero.

        out = splat_sum(weight * source) / guarded(splat_sum(weight))

    `weight = exp(z)` is softmax splatting with the metric z; no weight is the plain average.

    Args:
        guard: how the sum of weights is kept from zero: by adding `epsilon` (what SGM-VFI does),
            by raising it to `epsilon`, or by dividing by one where it is exactly zero.

    Shapes: source (B, C, H, W), flow (B, 2, H, W), weight (B, 1, H, W) -> mean (B, C, H, W) and
    the sum of weights that landed, (B, 1, H, W).
    """
    weight = torch.ones_like(source[:, :1]) if weight is None else weight
    both = torch.cat((source * weight, weight), dim=1)
    both = splat_sum(both, flow, deterministic=deterministic)
    landed = both[:, -1:]
    if guard == "add":
        divisor = landed + epsilon
    elif guard == "clip":
        divisor = landed.clamp(min=epsilon)
    else:
        divisor = torch.where(landed == 0, 1, landed)
    return both[:, :-1] / divisor, landed
