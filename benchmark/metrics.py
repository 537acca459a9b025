"""Metrics of predicted frames: PSNR, SSIM, LPIPS, interpolation error.

Every metric takes two tensors of frames, RGB in [0, 1], (B, 3, H, W), and gives one number per
sample, (B,) in float64. None of them rounds the prediction to 8 bits first: published protocols
differ in that, so it is theirs to say.
"""

import math
import warnings
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlparse

import torch
import torch.nn.functional as F
from skimage.metrics import structural_similarity
from torch import Tensor

from sgm_vfi.media.images import as_samples, to_levels

Metric = Callable[[Tensor, Tensor], Tensor]

WINDOW_RADIUS, WINDOW_SIGMA = 5, 1.5  # pixels: the Gaussian window of SSIM
BAND_HEIGHT = 64  # rows looked at together: what fits a CPU's cache is three times as fast
SSIM_C1, SSIM_C2 = 0.01**2, 0.03**2  # for frames in [0, 1]
LPIPS_SMALLEST = 31  # pixels a side: a smaller frame does not reach AlexNet's last layer


class MetricError(ValueError):
    """A metric that is not available; the message says why and what to do."""


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
    # About 1/2, so that fewer digits are lost where moments are subtracted.
    x, y = (
        F.pad(image.float() - 0.5, (WINDOW_RADIUS,) * 4, mode="replicate")
        for image in (frame, target)
    )
    total = torch.zeros(len(frame), dtype=torch.float64, device=frame.device)
    for top in range(0, frame.shape[2], BAND_HEIGHT):
        rows = slice(top, top + BAND_HEIGHT + 2 * WINDOW_RADIUS)
        similarity = similarity_map(x[:, :, rows], y[:, :, rows])
        total += similarity.sum(dim=(1, 2, 3), dtype=torch.float64)
    return total / frame[0].numel()


def similarity_map(x: Tensor, y: Tensor) -> Tensor:
    """Luminance times structure of SSIM, of frames less 1/2 with a border for the window.

    Shapes: (B, 3, h + 10, w + 10) twice -> (B, 3, h, w).
    """
    mean_x, mean_y = blur(x), blur(y)
    covariance = blur(x * y) - mean_x * mean_y
    variances = blur(x * x + y * y) - mean_x.square() - mean_y.square()
    mean_x, mean_y = mean_x + 0.5, mean_y + 0.5
    structure = (2 * covariance + SSIM_C2) / (variances + SSIM_C2)
    luminance = (2 * mean_x * mean_y + SSIM_C1) / (mean_x.square() + mean_y.square() + SSIM_C1)
    return luminance * structure


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


def interpolation_error(frame: Tensor, target: Tensor) -> Tensor:
    """Middlebury's IE: mean absolute difference in levels of 255, both rounded; less is better.

    Shapes: (B, 3, H, W) twice -> (B,).
    """
    require_pair(frame, target)
    error = (to_levels(frame, 8) - to_levels(target, 8)).abs().double()
    return error.flatten(1).mean(dim=1)


METRICS: dict[str, Metric] = {"psnr": psnr, "ssim": ssim, "ssim_uniform": ssim_uniform}


def load_lpips(device: torch.device) -> Metric:
    """Load LPIPS 0.1 on AlexNet, a learned perceptual distance; 0 for equal frames.

    Its AlexNet weights must be in place already: nothing is downloaded.

    Raises:
        MetricError: they are not; says where they belong.
    """
    from lpips import LPIPS  # slow to import, and seldom needed
    from torchvision.models import AlexNet_Weights

    url = AlexNet_Weights.IMAGENET1K_V1.url
    weights = Path(torch.hub.get_dir(), "checkpoints", Path(urlparse(url).path).name)
    if not weights.is_file():  # or torchvision would download them
        raise MetricError(
            f"LPIPS needs AlexNet weights, which are not at {weights}. Get {url} and put it there."
        )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the package calls torchvision the old way
        network = LPIPS(net="alex", verbose=False).to(device).eval()

    @torch.inference_mode()
    def lpips(frame: Tensor, target: Tensor) -> Tensor:
        """Return the distance of each sample. Shapes: (B, 3, H, W) -> (B,)."""
        require_pair(frame, target)
        if min(frame.shape[-2:]) < LPIPS_SMALLEST:
            raise ValueError(
                f"LPIPS takes frames of at least {LPIPS_SMALLEST} pixels a side, "
                f"got {tuple(frame.shape)}."
            )
        return network(frame.float(), target.float(), normalize=True).flatten().double()

    return lpips


def blur(volume: Tensor) -> Tensor:
    """The Gaussian window over columns, rows and channels; these have their borders replicated.

    Shapes: (B, 3, h + 10, w + 10) -> (B, 3, h, w).
    """
    spatial = weighted(weighted(volume, 3), 2)
    identity = torch.eye(3, dtype=volume.dtype, device=volume.device)[None]
    bordered = F.pad(identity, (WINDOW_RADIUS,) * 2, mode="replicate")
    mixing = weighted(bordered, 2)[0]  # (3 in, 3 out)
    channels = zip(mixing[:, :, None, None], spatial.split(1, dim=1), strict=True)
    return sum(weights * channel for weights, channel in channels)


def weighted(volume: Tensor, axis: int) -> Tensor:
    """The window along one axis, which gets 10 entries shorter.

    Shifted sums do not round to TensorFloat-32 as a convolution may, and on a CPU are several
    times as fast as one of a single channel.
    """
    size = volume.shape[axis] - 2 * WINDOW_RADIUS
    first, *others = gaussian_taps()
    total = first * volume.narrow(axis, 0, size)
    for shift, tap in enumerate(others, start=1):
        total.add_(volume.narrow(axis, shift, size), alpha=tap)
    return total


def gaussian_taps() -> list[float]:
    """Return the weights of the window along one axis; their sum is 1."""
    offsets = range(-WINDOW_RADIUS, WINDOW_RADIUS + 1)
    taps = [math.exp(-(offset**2) / (2 * WINDOW_SIGMA**2)) for offset in offsets]
    return [tap / sum(taps) for tap in taps]


def require_pair(frame: Tensor, target: Tensor) -> None:
    """Raise ValueError if two tensors are not frames of one shape."""
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
