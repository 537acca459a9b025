"""Features of GMFlow for global matching (Xu et al., CVPR 2022).

Stages, in order:
    1. `Backbone`: residual convolutions of each frame down to 1/8.
    2. A sine position encoding.
    3. `FeatureTransformer`: blocks of self-attention and of cross-attention between the frames.
The features are used by `gmflow.py` and by SGM-VFI.

Tensors: frames (2B, 3, H, W), all first frames before all second ones; tokens (2B, h', w', 128),
channels last, padded to a multiple of 2 cells.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sgm_vfi.model.layers.linear_layer import Linear
from sgm_vfi.model.layers.position_encoding import sine_position_encoding
from sgm_vfi.model.ops.banded_convolution import apply_per_sample
from sgm_vfi.model.ops.global_matching import attention
from sgm_vfi.model.ops.instance_norm import instance_norm, instance_norm_relu
from sgm_vfi.model.ops.onednn_linear import linear_gelu
from sgm_vfi.model.ops.resize import symmetric_padding
from sgm_vfi.model.ops.window_partition import (
    MASKED_LOGIT,
    merge_windows,
    partition_windows,
    region_mask,
    shifted_region_ids,
)
from sgm_vfi.model.weight_io import NameScope, Weights, load_weights, translate_name

CHANNELS = 128
PUBLISHED_NAMES = (
    NameScope("backbone.", "backbone.", ((".downsample.0.", ".shortcut."),)),
    NameScope(
        "transformer.",
        "transformer.",
        (
            (".cross_attn_ffn.mlp.", ".mlp."),
            (".cross_attn_ffn.norm2.", ".mlp_norm."),
            (".cross_attn_ffn.", ".cross_attention."),
            (".self_attn.", ".self_attention."),
            (".q_proj.", ".query."),
            (".k_proj.", ".key."),
            (".v_proj.", ".value."),
            (".merge.", ".project."),
            (".norm1.", ".norm."),
        ),
    ),
)
FLOW_HEAD_PREFIXES = ("feature_flow_attn.", "upsampler.")  # of a GMFlow checkpoint: its flow head
PADDED_TO = 16  # pixels: the published code ran every frame at such a size


class GMFlowFeatures(nn.Module):
    """Features of two frames, to be compared by dot products.

    Args:
        splits: number of attention windows per axis: 2 in GMFlow; 1, the whole frame, in SGM-VFI.
    """

    def __init__(self, num_layers: int = 6, splits: int = 1) -> None:
        super().__init__()
        self.splits = splits
        self.backbone = Backbone()
        self.transformer = FeatureTransformer(num_layers, splits)

    def forward(self, frames: Tensor) -> Tensor:
        """Shapes: (2B, 3, H, W), all first frames, then all second -> (2B, 128, H/8, W/8).

        Heights and widths are multiples of 8. If one is no multiple of 16 the features are shifted
        by half a cell, as in the published code.
        """
        height, width = (size // 8 for size in frames.shape[-2:])
        return tokens_to_map(self.attend(self.encode(frames)), height, width)

    def encode(self, frames: Tensor) -> Tensor:
        """Compute tokens of each frame on its own. Shapes: (B, 3, H, W) -> (B, h', w', 128)."""
        height, width = frames.shape[-2:]
        pad = (*symmetric_padding(width, PADDED_TO), *symmetric_padding(height, PADDED_TO))
        if any(pad):
            frames = F.pad(frames, pad, mode="replicate")
        tokens = self.extract(frames).permute(0, 2, 3, 1)
        height, width = (side // self.splits for side in tokens.shape[1:3])
        embedding = sine_position_encoding(height, width, CHANNELS, frames.device)
        return tokens + embedding.repeat(self.splits, self.splits, 1)

    def extract(self, frames: Tensor) -> Tensor:
        """Compute features of frames by convolutions. Shapes: -> (B, 128, H/8, W/8)."""
        return apply_per_sample(self.backbone, frames, channels=self.backbone.channels_per_pixel)

    def attend(self, tokens: Tensor) -> Tensor:
        """Apply attention within and between the frames. Shapes: (2B, h', w', 128), twice."""
        return self.transformer(tokens)


def tokens_to_map(tokens: Tensor, height: int, width: int) -> Tensor:
    """Crop the padding. Shapes: (B, h', w', C) -> (B, C, height, width)."""
    return tokens.permute(0, 3, 1, 2)[..., :height, :width]


def load_gmflow_features(features: GMFlowFeatures, weights: Weights) -> None:
    """Load the features of a published one-scale GMFlow checkpoint."""
    state = {
        translate_name(name, PUBLISHED_NAMES): tensor
        for name, tensor in weights.state.items()
        if not name.startswith(FLOW_HEAD_PREFIXES)
    }
    load_weights(features, weights._replace(state=state))


class Backbone(nn.Module):
    """Residual units down to 1/8, with instance normalisation."""

    channels_per_pixel = 16  # of its widest maps: 64 channels at half the size

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 64, kernel_size=7, stride=2, padding=3, bias=False)
        self.layer1 = nn.Sequential(ResidualUnit(64, 64), ResidualUnit(64, 64))
        self.layer2 = nn.Sequential(ResidualUnit(64, 96, stride=2), ResidualUnit(96, 96))
        self.layer3 = nn.Sequential(
            ResidualUnit(96, CHANNELS, stride=2), ResidualUnit(CHANNELS, CHANNELS)
        )
        self.conv2 = nn.Conv2d(CHANNELS, CHANNELS, kernel_size=1)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, frames: Tensor) -> Tensor:
        """Shapes: (B, 3, H, W) -> (B, 128, H/8, W/8)."""
        x = instance_norm_relu(self.conv1(frames))
        for unit in (*self.layer1, *self.layer2, *self.layer3):
            x = unit(x)  # one by one: a sequence would hold on to its first input
        return self.conv2(x)


class ResidualUnit(nn.Module):
    """Two convolutions with instance normalisation and a skip. Shapes: (B, C, h, w)."""

    def __init__(self, in_channels: int, out_channels: int, stride: int = 1) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, out_channels, 3, stride, padding=1, bias=False)
        self.conv2 = nn.Conv2d(out_channels, out_channels, 3, padding=1, bias=False)
        self.shortcut = (
            None
            if stride == 1 and in_channels == out_channels
            else nn.Conv2d(in_channels, out_channels, kernel_size=1, stride=stride)
        )

    def forward(self, x: Tensor) -> Tensor:
        """Add the convolutions to the input."""
        y = self.conv2(instance_norm_relu(self.conv1(x)))
        if self.shortcut is not None:
            x = instance_norm(self.shortcut(x))
        return instance_norm_relu(y, skip=x)


class FeatureTransformer(nn.Module):
    """Transformer blocks over all cells, or in windows that every second block shifts by half.

    Args:
        whole_rows: of `attention`: slower, for flows that depend on the last bits of features.
    """

    def __init__(self, num_layers: int, splits: int = 1, *, whole_rows: bool = False) -> None:
        super().__init__()
        self.splits = splits
        self.layers = nn.ModuleList(TransformerBlock(whole_rows) for _ in range(num_layers))
        for weight in self.parameters():
            if weight.ndim > 1:
                nn.init.xavier_uniform_(weight)

    def forward(self, tokens: Tensor, splits: int | None = None) -> Tensor:
        """Shapes: (2B, h, w, 128), all first frames, then all second ones -> the same.

        Args:
            splits: windows each way; None: as the transformer was built.
        """
        splits = self.splits if splits is None else splits
        height, width = tokens.shape[1:3]
        window = (height // splits, width // splits)
        shift = (window[0] // 2, window[1] // 2) if splits > 1 else (0, 0)
        mask = self.mask(tokens, window, shift)
        windows = partition_windows(tokens, window)
        for i, layer in enumerate(self.layers):
            shifted = i % 2 and mask is not None
            if shifted:
                windows = self.shift(windows, window, (-shift[0], -shift[1]), splits)
            others = windows.roll(len(windows) // 2, dims=0)
            windows = layer(windows, others, mask if shifted else None)
            if shifted:
                windows = self.shift(windows, window, shift, splits)
        return merge_windows(windows, window, splits)

    def shift(
        self, windows: Tensor, window: tuple[int, int], by: tuple[int, int], splits: int
    ) -> Tensor:
        """Shift the windows cyclically. Shapes: (2B, windows, L, 128) -> the same."""
        tokens = merge_windows(windows, window, splits)
        return partition_windows(tokens.roll(by, dims=(1, 2)), window)

    def mask(
        self, tokens: Tensor, window: tuple[int, int], shift: tuple[int, int]
    ) -> Tensor | None:
        """Return the attention mask of shifted windows; None without a shift."""
        if shift == (0, 0):
            return None
        height, width = tokens.shape[1:3]
        bands = shifted_region_ids(height, width, window, shift, tokens.device)
        return (region_mask(bands, window) * MASKED_LOGIT).to(tokens.dtype)


class TransformerBlock(nn.Module):
    """Self-attention, cross-attention to the other frame before its self-attention, and an MLP."""

    def __init__(self, whole_rows: bool = False) -> None:
        super().__init__()
        self.self_attention = Attention(whole_rows)
        self.cross_attention = Attention(whole_rows)
        self.mlp = FeedForward(
            Linear(2 * CHANNELS, 8 * CHANNELS, bias=False),
            nn.GELU(),
            Linear(8 * CHANNELS, CHANNELS, bias=False),
        )
        self.mlp_norm = nn.LayerNorm(CHANNELS)

    def forward(self, tokens: Tensor, others: Tensor, mask: Tensor | None = None) -> Tensor:
        """Shapes: tokens, others (2B, W, L, 128), mask (W, L, L) -> (2B, W, L, 128)."""
        tokens = tokens + self.self_attention(tokens, tokens, mask)
        message = self.cross_attention(tokens, others, mask)
        return tokens + self.mlp_norm(self.mlp(torch.cat((tokens, message), dim=-1)))


class FeedForward(nn.Sequential):
    """A linear layer, a GELU and a linear layer; the first two are fused where possible."""

    def forward(self, x: Tensor) -> Tensor:
        """Shapes: (..., C) -> (..., C')."""
        first, _, last = self
        assert isinstance(first, Linear)
        return last(linear_gelu(x, first.weight, first.bias))


class Attention(nn.Module):
    """Single-head attention in each window, followed by layer normalisation."""

    def __init__(self, whole_rows: bool = False) -> None:
        super().__init__()
        self.whole_rows = whole_rows
        self.query = Linear(CHANNELS, CHANNELS, bias=False)
        self.key = Linear(CHANNELS, CHANNELS, bias=False)
        self.value = Linear(CHANNELS, CHANNELS, bias=False)
        self.project = Linear(CHANNELS, CHANNELS, bias=False)
        self.norm = nn.LayerNorm(CHANNELS)

    def forward(self, tokens: Tensor, others: Tensor, mask: Tensor | None = None) -> Tensor:
        """Shapes: tokens, others (2B, W, L, 128), mask (W, L, L) -> (2B, W, L, 128)."""
        queries, keys, values = self.query(tokens), self.key(others), self.value(others)
        message = attention(queries, keys, values, mask, whole_rows=self.whole_rows)
        return self.norm(self.project(message))
