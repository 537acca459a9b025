"""Trainers of SGM-VFI: stage 1 trains the local branch, stage 2 sparse global matching."""

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from sgm_vfi.dataset.triplet import Triplet
from sgm_vfi.model.interpolator import Interpolation
from sgm_vfi.model.sgm.network import CELL, SGM
from sgm_vfi.training.loss_from_recipe import build_frame_loss
from sgm_vfi.training.loss_functions import interpolation_loss
from sgm_vfi.training.motion_supervision import MotionSupervision
from sgm_vfi.training.sgm_data_dependent_init import data_dependent_init
from sgm_vfi.training.start_weights import load_features, load_start_weights
from sgm_vfi.training.validation import InterpolationTrainer


class LocalBranchTrainer(InterpolationTrainer[Interpolation]):
    """Trains SGM-VFI by its interpolation loss and, where motion is known, by its motion."""

    def build_network(self) -> SGM:
        """Build SGM-VFI with start weights, a data-dependent initialisation, or fresh weights."""
        experiment, network = self.experiment, SGM(self.experiment.model)
        if not self.run.has_other_weights:  # a checkpoint has all weights
            if self.config.data_dependent_init and not experiment.start_from:
                data_dependent_init(network, *self.first_batch().inputs())
            complete = experiment.start_from and load_start_weights(network, experiment.start_from)
            if network.gmflow is not None and not complete and not experiment.allow_random_features:
                load_features(network.gmflow, experiment.features)
        self.frame_loss = build_frame_loss(self.config.loss or "laplacian", self.device)
        weights = self.config.motion_loss, self.config.attention_loss
        self.motion_supervision = MotionSupervision(network, *weights)
        return network

    def forward_batch(self, network: nn.Module, batch: Triplet) -> Interpolation:
        """Interpolate; in training with the intermediate flows where the true motion is known."""
        return network(*batch.inputs(), explain=network.training and batch.truth is not None)

    def loss(self, prediction: Interpolation, batch: Triplet) -> Tensor:
        """Return the interpolation loss plus the weighted motion supervision. Shapes: -> ()."""
        loss = interpolation_loss(prediction, batch.target, self.frame_loss)
        weight = self.config.motion_weight(self.step / self.total_steps)
        if not weight or prediction.explanation is None:
            return loss
        maps = batch.target_flow(), batch.downsampled_flow(CELL)
        return loss + weight * self.motion_supervision(prediction.explanation, *maps)


class SparseMatchingTrainer(LocalBranchTrainer):
    """Fine-tunes the sparse global matching branch; the local branch may stay frozen."""

    def prepare_batch(self, batch: Triplet) -> Triplet:
        """Resize the batch to a random scale, so that matching sees large and small motion."""
        probabilities = torch.tensor(self.config.scale_probabilities)
        choice = torch.multinomial(probabilities, 1, generator=self.random)
        return batch.resized(self.config.scales[choice])

    def trainable_parameters(self) -> Iterable[nn.Parameter]:
        """Freeze what the recipe keeps and return the rest; published: matching and context."""
        network = self.model
        frozen = network.frozen_modules() if self.config.freeze_local_branch else (network.gmflow,)
        for part in frozen:
            part.requires_grad_(False)
        return (weight for weight in network.parameters() if weight.requires_grad)
