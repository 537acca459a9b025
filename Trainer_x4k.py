"""What the second stage changes in the training loop."""

from collections.abc import Iterable

import torch
from torch import nn

from sgm_vfi.dataset.triplet import Triplet
from sgm_vfi.Trainer_base import Trainer


class X4KTrainer(Trainer):
    """Fine-tunes the sparse global matching branch; what it builds on may stay as it is."""

    def prepare_batch(self, batch: Triplet) -> Triplet:
        """Shows motion at several sizes, so that matching is learnt for large and small shifts."""
        scale_probabilities = torch.tensor(self.config.scale_probabilities)
        choice = torch.multinomial(scale_probabilities, 1, generator=self.random)
        return batch.resized(self.config.scales[choice])

    def trainable_parameters(self) -> Iterable[nn.Parameter]:
        """Matching, and, as published, the context network; or all but the features."""
        network = self.model
        kept = network.frozen_modules() if self.config.freeze_local_branch else (network.gmflow,)
        for part in kept:
            part.requires_grad_(False)
        return (weight for weight in network.parameters() if weight.requires_grad)
