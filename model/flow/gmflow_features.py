"""Features for global matching (Xu et al., GMFlow, CVPR 2022): a network and a transformer."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sgm_vfi.model.checkpoint import NameScope, Weights, load_weights, translate_name
from sgm_vfi.model.layers.linear import Linear
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
    """Features of two frames that have seen each other, comparable by their dot product.

    Args:
        splits: windows each way that attention stays inside of. The published weights were
            trained with 2; SGM-VFI looks over the whole frame, 1.
    """

    def __init__(self, num_layers: int = 6, splits: int = 1) -> None:
        super().__init__()
        self.splits = splits
        self.backbone = Backbone()
        self.transformer = FeatureTransformer(num_layers, splits)

    def forward(self, frames: Tensor) -> Tensor:
        """Shapes: (2B, 3, H, W), all first frames, then all second -> (2B, 128, H/8, W/8).

        Heights and widths are multiples of 8. Where one is no multiple of 16 the features sit
        half a cell off, as in the published code (specification 1.4, step 5).
        """
        height, width = (size // 8 for size in frames.shape[-2:])
        return tokens_to_map(self.attend(self.encode(frames)), height, width)

    def encode(self, frames: Tensor) -> Tensor:
        """What depends on one frame only. Shapes: (B, 3, H, W) -> (B, h', w', 128)."""
        height, width = frames.shape[-2:]
        pad = (*symmetric_padding(width, PADDED_TO), *symmetric_padding(height, PADDED_TO))
        if any(pad):
            frames = F.pad(frames, pad, mode="replicate")
        features = apply_per_sample(
            self.backbone, frames, channels=self.backbone.channels_per_pixel
        )
        tokens = features.permute(0, 2, 3, 1)
        height, width = (side // self.splits for side in tokens.shape[1:3])
        embedding = sine_position_encoding(height, width, CHANNELS, frames.device)
        return tokens + embedding.repeat(self.splits, self.splits, 1)

    def attend(self, tokens: Tensor) -> Tensor:
        """What depends on both. Shapes: (2B, h', w', 128), twice."""
        return self.transformer(tokens)


def tokens_to_map(tokens: Tensor, height: int, width: int) -> Tensor:
    """Shapes: (B, h', w', C) -> (B, C, height, width), without what was padded."""
    return tokens.permute(0, 3, 1, 2)[..., :height, :width]


def load_gmflow_features(features: GMFlowFeatures, weights: Weights) -> None:
    """Take the features out of a published GMFlow checkpoint (the one-scale model)."""
    state = {
        translate_name(name, PUBLISHED_NAMES): tensor
        for name, tensor in weights.state.items()
        if not name.startswith(FLOW_HEAD_PREFIXES)
    }
    load_weights(features, weights._replace(state=state))


class Backbone(nn.Module):
    """Residual units down to 1/8; instance normalisation sees the whole frame."""

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
    """Blocks of self-attention and of attention to the other frame.

    Over all cells, or inside of windows, which every second block shifts by half.
    """

    def __init__(self, num_layers: int, splits: int = 1) -> None:
        super().__init__()
        self.splits = splits
        self.layers = nn.ModuleList(TransformerBlock() for _ in range(num_layers))
        for weight in self.parameters():
            if weight.ndim > 1:
                nn.init.xavier_uniform_(weight)

    def forward(self, tokens: Tensor) -> Tensor:
        """Shapes: (2B, h, w, 128), all first frames, then all second ones -> the same."""
        height, width = tokens.shape[1:3]
        window = (height // self.splits, width // self.splits)
        shift = (window[0] // 2, window[1] // 2) if self.splits > 1 else (0, 0)
        mask = self.mask(tokens, window, shift)
        windows = partition_windows(tokens, window)
        for i, layer in enumerate(self.layers):
            shifted = i % 2 and mask is not None
            if shifted:
                windows = self.shift(windows, window, (-shift[0], -shift[1]))
            others = windows.roll(len(windows) // 2, dims=0)
            windows = layer(windows, others, mask if shifted else None)
            if shifted:
                windows = self.shift(windows, window, shift)
        return merge_windows(windows, window, self.splits)

    def shift(self, windows: Tensor, window: tuple[int, int], by: tuple[int, int]) -> Tensor:
        """Move the windows over the map, cyclically. Shapes: (2B, windows, L, 128) -> the same."""
        tokens = merge_windows(windows, window, self.splits)
        return partition_windows(tokens.roll(by, dims=(1, 2)), window)

    def mask(
        self, tokens: Tensor, window: tuple[int, int], shift: tuple[int, int]
    ) -> Tensor | None:
        """What to add to the logits where a shift has brought edges together; None without one."""
        if shift == (0, 0):
            return None
        bands = shifted_region_ids(*tokens.shape[1:3], window, shift, tokens.device)
        return (region_mask(bands, window) * MASKED_LOGIT).to(tokens.dtype)


class TransformerBlock(nn.Module):
    """The other frame is seen as it left the block before: it has not looked at itself yet."""

    def __init__(self) -> None:
        super().__init__()
        self.self_attention = Attention()
        self.cross_attention = Attention()
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
    """A linear layer, a GELU and a linear layer; the first two in one pass where that can be."""

    def forward(self, x: Tensor) -> Tensor:
        """Shapes: (..., C) -> (..., C')."""
        first, _, last = self
        return last(linear_gelu(x, first.weight, first.bias))


class Attention(nn.Module):
    """One head inside each window, normalised; the fused kernel never stores the score matrix."""

    def __init__(self) -> None:
        super().__init__()
        self.query = Linear(CHANNELS, CHANNELS, bias=False)
        self.key = Linear(CHANNELS, CHANNELS, bias=False)
        self.value = Linear(CHANNELS, CHANNELS, bias=False)
        self.project = Linear(CHANNELS, CHANNELS, bias=False)
        self.norm = nn.LayerNorm(CHANNELS)

    def forward(self, tokens: Tensor, others: Tensor, mask: Tensor | None = None) -> Tensor:
        """Shapes: tokens, others (2B, W, L, 128), mask (W, L, L) -> (2B, W, L, 128)."""
        queries, keys, values = self.query(tokens), self.key(others), self.value(others)
        return self.norm(self.project(attention(queries, keys, values, mask)))
