"""Triton kernels of the forward splat for GPUs, imported by `splat.py` only.

With TRITON_INTERPRET=1 set before the import, they run on the CPU, slowly.
"""

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor
from torch.library import custom_op

BLOCK = 128  # pixels of a program: one for each of its threads
WHOLE = tl.constexpr(2.0**52)  # a float64 from here up has no digits behind the point


@triton.jit
def _landing(
    flow, f_batch, f_channel, f_row, f_column, height, width,
    BLOCK: tl.constexpr, WIDE: tl.constexpr,
):  # fmt: skip
    """Of a block of pixels: row, column, whether they exist, and where they land, x and y.

    One that lands too far outside to reach a pixel, or nowhere finite, is put at (-2, -2).
    """
    pixel = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    row, column = pixel // width, pixel % width
    exists = row < height
    at = tl.program_id(1).to(tl.int64) * f_batch + row.to(tl.int64) * f_row + column * f_column
    x = column.to(WIDE) + tl.load(flow + at, mask=exists, other=0).to(WIDE)
    y = row.to(WIDE) + tl.load(flow + at + f_channel, mask=exists, other=0).to(WIDE)
    near = exists & (x >= -1) & (x < width) & (y >= -1) & (y < height)
    return row, column, exists, tl.where(near, x, -2.0), tl.where(near, y, -2.0)


@triton.jit
def _corner(x, y, height, width, RIGHT: tl.constexpr, DOWN: tl.constexpr):
    """Of one of the four pixels around: its place, y * width + x, if inside, and how far it is.

    Operations are those of the plain splat, in their order: so are the bits.
    """
    column, row = tl.floor(x) + RIGHT, tl.floor(y) + DOWN
    inside = (column >= 0) & (column < width) & (row >= 0) & (row < height)
    place = row.to(tl.int32) * width + column.to(tl.int32)
    return place, inside, column - x if RIGHT else x - column, row - y if DOWN else y - row


@triton.jit
def _weight(apart_x, apart_y, GAUSSIAN: tl.constexpr):
    if GAUSSIAN:
        weight = tl.exp(-(apart_x * apart_x + apart_y * apart_y))
    else:
        weight = (1 - apart_x) * (1 - apart_y)
    return weight


