"""Step 0 of SGM-VFI: features of the local branch, computed from both frames."""

import itertools
import math

import torch.nn.functional as F
from torch import Tensor, nn

from sgm_vfi.model.layers.conv import conv_prelu
from sgm_vfi.model.layers.linear_layer import Linear
from sgm_vfi.model.layers.position_encoding import sine_position_encoding
from sgm_vfi.model.ops.banded_convolution import apply_in_bands
from sgm_vfi.model.ops.resize import symmetric_padding
from sgm_vfi.model.ops.window_partition import (
    attention_window_mask,
    merge_windows,
    pad_to_windows,
    partition_windows,
)

HEAD_CHANNELS = 32  # of one attention head


class LocalEncoder(nn.Module):
    """Convolutions down to 1/8, then attention between the two frames inside shifted windows.

    Frames are stacked on the batch axis: all first frames, then all second ones.
    """

    def __init__(self, channels: int, depths: tuple[int, ...], window: int) -> None:
        super().__init__()
        self.look = SGMFrameEncoder(channels, depths[:3])
        self.relate = CrossFrameEncoder(8 * channels, depths[3], window)
        self.apply(initialise_weights)

    def forward(self, frames: Tensor) -> tuple[Tensor, Tensor]:
        """Shapes: (2B, 3, H, W) -> fine (2B, 4F, H/4, W/4) and coarse (2B, 8F, h, w)."""
        fine, tokens = self.look(frames)
        return fine, self.relate(tokens)


class SGMFrameEncoder(nn.Module):
    """Convolutional features of one frame.

    Shapes: (B, 3, H, W) -> fine (B, 4F, H/4, W/4) and tokens (B, h, w, 8F).
    """

    def __init__(self, channels: int, depths: tuple[int, ...]) -> None:
        super().__init__()
        first, second, third, fourth = (channels * 2**level for level in range(4))
        self.block1 = _convolutions(3, first, depths[0])
        self.down2 = conv_prelu(first, second, stride=2)
        self.block2 = _convolutions(second, second, depths[1])
        self.down3 = conv_prelu(second, third, stride=2)
        self.block3 = _convolutions(third, third, depths[2])
        self.embed = nn.Conv2d(third, fourth, kernel_size=3, stride=2, padding=1)
        self.embed_norm = nn.LayerNorm(fourth, eps=1e-5)

    def forward(self, frames: Tensor) -> tuple[Tensor, Tensor]:
        """Return fine features, and tokens if the encoder has attention."""
        fine = _halved(self.block1, self.down2, frames)
        fine = self.block3(_halved(self.block2, self.down3, fine))
        return fine, self.embed_norm(self.embed(fine).permute(0, 2, 3, 1))


