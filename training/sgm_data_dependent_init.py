"""Data-dependent initialisation of SGM-VFI.

With the published initialisation, brightness changes features far more than motion does, and the
flow heads shrink their input in every layer; for thousands of steps the network only averages both
frames. Here filters on images respond to differences of neighbours only, every layer is scaled so
that its outputs on one batch have mean 0 and deviation 1 per channel (Mishkin and Matas, All you
need is a good init, 2016), and attention between frames starts as a search for similar tokens.
"""

from typing import TypeAlias

import torch
from torch import Tensor, nn

from sgm_vfi.model.sgm.local_encoder import CrossFrameAttention
from sgm_vfi.model.sgm.network import SGM

PICTURES = (12, 6)  # of the fine head's input channels, and of the coarse one's: frames, warped
CONTRAST = 3.0  # scale of image channels in heads; features have deviation 1
SMALL = 0.1  # initial deviation of the outputs of heads and of residuals
BINOMIAL = (1 / 4, 1 / 2, 1 / 4)
ATTENTION_LAYERS = ("query", "key_value")  # set by `_initialise_attention`
SCORES = 1.0  # deviation of attention scores over a window; 0 is uniform attention
ScaledLayer: TypeAlias = nn.Conv2d | nn.ConvTranspose2d | nn.Linear
MIN_LENGTH = 1e-2  # of a direction of positions, relative to the longest


@torch.no_grad()
def data_dependent_init(network: SGM, frame0: Tensor, frame1: Tensor, time: Tensor) -> None:
    """Initialise fresh weights from a batch; equal batches give equal weights.

    Shapes: frames (B, 3, H, W), time (B, 1, 1, 1).
    """
    _remove_mean(network.encoder.look.get_parameter("block1.0.weight"))
    for layer in network.encoder.look.modules():
        if isinstance(layer, nn.Conv2d) and layer.stride == (2, 2):
            _blur(layer.weight)
    for head, pictures in zip(reversed(network.local_flow), PICTURES, strict=True):
        seen = head.get_parameter("head.0.0.weight")[:, :pictures]
        _remove_mean(seen)
        seen *= CONTRAST
    handles = [
        layer.register_forward_hook(_Scaling(SMALL if ".output" in name else 1.0))
        for name, layer in network.named_modules()
        if isinstance(layer, ScaledLayer)
        and not name.startswith(("gmflow.", "matching."))
        and name.rpartition(".")[2] not in ATTENTION_LAYERS
    ]
    handles += [
        layer.register_forward_pre_hook(_initialise_attention)
        for layer in network.modules()
        if isinstance(layer, CrossFrameAttention)
    ]
    network(frame0, frame1, time)
    for handle in handles:
        handle.remove()


def _remove_mean(weight: Tensor) -> None:
    """Subtract the mean of each filter, in place. Shapes: (O, I, k, k)."""
    weight -= weight.mean(dim=(2, 3), keepdim=True)


def _blur(weight: Tensor) -> None:
    """Replace filters by their mean times a binomial blur, in place. Shapes: (O, I, 3, 3)."""
    taps = weight.new_tensor(BINOMIAL)
    weight[:] = weight.mean(dim=(2, 3), keepdim=True) * taps[:, None] * taps


def _initialise_attention(attention: CrossFrameAttention, inputs: tuple[Tensor, ...]) -> None:
    """Set queries and keys to one projection of tokens that ignores their position.

    Positions still pass as values, so the output holds the position of the most similar token in
    the other frame. Shapes: inputs (2B, n, T, C), and a mask.
    """
    windows = inputs[0]
    places = windows.mean(dim=(0, 1))  # (T, C): what tokens of all pictures have in common
    middle = places.mean(dim=0)
    _, lengths, ways = torch.linalg.svd(places - middle, full_matrices=False)
    ways = ways[lengths > MIN_LENGTH * lengths[0]]
    look = attention.query.weight - attention.query.weight @ ways.T @ ways
    layers = (attention.query, attention.key_value)
    for layer in layers:
        layer.weight[: len(look)] = look
        layer.bias[: len(look)] = -(look @ middle)
    scale = (SCORES / attention.scores(windows).std(dim=-1).mean().clamp(min=1e-6)).sqrt()
    for layer in layers:
        layer.weight[: len(look)] *= scale
        layer.bias[: len(look)] *= scale


class _Scaling:
    """Scales a layer once, by its first output, per channel."""

    def __init__(self, deviation: float) -> None:
        self.deviation, self.done = deviation, False

    def __call__(self, layer: ScaledLayer, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
        if self.done:
            return output
        self.done = True
        axis = output.ndim - 1 if isinstance(layer, nn.Linear) else 1
        if not layer.weight.any():
            return output  # zero weights stay zero
        values = output.movedim(axis, 0).flatten(1)
        mean, scale = values.mean(1), self.deviation / values.std(1).clamp(min=1e-6)
        outputs = 1 if isinstance(layer, nn.ConvTranspose2d) else 0
        layer.weight.movedim(outputs, -1).mul_(scale)
        assert layer.bias is not None
        layer.bias.sub_(mean).mul_(scale)
        return ((output.movedim(axis, -1) - mean) * scale).movedim(-1, axis)
