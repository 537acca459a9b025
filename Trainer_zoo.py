"""What training the other networks changes in the training loop."""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from config_zoo import ZooExperiment
from dataset.source import Loader
from dataset.triplet import Triplet
from model.baselines.pervfi.loss import pervfi_loss
from model.baselines.rife.loss import rife_loss
from model.checkpoint import CheckpointError, Family
from model.zoo import FAMILIES, load_interpolator
from Trainer_base import Trainer

# What is minimised, by the family of the network: of what its `study` gives.
Loss = Callable[[Any, Triplet, ZooExperiment], Tensor]


class ZooTrainer(Trainer):
    """Trains any network that can `study` a sample, by the loss that stands beside it."""

    def build(self) -> nn.Module:
        """The network of the recipe's config, fresh or as trained before."""
        start, config = self.experiment.start_from, self.experiment.model
        if self.run.goes_on:
            return family_of(config).network(config)
        if start is None:
            return fresh(config, self.loader)
        network = load_interpolator(start)
        if network.config != config:
            raise CheckpointError(
                f"Weights of {start} are for {network.config}, this recipe says {config}. Set its "
                f"model's fields to theirs, as in --set model.colour_order=bgr."
            )
        return network.train()

    def predict(self, network: nn.Module, batch: Triplet) -> Any:
        """In training mode what the loss needs, else the frame."""
        target = batch.target if network.training else None
        return network(batch.frame0, batch.frame1, batch.time, target=target)

    def loss(self, prediction: Any, batch: Triplet) -> Tensor:
        return LOSSES[family_of(self.experiment.model).name](prediction, batch, self.experiment)

    def metadata(self) -> dict[str, Any]:
        return super().metadata() | {"network": family_of(self.experiment.model).name}


def family_of(config: Any) -> Family:
    """Which networks a config shapes."""
    return next(family for family in FAMILIES if isinstance(config, family.config))


def fresh(config: Any, loader: Loader) -> nn.Module:
    """A network with fresh weights, but for parts that are published networks themselves."""
    family = family_of(config)
    network = family.network(config)
    network.load_state_dict(network.state_dict() | family.beside(config))
    if family.name in FIRST_LOOKS:
        FIRST_LOOKS[family.name](network, next(iter(loader)).to("cpu"))
    return network.train()


def true_flow(batch: Triplet) -> Tensor | None:
    """True motion of rendered scenes, from the target to both frames. Shapes: -> (B, 4, H, W)."""
    truth = batch.truth
    return None if truth is None else torch.cat((truth.flow_t0, truth.flow_t1), dim=1)


# What fresh weights take from the first batch, by family.
FIRST_LOOKS: Mapping[str, Callable[[Any, Triplet], None]] = {
    "pervfi": lambda network, batch: network.initialize(*batch[:4]),
}
LOSSES: Mapping[str, Loss] = {
    "rife": lambda lesson, batch, recipe: rife_loss(lesson, recipe.distillation),
    "pervfi": lambda lesson, batch, recipe: pervfi_loss(lesson),
}
