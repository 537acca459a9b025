"""Where the processes of one attempt find each other, and nobody of an attempt before.

After a process died, torchrun starts all of them again, but keeps the store through which they
exchange addresses: those of processes that are gone are still there, and whoever reads them waits
or fails (PyTorch issue 135712). Counting restarts does not help, because nodes count differently.
"""

import time
import uuid
from datetime import timedelta
from typing import NamedTuple

from torch.distributed import PrefixStore, Store

TIMEOUT = timedelta(minutes=30)
POLL_INTERVAL = timedelta(seconds=1)  # between two looks at whether the leader is another one


class Rendezvous(NamedTuple):
    """What the processes of one attempt have in common."""

    prefix: str  # its name
    store: Store  # theirs alone
    attempt: int  # 1, 2, ...: how often the processes met in this store


def join_rendezvous(store: Store, rank: int, size: int, timeout: timedelta = TIMEOUT) -> Rendezvous:
    """Wait for the other live processes, and agree with them on a new prefix in the store.

    The main process (rank 0) opens a prefix and welcomes each of the others there by a name of its
    own; a process that came to the prefix of an earlier attempt is never welcomed, and moves on
    once there is a new one.

    Raises:
        TimeoutError: the main process was not there in time.
    """
    if rank == 0:
        attempt = store.add("attempts", 1)
        prefix = f"{attempt}-{uuid.uuid4().hex}"
        store.set("prefix", prefix)
        for other in range(1, size):
            store.wait([f"{prefix}/came/{other}"], timeout)
            name = store.get(f"{prefix}/came/{other}").decode()
            store.set(f"{prefix}/welcome/{name}", "")
    else:
        prefix = _join(store, rank, timeout)
    return Rendezvous(prefix, PrefixStore(prefix, store), int(prefix.partition("-")[0]))


def _join(store: Store, rank: int, timeout: timedelta) -> str:
    """Come to the main process's prefix, and stay once welcome."""
    name = uuid.uuid4().hex
    deadline = time.monotonic() + timeout.total_seconds()
    while time.monotonic() < deadline:
        try:
            store.wait(["prefix"], POLL_INTERVAL)
            prefix = store.get("prefix").decode()
            store.set(f"{prefix}/came/{rank}", name)
            store.wait([f"{prefix}/welcome/{name}"], POLL_INTERVAL)
        except RuntimeError:  # not yet
            continue
        return prefix
    raise TimeoutError(f"Process {rank} waited {timeout} for the main process, in vain.")
