"""Video frame interpolation for large motion: SGM-VFI and other interpolators.

`load` gives an interpolator that takes frames as tensors or arrays, `interpolate` makes a stream of
frames denser, `interpolate_file` writes a video. See docs/api.md.
"""

from importlib import import_module
from typing import Any

__version__ = "0.2.0"
MODULES = {  # name -> module, imported when the name is asked for, as PyTorch loads slowly
    "load": "sgm_vfi.model.api",
    "interpolate": "sgm_vfi.video.stream_api",
    "interpolate_file": "sgm_vfi.video.job",
    "InterpolationCancelled": "sgm_vfi.video.progress_and_cancel",
    "Target": "sgm_vfi.video.output_timestamps",
    "VideoOptions": "sgm_vfi.video.options",
}
__all__ = ["__version__", *MODULES]


def __getattr__(name: str) -> Any:
    """Import a name of `MODULES`."""
    if name in MODULES:
        return getattr(import_module(MODULES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
