"""From a data set to batches: who sees what, in which order, and how it gets there in time."""

from collections.abc import Iterator

import cv2
import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset, Sampler

from sgm_vfi.dataset.triplet import Triplet, stack_triplets
from sgm_vfi.dataset.triplet_sampling import SampleKey, build_generator

PREFETCHED = 4  # batches that every worker keeps ready


class ShardSampler(Sampler[SampleKey]):
    """The share of one process (`rank` of `world`) in an epoch.

    For training, every epoch has its own order, common to all ranks, which deal it out like
    cards: the shards are disjoint, of one size (the few samples that do not divide are left out,
    other ones each epoch), and the global batch of a step holds the same samples however many
    processes share it. For validation the order is the data set's, nothing is left out and
    nothing is repeated, so that shards may differ by one in size.
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
        """Choose the epoch's order, and how many of this rank's samples were already seen."""
        self.epoch, self.start = epoch, start

    def shard_size(self) -> int:
        """Samples of this rank in a whole epoch."""
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
    """Batches of one data set; each iteration is (the rest of) one epoch of this rank's shard.

    In training the last, incomplete batch is left out; in validation it is given.

    Args:
        batch_size: samples of one batch of this process.
        workers: processes that read and decode ahead; 0 does it in this one.
        pin_memory: for a CUDA device, so that `Triplet.to` does not wait.
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
            prefetch_factor=PREFETCHED if workers else None,
        )

    def set_epoch(self, epoch: int, start: int = 0) -> None:
        """Begin the next iteration at batch `start` of `epoch`: once per epoch, on every rank."""
        self.sampler.set_epoch(epoch, start * self.batch_size)

    def __len__(self) -> int:
        """Batches that the next iteration gives."""
        return len(self.batches)

    def __iter__(self) -> Iterator[Triplet]:
        return iter(self.batches)


def limit_to_one_thread(worker: int) -> None:
    """Keep decoding in a worker from starting threads of its own: workers are the parallelism."""
    cv2.setNumThreads(0)
    torch.set_num_threads(1)
