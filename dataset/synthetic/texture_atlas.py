"""Many small pictures in one tensor, so that a batch can read a different one in each sample."""

from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor


class TextureAtlas(NamedTuple):
    """Square tiles of one size, side by side."""

    picture: Tensor  # (1, C, rows * side, columns * side)
    side: int
    columns: int
    count: int

    def sample(self, tile: Tensor, x: Tensor, y: Tensor) -> Tensor:
        """Read tile `tile[b]` of each sample b, bilinearly, at its pixels (x, y).

        Places outside a tile give its nearest edge pixel.

        Shapes: tile (B,), x and y (B, H, W) in pixels of a tile -> (B, C, H, W).
        """
        height, width = self.picture.shape[-2:]
        left = (tile % self.columns * self.side).view(-1, 1, 1)
        top = (tile // self.columns * self.side).view(-1, 1, 1)
        grid = torch.empty(*x.shape, 2, device=x.device)
        grid[..., 0] = x.clamp(0, self.side - 1).add_(left).mul_(2 / (width - 1)).sub_(1)
        grid[..., 1] = y.clamp(0, self.side - 1).add_(top).mul_(2 / (height - 1)).sub_(1)
        picture = self.picture.expand(len(x), -1, -1, -1)  # no copy: cuDNN, which would, needs
        return F.grid_sample(picture, grid, padding_mode="border", align_corners=True)  # zeros


def build_atlas(tiles: list[np.ndarray], device: torch.device | str) -> TextureAtlas:
    """Lay tiles out on a grid. Shapes: (side, side, C) float each."""
    side, channels = tiles[0].shape[0], tiles[0].shape[2]
    columns = int(np.ceil(np.sqrt(len(tiles))))
    rows = -(-len(tiles) // columns)
    picture = np.zeros((channels, rows * side, columns * side), np.float32)
    for number, tile in enumerate(tiles):
        top, left = number // columns * side, number % columns * side
        picture[:, top : top + side, left : left + side] = tile.transpose(2, 0, 1)
    return TextureAtlas(torch.from_numpy(picture)[None].to(device), side, columns, len(tiles))


def mirror_coordinates(position: Tensor, side: int) -> Tensor:
    """Fold the whole plane into a tile by mirrors at its edges: no seams, no end."""
    last = side - 1
    return last - (position.remainder(2 * last) - last).abs()
