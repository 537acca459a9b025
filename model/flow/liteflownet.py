"""LiteFlowNet: A Lightweight CNN for Optical Flow Estimation (Hui et al., CVPR 2018).

Stages, in order, at each level of a feature pyramid from 1/32 to 1/2:
    1. `Matching`: a correlation volume around the enlarged flow of the level before.
    2. `Subpixel`: a correction from the warped features.
    3. `Regularisation`: a feature-driven local convolution of the flow.

Tensors: frames (B, 3, H, W), RGB in [0, 1], are resized to multiples of 32; flows inside are in
units of 20 pixels of the frame. Serves as the label of IFRNet's distillation. Written from a
specification of its public PyTorch port; published weights have research-only terms.
"""

import itertools
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sgm_vfi.model.flow.estimator import FlowEstimator
from sgm_vfi.model.ops.correlation import local_correlation
from sgm_vfi.model.ops.resize import resize_to, symmetric_padding
from sgm_vfi.model.weight_io import NameScope, Weights, load_weights, translate_name

SLOPE = 0.1  # of the leaky rectifiers
FLOW_UNIT = 20  # pixels of the frame: what one stands for inside the network
RADIUS = 3  # of matching, in cells
MULTIPLE = 32  # pixels: frames are resized to such sizes
MEANS = ((0.411618, 0.434631, 0.454253), (0.410782, 0.433645, 0.452793))
FEATURES = ((32, 1), (32, 3), (64, 2), (96, 2), (128, 1), (192, 1))  # channels, convolutions
LIFTED = 64  # channels that the finest features are compared in
KERNELS = (7, 5, 5, 3, 3)  # of the last convolutions, fine to coarse
PUBLISHED_NAMES = (
    *(
        NameScope(f"netFeatures.net{number}.", f"features.{level}.")
        for level, number in enumerate(("One", "Two", "Thr", "Fou", "Fiv", "Six"))
    ),
    NameScope(
        "netMatching.",
        "matching.",
        (
            (".netFeat.", ".lift."),
            (".netUpflow.", ".enlarge_flow."),
            (".netUpcorr.", ".enlarge_costs."),
            (".netMain.", ".head."),
        ),
    ),
    NameScope("netSubpixel.", "subpixel.", ((".netFeat.", ".lift."), (".netMain.", ".head."))),
    NameScope(
        "netRegularization.",
        "regularisation.",
        (
            (".netFeat.", ".lift."),
            (".netMain.", ".trunk."),
            (".netDist.", ".distance."),
            (".netScaleX.", ".mean_x."),
            (".netScaleY.", ".mean_y."),
        ),
    ),
)


class PyramidLevel(NamedTuple):
    """Both frames at one size: what the units of a level read."""

    image0: Tensor  # (B, 3, h, w)
    image1: Tensor
    feature0: Tensor  # (B, C, h, w)
    feature1: Tensor


class LiteFlowNet(FlowEstimator):
    """Matches features from coarse to fine, and smooths the flow where features are alike.

    Frames of any size; they are resized to multiples of 32 inside.
    """

    def __init__(self) -> None:
        super().__init__()
        before = (3, *(channels for channels, _ in FEATURES))
        self.features = nn.ModuleList(
            feature_level(before[level], channels, count, is_first=level == 0)
            for level, (channels, count) in enumerate(FEATURES)
        )
        self.matching = nn.ModuleList(Matching(level) for level in range(5))
        self.subpixel = nn.ModuleList(Subpixel(level) for level in range(5))
        self.regularisation = nn.ModuleList(Regularisation(level) for level in range(5))

    def forward(self, source: Tensor, target: Tensor) -> Tensor:
        """Return the flow from `source` to `target`."""
        height, width = source.shape[-2:]
        size = [side + sum(symmetric_padding(side, MULTIPLE)) for side in (height, width)]
        image0, image1 = (
            resize_to(frame, size) - frame.new_tensor(mean).view(1, 3, 1, 1)
            for frame, mean in zip((source, target), MEANS, strict=True)
        )
        flow = None
        for index, level in reversed(list(enumerate(self.levels(image0, image1)))):
            flow = self.matching[index](level, flow)
            flow = self.subpixel[index](level, flow)
            flow = self.regularisation[index](level, flow)
        assert flow is not None
        ratio = flow.new_tensor((width / size[1], height / size[0])).view(1, 2, 1, 1)
        return resize_to(flow, [height, width]) * ratio * FLOW_UNIT

    def levels(self, image0: Tensor, image1: Tensor) -> list[PyramidLevel]:
        """All but full size, from 1/2 to 1/32."""
        levels = []
        feature0, feature1 = image0, image1
        for block in self.features:
            feature0, feature1 = block(feature0), block(feature1)
            size = list(feature0.shape[-2:])
            image0, image1 = resize_to(image0, size), resize_to(image1, size)
            levels.append(PyramidLevel(image0, image1, feature0, feature1))
        return levels[1:]


