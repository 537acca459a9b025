"""Video frame interpolation for large motion: SGM-VFI and other interpolators.

`load` gives an interpolator that takes frames as tensors or arrays; see `sgm_vfi.model.api`.
"""

from typing import Any

__version__ = "0.2.0"
__all__ = ["__version__", "load"]


def __getattr__(name: str) -> Any:
    """Import PyTorch only where `load` is asked for."""
    if name == "load":
        from sgm_vfi.model.api import load

        return load
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
