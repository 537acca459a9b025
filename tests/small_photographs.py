"""Cuts of a photograph, and how far a frame is from one."""

import numpy as np
from skimage.data import astronaut
from torch import Tensor


def photograph(height: int, width: int, shift: int = 0) -> np.ndarray:
    """A cut of a photograph, (H, W, 3), RGB bytes; `shift` moves it to the left."""
    return np.ascontiguousarray(astronaut()[:height, 100 + shift : 100 + shift + width])


def error(frame: Tensor, image: np.ndarray) -> float:
    """Mean absolute difference in levels of 255."""
    return np.abs(frame.movedim(0, -1).numpy() * 255 - image).mean().item()
