"""Global matching: attention that reads out positions."""

import torch
import torch.nn.functional as F
from torch import Tensor

from sgm_vfi.model.ops.onednn_linear import linear, runs_in_bfloat16, runs_on_onednn, wants_gradient
from sgm_vfi.model.ops.pixel_grid import pixel_grid

# Scores held at a time: 16 MiB, the size of a processor's cache; a GPU is slow to start on each.
BLOCK_ELEMENTS = {"cpu": 2**22, "cuda": 2**25}


def blockwise_attention(queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
    """softmax(queries keys^T / sqrt(C)) values, a few query rows at a time.

    The score matrix is never whole in memory, yet each row of it is, so that the softmax is the
    plain float32 one: fused kernels round the weights, which positions of many pixels do not
    forgive (specification 6.5).

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


def attention(queries: Tensor, keys: Tensor, values: Tensor, mask: Tensor | None = None) -> Tensor:
    """softmax(queries keys^T / sqrt(C) + mask) values, without ever storing the score matrix.

    Shapes: queries, keys, values (..., L, C), mask (..., L, L) -> (..., L, C).
    """
    every = (queries, keys, values)
    if runs_in_bfloat16(*every):  # once, not in every block
        every = tuple(tensor.bfloat16() for tensor in every)
    in_products = runs_on_onednn(*every) or runs_in_bfloat16(*every)
    if mask is None and in_products and not wants_gradient(*every):
        flat = (tensor.flatten(0, -3) for tensor in every)
        return blockwise_attention(*flat).view_as(values)
    return F.scaled_dot_product_attention(*every, mask)


def match_positions(queries: Tensor, keys: Tensor, height: int, width: int) -> Tensor:
    """Where each query is expected among the keys, which lie on a grid, row by row.

    Shapes: queries (B, K, C), keys (B, height * width, C) -> (B, K, 2), (x, y) in cells.
    """
    return blockwise_attention(queries, keys, cell_positions(height, width, like=keys))


def cell_positions(height: int, width: int, like: Tensor) -> Tensor:
    """Shapes: -> (height * width, 2), (x, y) of each cell, row by row."""
    x, y = pixel_grid(like.new_empty(1).expand(height, width))
    return torch.stack((x.expand(height, -1), y.expand(-1, width)), dim=-1).flatten(0, 1)
