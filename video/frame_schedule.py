"""Schedule: the source frames that each output frame lies between.

All times are exact: `fractions.Fraction` seconds.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from fractions import Fraction
from types import MappingProxyType
from typing import NamedTuple

MAX_SNAP = Fraction(1, 32)  # of an interval: largest distance to a source frame that counts as 0
MAX_UNEVENNESS = Fraction(1, 8)  # of an interval: timestamps are rounded
NO_HOLDS: Mapping[int, Fraction] = MappingProxyType({})


class OutputFrame(NamedTuple):
    """The timestamp of an output frame and the indices of its source frames."""

    timestamp: Fraction  # seconds
    left: int  # source frame at or before it
    time: Fraction  # position between `left` and `right`, in [0, 1); 0: the left frame itself
    right: int  # source frame after it; equals `left` if time is 0
    before: int | None = None  # source frame one even interval before `left`, if used
    after: int | None = None  # source frame one even interval after `right`, if used

    @property
    def first(self) -> int:
        """Index of the earliest source frame that it needs."""
        return self.left if self.before is None else self.before


def schedule_frames(
    frames: Iterator[tuple[int, Fraction]],
    times: Iterable[tuple[Fraction, Fraction]],
    *,
    time_base: Fraction = Fraction(0),
    holds: Mapping[int, Fraction] = NO_HOLDS,
    is_cut: Callable[[int, int], bool] | None = None,
    uses_context_frames: bool = False,
) -> Iterator[OutputFrame]:
    """Decide between which source frames each output frame lies.

    An output frame that falls on a source frame is that frame, and so is one that misses it by no
    more than a tick of the source's clock (and 1/32 of the interval), since timestamps are rounded
    to ticks: 33 ms is 1/30 s. Frames after the last source frame repeat it.

    Reads no more than one frame ahead, two with context frames.

    Args:
        frames: index and timestamp of each source frame to interpolate between.
        times: timestamp of each output frame, and the source time that it shows.
        time_base: tick of the source's clock, in seconds.
        holds: by the index of a source frame, when motion towards it begins, if that is later than
            the frame before it: until then, that frame is held.
        is_cut: whether two source frames belong to different scenes: the first is then repeated
            until the second appears.
        uses_context_frames: add the frames before and after, where intervals are even.
    """
    before, left, right = None, next(frames, None), next(frames, None)
    if left is None:
        return
    after = next(frames, None) if uses_context_frames else None
    for timestamp, when in times:
        while right and right[1] - when <= find_slack(left, right, time_base, holds):
            before, left = left, right
            right = after if uses_context_frames else next(frames, None)
            after = next(frames, None) if uses_context_frames else None
        time, end = Fraction(0), left[0]
        if right and not (is_cut and is_cut(left[0], right[0])):
            start = find_motion_start(left, right, holds)
            if when - start > find_slack(left, right, time_base, holds):
                time, end = (when - start) / (right[1] - start), right[0]
        is_even = uses_context_frames and before and is_evenly_spaced(before, left, right)
        earlier = before[0] if before and is_even else None
        later = after[0] if time and after and is_evenly_spaced(left, right, after) else None
        yield OutputFrame(timestamp, left[0], time, end, earlier, later)


def find_motion_start(
    left: tuple[int, Fraction], right: tuple[int, Fraction], holds: Mapping[int, Fraction]
) -> Fraction:
    """Return when the motion from one source frame to the next begins, in seconds."""
    return max(left[1], holds.get(right[0], left[1]))


def find_slack(
    left: tuple[int, Fraction],
    right: tuple[int, Fraction],
    time_base: Fraction,
    holds: Mapping[int, Fraction],
) -> Fraction:
    """Return how far an output time may miss a source frame and still show it, in seconds."""
    return min(time_base, (right[1] - find_motion_start(left, right, holds)) * MAX_SNAP)


def is_evenly_spaced(
    before: tuple[int, Fraction] | None,
    middle: tuple[int, Fraction] | None,
    after: tuple[int, Fraction] | None,
) -> bool:
    """Return whether three frames exist and are about as far apart."""
    if before is None or middle is None or after is None:
        return False
    earlier, later = middle[1] - before[1], after[1] - middle[1]
    return abs(later - earlier) < MAX_UNEVENNESS * max(earlier, later)
