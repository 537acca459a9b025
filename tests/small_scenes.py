"""Synthetic scenes small enough for tests."""

from dataclasses import replace

import torch
from torch import Tensor

from sgm_vfi.dataset.synthetic import SceneGenerator, SyntheticConfig

CLEAN = SyntheticConfig(
    size=(96, 128),
    curved=1.0,
    blur=0.0,
    lighting=0.0,
    grain=0.0,
    textures=16,
    texture_size=128,
    masks=20,
    mask_size=96,
)
SEEDS = [(7, number) for number in range(12)]


def times(*values: float) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


def changed(maker: SceneGenerator, **settings: object) -> SceneGenerator:
    """The same textures and shapes under another configuration."""
    other = maker.with_size(maker.config.size)
    other.config = replace(maker.config, **settings)
    return other
