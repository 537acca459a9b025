"""Rendezvous of the processes of one attempt, separated from earlier attempts.

After a failure torchrun restarts all processes but keeps the store in which they exchange
addresses; reading stale ones blocks or fails (PyTorch issue 135712). Restart counts do not separate
attempts, because nodes count differently; here each attempt has its own prefix in the store.
"""

import time
import uuid
from datetime import timedelta
from typing import NamedTuple

from torch.distributed import PrefixStore, Store

TIMEOUT = timedelta(minutes=30)
POLL_INTERVAL = timedelta(seconds=1)  # for a new prefix of rank 0


class Rendezvous(NamedTuple):
    """A prefix of the store that the processes of one attempt share."""

    prefix: str
    store: Store  # under that prefix
    attempt: int  # 1, 2, ...: rendezvous in this store so far


def join_rendezvous(store: Store, rank: int, size: int, timeout: timedelta = TIMEOUT) -> Rendezvous:
    """Agree with the other live processes on a new prefix in the store.

    Rank 0 publishes a prefix and acknowledges the unique name of every other rank under it. A
    process under the prefix of an earlier attempt gets no acknowledgement and tries the next one.

    Raises:
        TimeoutError: rank 0 did not answer in time.
    """
    if rank == 0:
        attempt = store.add("attempts", 1)
        prefix = f"{attempt}-{uuid.uuid4().hex}"
        store.set("prefix", prefix)
        for other in range(1, size):
            store.wait([f"{prefix}/joined/{other}"], timeout)
            name = store.get(f"{prefix}/joined/{other}").decode()
            store.set(f"{prefix}/acknowledged/{name}", "")
    else:
        prefix = _join(store, rank, timeout)
    return Rendezvous(prefix, PrefixStore(prefix, store), int(prefix.partition("-")[0]))


def _join(store: Store, rank: int, timeout: timedelta) -> str:
    """Register under the prefix of rank 0 until it acknowledges this process."""
    name = uuid.uuid4().hex
    deadline = time.monotonic() + timeout.total_seconds()
    while time.monotonic() < deadline:
        try:
            store.wait(["prefix"], POLL_INTERVAL)
            prefix = store.get("prefix").decode()
            store.set(f"{prefix}/joined/{rank}", name)
            store.wait([f"{prefix}/acknowledged/{name}"], POLL_INTERVAL)
        except RuntimeError:  # not yet
            continue
        return prefix
    raise TimeoutError(f"Process {rank} waited {timeout} for rank 0, which did not answer.")
