"""What lenses and codecs do to a frame, each frame on its own."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

BLOCK = 8  # pixels, each way, that a codec transforms together
COARSER = 0.3  # by how much of the step each higher frequency is rounded more
CHROMA = 2.0  # how many times more colour is rounded than brightness


def blur_defocus(frame: Tensor, deviation: float) -> Tensor:
    """Blur by a Gaussian; outside of the frame is what its edge shows. Shapes: (3, H, W), both."""
    reach = math.ceil(3 * deviation)
    taps = torch.arange(-reach, reach + 1, device=frame.device, dtype=frame.dtype)
    taps = (-0.5 * (taps / deviation).square()).exp()
    taps = (taps / taps.sum()).view(1, 1, 1, -1)
    padded = F.pad(frame[:, None], (reach,) * 4, mode="replicate")
    return F.conv2d(F.conv2d(padded, taps), taps.transpose(2, 3))[:, 0]


def simulate_codec(frame: Tensor, step: float) -> Tensor:
    """Round the cosine transform of blocks, high frequencies and colours more than others.

    So do the frames of video that stand alone. Shapes: RGB in [0, 1], (3, H, W), both.
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
    """The cosine transform of a block's rows, orthonormal. Shapes: -> (BLOCK, BLOCK)."""
    place = torch.arange(BLOCK, device=like.device, dtype=like.dtype)
    waves = (math.pi / BLOCK * (place + 0.5) * place[:, None]).cos() * math.sqrt(2 / BLOCK)
    waves[0] /= math.sqrt(2)
    return waves


def luma_chroma_matrix(like: Tensor) -> Tensor:
    """Rows: brightness, and two differences from it (BT.601). Shapes: -> (3, 3)."""
    return like.new_tensor(((0.299, 0.587, 0.114), (-0.169, -0.331, 0.5), (0.5, -0.419, -0.081)))
