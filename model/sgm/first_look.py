"""Fresh weights that can see motion from the first step on.

Fresh as published, what a brightness does to features is many times what a motion does, and the
heads halve what they see at every layer: for thousands of steps the network knows no better than
to average both frames. So, once, before training: filters that look at pictures see differences
of neighbours alone, and every layer is scaled so that its outputs, on some frames, have mean 0
and deviation 1 in every channel (Mishkin and Matas, All you need is a good init, 2016).
"""

import torch
from torch import Tensor, nn

from model.sgm.network import SGM

PICTURES = (6, 12)  # channels of each head's input that are pictures: frames, and warped ones
CONTRAST = 3.0  # of what heads see of pictures, beside features of deviation 1
SMALL = 0.1  # deviation of what heads say at first: pixels at 1/8 and 1/4; and of residuals
KEPT = ("query", "key_value")  # attention begins even, as published


@torch.no_grad()
def calibrate(network: SGM, frame0: Tensor, frame1: Tensor, time: Tensor) -> None:
    """Set a fresh network's weights after a look at a batch; the same look, the same weights.

    Shapes: frames (B, 3, H, W), time (B, 1, 1, 1).
    """
    _see_differences(network.encoder.look.block1[0].weight)
    for head, pictures in zip(network.local_flow, PICTURES, strict=True):
        seen = head.head[0][0].weight[:, :pictures]
        _see_differences(seen)
        seen *= CONTRAST
    handles = [
        layer.register_forward_hook(_Scaling(SMALL if ".output" in name else 1.0))
        for name, layer in network.named_modules()
        if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d | nn.Linear)
        and not name.startswith(("gmflow.", "matching."))
        and name.rpartition(".")[2] not in KEPT
    ]
    network(frame0, frame1, time)
    for handle in handles:
        handle.remove()


def _see_differences(weight: Tensor) -> None:
    """Take out what filters see of a plain surface. Shapes: (O, I, k, k), changed in place."""
    weight -= weight.mean(dim=(2, 3), keepdim=True)


class _Scaling:
    """Scales a layer by the first that comes out of it, channel by channel."""

    def __init__(self, deviation: float) -> None:
        self.deviation, self.done = deviation, False

    def __call__(self, layer: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
        if self.done:
            return output
        self.done = True
        axis = output.ndim - 1 if isinstance(layer, nn.Linear) else 1
        values = output.movedim(axis, 0).flatten(1)
        mean, scale = values.mean(1), self.deviation / values.std(1).clamp(min=1e-6)
        outputs = 1 if isinstance(layer, nn.ConvTranspose2d) else 0
        layer.weight.movedim(outputs, -1).mul_(scale)
        layer.bias.sub_(mean).mul_(scale)
        return ((output.movedim(axis, -1) - mean) * scale).movedim(-1, axis)
