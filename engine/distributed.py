"""Process groups for training and evaluation; a single process is a world of size one.

`torchrun` starts several processes, on one or more machines; plain `python` starts one.
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
from sgm_vfi.storage.file_lock import FileLock, LockedError

T = TypeVar("T")


@dataclass(frozen=True)
class World:
    """The rank of this process, the number of processes, and collective operations."""

    rank: int = 0
    size: int = 1
    is_restarted: bool = False  # torchrun restarted all processes after a failure
    ddp_modules: list[DistributedDataParallel] = field(
        default_factory=list, compare=False, repr=False
    )

    @property
    def is_main(self) -> bool:
        """Whether this process has rank 0, which writes files and logs."""
        return self.rank == 0

    def wrap(self, module: nn.Module) -> nn.Module:
        """Wrap a module so that backward passes average gradients over the processes."""
        if self.size == 1:
            return module
        self.ddp_modules.append(
            DistributedDataParallel(module, broadcast_buffers=False, gradient_as_bucket_view=True)
        )
        return self.ddp_modules[-1]

    def no_sync(self, network: nn.Module) -> AbstractContextManager:
        """Return a context in which backward passes accumulate gradients in this process only."""
        if isinstance(network, DistributedDataParallel):
            return network.no_sync()
        return nullcontext()

    def all_reduce_sum(self, values: Tensor) -> Tensor:
        """Sum a tensor over the processes, in double precision on the CPU."""
        values = values.detach().to("cpu", torch.float64, copy=True)
        dist.all_reduce(values)
        return values

    def any_rank(self, flag: bool) -> bool:
        """Whether the flag is true in at least one process."""
        seen = torch.tensor(int(flag))
        dist.all_reduce(seen, dist.ReduceOp.MAX)
        return bool(seen)

    def broadcast(self, value: T) -> T:
        """Return the value of rank 0 in all processes."""
        if self.size == 1:
            return value
        box = [value]
        dist.broadcast_object_list(box, device=torch.device("cpu"))
        return box[0]

    def all_gather(self, value: T) -> list[T]:
        """Return the values of all processes, by rank, in all processes."""
        if self.size == 1:
            return [value]
        values: list[Any] = [None] * self.size
        dist.all_gather_object(values, value)
        return values

    def barrier(self) -> None:
        """Wait until all processes reach this call."""
        self.any_rank(False)

    @contextmanager
    def hold_lock(self, lock: FileLock) -> Iterator[None]:
        """Hold a lock in rank 0 for all processes.

        Raises:
            LockedError: in all processes; another run holds the lock.
        """
        problem = None
        if self.is_main:
            try:
                lock.acquire()
            except (LockedError, OSError) as error:
                problem = str(error)
        problem = self.broadcast(problem)
        if problem is not None:
            raise LockedError(problem)
        try:
            yield
        finally:
            lock.release()

    def release_reducers(self) -> None:
        """Drop the references of wrapped modules to the process group before it is destroyed.

        If a reducer were its last owner, the group would be destroyed while holding the GIL and
        wait for its own thread, which waits for the GIL: a deadlock.
        """
        for network in self.ddp_modules:
            for name in ("reducer", "logger"):
                setattr(network, name, None)


@contextmanager
def process_group(device: torch.device, timeout: timedelta | None = None) -> Iterator[World]:
    """Initialise the process group and destroy it at the end; NCCL for GPU tensors, else Gloo.

    Args:
        timeout: of collective operations; None: PyTorch's default.
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
    """Select the named device, the GPU of this local rank, or the CPU; make a GPU the current one.

    Raises:
        ValueError: a GPU is named, but there is none.
        RuntimeError: there is no such device type.
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
