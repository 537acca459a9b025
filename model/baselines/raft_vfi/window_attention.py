"""RAFT-VFI: shifted-window attention, within one scale and across two scales.

After VFIformer (Lu et al., CVPR 2022, section 3.2).
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sgm_vfi.model.ops.resize import resize
from sgm_vfi.model.ops.window_partition import (
    MASKED_LOGIT,
    attention_window_mask,
    merge_windows,
    partition_windows,
    shifted_region_ids,
)

WINDOW = 4  # pixels of the feature map, each way
SHIFT = WINDOW // 2
HEADS = 2
OFFSETS = 2 * WINDOW - 1  # number of relative positions along one axis


class WindowAttention(nn.Module):
    """Self-attention within windows, with a learned relative position bias."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.query_key_value = nn.Linear(channels, 3 * channels)
        self.offset_bias = nn.Parameter(torch.zeros(OFFSETS**2, HEADS))
        self.project = nn.Linear(channels, channels)

    def forward(self, grid: Tensor, shifted: bool) -> Tensor:
        """Shapes: (B, h, w, C) -> (B, h, w, C), h and w multiples of `WINDOW`."""
        return self._merge_windows(
            self._attend(*self._queries_keys_values(grid), grid, shifted), grid
        )

    def _queries_keys_values(self, grid: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Queries, scaled, keys and values, (B, n, HEADS, T, C / HEADS) each."""
        tokens = self.query_key_value(partition_windows(grid, WINDOW))
        queries, keys, values = map(split_heads, tokens.chunk(3, dim=-1))
        return queries * queries.shape[-1] ** -0.5, keys, values

    def _attend(
        self, queries: Tensor, keys: Tensor, values: Tensor, grid: Tensor, shifted: bool
    ) -> Tensor:
        """Shapes: -> (B, n, T, C)."""
        height, width = grid.shape[1:3]
        mask = None
        if shifted:
            mask = attention_window_mask(height, width, WINDOW, SHIFT, grid.device)
        return attend(queries, keys, values, self.offset_bias, mask)

    def _merge_windows(self, windows: Tensor, grid: Tensor) -> Tensor:
        return merge_windows(self.project(windows), WINDOW, grid.shape[2] // WINDOW)


class CrossScaleAttention(WindowAttention):
    """Attention also to the surrounding window of twice the size, at half the resolution."""

    def __init__(self, channels: int) -> None:
        super().__init__(channels)
        self.coarse_offset_bias = nn.Parameter(torch.zeros(OFFSETS**2, HEADS))
        self.coarse_key_value = nn.Linear(channels, 2 * channels)
        self.merge = nn.Sequential(
            nn.Linear(2 * channels, channels), nn.LeakyReLU(0.2), nn.Linear(channels, channels)
        )

    def forward(self, grid: Tensor, shifted: bool) -> Tensor:
        """Shapes: (B, h, w, C) -> (B, h, w, C), h and w multiples of `WINDOW`."""
        queries, keys, values = self._queries_keys_values(grid)
        fine = self._attend(queries, keys, values, grid, shifted)
        coarse = coarse_windows(grid.permute(0, 3, 1, 2))
        keys, values = map(split_heads, self.coarse_key_value(coarse).chunk(2, dim=-1))
        mask = coarse_mask(grid.shape[1], grid.shape[2], grid) if shifted else None
        far = attend(queries, keys, values, self.coarse_offset_bias, mask)
        return self._merge_windows(fine + self.merge(torch.cat((fine, far), dim=-1)), grid)


class WindowLayer(nn.Module):
    """Transformer layer: attention and a two-layer MLP, each with a residual connection."""

    def __init__(self, channels: int, attention: WindowAttention, shifted: bool) -> None:
        super().__init__()
        self.shifted = shifted
        self.norm1 = nn.LayerNorm(channels)
        self.attention = attention
        self.norm2 = nn.LayerNorm(channels)
        self.mlp = nn.Sequential(
            nn.Linear(channels, 2 * channels), nn.GELU(), nn.Linear(2 * channels, channels)
        )

    def forward(self, grid: Tensor) -> Tensor:
        """Shapes: (B, h, w, C) -> (B, h, w, C)."""
        normed = self.norm1(grid)
        if self.shifted:
            normed = normed.roll((-SHIFT, -SHIFT), dims=(1, 2))
        attended = self.attention(normed, self.shifted)
        if self.shifted:
            attended = attended.roll((SHIFT, SHIFT), dims=(1, 2))
        grid = grid + attended
        return grid + self.mlp(self.norm2(grid))


class WindowGroup(nn.Module):
    """Three layers, the middle one shifted, and a convolution, with a residual connection."""

    def __init__(self, channels: int, attention: type[WindowAttention]) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            *(WindowLayer(channels, attention(channels), shifted=i == 1) for i in range(3))
        )
        self.convolution = nn.Conv2d(channels, channels, kernel_size=3, padding=1)

    def forward(self, grid: Tensor) -> Tensor:
        """Shapes: (B, h, w, C) -> (B, h, w, C)."""
        features = self.layers(grid).permute(0, 3, 1, 2)
        return grid + self.convolution(features).permute(0, 2, 3, 1)


class WindowTransformer(nn.Module):
    """A group of window attention, then one of cross-scale window attention."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm_in = nn.LayerNorm(channels)
        self.groups = nn.Sequential(
            WindowGroup(channels, WindowAttention), WindowGroup(channels, CrossScaleAttention)
        )
        self.norm_out = nn.LayerNorm(channels)

    def forward(self, features: Tensor) -> Tensor:
        """Shapes: (B, C, h, w) -> (B, C, h, w), h and w multiples of `WINDOW`."""
        grid = self.groups(self.norm_in(features.permute(0, 2, 3, 1)))
        return self.norm_out(grid).permute(0, 3, 1, 2)


def split_heads(tokens: Tensor) -> Tensor:
    """Split channels into heads. Shapes: (B, n, T, C) -> (B, n, HEADS, T, C / HEADS)."""
    return tokens.unflatten(-1, (HEADS, -1)).transpose(2, 3)


def attend(
    queries: Tensor, keys: Tensor, values: Tensor, offset_bias: Tensor, mask: Tensor | None
) -> Tensor:
    """Compute softmax(queries keys^T + relative position bias + mask) values.

    Shapes: (B, n, HEADS, T, c) three times, offset_bias (OFFSETS ** 2, HEADS), mask (n, T, T) ->
    (B, n, T, C).
    """
    logits = queries @ keys.transpose(-2, -1) + offset_bias[position_index(queries.device)].movedim(
        -1, 0
    )
    if mask is not None:
        logits = logits + mask[:, None]
    return (logits.softmax(dim=-1) @ values).transpose(2, 3).flatten(3)


def position_index(device: torch.device) -> Tensor:
    """Return the index of the relative position of query and key. Shapes: -> (T, T)."""
    place = torch.arange(WINDOW**2, device=device)
    down = place[:, None] // WINDOW - place[None, :] // WINDOW
    right = place[:, None] % WINDOW - place[None, :] % WINDOW
    return (down + WINDOW - 1) * OFFSETS + right + WINDOW - 1


def coarse_windows(features: Tensor) -> Tensor:
    """Return the surrounding window of each window at half the resolution, reflected at edges.

    Shapes: (B, C, h, w) -> (B, n, T, C).
    """
    margin = WINDOW // 4
    coarse = F.pad(resize(features, 0.5), (margin,) * 4, mode="reflect")
    windows = F.unfold(coarse, WINDOW, stride=WINDOW // 2)  # (B, C * T, n)
    return windows.unflatten(1, (features.shape[1], -1)).permute(0, 3, 2, 1)


def coarse_mask(height: int, width: int, like: Tensor) -> Tensor:
    """`attention_window_mask` between shifted windows and their coarse windows.

    Shapes: -> (n, T, T), 0 or `MASKED_LOGIT`.
    """
    bands = shifted_region_ids(height, width, WINDOW, SHIFT, like.device).to(like.dtype)
    fine = partition_windows(bands[None, :, :, None], WINDOW)[0, :, :, 0]
    coarse = coarse_windows(bands[None, None])[0, :, :, 0]
    return (fine[:, :, None] != coarse[:, None, :]) * MASKED_LOGIT
