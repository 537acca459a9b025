"""Several processes that train one network; one process is a world of one and takes the same path.

Started by `torchrun` the processes find each other through its rendezvous, on one machine or many;
started by plain `python` there is one.
"""

import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.rendezvous import rendezvous
from torch.nn.parallel import DistributedDataParallel

from sgm_vfi.engine.rendezvous import join_rendezvous

T = TypeVar("T")


@dataclass(frozen=True)
class World:
    """This process among those of the run."""

    rank: int = 0
    size: int = 1
    is_restarted: bool = False  # torchrun started all processes again, because one had died
    ddp_modules: list[DistributedDataParallel] = field(
        default_factory=list, compare=False, repr=False
    )

    @property
    def is_main(self) -> bool:
        """Whether this process writes files and speaks."""
        return self.rank == 0

    def wrap(self, module: nn.Module) -> nn.Module:
        """Make backward passes average gradients over the processes."""
        if self.size == 1:
            return module
        self.ddp_modules.append(
            DistributedDataParallel(module, broadcast_buffers=False, gradient_as_bucket_view=True)
        )
        return self.ddp_modules[-1]

    def no_sync(self, network: nn.Module) -> AbstractContextManager:
        """Inside, backward passes add up gradients in this process only."""
        if isinstance(network, DistributedDataParallel):
            return network.no_sync()
        return nullcontext()

    def all_reduce_sum(self, values: Tensor) -> Tensor:
        """Sum over the processes, in double precision on the CPU. Shapes: any -> the same."""
        values = values.detach().to("cpu", torch.float64, copy=True)
        dist.all_reduce(values)
        return values

    def any_rank(self, flag: bool) -> bool:
        """Whether it is true in at least one process."""
        seen = torch.tensor(int(flag))
        dist.all_reduce(seen, dist.ReduceOp.MAX)
        return bool(seen)

    def broadcast(self, value: T) -> T:
        """What the main process has; the others' value does not count."""
        if self.size == 1:
            return value
        box = [value]
        dist.broadcast_object_list(box, device=torch.device("cpu"))
        return box[0]

    def all_gather(self, value: T) -> list[T]:
        """What every process has, by rank, in each of them."""
        if self.size == 1:
            return [value]
        values: list[Any] = [None] * self.size
        dist.all_gather_object(values, value)
        return values

    def barrier(self) -> None:
        """Wait until every process is here."""
        self.any_rank(False)

    def release_reducers(self) -> None:
        """Let go of what networks hold of the process group, which can then be destroyed.

        Were a network's reducer its last owner, the group would be destroyed under Python's lock,
        and wait for a thread of its own that waits for that lock: the process would never end.
        """
        for network in self.ddp_modules:
            network.reducer = network.logger = None


@contextmanager
def process_group(device: torch.device, timeout: timedelta | None = None) -> Iterator[World]:
    """Join the other processes, and leave them at the end.

    Gradients on a GPU travel by NCCL, everything else by Gloo.

    Args:
        timeout: how long one process waits for the others before it gives up; None: PyTorch's.
    """
    backend = "cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo"
    if "RANK" in os.environ:
        store, rank, size = next(rendezvous("env://"))
        joined = join_rendezvous(store, rank, size)
        dist.init_process_group(
            backend, store=joined.store, rank=rank, world_size=size, timeout=timeout
        )
        restarts = joined.attempt - 1 + int(os.environ.get("TORCHELASTIC_RESTART_COUNT", "0"))
    else:
        dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
        restarts = 0
    world = World(dist.get_rank(), dist.get_world_size())
    try:
        yield replace(world, is_restarted=world.any_rank(restarts > 0))
    finally:
        world.release_reducers()
        dist.destroy_process_group()


def select_device(name: str | None) -> torch.device:
    """The device of this process: the one named, or its own GPU, or the CPU.

    Becomes the current device, before anything is put anywhere.

    Raises:
        ValueError: a GPU is named, but there is none.
        RuntimeError: no device has that name.
    """
    device = torch.device(name or ("cuda" if torch.cuda.is_available() else "cpu"))
    if device.type == "cuda":
        if not torch.cuda.is_available():
            raise ValueError(f"There is no GPU that PyTorch can use, got --device {name}. Use cpu.")
        if device.index is None:
            device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", 0)))
        torch.cuda.set_device(device)
        torch.backends.cudnn.benchmark = True
    return device
