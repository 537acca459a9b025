"""Comparison of computed values with all entries of an archive."""

from collections.abc import Callable, Iterator, Mapping
from typing import TypeAlias

import numpy as np
import torch
from torch import Tensor

from tests.parity.finding import Finding

Golden: TypeAlias = Mapping[str, np.ndarray]  # an opened .npz archive
Check: TypeAlias = Callable[[Golden, torch.device], Iterator[Finding]]
NAMES = "grad_norm_keys"  # says what the entries of grad_norm are of


def compare(
    case: str,
    golden: Golden,
    ours: Mapping[str, Tensor | np.ndarray | int],
    tolerance: Callable[[str], float],
    relative: tuple[str, ...] = (),
) -> Iterator[Finding]:
    """Yield one finding per entry of the archive; one missing from `ours` has an infinite error.

    Args:
        tolerance: of a quantity; fingerprints (`..._crc`) are exact.
        relative: quantities whose error is a share of their own size, entry by entry.
    """
    for name in golden:
        if name == NAMES:
            continue
        if name not in ours:
            yield Finding(case, name, float("inf"), 0, "not computed")
            continue
        value = ours[name]
        value = value.detach().cpu().numpy() if isinstance(value, Tensor) else np.asarray(value)
        limit = 0 if name.endswith("_crc") else tolerance(name)
        yield Finding(case, name, *_error(value, golden[name], name in relative, limit))


def _error(
    value: np.ndarray, stored: np.ndarray, is_relative: bool, limit: float
) -> tuple[float, float, str]:
    if value.shape != stored.shape:
        return float("inf"), limit, f"shape {value.shape}, stored {stored.shape}"
    with np.errstate(invalid="ignore"):
        difference = np.abs(value.astype(np.float64) - stored.astype(np.float64))
    equal = (value == stored) | (np.isnan(value) & np.isnan(stored))
    difference = np.where(equal, 0, difference)
    if is_relative:
        difference = difference / np.maximum(np.abs(stored.astype(np.float64)), 1e-12)
    return float(difference.max(initial=0)), limit, "relative" if is_relative else ""
