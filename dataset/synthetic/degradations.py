"""Degradations of rendered frames: changing light, defocus, sensor noise, codec artefacts."""

import math
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

BLOCK = 8  # side of a transform block, in pixels
COARSER = 0.3  # growth of the quantisation step per frequency
CHROMA = 2.0  # quantisation step of chroma over that of luma


class DegradationParameters(NamedTuple):
    """Parameters of the degradations of whole frames. Shapes: (B,) unless stated."""

    shutter: Tensor  # exposure time; 0: no motion blur
    light: Tensor  # (B, 3, 2): level, slope to the right and slope down, at t = 0 and t = 1
    grain: Tensor  # standard deviation; 0: none
    seed: Tensor  # of the grain
    focus: Tensor  # standard deviation of the defocus blur, in pixels; 0: sharp
    coding: Tensor  # quantisation step of the codec, of [0, 1]; 0: none


def degrade(image: Tensor, parameters: DegradationParameters, time: Tensor) -> Tensor:
    """Apply light, defocus, grain and codec, each where drawn.

    Shapes: image (B, 3, H, W), time (B,), float64 on the CPU -> (B, 3, H, W).
    """
    image = apply_light(image, parameters.light, time)
    for scene, deviation in enumerate(parameters.focus.tolist()):
        if deviation:
            image[scene] = blur_defocus(image[scene], deviation)
    for scene, strength in enumerate(parameters.grain.tolist()):
        if strength:  # the noise differs between times and is the same at one time
            seed = int(parameters.seed[scene].item()) ^ round(time[scene].item() * 2**20)
            random = torch.Generator(image.device).manual_seed(seed)
            noise = torch.randn(image.shape[1:], generator=random, device=image.device)
            image[scene] += strength * noise
    image = image.clamp_(0, 1)
    for scene, step in enumerate(parameters.coding.tolist()):
        if step:
            image[scene] = simulate_codec(image[scene], step)
    return image


def apply_light(image: Tensor, light: Tensor, time: Tensor) -> Tensor:
    """Multiply by the light at a time: a level and slopes over the frame."""
    start, end = light.unbind(-1)  # (B, 3) each
    level, right, down = start.lerp(end, time[:, None]).float().to(image.device).unbind(1)
    height, width = image.shape[-2:]
    x = torch.arange(width, device=image.device, dtype=torch.float32)
    y = torch.arange(height, device=image.device, dtype=torch.float32)[:, None]
    field = level[:, None, None] + right[:, None, None] * (x / width - 0.5)
    return image * (field + down[:, None, None] * (y / height - 0.5))[:, None]


def blur_defocus(frame: Tensor, deviation: float) -> Tensor:
    """Blur by a Gaussian with replicated borders. Shapes: (3, H, W) -> the same."""
    reach = math.ceil(3 * deviation)
    taps = torch.arange(-reach, reach + 1, device=frame.device, dtype=frame.dtype)
    taps = (-0.5 * (taps / deviation).square()).exp()
    taps = (taps / taps.sum()).view(1, 1, 1, -1)
    padded = F.pad(frame[:, None], (reach,) * 4, mode="replicate")
    return F.conv2d(F.conv2d(padded, taps), taps.transpose(2, 3))[:, 0]


def simulate_codec(frame: Tensor, step: float) -> Tensor:
    """Quantise the cosine transform of blocks, as intra-coded video frames are.

    Shapes: RGB in [0, 1], (3, H, W) -> the same.
    """
    height, width = frame.shape[-2:]
    pad = (0, -width % BLOCK, 0, -height % BLOCK)
    cosines = cosine_transform(frame)
    colours = luma_chroma_matrix(frame)
    planes = torch.einsum("ic,chw->ihw", colours, F.pad(frame[None], pad, mode="replicate")[0])
    blocks = planes.unflatten(2, (-1, BLOCK)).unflatten(1, (-1, BLOCK)).transpose(2, 3)
    levels = torch.arange(BLOCK, device=frame.device)
    steps = step * (1 + COARSER * (levels[:, None] + levels)) * BLOCK / 2
    steps = torch.stack((steps, CHROMA * steps, CHROMA * steps))[:, None, None]
    rounded = (cosines @ blocks @ cosines.T / steps).round() * steps
    planes = (cosines.T @ rounded @ cosines).transpose(2, 3).flatten(1, 2).flatten(2)
    decoded = torch.einsum("ci,ihw->chw", colours.inverse(), planes)
    return decoded[:, :height, :width].clamp(0, 1)


def cosine_transform(like: Tensor) -> Tensor:
    """Return the orthonormal cosine transform of a block's rows. Shapes: -> (BLOCK, BLOCK)."""
    place = torch.arange(BLOCK, device=like.device, dtype=like.dtype)
    waves = (math.pi / BLOCK * (place + 0.5) * place[:, None]).cos() * math.sqrt(2 / BLOCK)
    waves[0] /= math.sqrt(2)
    return waves


def luma_chroma_matrix(like: Tensor) -> Tensor:
    """Return the BT.601 matrix from RGB to luma and chroma. Shapes: -> (3, 3)."""
    return like.new_tensor(((0.299, 0.587, 0.114), (-0.169, -0.331, 0.5), (0.5, -0.419, -0.081)))
