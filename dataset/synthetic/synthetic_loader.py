"""Loader of synthetic scenes, rendered on the training device."""

from collections.abc import Iterator

import torch

from sgm_vfi.dataset.loader import ShardSampler
from sgm_vfi.dataset.synthetic.config import SyntheticConfig
from sgm_vfi.dataset.synthetic.renderer import SceneGenerator
from sgm_vfi.dataset.triplet import Triplet


class SyntheticLoader:
    """Renders batches of scenes on `device`; has the interface of `TripletLoader`.

    Training scenes are new in every epoch and follow the curriculum of the configuration.
    Validation scenes are the same in every epoch and differ from all training scenes.

    Args:
        scenes: number of scenes per epoch, over all processes.
        truth: add ground-truth flow and visibility.
    """

    def __init__(
        self,
        config: SyntheticConfig,
        scenes: int,
        batch_size: int,
        *,
        device: torch.device | str,
        rank: int = 0,
        world: int = 1,
        seed: int = 0,
        training: bool = True,
        truth: bool = False,
    ) -> None:
        if training and scenes < world * batch_size:
            raise ValueError(
                f"{scenes} scenes over {world} process(es) fill no batch of {batch_size}. "
                f"Ask for {world * batch_size} or more."
            )
        self.generator = SceneGenerator(config, device)
        self.batch_size, self.truth = batch_size, truth
        self.sampler = ShardSampler(scenes, rank=rank, world=world, seed=seed, training=training)

    def set_epoch(self, epoch: int, start: int = 0) -> None:
        """Begin the next iteration at batch `start` of `epoch`; validation has only one epoch."""
        self.sampler.set_epoch(epoch if self.sampler.training else 0, start * self.batch_size)

    def __len__(self) -> int:
        """Return the number of batches of the next iteration."""
        whole, rest = divmod(len(self.sampler), self.batch_size)
        return whole + (rest > 0 and not self.sampler.training)

    def __iter__(self) -> Iterator[Triplet]:
        role = int(self.sampler.training)
        generator = self.generator
        if self.sampler.training:
            generator = generator.with_config(generator.config.at_epoch(self.sampler.epoch))
        seeds = [(role, key.seed, key.epoch, key.item) for key in self.sampler]
        for batch in range(len(self)):
            part = seeds[batch * self.batch_size : (batch + 1) * self.batch_size]
            yield generator.draw(part).triplet(truth=self.truth)
