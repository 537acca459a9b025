"""Trainer of a network of the user, by the loss of its frame."""

from dataclasses import asdict, dataclass
from typing import Any

from torch import Tensor, nn

from sgm_vfi.config_base import FLAGS, SMOKE, Experiment, TrainConfig
from sgm_vfi.dataset.data_config_and_loaders import DataConfig
from sgm_vfi.dataset.triplet import Triplet
from sgm_vfi.model.import_by_name import build_referenced_interpolator
from sgm_vfi.model.interpolator import Interpolation
from sgm_vfi.model.weight_io import load_weights, read_weights
from sgm_vfi.model.zoo import find_weights
from sgm_vfi.training.loss_from_recipe import build_frame_loss
from sgm_vfi.training.loss_functions import interpolation_loss
from sgm_vfi.training.validation import InterpolationTrainer

__all__ = ["EXPERIMENTS", "FLAGS"]


@dataclass(frozen=True, kw_only=True)
class UserNetworkExperiment(Experiment):
    """A recipe of a network of the user."""

    model: str = ""  # module:Class or file.py:Class

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.features or self.allow_random_features:
            raise ValueError("features and allow_random_features are for SGM-VFI: leave them out.")


class UserNetworkTrainer(InterpolationTrainer[Interpolation]):
    """Trains any `Interpolator` by the loss of its frame and, at half weight, of `merged`."""

    def build_network(self) -> nn.Module:
        """Build the network of the recipe, with start weights or fresh ones."""
        if not self.experiment.model:
            raise ValueError("Name your network: --set model=file.py:Class")
        self.frame_loss = build_frame_loss(self.config.loss or "laplacian", self.device)
        network = build_referenced_interpolator(self.experiment.model).train()
        if self.experiment.start_from and not self.run.has_other_weights:
            load_weights(network, read_weights(find_weights(self.experiment.start_from)))
        return network

    def forward_batch(self, network: nn.Module, batch: Triplet) -> Interpolation:
        """Interpolate."""
        return network(*batch.inputs())

    def loss(self, prediction: Interpolation, batch: Triplet) -> Tensor:
        """Return the loss of the frame and of the intermediate blends."""
        return interpolation_loss(prediction, batch.target, self.frame_loss)

    def metadata(self) -> dict[str, Any]:
        """Return the name of the network, and the recipe."""
        return {"network": self.experiment.model, "recipe": asdict(self.experiment)}


EXPERIMENTS = {
    "own": UserNetworkExperiment(name="own", data=DataConfig(), training=TrainConfig()),
    "smoke": UserNetworkExperiment(name="smoke-own", data=SMOKE.data, training=SMOKE.training),
}
