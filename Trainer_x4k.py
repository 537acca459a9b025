"""What the second stage changes in the training loop."""

from collections.abc import Iterable

import torch
from torch import nn

from dataset.triplet import Triplet
from Trainer_base import Trainer


class X4KTrainer(Trainer):
    """Fine-tunes the sparse global matching branch; the local branch it builds on stays frozen."""

    def prepare(self, batch: Triplet) -> Triplet:
        """Shows motion at several sizes, so that matching is learnt for large and small shifts."""
        chances = torch.tensor(self.config.chances)
        choice = torch.multinomial(chances, 1, generator=self.random)
        return batch.resized(self.config.scales[choice])

    def trainable(self) -> Iterable[nn.Parameter]:
        """Matching, and, as published, the context network."""
        for part in self.model.parts_below_matching():
            part.requires_grad_(False)
        return (weight for weight in self.model.parameters() if weight.requires_grad)
