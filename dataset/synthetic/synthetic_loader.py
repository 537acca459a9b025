"""Batches of synthetic scenes, rendered where they are needed."""

from collections.abc import Iterator

import torch

from sgm_vfi.dataset.loader import ShardSampler
from sgm_vfi.dataset.synthetic.config import SyntheticConfig
from sgm_vfi.dataset.synthetic.renderer import SceneGenerator
from sgm_vfi.dataset.triplet import Triplet


class SyntheticLoader:
    """Batches of new scenes; used like `TripletLoader`, but the triplets are on `device` already.

    Training scenes never come again, and may grow in variety at first; validation scenes are the
    same in every epoch, and none of them is among the training scenes. A scene depends on seed,
    epoch and its number alone.

    Args:
        scenes: scenes of one epoch, of all processes together.
        truth: give true flows and visibility along.
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
        self.maker = SceneGenerator(config, device)
        self.batch_size, self.truth = batch_size, truth
        self.sampler = ShardSampler(scenes, rank=rank, world=world, seed=seed, training=training)

    def set_epoch(self, epoch: int, start: int = 0) -> None:
        """Begin the next iteration at batch `start` of `epoch`; validation has one epoch only."""
        self.sampler.set_epoch(epoch if self.sampler.training else 0, start * self.batch_size)

    def __len__(self) -> int:
        """Batches that the next iteration gives."""
        whole, rest = divmod(len(self.sampler), self.batch_size)
        return whole + (rest > 0 and not self.sampler.training)

    def __iter__(self) -> Iterator[Triplet]:
        role = int(self.sampler.training)
        maker = self.maker
        if self.sampler.training:
            maker = maker.with_config(maker.config.at_epoch(self.sampler.epoch))
        seeds = [(role, key.seed, key.epoch, key.item) for key in self.sampler]
        for batch in range(len(self)):
            part = seeds[batch * self.batch_size : (batch + 1) * self.batch_size]
            yield maker.draw(part).triplet(truth=self.truth)
