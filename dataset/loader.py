"""Sharded sampling over processes and epochs, and batch loading with worker processes."""

from collections.abc import Iterator

import cv2
import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset, Sampler

from sgm_vfi.dataset.triplet import Triplet, stack_triplets
from sgm_vfi.dataset.triplet_sampling import SampleKey, build_generator

PREFETCH_FACTOR = 4  # batches that every worker keeps ready


class ShardSampler(Sampler[SampleKey]):
    """Samples the shard of one process (`rank` of `world`) in an epoch.

    For training, every epoch has its own order, common to all ranks. Shards are disjoint and of
    equal size (the remainder is dropped), and the global batch of a step does not depend on the
    number of processes. For validation, the order is the data set's and no sample is dropped, so
    shards may differ by one in size.
    """

    def __init__(
        self, size: int, *, rank: int = 0, world: int = 1, seed: int = 0, training: bool = True
    ) -> None:
        if not 0 <= rank < world:
            raise ValueError(f"A rank lies in 0 .. world - 1, got rank {rank} of {world}.")
        self.size, self.rank, self.world = size, rank, world
        self.seed, self.training = seed, training
        self.epoch = self.start = 0

    def set_epoch(self, epoch: int, start: int = 0) -> None:
        """Set the epoch and the number of this rank's samples to skip."""
        self.epoch, self.start = epoch, start

    def shard_size(self) -> int:
        """Return the number of samples of this rank in a whole epoch."""
        even, left_over = divmod(self.size, self.world)
        return even + (not self.training and self.rank < left_over)

    def __len__(self) -> int:
        return max(self.shard_size() - self.start, 0)

    def __iter__(self) -> Iterator[SampleKey]:
        order = np.arange(self.size)
        if self.training:
            build_generator("order", self.seed, self.epoch).shuffle(order)
        shard = order[self.rank :: self.world][: self.shard_size()]
        for index in shard[self.start :]:
            yield SampleKey(int(index), self.epoch, self.seed)


class TripletLoader:
    """Loads batches of one data set; each iteration is one epoch of this rank's shard.

    In training the last, incomplete batch is dropped.

    Args:
        workers: processes that read and decode ahead; 0 loads in this process.
        pin_memory: lets `Triplet.to` copy asynchronously to a CUDA device.
    """

    def __init__(
        self,
        dataset: Dataset[Triplet],
        batch_size: int,
        *,
        rank: int = 0,
        world: int = 1,
        seed: int = 0,
        training: bool = True,
        workers: int = 0,
        pin_memory: bool = False,
    ) -> None:
        size = len(dataset)  # type: ignore[arg-type]
        self.batch_size = batch_size
        self.sampler = ShardSampler(size, rank=rank, world=world, seed=seed, training=training)
        if training and self.sampler.shard_size() < batch_size:
            raise ValueError(
                f"{size} samples over {world} process(es) fill no batch of {batch_size}. "
                f"Use smaller batches, fewer processes or more data."
            )
        self.batches = DataLoader(
            dataset,
            batch_size,
            sampler=self.sampler,
            num_workers=workers,
            collate_fn=stack_triplets,
            pin_memory=pin_memory,
            drop_last=training,
            worker_init_fn=limit_to_one_thread,
            persistent_workers=workers > 0,
            prefetch_factor=PREFETCH_FACTOR if workers else None,
        )

    def set_epoch(self, epoch: int, start: int = 0) -> None:
        """Begin the next iteration at batch `start` of `epoch`; call it on every rank."""
        self.sampler.set_epoch(epoch, start * self.batch_size)

    def __len__(self) -> int:
        """Return the number of batches of the next iteration."""
        return len(self.batches)

    def __iter__(self) -> Iterator[Triplet]:
        return iter(self.batches)


def limit_to_one_thread(worker: int) -> None:
    """Limit a worker process to one thread."""
    cv2.setNumThreads(0)
    torch.set_num_threads(1)