class CrossFrameEncoder(nn.Module):
    """Attention between the two frames.

    Shapes: tokens (2B, h, w, C), all first frames, then all second ones -> (2B, C, h, w).
    """

    def __init__(self, channels: int, depth: int, window: int) -> None:
        super().__init__()
        self.window = window
        self.shifts = [window // 2 if j % 2 else 0 for j in range(depth)]
        self.blocks = nn.ModuleList(CrossFrameBlock(channels, window, s) for s in self.shifts)
        self.norm = nn.LayerNorm(channels, eps=1e-6)

    def forward(self, tokens: Tensor) -> Tensor:
        """Run all blocks."""
        height, width = tokens.shape[1:3]
        masks = {
            shift: attention_window_mask(height, width, self.window, shift, tokens.device)
            for shift in set(self.shifts)
        }
        position = sine_position_encoding(self.window, self.window, tokens.shape[-1], tokens.device)
        for block, shift in zip(self.blocks, self.shifts, strict=True):
            tokens = block(tokens, position.flatten(0, 1), masks[shift])
        return self.norm(tokens).permute(0, 3, 1, 2)


class CrossFrameBlock(nn.Module):
    """Transformer block with attention from each window to the same window of the other frame.

    The residual stream is the normalised input plus its position, not the input itself: published
    weights depend on it.
    """

    def __init__(self, channels: int, window: int, shift: int) -> None:
        super().__init__()
        self.window, self.shift = window, shift
        self.norm1 = nn.LayerNorm(channels, eps=1e-6)
        self.attention = CrossFrameAttention(channels)
        self.norm2 = nn.LayerNorm(channels, eps=1e-6)
        self.mlp = ConvolutionalMLP(channels)

    def forward(self, tokens: Tensor, position: Tensor, mask: Tensor | None) -> Tensor:
        """Shapes: tokens (2B, h, w, C), position (window ** 2, C) -> (2B, h, w, C)."""
        height, width = tokens.shape[1:3]
        windows = self.norm1(self.cut(tokens)) + position
        windows = windows + self.attention(windows, mask)
        grid = merge_windows(windows, self.window, math.ceil(width / self.window))
        if self.shift:
            grid = grid.roll((self.shift, self.shift), dims=(1, 2))
        top, left = (symmetric_padding(size, self.window)[0] for size in (height, width))
        tokens = grid[:, top : top + height, left : left + width]
        return tokens + self.mlp(self.norm2(tokens))

    def cut(self, tokens: Tensor) -> Tensor:
        """Pad with zeros, shift, and cut into windows. Shapes: (B, h, w, C) -> (B, n, T, C)."""
        grid = pad_to_windows(tokens, self.window)
        if self.shift:
            grid = grid.roll((-self.shift, -self.shift), dims=(1, 2))
        return partition_windows(grid, self.window)


class CrossFrameAttention(nn.Module):
    """Multi-head attention: queries of one frame, keys and values of the other."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.query = Linear(channels, channels)
        self.key_value = Linear(channels, 2 * channels)
        self.project = Linear(channels, channels)

    def forward(self, windows: Tensor, mask: Tensor | None) -> Tensor:
        """Shapes: windows (2B, n, T, C), mask (n, T, T) or None -> (2B, n, T, C)."""
        queries, keys, values = self._project_heads(windows)
        if mask is not None:
            mask = mask[:, None].to(queries.dtype).repeat(len(windows), 1, 1, 1)
        out = F.scaled_dot_product_attention(queries, keys, values, attn_mask=mask)
        return self.project(out.transpose(1, 2).flatten(2).view_as(windows))

    def scores(self, windows: Tensor) -> Tensor:
        """Return the attention logits. Shapes: (2B, n, T, C) -> (2B, n, heads, T, T)."""
        queries, keys, _ = self._project_heads(windows)
        scores = queries @ keys.transpose(-2, -1) / math.sqrt(HEAD_CHANNELS)
        return scores.unflatten(0, (len(windows), -1))

    def _project_heads(self, windows: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return queries, and keys and values of the other frame, split into heads."""
        other = windows.roll(len(windows) // 2, dims=0)
        keys, values = map(self._heads, self.key_value(other).chunk(2, dim=-1))
        return self._heads(self.query(windows)), keys, values

    @staticmethod
    def _heads(tokens: Tensor) -> Tensor:
        """Shapes: (2B, n, T, C) -> (2B * n, heads, T, HEAD_CHANNELS)."""
        return tokens.flatten(0, 1).unflatten(-1, (-1, HEAD_CHANNELS)).transpose(1, 2)


class ConvolutionalMLP(nn.Module):
    """Two linear layers with a depthwise convolution over the map between them."""

    def __init__(self, channels: int, ratio: int = 4) -> None:
        super().__init__()
        hidden = ratio * channels
        self.expand = Linear(channels, hidden)
        self.depthwise = nn.Conv2d(hidden, hidden, kernel_size=3, padding=1, groups=hidden)
        self.reduce = Linear(hidden, channels)

    def forward(self, tokens: Tensor) -> Tensor:
        """Shapes: (B, h, w, C) -> (B, h, w, C)."""
        hidden = self.depthwise(self.expand(tokens).permute(0, 3, 1, 2))
        return self.reduce(F.gelu(hidden).permute(0, 2, 3, 1))


def _convolutions(in_channels: int, out_channels: int, count: int) -> nn.Sequential:
    channels = (in_channels, *[out_channels] * count)
    layers = (conv_prelu(a, b) for a, b in itertools.pairwise(channels))
    return nn.Sequential(*(part for layer in layers for part in layer))


def _halved(block: nn.Sequential, down: nn.Sequential, x: Tensor) -> Tensor:
    """Shapes: (B, C, H, W) -> (B, C', H / 2, W / 2)."""
    convs = [layer for layer in block if isinstance(layer, nn.Conv2d)]
    margin = 2 * math.ceil((len(convs) + 1) / 2)  # a row for each convolution, in whole pairs
    return apply_in_bands(lambda x: down(block(x)), (x,), margin, channels=convs[-1].out_channels)


def initialise_weights(module: nn.Module) -> None:
    """Initialise a convolution or a linear layer as the published code does."""
    if isinstance(module, nn.Conv2d):
        height, width = module.kernel_size
        fan_out = height * width * module.out_channels // module.groups
        nn.init.normal_(module.weight, std=math.sqrt(2 / fan_out))
        if module.bias is not None:
            nn.init.zeros_(module.bias)
    elif isinstance(module, nn.Linear):
        nn.init.trunc_normal_(module.weight, std=0.02)
        nn.init.zeros_(module.bias)
