"""What training the other networks changes in the training loop."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from sgm_vfi.dataset.triplet import Triplet
from sgm_vfi.model.architectures import ARCHITECTURES
from sgm_vfi.model.checkpoint import Architecture, CheckpointError
from sgm_vfi.model.flow.estimator import FlowEstimator
from sgm_vfi.model.flow.flow_zoo import load_flow_estimator
from sgm_vfi.model.zoo import load_interpolator
from sgm_vfi.Trainer_base import Trainer
from sgm_vfi.training.ifrnet_loss import ifrnet_loss
from sgm_vfi.training.perceptual import load_perceptual
from sgm_vfi.training.pervfi_loss import pervfi_loss
from sgm_vfi.training.rife_loss import rife_loss
from sgm_vfi.training.zoo_recipes import ZooExperiment

# Loss of the output of `training_forward` and of the batch.
Criterion = Callable[[Any, Triplet], Tensor]


class ZooTrainer(Trainer):
    """TrainerLike any network that has a `training_forward`, with its own loss."""

    def build_network(self) -> nn.Module:
        """The network of the recipe's config, fresh or as trained before."""
        start, config = self.experiment.start_from, self.experiment.model
        self.criterion = CRITERIA[architecture_of(config).name](self.experiment, self.device)
        if self.run.has_other_weights:
            return architecture_of(config).network(config)
        if start is None:
            return build_fresh(
                config, lambda: self.world.broadcast(next(iter(self.loader)).to("cpu"))
            )
        network = load_interpolator(start)
        if network.config != config:
            raise CheckpointError(
                f"Weights of {start} are for {network.config}, this recipe says {config}. Set its "
                f"model's fields to theirs, as in --set model.colour_order=bgr."
            )
        return network.train()

    def forward_batch(self, network: nn.Module, batch: Triplet) -> Any:
        """In training mode what the loss needs, else the frame."""
        target = batch.target if network.training else None
        return network(batch.frame0, batch.frame1, batch.time, target=target)

    def loss(self, prediction: Any, batch: Triplet) -> Tensor:
        return self.criterion(prediction, batch)

    def metadata(self) -> dict[str, Any]:
        return super().metadata() | {"network": architecture_of(self.experiment.model).name}


def architecture_of(config: Any) -> Architecture:
    """Which networks a config shapes."""
    return next(family for family in ARCHITECTURES if isinstance(config, family.config))


def build_fresh(config: Any, look: Callable[[], Triplet]) -> nn.Module:
    """A network with fresh weights, but for parts that are published networks themselves.

    Args:
        look: gives a batch, the same in all processes, so that they begin alike.
    """
    family = architecture_of(config)
    network = family.network(config)
    network.load_state_dict(network.state_dict() | family.extra_tensors(config))
    if family.name in DATA_DEPENDENT_INIT:
        DATA_DEPENDENT_INIT[family.name](network, look())
    return network.train()


def rife_criterion(recipe: ZooExperiment, device: torch.device) -> Criterion:
    return lambda lesson, batch: rife_loss(lesson, recipe.distillation)


def ifrnet_criterion(recipe: ZooExperiment, device: torch.device) -> Criterion:
    """Labels are true motion where the data knows it, else what the recipe's flow network says."""
    estimator = None
    if recipe.labels is not None and not recipe.data.truth:
        estimator = load_flow_estimator(recipe.labels).to(device)
    return lambda lesson, batch: ifrnet_loss(
        lesson, flow_label(batch, estimator), recipe.distillation
    )


def pervfi_criterion(recipe: ZooExperiment, device: torch.device) -> Criterion:
    eyes = recipe.perceptual and load_perceptual(Path(recipe.perceptual)).to(device)
    return lambda lesson, batch: pervfi_loss(lesson, eyes)


@torch.no_grad()
def flow_label(batch: Triplet, estimator: FlowEstimator | None) -> Tensor | None:
    """The motion from the target to both frames, if it can be known. Shapes: -> (B, 4, H, W)."""
    if batch.truth is not None:
        return torch.cat((batch.truth.flow_t0, batch.truth.flow_t1), dim=1)
    if estimator is None:
        return None
    both = [estimator(batch.target, frame) for frame in (batch.frame0, batch.frame1)]
    return torch.cat(both, dim=1)


# What fresh weights take from the first batch, by family.
DATA_DEPENDENT_INIT: Mapping[str, Callable[[Any, Triplet], None]] = {
    "pervfi": lambda network, batch: network.initialize(*batch[:4]),
}
CRITERIA: Mapping[str, Callable[[ZooExperiment, torch.device], Criterion]] = {
    "rife": rife_criterion,
    "ifrnet": ifrnet_criterion,
    "pervfi": pervfi_criterion,
}