class Matching(nn.Module):
    """Corrects the enlarged flow of the coarser level by a local correlation.

    Shapes: flow (B, 2, h / 2, w / 2), None at the coarsest level -> (B, 2, h, w).
    """

    def __init__(self, level: int) -> None:
        super().__init__()
        self.to_pixels = FLOW_UNIT / 2 ** (level + 1)
        self.lift = build_channel_lift(level)
        self.enlarge_flow = build_upsampling(2) if level < 4 else None
        self.enlarge_costs = build_upsampling((2 * RADIUS + 1) ** 2) if level < 2 else None
        self.head = build_flow_head((2 * RADIUS + 1) ** 2, KERNELS[level])

    def forward(self, level: PyramidLevel, flow: Tensor | None) -> Tensor:
        """Estimate or correct the flow of this level."""
        feature0, feature1 = self.lift(level.feature0), self.lift(level.feature1)
        if flow is not None:
            assert self.enlarge_flow is not None
            flow = self.enlarge_flow(flow)
            feature1 = warp(feature1, flow * self.to_pixels)
        stride = 1 if self.enlarge_costs is None else 2
        costs = F.leaky_relu(local_correlation(feature0, feature1, RADIUS, stride), SLOPE)
        if self.enlarge_costs is not None:
            costs = self.enlarge_costs(costs)
        correction = self.head(costs)
        return correction if flow is None else flow + correction


class Subpixel(nn.Module):
    """Corrects the flow from warped features. Shapes: flow (B, 2, h, w) -> the same."""

    def __init__(self, level: int) -> None:
        super().__init__()
        self.to_pixels = FLOW_UNIT / 2 ** (level + 1)
        self.lift = build_channel_lift(level)
        channels = LIFTED if level == 0 else FEATURES[level + 1][0]
        self.head = build_flow_head(2 * channels + 2, KERNELS[level])

    def forward(self, level: PyramidLevel, flow: Tensor) -> Tensor:
        """Correct the flow of this level."""
        feature0, feature1 = self.lift(level.feature0), self.lift(level.feature1)
        warped = warp(feature1, flow * self.to_pixels)
        return flow + self.head(torch.cat((feature0, warped, flow), dim=1))


