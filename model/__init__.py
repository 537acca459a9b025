"""Interpolators: one contract, many networks. This is all that a user imports."""

from sgm_vfi.model.interpolator import Interpolation, Interpolator, time_like
from sgm_vfi.model.zoo import DEFAULT, ZOO, load_interpolator

__all__ = ["DEFAULT", "ZOO", "Interpolation", "Interpolator", "load_interpolator", "time_like"]
