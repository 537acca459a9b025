"""Fresh weights that can see motion from the first step on.

Fresh as published, what a brightness does to features is many times what a motion does, and the
heads halve what they see at every layer: for thousands of steps the network knows no better than
to average both frames. So, once, before training: filters that look at pictures see differences
of neighbours alone, and every layer is scaled so that its outputs, on some frames, have mean 0
and deviation 1 in every channel (Mishkin and Matas, All you need is a good init, 2016). And
attention between the frames begins as what it is to become, a search for what looks alike: even
attention, as published, tells nothing of motion, and is slow to find that it could.
"""

import torch
from torch import Tensor, nn

from sgm_vfi.model.sgm.encoder import CrossFrameAttention
from sgm_vfi.model.sgm.network import SGM

PICTURES = (12, 6)  # of the fine head's input channels, and of the coarse one's: frames, warped
CONTRAST = 3.0  # of what heads see of pictures, beside features of deviation 1
SMALL = 0.1  # deviation of what heads say at first: pixels at 1/8 and 1/4; and of residuals
BINOMIAL = (1 / 4, 1 / 2, 1 / 4)
SEARCHING = ("query", "key_value")  # what attention consists of: set by `_search`
SCORES = 1.0  # deviation of its scores over a window: at 0 it would be even
PLAIN = 1e-2  # share of the largest direction's length below which positions have no direction


@torch.no_grad()
def data_dependent_init(network: SGM, frame0: Tensor, frame1: Tensor, time: Tensor) -> None:
    """Set a fresh network's weights after a look at a batch; the same look, the same weights.

    Shapes: frames (B, 3, H, W), time (B, 1, 1, 1).
    """
    _see_differences(network.encoder.look.block1[0].weight)
    for layer in network.encoder.look.modules():
        if isinstance(layer, nn.Conv2d) and layer.stride == (2, 2):
            _blur(layer.weight)
    for head, pictures in zip(reversed(network.local_flow), PICTURES, strict=True):
        seen = head.head[0][0].weight[:, :pictures]
        _see_differences(seen)
        seen *= CONTRAST
    handles = [
        layer.register_forward_hook(_Scaling(SMALL if ".output" in name else 1.0))
        for name, layer in network.named_modules()
        if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d | nn.Linear)
        and not name.startswith(("gmflow.", "matching."))
        and name.rpartition(".")[2] not in SEARCHING
    ]
    handles += [
        layer.register_forward_pre_hook(_search)
        for layer in network.modules()
        if isinstance(layer, CrossFrameAttention)
    ]
    network(frame0, frame1, time)
    for handle in handles:
        handle.remove()


def _see_differences(weight: Tensor) -> None:
    """Take out what filters see of a plain surface. Shapes: (O, I, k, k), changed in place."""
    weight -= weight.mean(dim=(2, 3), keepdim=True)


def _blur(weight: Tensor) -> None:
    """Let filters mix channels alone, of a blurred map. Shapes: (O, I, 3, 3), changed in place."""
    taps = weight.new_tensor(BINOMIAL)
    weight[:] = weight.mean(dim=(2, 3), keepdim=True) * taps[:, None] * taps


def _search(attention: CrossFrameAttention, inputs: tuple[Tensor, ...]) -> None:
    """Set queries and keys to one look at what tokens show, whatever their place in the window.

    Places still pass as values: so what comes out says where in the other frame the like of each
    token is. Shapes: inputs (2B, n, T, C), and a mask.
    """
    windows = inputs[0]
    places = windows.mean(dim=(0, 1))  # (T, C): what tokens of all pictures have in common
    middle = places.mean(dim=0)
    _, lengths, ways = torch.linalg.svd(places - middle, full_matrices=False)
    ways = ways[lengths > PLAIN * lengths[0]]
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
    """Scales a layer by the first that comes out of it, channel by channel."""

    def __init__(self, deviation: float) -> None:
        self.deviation, self.done = deviation, False

    def __call__(self, layer: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
        if self.done:
            return output
        self.done = True
        axis = output.ndim - 1 if isinstance(layer, nn.Linear) else 1
        if not layer.weight.any():
            return output  # it is to begin by saying nothing
        values = output.movedim(axis, 0).flatten(1)
        mean, scale = values.mean(1), self.deviation / values.std(1).clamp(min=1e-6)
        outputs = 1 if isinstance(layer, nn.ConvTranspose2d) else 0
        layer.weight.movedim(outputs, -1).mul_(scale)
        layer.bias.sub_(mean).mul_(scale)
        return ((output.movedim(axis, -1) - mean) * scale).movedim(-1, axis)
