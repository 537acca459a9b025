"""ST-LPIPS, the shift-tolerant perceptual distance (Ghildyal and Liu, ECCV 2022), on AlexNet.

Stages: five slices of AlexNet, whose strides are a blur and a step of 2 (so that a shift of few
pixels changes the features little); features of unit length; weighted squared differences, averaged
over the map and summed over the slices. 0 for equal frames, less is better.

Written from a specification. The published weights are BSD-2-Clause; `sgm-vfi weights fetch
stlpips` fetches them.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sgm_vfi.model.weight_io import NameScope, Weights, load_weights, read_weights, translate_name
from sgm_vfi.model.weight_search import find_file, list_candidates

NAME = "stlpips"
EPSILON = 1e-10  # added to the length of a feature
SMALLEST = 21  # pixels a side: of less, the last blur has nothing to reflect
WIDTHS = (64, 192, 384, 256, 256)  # channels of the slices
PUBLISHED_NAMES = (
    *(
        NameScope(f"net.slice{i + 1}.{position}.", f"slices.{i}.{part}.")
        for i, parts in enumerate(((0, 1), (5, 4), (9, 8), (11,), (13,)))
        for position, part in zip(parts, ("conv", "blur"), strict=False)
    ),
    *(NameScope(f"lin{i}.model.1.", f"weights.{i}.") for i in range(len(WIDTHS))),
    NameScope("scaling_layer.", ""),
)


class STLPIPS(nn.Module):
    """Perceptual distance between two frames; weights are random until loaded."""

    shift: Tensor
    scale: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("shift", torch.zeros(1, 3, 1, 1))
        self.register_buffer("scale", torch.ones(1, 3, 1, 1))
        self.slices = nn.ModuleList(
            (
                FirstSlice(),
                FeatureSlice(64, 192, kernel_size=5, pools=True),
                FeatureSlice(192, 384, kernel_size=3, pools=True),
                FeatureSlice(384, 256, kernel_size=3, pools=False),
                FeatureSlice(256, 256, kernel_size=3, pools=False),
            )
        )
        self.weights = nn.ModuleList(nn.Conv2d(c, 1, kernel_size=1, bias=False) for c in WIDTHS)

    def forward(self, frame: Tensor, target: Tensor) -> Tensor:
        """Return the distances. Shapes: (B, 3, H, W) in [0, 1], twice -> (B,)."""
        x, y = ((2 * image - 1 - self.shift) / self.scale for image in (frame, target))
        distance = frame.new_zeros(len(frame))
        for layer, weight in zip(self.slices, self.weights, strict=True):
            x, y = layer(x), layer(y)
            difference = (normalise(x) - normalise(y)).square()
            distance = distance + weight(difference).mean(dim=(1, 2, 3))
        return distance


class FirstSlice(nn.Module):
    """Convolution, blur, ReLU."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 64, kernel_size=11, padding=2)
        self.blur = Blur(64)

    def forward(self, x: Tensor) -> Tensor:
        """Apply the slice. Shapes: (B, C, H, W) -> (B, C', H', W')."""
        return self.blur(self.conv(x)).relu()


class FeatureSlice(nn.Module):
    """Optional maximum over 3 x 3 with a blur, then a convolution and a ReLU."""

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int, pools: bool) -> None:
        super().__init__()
        self.blur = Blur(in_channels) if pools else None
        self.conv = nn.Conv2d(in_channels, out_channels, kernel_size, padding=kernel_size // 2)

    def forward(self, x: Tensor) -> Tensor:
        """Apply the slice. Shapes: (B, C, H, W) -> (B, C', H', W')."""
        if self.blur is not None:
            x = self.blur(F.max_pool2d(x, kernel_size=3, stride=1))
        return self.conv(x).relu()


class Blur(nn.Module):
    """Binomial filter of each channel, every second place. Reflects 2 pixels at the border."""

    filt: Tensor

    def __init__(self, channels: int) -> None:
        super().__init__()
        taps = torch.tensor([1.0, 2.0, 1.0])
        kernel = torch.outer(taps, taps) / 16
        self.register_buffer("filt", kernel.repeat(channels, 1, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        """Shapes: (B, C, H, W) -> (B, C, (H + 3) // 2, (W + 3) // 2)."""
        x = F.pad(x, (2, 2, 2, 2), mode="reflect")
        return F.conv2d(x, self.filt, stride=2, groups=x.shape[1])


def normalise(features: Tensor) -> Tensor:
    """Divide features by their length over the channels. Shapes: (B, C, H, W)."""
    return features / (features.square().sum(dim=1, keepdim=True).sqrt() + EPSILON)


def load_stlpips_weights(network: STLPIPS, weights: Weights) -> None:
    """Load published weights, all or none."""
    state = {translate_name(key, PUBLISHED_NAMES): x for key, x in weights.state.items()}
    load_weights(network, weights._replace(state=state))


def load_stlpips() -> STLPIPS:
    """Return ST-LPIPS with its published weights, in evaluation mode.

    Raises:
        FileNotFoundError: they are not here; says how to fetch them.
        CheckpointError: the file is damaged or holds other weights.
    """
    advice = f"Fetch them: sgm-vfi weights fetch {NAME}"
    network = STLPIPS()
    path = find_file(list_candidates([NAME]), "weights of ST-LPIPS", advice)
    load_stlpips_weights(network, read_weights(path))
    return network.eval().requires_grad_(False)
