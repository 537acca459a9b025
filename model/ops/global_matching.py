"""Global matching: attention over the whole frame whose values are positions."""

import torch
import torch.nn.functional as F
from torch import Tensor

from sgm_vfi.model.ops.onednn_linear import linear, runs_in_bfloat16, runs_on_onednn, wants_gradient
from sgm_vfi.model.ops.pixel_grid import pixel_grid

# Scores held at a time: 16 MiB, the size of a processor's cache; GPUs prefer larger blocks.
BLOCK_ELEMENTS = {"cpu": 2**22, "cuda": 2**25}


def blockwise_attention(queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
    """softmax(queries keys^T / sqrt(C)) values, a few query rows at a time.

    Holds whole rows of scores, so that the softmax is exact in float32: the rounding of fused
    kernels is too coarse for positions.

    Shapes: queries (B, K, C), keys (B, L, C), values (L, V) or (B, L, V) -> (B, K, V).
    """
    batch, count, channels = queries.shape
    values = values.expand(batch, -1, -1).transpose(1, 2).contiguous()
    elements = BLOCK_ELEMENTS.get(keys.device.type, BLOCK_ELEMENTS["cpu"])
    rows = max(1, elements // max(1, keys.shape[1]))
    out = queries.new_empty(batch, count, values.shape[1])
    for sample in range(batch):
        for start in range(0, count, rows):
            part = slice(start, start + rows)
            scores = linear(queries[sample, part] * channels**-0.5, keys[sample])
            out[sample, part] = linear(scores.softmax(dim=-1), values[sample])
    return out


def attention(
    queries: Tensor,
    keys: Tensor,
    values: Tensor,
    mask: Tensor | None = None,
    *,
    whole_rows: bool = False,
) -> Tensor:
    """softmax(queries keys^T / sqrt(C) + mask) values, without storing the score matrix.

    Args:
        whole_rows: without a mask, on the CPU, compute the softmax of whole rows, whose rounding
            is that of `blockwise_attention`, also where PyTorch's fused kernel is faster.

    Shapes: queries, keys, values (B, W, L, C), mask (W, L, L) -> (B, W, L, C).
    """
    if runs_in_bfloat16(queries, keys, values):  # once, not in every block
        queries, keys, values = queries.bfloat16(), keys.bfloat16(), values.bfloat16()
    every = (queries, keys, values)
    exact_rows = runs_on_onednn(*every) and (whole_rows or not fused_attention_is_faster())
    in_products = exact_rows or runs_in_bfloat16(*every)
    if mask is None and in_products and not wants_gradient(*every):
        flat = (tensor.flatten(0, -3) for tensor in every)
        return blockwise_attention(*flat).view_as(values)
    return F.scaled_dot_product_attention(queries, keys, values, mask)


def fused_attention_is_faster() -> bool:
    """Return whether PyTorch's fused attention is faster than oneDNN's products on this CPU.

    Its products are MKL's, which does not use AVX-512 on AMD processors; measured with AVX2 only.
    """
    return torch.backends.cpu.get_cpu_capability() == "AVX2"


def match_positions(queries: Tensor, keys: Tensor, height: int, width: int) -> Tensor:
    """Return the expected position of each query among the keys of a grid.

    Shapes: queries (B, K, C), keys (B, height * width, C) -> (B, K, 2), (x, y) in cells.
    """
    return blockwise_attention(queries, keys, cell_positions(height, width, like=keys))


def cell_positions(height: int, width: int, like: Tensor) -> Tensor:
    """Shapes: -> (height * width, 2), (x, y) of each cell, row by row."""
    x, y = pixel_grid(like.new_empty(1).expand(height, width))
    return torch.stack((x.expand(height, -1), y.expand(-1, width)), dim=-1).flatten(0, 1)
