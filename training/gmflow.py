"""What training features for global matching changes in the training loop."""

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
from sgm_vfi.Trainer_base import Trainer
from sgm_vfi.training.panels import flow_panel
from sgm_vfi.training.start_weights import FEATURES_NETWORK


class GMFlowTrainer(Trainer):
    """TrainerLike features so that matching them finds the true motion of synthetic scenes."""

    METRICS = ("matched", "error")  # share of visible cells found within a cell; pixels

    def build_network(self) -> nn.Module:
        return GMFlowFeatures(self.experiment.model.num_layers)

    def compute_modules(self) -> Iterable[nn.Module]:
        """All of it; features are compared in float32."""
        return (self.model,)

    def forward_batch(self, network: nn.Module, batch: Triplet) -> Tensor:
        """Flow by matching, in cells. Shapes: -> (2B, 2, h, w): 0 to 1, then 1 to 0."""
        return match_globally(network(torch.cat((batch.frame0, batch.frame1))))

    def loss(self, prediction: Tensor, batch: Triplet) -> Tensor:
        """Mean L1 distance from the true flow, in cells, where that is visible."""
        true, visible = batch.downsampled_flow(CELL)
        errors = (prediction - true).abs().sum(dim=1, keepdim=True)
        return (errors * visible).sum() / visible.sum().clamp(min=1)

    def validation_metrics(self, prediction: Tensor, batch: Triplet) -> Tensor:
        true, visible = batch.downsampled_flow(CELL)
        errors = (prediction - true).norm(dim=1, keepdim=True)
        both = torch.cat((errors < 1, CELL * errors), dim=1) * visible
        both = torch.cat(both.chunk(2), dim=-1).sum(dim=(2, 3))  # (B, 2)
        counts = torch.cat(visible.chunk(2), dim=-1).sum(dim=(2, 3))
        return both / counts.clamp(min=1)

    def validation_panel(self, network: nn.Module, batch: Triplet) -> Tensor:
        flow = self.forward_batch(network, batch)[: len(batch.frame0)]
        return flow_panel(batch, CELL * F.interpolate(flow, scale_factor=CELL))

    def metadata(self) -> dict[str, Any]:
        return {
            "network": FEATURES_NETWORK,
            "features": asdict(self.experiment.model),
            "recipe": asdict(self.experiment),
        }
