"""Video frame interpolation for large motion: SGM-VFI and other interpolators."""

__version__ = "0.2.0"
