"""Partition of maps into attention windows, and the masks of shifted windows."""

import torch
import torch.nn.functional as F
from torch import Tensor

from sgm_vfi.model.ops.resize import symmetric_padding

MASKED_LOGIT = (
    -100.0
)  # added to the logit of a pair that must not see each other; weights expect it


Window = int | tuple[int, int]  # side of a square, or height and width, in tokens


def pad_to_windows(tokens: Tensor, window: int) -> Tensor:
    """Shapes: (B, h, w, C) -> (B, h', w', C), both sides multiples of `window`, centred."""
    height, width = tokens.shape[1:3]
    pad = (0, 0, *symmetric_padding(width, window), *symmetric_padding(height, window))
    return F.pad(tokens, pad) if any(pad) else tokens


def partition_windows(tokens: Tensor, window: Window) -> Tensor:
    """Shapes: (B, h', w', C) -> (B, windows row by row, tokens of a window, C)."""
    height, width = _sides(window)
    tiles = tokens.unflatten(1, (-1, height)).unflatten(3, (-1, width))  # (B, r, y, c, x, C)
    return tiles.transpose(2, 3).flatten(3, 4).flatten(1, 2)


def merge_windows(windows: Tensor, window: Window, columns: int) -> Tensor:
    """Undo `partition_windows`. Shapes: (B, windows, tokens of a window, C) -> (B, h', w', C)."""
    tiles = windows.unflatten(1, (-1, columns)).unflatten(3, _sides(window))
    return tiles.transpose(2, 3).flatten(3, 4).flatten(1, 2)


def attention_window_mask(
    height: int, width: int, window: int, shift: int, device: torch.device
) -> Tensor | None:
    """Return the attention mask that is added to the logits; None if nothing is masked.

    Masks padding, and parts that a cyclic shift brings together. As published, padding is masked
    where it was before the shift, which is wrong in shifted windows but part of trained weights.

    Shapes: -> (windows, window ** 2, window ** 2), 0 or `MASKED_LOGIT`.
    """
    bands = [_padding_bands(height, width, window, device)]
    if shift:
        bands.append(shifted_region_ids(height, width, window, shift, device))
    elif not height % window and not width % window:
        return None
    return torch.stack([region_mask(band, window) for band in bands]).any(dim=0) * MASKED_LOGIT


def region_mask(regions: Tensor, window: Window) -> Tensor:
    """Return which tokens of a window are in different regions.

    Shapes: numbers of regions (h', w') -> (windows, tokens of a window, tokens of a window).
    """
    number = partition_windows(regions[None, :, :, None], window)[0, :, :, 0]
    return number[:, :, None] != number[:, None, :]


def _padding_bands(height: int, width: int, window: int, device: torch.device) -> Tensor:
    """Number the nine regions that centred padding makes: corners, edges and the picture."""
    (top, bottom), (left, right) = (
        symmetric_padding(height, window),
        symmetric_padding(width, window),
    )
    return _bands((top, height, bottom), (left, width, right), device)


def shifted_region_ids(
    height: int, width: int, window: Window, shift: Window, device: torch.device
) -> Tensor:
    """Number the nine regions that a cyclic shift makes, of a grid padded to whole windows."""
    rows, columns = (
        (side + -side % extent - extent, extent - by, by)
        for side, extent, by in zip((height, width), _sides(window), _sides(shift), strict=True)
    )
    return _bands(rows, columns, device)


def _bands(
    rows: tuple[int, int, int], columns: tuple[int, int, int], device: torch.device
) -> Tensor:
    """Shapes: lengths of three bands each way -> (sum of rows, sum of columns), 0 to 8."""
    row, column = _numbered(rows, device), _numbered(columns, device)
    return 3 * row[:, None] + column[None, :]


def _numbered(lengths: tuple[int, int, int], device: torch.device) -> Tensor:
    """Shapes: -> (sum of lengths,), 0 in the first band, 1 in the second, 2 in the third."""
    place = torch.arange(sum(lengths), device=device)
    return (place >= lengths[0]).long() + (place >= lengths[0] + lengths[1]).long()


def _sides(window: Window) -> tuple[int, int]:
    return (window, window) if isinstance(window, int) else window
