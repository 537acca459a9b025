"""RAFT: Recurrent All-Pairs Field Transforms for Optical Flow (Teed and Deng, ECCV 2020).

Uses torchvision's `raft_large` (BSD-3). Stages, in order:
    1. `encode` pads a frame and computes its features and its context at 1/8.
    2. `estimate` correlates all pairs of cells, in a pyramid of four levels.
    3. A recurrent block looks up correlations around the current flow and updates it,
       `iterations` times.
    4. The last flow is enlarged to full size by learnt convex combinations, and cropped.

Tensors: frames (B, 3, H, W), RGB in [0, 1]; flows (B, 2, H, W), (u, v) in pixels.

Weights are a file, torchvision's or the published one; nothing is downloaded. torchvision is
imported where it is used, because its import takes as long as PyTorch's.
"""

from pathlib import Path
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from sgm_vfi.model.flow.estimator import FlowEstimator
from sgm_vfi.model.ops.resize import symmetric_padding
from sgm_vfi.model.weight_io import NameScope, Weights, load_weights, read_weights, translate_name
from sgm_vfi.model.weight_search import find_file, weights_folders

UNITS = ((".conv1.", ".convnormrelu1.0."), (".conv2.", ".convnormrelu2.0."))
NORMS = ((".norm1.", ".convnormrelu1.1."), (".norm2.", ".convnormrelu2.1."))
PUBLISHED_NAMES = (
    NameScope("fnet.conv1.", "feature_encoder.convnormrelu.0."),
    NameScope("fnet.conv2.", "feature_encoder.conv."),
    NameScope("fnet.", "feature_encoder.", UNITS),
    NameScope("cnet.conv1.", "context_encoder.convnormrelu.0."),
    NameScope("cnet.norm1.", "context_encoder.convnormrelu.1."),
    NameScope("cnet.conv2.", "context_encoder.conv."),
    NameScope("cnet.", "context_encoder.", (*UNITS, *NORMS)),
    NameScope("update_block.encoder.conv.", "update_block.motion_encoder.conv.0."),
    NameScope(
        "update_block.encoder.",
        "update_block.motion_encoder.",
        (
            (".convc1.", ".convcorr1.0."),
            (".convc2.", ".convcorr2.0."),
            (".convf1.", ".convflow1.0."),
            (".convf2.", ".convflow2.0."),
        ),
    ),
    NameScope(
        "update_block.gru.",
        "update_block.recurrent_block.",
        tuple((f".conv{gate}{i}.", f".convgru{i}.conv{gate}.") for i in (1, 2) for gate in "zrq"),
    ),
    NameScope("update_block.mask.0.", "mask_predictor.convrelu.0."),
    NameScope("update_block.mask.2.", "mask_predictor.conv."),
)
SECOND_NAME = ".norm3."  # in a published file, of what is also called downsample.1
PUBLISHED_FILE = "raft-sintel.pth"
PADDED_TO = 8  # pixels: features are at 1/8
SMALLEST = 128  # pixels: below it the coarsest of the four correlation maps has no extent


class RAFTFeatures(NamedTuple):
    """Features and context of a frame, for every flow from it and to it."""

    features: Tensor  # to compare, (B, 256, h, w)
    context: Tensor  # first state, then what stays the same, (B, 256, h, w)
    padding: tuple[int, int, int, int]  # left, right, above and below, in pixels


