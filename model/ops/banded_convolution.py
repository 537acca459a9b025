"""Convolutions in bands of rows, which bounds the memory of intermediate maps."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from sgm_vfi.model.ops.cat_channels import cat_channels

# Of the widest map of a band: 32 MiB in float32; a GPU would rather have few large bands.
BAND_ELEMENTS = {"cpu": 2**23, "cuda": 2**25}


def apply_in_bands(
    layers: Callable[[Tensor], Tensor],
    sources: Sequence[Tensor],
    margin: int,
    *,
    channels: int | None = None,
    elements: int | None = None,
) -> Tensor:
    """Apply `layers` to the concatenated sources in bands of rows, with equal results.

    Each band has `margin` more rows on either side, whose outputs are dropped. There is one band
    if the sources are small, gradients are required, or the code is being compiled.

    Args:
        layers: convolutions that read at most `margin` rows around each, and keep, halve or double
            the size.
        margin: even where the size is halved.
        channels: of the widest map, per pixel of the sources; None: those of the sources.
        elements: of the widest map of a band, without margins; None: by device.

    Shapes: sources (B, C_i, H, W), H and W even -> (B, C, r * H, r * W), r = 1/2, 1 or 2.
    """
    batch, _, height, width = sources[0].shape
    channels = channels or sum(source.shape[1] for source in sources)
    elements = elements or _elements_for(sources[0])
    rows = max(elements // (batch * channels * width) & ~1, 2)
    if rows >= height or _must_be_whole():
        return layers(cat_channels(sources))
    bands = -(-height // rows)
    rows = 2 * -(-height // (2 * bands))  # as many bands, of one height
    whole: Tensor | None = None
    for top in range(0, height, rows):
        bottom = min(top + rows, height)
        first, last = max(top - margin, 0), min(bottom + margin, height)
        part = layers(cat_channels([source[:, :, first:last] for source in sources]))
        if whole is None:
            whole = _room_for(part, last - first, height)
        start, stop, skipped = (
            count * part.shape[2] // (last - first) for count in (top, bottom, top - first)
        )
        whole[:, :, start:stop] = part[:, :, skipped : skipped + stop - start]
        del part
    assert whole is not None
    return whole


def apply_per_sample(
    layers: Callable[[Tensor], Tensor],
    source: Tensor,
    *,
    channels: int,
    elements: int | None = None,
) -> Tensor:
    """Apply `layers` to a few samples at a time, if they read the whole map.

    Shapes: source (B, C, H, W) -> (B, ...).
    """
    height, width = source.shape[-2:]
    elements = elements or _elements_for(source)
    samples = max(elements // (channels * height * width), 1)
    if samples >= len(source) or _must_be_whole():
        return layers(source)
    return torch.cat([layers(part) for part in source.split(samples)])


def _elements_for(source: Tensor) -> int:
    return BAND_ELEMENTS.get(source.device.type, BAND_ELEMENTS["cpu"])


def _must_be_whole() -> bool:
    return torch.is_grad_enabled() or torch.compiler.is_compiling()


def _room_for(part: Tensor, rows: int, height: int) -> Tensor:
    """Allocate the output of `height` rows, given the output `part` of `rows` rows."""
    batch, channels, part_height, part_width = part.shape
    size = (batch, channels, height * part_height // rows, part_width)
    is_last = part.is_contiguous(memory_format=torch.channels_last)
    layout = torch.channels_last if is_last else torch.contiguous_format
    return torch.empty(size, dtype=part.dtype, device=part.device, memory_format=layout)
