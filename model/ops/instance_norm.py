"""Instance normalisation: zero mean and unit variance over each map of each sample.

Half precision is computed in float32, because means would be too inexact.
"""

import torch
from torch import Tensor

EPSILON = 1e-5
HALF_DTYPES = (torch.bfloat16, torch.float16)
SUMMED = 2**14  # elements of the rows that are added up in float32
CACHED = 2**17  # elements of the rows that are changed at a time: they stay in the cores' caches


def instance_norm_relu(x: Tensor, skip: Tensor | None = None) -> Tensor:
    """relu(normalise(x)); with a skip relu(skip + relu(normalise(x))). May overwrite x.

    Shapes: x, skip (B, C, H, W) -> (B, C, H, W).
    """
    if x.dtype in HALF_DTYPES:
        skip = None if skip is None else skip.float()
        return instance_norm_relu(x.float(), skip).to(x.dtype)
    if _in_place(x):
        return _by_rows(x, skip, rectified=True)
    y = instance_norm(x).relu_()
    return y if skip is None else (skip + y).relu_()


def instance_norm(x: Tensor) -> Tensor:
    """Subtract the mean, divide by the standard deviation. May overwrite x.

    Shapes: (B, C, H, W) -> (B, C, H, W).
    """
    if x.dtype in HALF_DTYPES:
        return instance_norm(x.float()).to(x.dtype)
    if _in_place(x):
        return _by_rows(x, None, rectified=False)
    centred = x - x.mean(2, keepdim=True).mean(3, keepdim=True)
    variance = centred.square().mean(2, keepdim=True).mean(3, keepdim=True)
    return centred * (variance + EPSILON).rsqrt()


def _in_place(x: Tensor) -> bool:
    """Return whether x may be overwritten and has the layout of `_by_rows`."""
    if torch.compiler.is_compiling() or (torch.is_grad_enabled() and x.requires_grad):
        return False
    in_rows = x.is_contiguous(memory_format=torch.channels_last)
    return in_rows and x.device.type == "cpu" and x.dtype == torch.float32


def _by_rows(x: Tensor, skip: Tensor | None, *, rectified: bool) -> Tensor:
    """Normalise in place, a few rows at a time.

    PyTorch's kernel copies to the other layout and back; that of batch normalisation does not, but
    its float32 sums are exact enough only for a few rows.
    """
    per_row = x[0, :, 0].numel()
    rows = max(1, CACHED // per_row)
    for i, sample in enumerate(x):
        mean, scale = _moments(sample, max(1, SUMMED // per_row))
        parts = sample.split(rows, dim=1)
        skips = [None] * len(parts) if skip is None else skip[i].split(rows, dim=1)
        for part, skipped in zip(parts, skips, strict=True):
            part.sub_(mean).mul_(scale)
            if rectified:
                part.relu_()
            if skipped is not None:
                part.add_(skipped).relu_()
    return x


def _moments(sample: Tensor, rows: int) -> tuple[Tensor, Tensor]:
    """Return mean and inverse standard deviation; sums over rows are in float64.

    Shapes: (C, H, W) -> (C, 1, 1), twice.
    """
    parts = sample[None].split(rows, dim=2)
    stats = [torch.batch_norm_update_stats(part, None, None, 0.0) for part in parts]
    means, variances = (torch.stack(stat).double() for stat in zip(*stats, strict=True))
    share = means.new_tensor([part.shape[2] for part in parts])[:, None] / sample.shape[1]
    mean = (share * means).sum(dim=0)
    variance = (share * (variances + (means - mean).square())).sum(dim=0)
    scale = (variance + EPSILON).rsqrt()
    return mean.to(sample.dtype)[:, None, None], scale.to(sample.dtype)[:, None, None]
