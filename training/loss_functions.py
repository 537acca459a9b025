"""Losses for frame interpolation and optical flow."""

from collections.abc import Callable, Mapping

import torch
import torch.nn.functional as F
from torch import Tensor

from sgm_vfi.model.interpolator import Interpolation

LEVELS = 5
BINOMIAL = (1 / 16, 4 / 16, 6 / 16, 4 / 16, 1 / 16)
MERGED_WEIGHT = 0.5


def laplacian_pyramid(image: Tensor, levels: int = LEVELS) -> list[Tensor]:
    """Band-pass levels, fine to coarse, without the low-pass rest (Burt and Adelson, 1983).

    Linear in the image. Heights and widths are multiples of 2 ** levels, at least 64 each.

    Shapes: (B, C, H, W) -> (B, C, H / 2 ** i, W / 2 ** i), i = 0 to levels - 1.
    """
    height, width = image.shape[-2:]
    smallest = 2 ** (levels + 1)
    if height % 2**levels or width % 2**levels or min(height, width) < smallest:
        raise ValueError(
            f"A Laplacian pyramid of {levels} levels takes heights and widths divisible by "
            f"{2**levels}, at least {smallest}, got {height}x{width}. Choose another crop."
        )
    bands = []
    for _ in range(levels):
        low = _blur(image)[..., ::2, ::2]
        spread = torch.zeros_like(image)
        spread[..., ::2, ::2] = low
        bands.append(image - 4 * _blur(spread))
        image = low
    return bands


def laplacian_loss(prediction: Tensor, target: Tensor) -> Tensor:
    """Sum over the levels of the mean absolute difference.

    The pyramid is linear, so it is taken of the difference. Blind to a constant offset, as
    published: the last low-pass level is not compared.
    """
    bands = laplacian_pyramid(prediction - target)
    return torch.stack([band.abs().mean() for band in bands]).sum()


def interpolation_loss(
    prediction: Interpolation,
    target: Tensor,
    frame_loss: Callable[[Tensor, Tensor], Tensor] = laplacian_loss,
) -> Tensor:
    """Loss of the prediction, plus half of that of each intermediate blend."""
    loss = frame_loss(prediction.frame, target)
    for stage in prediction.merged:
        loss = loss + MERGED_WEIGHT * frame_loss(stage, target)
    return loss


def charbonnier(difference: Tensor, epsilon: float = 1e-3) -> Tensor:
    """Mean of sqrt(d^2 + epsilon^2): an absolute value with a round bottom. Shapes: -> ()."""
    return (difference.square() + epsilon**2).sqrt().mean()


def census_loss(image: Tensor, target: Tensor, *, patch: int, border: int) -> Tensor:
    """Compare the neighbourhoods of pixels, relative to their centre (UnFlow, Meister et al.).

    Of each channel on its own: neighbour minus centre, v / sqrt(0.81 + v^2); the squared distance
    x of both images' values counts as x / (0.1 + x). Outside the image is zero.

    Args:
        patch: side of the surroundings, an odd number of pixels.
        border: pixels along the edges that count as equal, in a mean over all pixels.

    Shapes: (B, C, H, W) twice -> ().
    """
    distance = (_surroundings(image, patch) - _surroundings(target, patch)).square()
    distance = (distance / (0.1 + distance)).mean(dim=(1, 2)).unflatten(1, image.shape[-2:])
    height, width = image.shape[-2:]
    inside = distance[:, border : height - border, border : width - border]
    return inside.sum() / distance.numel()


def end_point_error(flow: Tensor, target: Tensor) -> Tensor:
    """Mean length of the difference of two flows, in pixels. Shapes: (B, 2, H, W) twice -> ()."""
    return ((flow - target).square().sum(dim=1) + 1e-6).sqrt().mean()


def motion_error(explanation: Mapping[str, Tensor], flow: Tensor, visible: Tensor) -> Tensor:
    """Mean end-point error, over visible pixels, of all flows with a gradient.

    Shapes: explanation, flow and visible (B, 4, H, W), pixels; visible is 0 or 1 -> ().
    """
    learning = [note for name, note in explanation.items() if "flow" in name and note.requires_grad]
    errors = [
        end_point_error(part * seen, true * seen)
        for note in learning
        for part, true, seen in zip(*(x.chunk(2, 1) for x in (note, flow, visible)), strict=True)
    ]
    return torch.stack(errors).mean()


def _surroundings(image: Tensor, patch: int) -> Tensor:
    """Shapes: (B, C, H, W) -> (B, C, patch^2, HW), in (-1, 1)."""
    taps = F.unfold(image, patch, padding=patch // 2).unflatten(1, (image.shape[1], -1))
    relative = taps - image.flatten(2)[:, :, None]
    return relative / (0.81 + relative.square()).sqrt()


def _blur(image: Tensor) -> Tensor:
    """Apply a 5 x 5 binomial filter, mirrored at the border: columns, then rows."""
    image = F.pad(image, (2, 2, 2, 2), mode="reflect")
    if image.device.type != "cpu":
        channels = image.shape[1]
        taps = image.new_tensor(BINOMIAL).expand(channels, 1, -1)
        rows = F.conv2d(image, taps[:, :, :, None], groups=channels)
        return F.conv2d(rows, taps[:, :, None, :], groups=channels)
    outer, inner, middle = BINOMIAL[:3]  # sums take half the time of convolutions on a CPU
    for axis in (2, 3):
        size = image.shape[axis] - 4
        a, b, c, d, e = (image.narrow(axis, start, size) for start in range(5))
        image = (a + e) * outer + (b + d) * inner + c * middle
    return image
