"""Optical flow on disk, as 16-bit PNG: precomputed flows are a quarter of the size of floats."""

from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor

from sgm_vfi.media.images import FrameError

ZERO = 2**15
LARGEST = 2**16 - 1
KITTI_STEPS, PERVFI_STEPS = 64, 128  # of a pixel: reaching 512 and 256 pixels either way


def encode_flow(flow: Tensor, steps: int = PERVFI_STEPS) -> np.ndarray:
    """Three words for every pixel: u, v, and 1 for valid (KITTI's layout).

    A component becomes steps * u + 2^15, rounded down.

    Shapes: flow (2, H, W) in pixels -> (H, W, 3), uint16.

    Raises:
        ValueError: a vector is not finite or too long for the format.
    """
    if flow.ndim != 3 or flow.shape[0] != 2:
        raise ValueError(f"A flow to write is (2, H, W), got {tuple(flow.shape)}.")
    words = (flow.detach().cpu().double() * steps + ZERO).floor()
    if not ((words >= 0) & (words <= LARGEST)).all():
        largest = flow.abs().max().item()
        raise ValueError(
            f"A flow in steps of 1/{steps} pixel reaches {ZERO // steps} pixels, got {largest:g}. "
            f"Write it with fewer steps."
        )
    valid = torch.ones_like(words[:1])
    return torch.cat((words, valid)).movedim(0, -1).numpy().astype(np.uint16)


def decode_flow(words: np.ndarray, steps: int = PERVFI_STEPS) -> Tensor:
    """Undo `encode_flow`; what is not valid has no flow, 0. Shapes: (H, W, 3) -> (2, H, W)."""
    flow = torch.from_numpy((words[..., :2].astype(np.float32) - ZERO) / np.float32(steps))
    valid = torch.from_numpy(words[..., 2] != 0)
    return torch.where(valid[..., None], flow, 0).movedim(-1, 0).contiguous()


def write_flow(path: Path, flow: Tensor, steps: int = PERVFI_STEPS) -> None:
    """Write a flow, whole or not at all. Shapes: (2, H, W), in pixels."""
    path = Path(path)
    if path.suffix != ".png":
        raise ValueError(f"A flow is written as .png, of 16 bits, got {path.name}.")
    words = np.ascontiguousarray(encode_flow(flow, steps)[..., ::-1])  # OpenCV's order
    beside = path.with_name(f".{path.name}.tmp.png")
    try:
        if not cv2.imwrite(str(beside), words):
            raise FrameError(f"{path} cannot be written: OpenCV refuses it.")
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)


def read_flow(path: Path, steps: int = PERVFI_STEPS) -> Tensor:
    """Read what `write_flow` or KITTI wrote. Shapes: -> (2, H, W), in pixels.

    Raises:
        FrameError: no such file, or no flow in it.
    """
    path = Path(path)
    words = cv2.imread(str(path), cv2.IMREAD_UNCHANGED) if path.is_file() else None
    if words is None or words.dtype != np.uint16 or words.ndim != 3 or words.shape[2] != 3:
        raise FrameError(
            f"{path} holds no flow: expected a PNG of three channels of 16 bits, as write_flow "
            f"or KITTI leaves it."
        )
    return decode_flow(np.ascontiguousarray(words[..., ::-1]), steps)
