"""Trainer of the other networks: RIFE, IFRNet and PerVFI, each with its own loss."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from sgm_vfi.dataset.triplet import Triplet
from sgm_vfi.model.flow.estimator import FlowEstimator
from sgm_vfi.model.flow.flow_zoo import load_flow_estimator
from sgm_vfi.model.interpolator import Interpolator
from sgm_vfi.model.network_from_weights import ARCHITECTURES
from sgm_vfi.model.weight_io import Architecture, CheckpointError
from sgm_vfi.model.zoo import load_interpolator
from sgm_vfi.training.baseline_recipes import ZooExperiment
from sgm_vfi.training.ifrnet_loss import ifrnet_loss
from sgm_vfi.training.loss_from_recipe import build_frame_loss
from sgm_vfi.training.perceptual import load_perceptual
from sgm_vfi.training.pervfi_loss import pervfi_loss
from sgm_vfi.training.rife_loss import rife_loss
from sgm_vfi.training.validation import InterpolationTrainer

# Loss of the output of `training_forward` and of the batch.
Criterion = Callable[[Any, Triplet], Tensor]


class TrainingForward(nn.Module):
    """Calls the `training_forward` of a network, so that gradients can be averaged."""

    def __init__(self, network: Interpolator) -> None:
        super().__init__()
        self.network = network

    def forward(self, frame0: Tensor, frame1: Tensor, time: Tensor, target: Tensor) -> NamedTuple:
        """Return the training output of the network."""
        return self.network.training_forward(frame0, frame1, time, target)


class BaselineTrainer(InterpolationTrainer[NamedTuple]):
    """Trains any network that has a `training_forward`, with its own loss."""

    experiment: ZooExperiment

    def build_network(self) -> nn.Module:
        """Build the network of the recipe, with start weights or fresh ones."""
        start, config = self.experiment.start_from, self.experiment.model
        self.criterion = CRITERIA[architecture_of(config).name](self.experiment, self.device)
        if self.run.has_other_weights:
            return architecture_of(config).network(config)
        if start is None:
            return build_fresh(config, self.first_batch)
        network = load_interpolator(start)
        if network.config != config:
            raise CheckpointError(
                f"Weights of {start} are for {network.config}, this recipe says {config}. Set its "
                f"model's fields to theirs, as in --set model.colour_order=bgr."
            )
        return network.train()

    def training_module(self) -> nn.Module:
        """Return a module whose forward pass is the `training_forward` of the network."""
        return TrainingForward(self.model)

    def forward_batch(self, network: nn.Module, batch: Triplet) -> NamedTuple:
        """Return the training output of the network."""
        return network(batch.frame0, batch.frame1, batch.time, batch.target)

    def loss(self, prediction: NamedTuple, batch: Triplet) -> Tensor:
        """Return the loss of the network's paper."""
        return self.criterion(prediction, batch)

    def metadata(self) -> dict[str, Any]:
        """Return the config and name of the network, and the recipe."""
        return super().metadata() | {"network": architecture_of(self.experiment.model).name}


def architecture_of(config: Any) -> Architecture:
    """Return the architecture that a config belongs to."""
    return next(row for row in ARCHITECTURES if isinstance(config, row.config))


def build_fresh(config: Any, first_batch: Callable[[], Triplet]) -> nn.Module:
    """Build a network with fresh weights; parts that are published networks keep theirs.

    Args:
        first_batch: returns a batch that is the same in all processes.
    """
    family = architecture_of(config)
    network = family.network(config)
    network.load_state_dict(network.state_dict() | family.extra_tensors(config))
    if family.name in DATA_DEPENDENT_INIT:
        DATA_DEPENDENT_INIT[family.name](network, first_batch())
    return network.train()


def rife_criterion(recipe: ZooExperiment, device: torch.device) -> Criterion:
    """Return the loss of RIFE."""
    frame_loss = build_frame_loss(recipe.training.loss or "laplacian", device)
    return lambda output, batch: rife_loss(output, recipe.distillation, frame_loss)


def ifrnet_criterion(recipe: ZooExperiment, device: torch.device) -> Criterion:
    """Return the loss of IFRNet; labels are the true flow, or that of the recipe's estimator."""
    estimator = None
    if recipe.labels is not None and not recipe.data.truth:
        estimator = load_flow_estimator(recipe.labels).to(device)
    loss = recipe.training.loss
    options = recipe.distillation, build_frame_loss(loss, device) if loss else None
    return lambda output, batch: ifrnet_loss(output, flow_label(batch, estimator), *options)


def pervfi_criterion(recipe: ZooExperiment, device: torch.device) -> Criterion:
    """Return the loss of PerVFI, with its perceptual part if the recipe names VGG19 weights."""
    if recipe.training.loss is not None:
        raise ValueError(
            f"PerVFI learns by the likelihood of the true frame: leave training.loss out, got "
            f"{recipe.training.loss}."
        )
    perceptual = load_perceptual(Path(recipe.perceptual)).to(device) if recipe.perceptual else None
    return lambda output, batch: pervfi_loss(output, perceptual)


@torch.no_grad()
def flow_label(batch: Triplet, estimator: FlowEstimator | None) -> Tensor | None:
    """Return the flow from the target to both frames, if known. Shapes: -> (B, 4, H, W)."""
    if batch.truth is not None:
        return torch.cat((batch.truth.flow_t0, batch.truth.flow_t1), dim=1)
    if estimator is None:
        return None
    both = [estimator(batch.target, frame) for frame in (batch.frame0, batch.frame1)]
    return torch.cat(both, dim=1)


# Initialisation from the first batch, by architecture.
DATA_DEPENDENT_INIT: Mapping[str, Callable[[Any, Triplet], None]] = {
    "pervfi": lambda network, batch: network.initialize(*batch[:4]),
}
CRITERIA: Mapping[str, Callable[[ZooExperiment, torch.device], Criterion]] = {
    "rife": rife_criterion,
    "ifrnet": ifrnet_criterion,
    "pervfi": pervfi_criterion,
}
