"""How close a predicted frame is to the true one.

Every metric takes two tensors of frames, RGB in [0, 1], (B, 3, H, W), and gives one number per
sample, (B,) in float64. None of them rounds the prediction to 8 bits first: published protocols
differ in that, so it is theirs to say.
"""

import math
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlparse

import torch
import torch.nn.functional as F
from skimage.metrics import structural_similarity
from torch import Tensor, nn

from dataset.frames import as_samples

Metric = Callable[[Tensor, Tensor], Tensor]

WINDOW_RADIUS, WINDOW_SIGMA = 5, 1.5  # pixels: the Gaussian window of SSIM
SSIM_C1, SSIM_C2 = 0.01**2, 0.03**2  # for frames in [0, 1]
LPIPS_SMALLEST = 32  # pixels: less than that does not reach the last layer


def psnr(frame: Tensor, target: Tensor) -> Tensor:
    """Peak signal-to-noise ratio in dB, over all pixels and channels; +inf for equal frames.

    Shapes: (B, 3, H, W) twice -> (B,).
    """
    require_pair(frame, target)
    error = (frame.double() - target.double()).square().flatten(1).mean(dim=1)
    return -10 * error.log10()


def ssim(frame: Tensor, target: Tensor) -> Tensor:
    """Structural similarity as the field's tables have it, known as `ssim_matlab`.

    The colour frame is a volume of depth 3, looked at through an 11 x 11 x 11 Gaussian window with
    replicated borders on all three axes. The window is separable, so three one-dimensional passes
    do it. Symmetric in its arguments, and the same for RGB and BGR.

    Shapes: (B, 3, H, W) twice -> (B,).
    """
    require_pair(frame, target)
    # Moments about 1/2, to lose fewer digits in the differences below.
    x, y = frame.float() - 0.5, target.float() - 0.5
    mean_x, mean_y = blur_volume(x), blur_volume(y)
    covariance = blur_volume(x * y) - mean_x * mean_y
    variances = blur_volume(x * x + y * y) - mean_x.square() - mean_y.square()
    mean_x, mean_y = mean_x + 0.5, mean_y + 0.5
    structure = (2 * covariance + SSIM_C2) / (variances + SSIM_C2)
    luminance = (2 * mean_x * mean_y + SSIM_C1) / (mean_x.square() + mean_y.square() + SSIM_C1)
    return (luminance * structure).flatten(1).mean(dim=1, dtype=torch.float64)


def ssim_uniform(frame: Tensor, target: Tensor) -> Tensor:
    """Structural similarity by scikit-image: 7 x 7 uniform window, per channel, border left out.

    Defined on 8-bit samples: frames that are not on that grid are rounded to it.

    Shapes: (B, 3, H, W) twice, at least 7 pixels high and wide -> (B,).
    """
    require_pair(frame, target)
    values = [
        structural_similarity(as_samples(one), as_samples(other), channel_axis=-1, data_range=255)
        for one, other in zip(frame, target, strict=True)
    ]
    return torch.tensor(values, dtype=torch.float64)


METRICS: dict[str, Metric] = {"psnr": psnr, "ssim": ssim, "ssim_uniform": ssim_uniform}


def blur_volume(volume: Tensor) -> Tensor:
    """Gaussian window over channels, rows and columns, borders replicated.

    Shapes: (B, 3, H, W) -> the same.
    """
    for axis in (1, 2, 3):
        volume = blur_axis(volume, axis)
    return volume


def blur_axis(volume: Tensor, axis: int) -> Tensor:
    """Gaussian window along one axis, borders replicated. Shapes: any -> the same."""
    size = volume.shape[axis]
    first, *others = gaussian_taps()
    reach = torch.arange(-WINDOW_RADIUS, size + WINDOW_RADIUS, device=volume.device)
    padded = volume.index_select(axis, reach.clamp(0, size - 1))
    # Shifted sums, which are ten times as fast as a convolution of one channel.
    blurred = first * padded.narrow(axis, 0, size)
    for shift, tap in enumerate(others, start=1):
        blurred.add_(padded.narrow(axis, shift, size), alpha=tap)
    return blurred


def gaussian_taps() -> list[float]:
    """The weights of the window along one axis; their sum is 1."""
    offsets = range(-WINDOW_RADIUS, WINDOW_RADIUS + 1)
    taps = [math.exp(-(offset**2) / (2 * WINDOW_SIGMA**2)) for offset in offsets]
    return [tap / sum(taps) for tap in taps]


def require_pair(frame: Tensor, target: Tensor) -> None:
    """Refuse two tensors that cannot be compared pixel by pixel."""
    for tensor in (frame, target):
        if tensor.ndim != 4 or tensor.shape[1] != 3 or not tensor.is_floating_point():
            raise ValueError(
                f"Metrics take floating-point frames (B, 3, H, W) in [0, 1], "
                f"got {tensor.dtype} {tuple(tensor.shape)}."
            )
    if frame.shape != target.shape:
        raise ValueError(
            f"Metrics take a prediction and a truth of one shape, "
            f"got {tuple(frame.shape)} and {tuple(target.shape)}."
        )