class Regularisation(nn.Module):
    """A local weighted mean of the flow; weights depend on feature distances.

    Shapes: flow (B, 2, h, w) -> the same.
    """

    def __init__(self, level: int) -> None:
        super().__init__()
        self.to_pixels = FLOW_UNIT / 2 ** (level + 1)
        self.kernel = kernel = KERNELS[level]
        channels = FEATURES[level + 1][0]
        self.lift = conv_leaky_relu(channels, 128, 1) if level < 3 else nn.Identity()
        widths = (3 + (128 if level < 3 else channels), 128, 128, 64, 64, 32, 32)
        pairs = itertools.pairwise(widths)
        self.trunk = nn.Sequential(
            *(layer for pair in pairs for layer in conv_leaky_relu(*pair, 3))
        )
        taps, half = kernel**2, kernel // 2
        self.distance = nn.Sequential(
            *(
                (
                    nn.Conv2d(32, taps, (kernel, 1), padding=(half, 0)),
                    nn.Conv2d(taps, taps, (1, kernel), padding=(0, half)),
                )
                if level < 3
                else (nn.Conv2d(32, taps, kernel, padding=half),)
            )
        )
        self.mean_x, self.mean_y = nn.Conv2d(taps, 1, 1), nn.Conv2d(taps, 1, 1)

    def forward(self, level: PyramidLevel, flow: Tensor) -> Tensor:
        """Smooth the flow of this level."""
        missed = level.image0 - warp(level.image1, flow * self.to_pixels)
        missed = missed.norm(dim=1, keepdim=True).detach()
        relative = flow - flow.mean(dim=(2, 3), keepdim=True)
        seen = torch.cat((missed, relative, self.lift(level.feature0)), dim=1)
        distance = -self.distance(self.trunk(seen)).square()
        weight = (distance - distance.amax(dim=1, keepdim=True)).exp()
        total = weight.sum(dim=1, keepdim=True)
        around = F.unfold(flow, self.kernel, padding=self.kernel // 2)
        around_x, around_y = around.unflatten(2, flow.shape[-2:]).chunk(2, dim=1)
        mean_x, mean_y = self.mean_x(weight * around_x), self.mean_y(weight * around_y)
        return torch.cat((mean_x, mean_y), dim=1) / total


def warp(source: Tensor, flow: Tensor) -> Tensor:
    """Like `ops.backward_warp`, but with vectors longer by W / (W - 1), as weights expect it.

    Pixels are squares here, and outside of the source is zero. Shapes: (B, C, H, W) -> the same.
    """
    height, width = source.shape[-2:]
    x = torch.linspace(-1 + 1 / width, 1 - 1 / width, width).to(flow)
    y = torch.linspace(-1 + 1 / height, 1 - 1 / height, height).to(flow)
    x = x + flow[:, 0] * (2 / max(width - 1, 1))
    y = y[:, None] + flow[:, 1] * (2 / max(height - 1, 1))
    grid = torch.stack((x, y), dim=-1)
    return F.grid_sample(source, grid, padding_mode="zeros", align_corners=False)


def conv_leaky_relu(
    in_channels: int, out_channels: int, kernel: int, stride: int = 1
) -> nn.Sequential:
    """A convolution and a leaky rectifier."""
    return nn.Sequential(
        nn.Conv2d(in_channels, out_channels, kernel, stride, padding=kernel // 2),
        nn.LeakyReLU(SLOPE),
    )


def feature_level(in_channels: int, channels: int, count: int, *, is_first: bool) -> nn.Sequential:
    """Build convolutions; the first halves the size, except at the first level."""
    first = (
        conv_leaky_relu(in_channels, channels, 7)
        if is_first
        else conv_leaky_relu(in_channels, channels, 3, 2)
    )
    more = [layer for _ in range(count - 1) for layer in conv_leaky_relu(channels, channels, 3)]
    return nn.Sequential(*first, *more)


def build_channel_lift(level: int) -> nn.Module:
    """Build a convolution that adds channels to the finest features."""
    return conv_leaky_relu(FEATURES[1][0], LIFTED, 1) if level == 0 else nn.Identity()


def build_upsampling(channels: int) -> nn.ConvTranspose2d:
    """Build a transposed convolution that doubles each channel on its own."""
    return nn.ConvTranspose2d(
        channels, channels, 4, stride=2, padding=1, bias=False, groups=channels
    )


def build_flow_head(in_channels: int, kernel: int) -> nn.Sequential:
    """Shapes: (B, in_channels, h, w) -> (B, 2, h, w)."""
    return nn.Sequential(
        *conv_leaky_relu(in_channels, 128, 3),
        *conv_leaky_relu(128, 64, 3),
        *conv_leaky_relu(64, 32, 3),
        nn.Conv2d(32, 2, kernel, padding=kernel // 2),
    )


def from_published(weights: Weights) -> Weights:
    """Rename the tensors of a published file."""
    state = {
        translate_name(name.replace("module", "net"), PUBLISHED_NAMES): tensor
        for name, tensor in weights.state.items()
    }
    return weights._replace(state=state)


def load_liteflownet_weights(estimator: LiteFlowNet, weights: Weights) -> None:
    """Load the weights of the published file, network-default.pytorch."""
    load_weights(estimator, from_published(weights))
