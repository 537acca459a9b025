"""Compare a tensor with a stored one. Needs numpy only.

A small tensor is stored whole under its name. A large one is stored as
arrays that together see every element:

    NAME@sample   x[..., o::s, o::s] over the last two axes
    NAME@rows     mean over the last axis
    NAME@cols     mean over the last axis but one
    NAME@meta     int64: s, o, then the shape of x
    NAME@stats    float64: mean, standard deviation, minimum, maximum

check() compares a tensor with what is stored, whichever way it is stored. The tolerance on the
row and column means is the same absolute tolerance: an error of atol in every element of a row
moves its mean by at most atol.
"""

from collections.abc import Mapping
from typing import TypeAlias

import numpy as np

Golden: TypeAlias = Mapping[str, np.ndarray]  # an opened .npz archive is one


def shape(golden: Golden, name: str) -> tuple[int, ...]:
    """The shape of a stored tensor, whole or summarised."""
    if name in golden:
        return tuple(golden[name].shape)
    return tuple(int(v) for v in golden[name + "@meta"][2:])


def check(golden: Golden, name: str, x: np.ndarray, atol: float) -> tuple[bool, float, str]:
    """(ok, worst absolute difference, where): where says which of the stored arrays is worst."""
    x = np.asarray(x)
    if tuple(x.shape) != shape(golden, name):
        return False, float("inf"), f"shape {tuple(x.shape)!r}, stored {shape(golden, name)!r}"
    if x.size and x.dtype.kind == "f" and not np.isfinite(x).all():
        return False, float("inf"), "not finite"
    if name in golden:
        diffs = {"whole": (x, golden[name])}
    else:
        s, o = (int(v) for v in golden[name + "@meta"][:2])
        d = x.astype(np.float64)
        diffs = {
            "sample": (x[..., o::s, o::s], golden[name + "@sample"]),
            "rows": (d.mean(axis=-1), golden[name + "@rows"]),
            "cols": (d.mean(axis=-2), golden[name + "@cols"]),
        }
    worst, where = 0.0, ""
    for k, (a, b) in diffs.items():
        if np.size(b) == 0:
            continue
        e = float(np.abs(np.asarray(a, dtype=np.float64) - np.asarray(b, dtype=np.float64)).max())
        if e >= worst:
            worst, where = e, k
    return worst <= atol, worst, where
