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

PATIENCE = timedelta(minutes=30)
A_MOMENT = timedelta(seconds=1)  # between two looks at whether the leader is another one


class Meeting(NamedTuple):
    """What the processes of one attempt have in common."""

    place: str  # its name
    store: Store  # theirs alone
    attempt: int  # 1, 2, ...: how often the processes met in this store


def meet(store: Store, rank: int, size: int, patience: timedelta = PATIENCE) -> Meeting:
    """Wait for the other live processes, and agree with them on a new place in the store.

    The main process (rank 0) opens a place and welcomes each of the others there by a name of its
    own; a process that came to the place of an earlier attempt is never welcomed, and moves on
    once there is a new one.

    Raises:
        TimeoutError: the main process was not there in time.
    """
    if rank == 0:
        attempt = store.add("attempts", 1)
        place = f"{attempt}-{uuid.uuid4().hex}"
        store.set("place", place)
        for other in range(1, size):
            store.wait([f"{place}/came/{other}"], patience)
            name = store.get(f"{place}/came/{other}").decode()
            store.set(f"{place}/welcome/{name}", "")
    else:
        place = _join(store, rank, patience)
    return Meeting(place, PrefixStore(place, store), int(place.partition("-")[0]))


def _join(store: Store, rank: int, patience: timedelta) -> str:
    """Come to the main process's place, and stay once welcome."""
    name = uuid.uuid4().hex
    deadline = time.monotonic() + patience.total_seconds()
    while time.monotonic() < deadline:
        try:
            store.wait(["place"], A_MOMENT)
            place = store.get("place").decode()
            store.set(f"{place}/came/{rank}", name)
            store.wait([f"{place}/welcome/{name}"], A_MOMENT)
        except RuntimeError:  # not yet
            continue
        return place
    raise TimeoutError(f"Process {rank} waited {patience} for the main process, in vain.")
