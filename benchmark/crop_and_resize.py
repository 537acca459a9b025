"""Crops and resizing that protocols apply to frames before anything is measured.

A transform takes the samples of one frame, (H, W, 3), RGB bytes, and returns a frame (3, h, w),
float32 in [0, 1]. Frames of any size are treated like those of the published size.
"""

from collections.abc import Callable

import cv2
import numpy as np
import torch
from torch import Tensor

from sgm_vfi.media.images import as_frame

FrameTransform = Callable[[np.ndarray], Tensor]

VALIDATION_CROP = 512  # pixels


def keep_full_frame(samples: np.ndarray) -> Tensor:
    """Keep the frame as it is. Shapes: (H, W, 3) -> (3, H, W)."""
    return as_frame(samples)


def halve_as_floats(samples: np.ndarray) -> Tensor:
    """Halve the size, averaging after the division by 255: the truth leaves the 8-bit grid.

    Shapes: (H, W, 3) -> (3, H / 2, W / 2), rounded down.
    """
    halved = halve(samples.astype(np.float32) / np.float32(255))
    return torch.from_numpy(np.ascontiguousarray(halved.transpose(2, 0, 1)))


def halve_as_bytes(samples: np.ndarray) -> Tensor:
    """Halve the size, averaging bytes: the truth is rounded, halves up.

    Shapes: (H, W, 3) -> (3, H / 2, W / 2), rounded down.
    """
    return as_frame(halve(samples))


def crop_middle_half(samples: np.ndarray) -> Tensor:
    """Crop a quarter of the size on each side: 2048x1080 of 4096x2160.

    Shapes: (H, W, 3) -> (3, H - 2 (H // 4), W - 2 (W // 4)).
    """
    height, width = samples.shape[:2]
    top, left = height // 4, width // 4
    return as_frame(samples[top : height - top, left : width - left])


def round_down(frame: Tensor) -> Tensor:
    """Round down to multiples of 1/255; values on that grid, up to float32 error, are kept.

    Shapes: any -> the same, in [0, 1].
    """
    return (frame.clamp(0, 1) * 255 + 1e-3).floor() / 255


def crop_middle_square(samples: np.ndarray) -> Tensor:
    """Crop the centre to at most 512 pixels of height and width.

    Shapes: (H, W, 3) -> (3, min(H, 512), min(W, 512)).
    """
    height, width = (min(side, VALIDATION_CROP) for side in samples.shape[:2])
    top, left = (samples.shape[0] - height) // 2, (samples.shape[1] - width) // 2
    return as_frame(samples[top : top + height, left : left + width])


def halve(image: np.ndarray) -> np.ndarray:
    """Halve the size by area averaging, in the type of the image.

    Shapes: (H, W, 3) -> (H / 2, W / 2, 3), rounded down.
    """
    height, width = image.shape[:2]
    return cv2.resize(image, (width // 2, height // 2), interpolation=cv2.INTER_AREA)
