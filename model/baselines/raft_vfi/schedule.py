"""Which frames RAFT-VFI's own pipeline shows, and which of them it makes.

The published rules, with their rounding (Apache-2.0). They are kept to reproduce it: a frame near
a source frame in time is replaced by it, which makes rates like 24 to 60 uneven.
"""

import math
from collections.abc import Iterator
from typing import NamedTuple

DECIMALS = 2  # of a time between two frames


class Step(NamedTuple):
    """One frame that is shown."""

    gap: int  # between the source frames of this index and the next
    time: float  # in [0, 1]; at 0 and at 1 the source frame itself is shown


def steps(advance: float) -> Iterator[Step]:
    """Frames without end, `advance` source frames after each other.

    What lies less than half a step from a source frame is that frame; so no frame is made where
    frames are left out.

    Args:
        advance: rate of the source / rate wanted.
    """
    if not advance > 0:
        raise ValueError(f"Output goes forward by more than 0 source frames, got {advance:g}.")
    place = 0.0
    while True:
        gap = max(math.ceil(place) - 1, 0)
        time = round(place - gap, DECIMALS)
        if time < advance / 2:
            time = 0.0
        elif 1 - time < advance / 2:
            time = 1.0
        yield Step(gap, time)
        place += advance