@triton.jit
def _scatter(
    source, s_batch, s_channel, s_row, s_column, flow, f_batch, f_channel, f_row, f_column,
    out, channels, height, width,
    GAUSSIAN: tl.constexpr, STEPS: tl.constexpr, BLOCK: tl.constexpr, WIDE: tl.constexpr,
):  # fmt: skip
    """Add a block of pixels of one sample to their corners, channel by channel."""
    row, column, exists, x, y = _landing(
        flow, f_batch, f_channel, f_row, f_column, height, width, BLOCK, WIDE
    )
    sample = tl.program_id(1).to(tl.int64)
    source += sample * s_batch + row.to(tl.int64) * s_row + column * s_column
    out += sample * channels * height * width
    for _ in range(channels):
        value = tl.load(source, mask=exists, other=0).to(WIDE)
        for corner in tl.static_range(4):
            place, inside, apart_x, apart_y = _corner(x, y, height, width, corner % 2, corner // 2)
            share = value * _weight(apart_x, apart_y, GAUSSIAN)
            if STEPS > 0:  # to the nearest step, between two to the even one, as torch.round
                share = share.to(tl.float64) * STEPS
                whole = tl.where(share < 0, -WHOLE, WHOLE)
                share = tl.where(tl.abs(share) < WHOLE, (share + whole) - whole, share)
                share = share.to(tl.int64)
            tl.atomic_add(out + place, share, mask=inside, sem="relaxed")
        source += s_channel
        out += height * width


@triton.jit
def _gather(
    grad, source, s_batch, s_channel, s_row, s_column, flow, f_batch, f_channel, f_row, f_column,
    grad_source, grad_flow, channels, height, width,
    GAUSSIAN: tl.constexpr, BLOCK: tl.constexpr, WIDE: tl.constexpr,
):  # fmt: skip
    """Gradients of a block of pixels of one sample, read at their corners."""
    row, column, exists, x, y = _landing(
        flow, f_batch, f_channel, f_row, f_column, height, width, BLOCK, WIDE
    )
    sample, area, pixel = tl.program_id(1).to(tl.int64), height * width, row * width + column
    source += sample * s_batch + row.to(tl.int64) * s_row + column * s_column
    grad += sample * channels * area
    grad_source += sample * channels * area + pixel
    grad_flow += sample * 2 * area + pixel
    grad_x, grad_y = tl.zeros((BLOCK,), WIDE), tl.zeros((BLOCK,), WIDE)
    for _ in range(channels):
        value = tl.load(source, mask=exists, other=0).to(WIDE)
        grad_value = tl.zeros((BLOCK,), WIDE)
        for corner in tl.static_range(4):
            place, inside, apart_x, apart_y = _corner(x, y, height, width, corner % 2, corner // 2)
            weight = _weight(apart_x, apart_y, GAUSSIAN)
            here = tl.load(grad + place, mask=inside, other=0).to(WIDE)
            grad_value += here * weight
            slope_x = 2 * apart_x * weight if GAUSSIAN else 1 - apart_y
            slope_y = 2 * apart_y * weight if GAUSSIAN else 1 - apart_x
            grad_x += value * here * (slope_x if corner % 2 else -slope_x)
            grad_y += value * here * (slope_y if corner // 2 else -slope_y)
        tl.store(grad_source, grad_value, mask=exists)
        source += s_channel
        grad += area
        grad_source += area
    tl.store(grad_flow, grad_x, mask=exists)
    tl.store(grad_flow + area, grad_y, mask=exists)


@custom_op("sgm_vfi::splat_scatter", mutates_args=())
def scatter(source: Tensor, flow: Tensor, gaussian: bool, steps: float) -> Tensor:
    """`splat_sum`, in float32 at least, or in whole numbers of `steps` to one.

    Args:
        steps: for a sum in 64-bit fixed point, without gradient; 0: in floating point.

    Shapes: source (B, C, H, W), flow (B, 2, H, W) -> (B, C, H, W).
    """
    wide = _wide(source, flow)
    out = source.new_zeros(source.shape, dtype=torch.int64 if steps else wide)
    batch, channels, height, width = source.shape
    grid = (triton.cdiv(height * width, BLOCK), batch)
    with torch.cuda.device_of(source):
        _scatter[grid](
            *(source, *source.stride(), flow, *flow.stride(), out, channels, height, width),
            GAUSSIAN=gaussian,
            STEPS=steps,
            BLOCK=BLOCK,
            WIDE=_type(wide),
        )
    return out


@scatter.register_fake
def _(source: Tensor, flow: Tensor, gaussian: bool, steps: float) -> Tensor:
    return source.new_empty(source.shape, dtype=torch.int64 if steps else _wide(source, flow))


@custom_op("sgm_vfi::splat_gather", mutates_args=())
def gather(grad: Tensor, source: Tensor, flow: Tensor, gaussian: bool) -> tuple[Tensor, Tensor]:
    """Gradients of `scatter` by source and flow; no sum depends on an order.

    Shapes: grad, source (B, C, H, W), flow (B, 2, H, W) -> (B, C, H, W), (B, 2, H, W).
    """
    grad_source, grad_flow = source.new_empty(source.shape), flow.new_empty(flow.shape)
    batch, channels, height, width = source.shape
    grid = (triton.cdiv(height * width, BLOCK), batch)
    inputs = (grad.contiguous(), source, *source.stride(), flow, *flow.stride())
    with torch.cuda.device_of(source):
        _gather[grid](
            *(*inputs, grad_source, grad_flow, channels, height, width),
            GAUSSIAN=gaussian,
            BLOCK=BLOCK,
            WIDE=_type(_wide(source, flow)),
        )
    return grad_source, grad_flow


@gather.register_fake
def _(grad: Tensor, source: Tensor, flow: Tensor, gaussian: bool) -> tuple[Tensor, Tensor]:
    return source.new_empty(source.shape), flow.new_empty(flow.shape)


def _keep(ctx: Any, inputs: tuple, output: Tensor) -> None:
    source, flow, ctx.gaussian, _ = inputs
    ctx.save_for_backward(source, flow)


def _backward(ctx: Any, grad: Tensor) -> tuple:
    return *gather(grad, *ctx.saved_tensors, ctx.gaussian), None, None


scatter.register_autograd(_backward, setup_context=_keep)


def _wide(source: Tensor, flow: Tensor) -> torch.dtype:
    """Return the type of sums and landing points: float32 at least."""
    return torch.promote_types(torch.promote_types(source.dtype, flow.dtype), torch.float32)


def _type(dtype: torch.dtype) -> tl.dtype:
    return tl.float64 if dtype == torch.float64 else tl.float32
