"""Trainer of features for global matching, on the true flow of synthetic scenes."""

from collections.abc import Iterable
from dataclasses import asdict
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sgm_vfi.dataset.triplet import Triplet
from sgm_vfi.model.flow.gmflow_features import GMFlowFeatures
from sgm_vfi.model.sgm.flow_compensation import match_globally
from sgm_vfi.model.sgm.network import CELL
from sgm_vfi.training.panels import flow_panel
from sgm_vfi.training.start_weights import FEATURES_NETWORK
from sgm_vfi.training.trainer import Trainer


class GMFlowTrainer(Trainer[Tensor]):
    """Trains features so that matching them finds the true flow of synthetic scenes."""

    METRICS = ("matched", "error")  # share of visible cells found within a cell; pixels

    def build_network(self) -> GMFlowFeatures:
        """Build the network with fresh weights."""
        if self.config.loss is not None:
            raise ValueError(
                f"Features for matching learn by the error of the flow: leave training.loss out, "
                f"got {self.config.loss}."
            )
        return GMFlowFeatures(self.experiment.model.num_layers)

    def compute_modules(self) -> Iterable[nn.Module]:
        """Return the whole network; features are compared in float32."""
        return (self.model,)

    def forward_batch(self, network: nn.Module, batch: Triplet) -> Tensor:
        """Match the features of both frames; return the flow in cells.

        Shapes: -> (2B, 2, h, w), from frame 0 to frame 1, then back.
        """
        return match_globally(network(torch.cat((batch.frame0, batch.frame1))))

    def loss(self, prediction: Tensor, batch: Triplet) -> Tensor:
        """Return the mean L1 error of the flow over visible cells, in cells."""
        true, visible = batch.downsampled_flow(CELL)
        errors = (prediction - true).abs().sum(dim=1, keepdim=True)
        return (errors * visible).sum() / visible.sum().clamp(min=1)

    def validation_metrics(self, network: nn.Module, batch: Triplet) -> Tensor:
        """Return the share of visible cells matched within a cell, and the error in pixels."""
        return flow_metrics(self.forward_batch(network, batch), batch)

    def validation_panel(self, network: nn.Module, batch: Triplet) -> Tensor:
        """Draw the frames, the true flow and the flow found."""
        flow = self.forward_batch(network, batch)[: len(batch.frame0)]
        return flow_panel(batch, CELL * F.interpolate(flow, scale_factor=CELL))

    def metadata(self) -> dict[str, Any]:
        """Return the name and shape of the network, and the recipe."""
        return {
            "network": FEATURES_NETWORK,
            "features": asdict(self.experiment.model),
            "recipe": asdict(self.experiment),
        }


def flow_metrics(flow: Tensor, batch: Triplet) -> Tensor:
    """Compare flow in cells with the truth, over visible cells.

    Shapes: flow (2B, 2, h, w) -> (B, 2): share within a cell, mean error in pixels.
    """
    true, visible = batch.downsampled_flow(CELL)
    errors = (flow - true).norm(dim=1, keepdim=True)
    both = torch.cat((errors < 1, CELL * errors), dim=1) * visible
    both = torch.cat(both.chunk(2), dim=-1).sum(dim=(2, 3))  # (B, 2)
    counts = torch.cat(visible.chunk(2), dim=-1).sum(dim=(2, 3))
    return both / counts.clamp(min=1)
