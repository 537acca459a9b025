"""Validation of frame interpolation networks during training: PSNR and a panel of images."""

from dataclasses import asdict
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from sgm_vfi.benchmark.metrics import psnr
from sgm_vfi.dataset.triplet import Triplet
from sgm_vfi.model.interpolator import Interpolation
from sgm_vfi.training.panels import interpolation_panel
from sgm_vfi.training.trainer import Trainer

Output = TypeVar("Output")
BEST_PSNR = 100.0  # dB, of equal frames, so that means stay finite


class InterpolationTrainer(Trainer[Output]):
    """Base class of trainers whose network interpolates frames."""

    METRICS: tuple[str, ...] = ("psnr", "psnr_blend")

    def validation_metrics(self, network: nn.Module, batch: Triplet) -> Tensor:
        """Return the PSNR of the prediction and of the average of both frames."""
        prediction: Interpolation = network(*batch.inputs())
        average = (batch.frame0 + batch.frame1) / 2
        both = [psnr(frame, batch.target) for frame in (prediction.frame, average)]
        return torch.stack(both, dim=1).clamp(max=BEST_PSNR)

    def validation_panel(self, network: nn.Module, batch: Triplet) -> Tensor:
        """Draw the sample, the prediction and the intermediate maps of the network."""
        frame, _, maps = network(*batch.inputs(), explain=True)
        return interpolation_panel(batch, frame, maps or {})

    def metadata(self) -> dict[str, Any]:
        """Return the config of the network and the recipe."""
        return {"config": asdict(self.experiment.model), "recipe": asdict(self.experiment)}