class RAFT(FlowEstimator):
    """Flow estimator made of torchvision's `raft_large`, for frames of any size.

    Frames are padded by replication to multiples of 8, at least 128. Memory grows with the fourth
    power of the side: the correlations of 2048 x 1080 take 6.5 GB. Flows equal torchvision's up to
    rounding.

    Args:
        iterations: updates of the flow; its demo runs 20, its Sintel evaluation 32.
    """

    def __init__(self, iterations: int = 20) -> None:
        if iterations < 1:
            raise ValueError(f"RAFT updates its flow once or more, got {iterations} iterations.")
        from torchvision.models.optical_flow import raft_large

        super().__init__()
        self.iterations = iterations
        self.network = raft_large(weights=None)

    def forward(self, source: Tensor, target: Tensor) -> Tensor:
        """Return the flow from `source` to `target`."""
        return self.estimate(self.encode(source), self.encode(target))

    def encode(self, frame: Tensor) -> RAFTFeatures:
        """Pad a frame and compute its features and its context."""
        (left, right), (top, bottom) = (
            symmetric_padding(size, PADDED_TO if size >= SMALLEST else SMALLEST)
            for size in reversed(frame.shape[-2:])
        )
        padding = (left, right, top, bottom)
        frame = F.pad(2 * frame - 1, padding, mode="replicate")
        network = self.network
        return RAFTFeatures(network.feature_encoder(frame), network.context_encoder(frame), padding)

    def estimate(self, source: RAFTFeatures, target: RAFTFeatures) -> Tensor:
        """Return the flow; only the last update of torchvision's forward is enlarged."""
        from torchvision.models.optical_flow._utils import make_coords_grid, upsample_flow

        network, (batch, _, height, width) = self.network, source.features.shape
        hidden, context = source.context.split(network.update_block.hidden_state_size, dim=1)
        hidden, context = hidden.tanh(), context.relu()
        start = make_coords_grid(batch, height, width).to(hidden)
        flow = torch.zeros_like(start)
        network.corr_block.build_pyramid(source.features, target.features)
        for _ in range(self.iterations):
            flow = flow.detach()
            correlations = network.corr_block.index_pyramid(start + flow)
            hidden, update = network.update_block(hidden, context, correlations, flow)
            flow = flow + update
        network.corr_block.corr_pyramid = []  # which it would keep
        flow = upsample_flow(flow, network.mask_predictor(hidden))
        return F.pad(flow, [-margin for margin in source.padding])


def load_raft(path: Path | None = None, iterations: int = 20) -> tuple[RAFT, Path]:
    """Load RAFT with Sintel weights, in evaluation mode; also return their file.

    Args:
        path: torchvision's file or the published one; None searches the usual folders.

    Raises:
        FileNotFoundError: there is none; says where to get it and where to put it.
        CheckpointError: it is damaged or holds other weights.
    """
    estimator = RAFT(iterations)
    weights = read_weights(find_raft() if path is None else path)
    load_raft_weights(estimator, weights)
    return estimator.eval(), weights.source


def load_raft_weights(estimator: RAFT, weights: Weights) -> None:
    """Load torchvision's weights or the published ones, all or none."""
    load_weights(estimator.network, from_published(weights))


def find_raft() -> Path:
    """Find RAFT's Sintel weights: in the folders of weights, then in torchvision's cache."""
    hub = Path(torch.hub.get_dir(), "checkpoints")
    urls = [weights.url for weights in torchvision_weights()]
    return find_file(
        (
            *(folder / PUBLISHED_FILE for folder in weights_folders()),
            *(hub / url.rpartition("/")[2] for url in urls),
        ),
        "weights of RAFT",
        f"Get {urls[0]} (21 MB), or {PUBLISHED_FILE} through the README of "
        f"github.com/princeton-vl/RAFT, and put it at one of these places, or name the file.",
    )


def torchvision_weights() -> tuple[Any, Any]:
    """Return torchvision's two sets: converted from the published file, and trained anew."""
    from torchvision.models.optical_flow import Raft_Large_Weights

    return Raft_Large_Weights.C_T_SKHT_V1, Raft_Large_Weights.C_T_SKHT_V2


def from_published(weights: Weights, more: tuple[NameScope, ...] = ()) -> Weights:
    """Rename a published file's tensors as torchvision's; its own names stay as they are.

    Args:
        more: names of a network that adds to RAFT; they are tried first.
    """
    state = {
        translate_name(name, (*more, *PUBLISHED_NAMES)): tensor
        for name, tensor in weights.state.items()
        if SECOND_NAME not in name
    }
    return weights._replace(state=state)
