"""When output frames are shown, and between which source frames each lies.

All times are `fractions.Fraction` seconds; nothing is counted in floats and nothing drifts.
"""

from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from math import ceil, floor, gcd
from typing import NamedTuple

MAX_TICKS_PER_SECOND = 2**30  # ticks per second that every container can count
MAX_SNAP = Fraction(1, 32)  # of the way between two frames: no original is moved further
MAX_UNEVENNESS = Fraction(
    1, 8
)  # intervals that differ by less of either are as long: clocks are rounded


class OutputFrame(NamedTuple):
    """One output frame."""

    timestamp: Fraction  # seconds at which it appears
    left: int  # index of the source frame before it, or of the one that it is
    time: Fraction  # of the way to `right`, in [0, 1); 0: the source frame itself
    right: int  # index of the source frame after it; `left` where none is needed
    before: int | None = None  # index of the source frame as long before `left`, where it is of use
    after: int | None = None  # index of the source frame as long after `right`


@dataclass(frozen=True, kw_only=True)
class Target:
    """What rate is wanted: one of the three.

    multi: every interval between two frames is divided into N.
    fps: frames at a constant rate, which may be higher or lower than the source's.
    slow: divided into N, and N times as long: slow motion at the source's rate.
    """

    multi: int | None = None
    fps: Fraction | int | None = None
    slow: int | None = None

    def __post_init__(self) -> None:
        given = [name for name in ("multi", "fps", "slow") if getattr(self, name) is not None]
        if len(given) != 1:
            raise ValueError(
                f"One target is wanted: multi, fps or slow; got {', '.join(given) or 'none'}."
            )
        for name in ("multi", "slow"):
            value = getattr(self, name)
            if value is not None and value < 2:
                raise ValueError(f"{name} is a whole number from 2 up, got {value}.")
        if self.fps is None:
            return
        if isinstance(self.fps, float):
            raise ValueError(
                f"fps is an exact rate, such as Fraction(60000, 1001), got {self.fps}."
            )
        if self.fps <= 0:
            raise ValueError(f"fps is a rate above 0, got {self.fps}.")
        object.__setattr__(self, "fps", Fraction(self.fps))  # of whole numbers too

    @property
    def frames_per_interval(self) -> int:
        """Into how many parts an interval is divided where that does not depend on the clock."""
        return self.multi or self.slow or 1

    @property
    def stretch(self) -> int:
        """How many times as long the result is as the source."""
        return self.slow or 1


class Timeline(NamedTuple):
    """Source frames in time, and what becomes of them."""

    timestamps: Sequence[Fraction]  # when each source frame appears, increasing
    end: Fraction  # when the last one disappears
    target: Target
    time_base: Fraction = Fraction(0)  # of the source's clock: its stamps are known no better
    distinct: Sequence[int] | None = None  # frames to interpolate between; None: all

    @property
    def start(self) -> Fraction:
        """When the first frame appears."""
        return self.timestamps[0]

    @property
    def output_end(self) -> Fraction:
        """When the last output frame disappears."""
        if self.target.fps is not None:
            return self.start + self.num_frames / self.target.fps
        return self.start + (self.end - self.start) * self.target.stretch

    @property
    def num_frames(self) -> int:
        """How many output frames there are.

        With `multi` and `slow`: N times as many as in the source, as the last frame is held for
        its own duration in N equal shares. With `fps`: one at every multiple of 1 / fps, counted
        from the first source frame, up to the last source frame, and from there on as many as make
        the source's duration to the nearest frame. Either way the duration is the source's (times
        N for `slow`) to within one output frame.
        """
        if self.target.fps is not None:
            return count_frames_at_rate(self.start, self.timestamps[-1], self.end, self.target.fps)
        return len(self.timestamps) * self.target.frames_per_interval

    @property
    def output_time_base(self) -> Fraction:
        """The longest clock tick that counts every output time exactly, where containers can."""
        if self.target.fps is not None:
            grid = (self.start, 1 / self.target.fps)
        else:
            frames_per_interval = (
                self.target.multi or 1
            )  # of `slow` the parts are as long as the whole was
            grid = (self.start, *((b - a) / frames_per_interval for a, b in self.intervals()))
        time_base = find_time_base(grid)
        return (
            time_base
            if time_base.denominator <= MAX_TICKS_PER_SECOND
            else Fraction(1, MAX_TICKS_PER_SECOND)
        )

    def intervals(self) -> Iterator[tuple[Fraction, Fraction]]:
        """From when to when each source frame is shown."""
        yield from pairwise(self.timestamps)
        yield self.timestamps[-1], self.end

    def output_frames(
        self, is_cut: Callable[[int, int], bool] | None = None, *, uses_context_frames: bool = False
    ) -> Iterator[OutputFrame]:
        """Every output frame, in order.

        A frame that falls on a source frame is that frame, and so is one that misses it by no more
        than a tick of the source's clock (and 1/32 of the interval), since stamps are rounded to
        ticks: 33 ms is 1/30 s. Frames after the last source frame hold it.

        Args:
            is_cut: whether two source frames belong to different scenes: the first is then held
                until the second appears.
            uses_context_frames: tell the frames before and after as well, where intervals are even.
        """
        sources = range(len(self.timestamps)) if self.distinct is None else self.distinct
        timestamps = [self.timestamps[index] for index in sources]
        before = after = None
        for timestamp, when in self.output_times():
            place, time = locate_timestamp(timestamps, when, self.time_base)
            left = sources[place]
            right = sources[place + 1] if time else left
            if time and is_cut is not None and is_cut(left, right):
                right, time = left, Fraction(0)
            if uses_context_frames:
                is_near, is_far = (is_evenly_spaced(timestamps, place + step) for step in (0, 1))
                before = sources[place - 1] if is_near else None
                after = sources[place + 2] if time and is_far else None
            yield OutputFrame(timestamp, left, time, right, before, after)

    def output_times(self) -> Iterator[tuple[Fraction, Fraction]]:
        """When each output frame is shown, and which time of the source it shows."""
        for begin, end in self.intervals():
            yield from split_interval(
                begin, end, self.start, self.target, is_last=begin == self.timestamps[-1]
            )


def split_interval(
    begin: Fraction, end: Fraction, start: Fraction, target: Target, *, is_last: bool
) -> Iterator[tuple[Fraction, Fraction]]:
    """The output frames of the time in which one source frame is shown.

    Returns: when each is shown, and which time of the source it shows.

    Args:
        start: when the first source frame appears.
        is_last: whether the source ends there.
    """
    if target.fps is None:
        for share in range(target.frames_per_interval):
            when = begin + (end - begin) * share / target.frames_per_interval
            yield start + (when - start) * target.stretch, when
        return
    first = ceil((begin - start) * target.fps)
    if is_last:
        beyond = count_frames_at_rate(start, begin, end, target.fps)
    else:
        beyond = ceil((end - start) * target.fps)
    for number in range(first, beyond):
        yield start + number / target.fps, start + number / target.fps


def count_frames_at_rate(start: Fraction, last: Fraction, end: Fraction, fps: Fraction) -> int:
    """How many frames at a rate stand for a source; see `Timeline.num_frames`."""
    return max(1, ceil((last - start) * fps), floor((end - start) * fps + Fraction(1, 2)))


def locate_timestamp(
    timestamps: Sequence[Fraction], when: Fraction, time_base: Fraction = Fraction(0)
) -> tuple[int, Fraction]:
    """Index of the frame at or before a time, and how far on the way to the next one it is.

    Before the first frame and after the last, it is these frames.
    """
    left = bisect_right(timestamps, when) - 1
    if left < 0:
        return 0, Fraction(0)
    if left == len(timestamps) - 1:
        return left, Fraction(0)
    gap = timestamps[left + 1] - timestamps[left]
    slack = min(time_base, gap * MAX_SNAP)
    if when - timestamps[left] <= slack:
        return left, Fraction(0)
    if timestamps[left + 1] - when <= slack:
        return left + 1, Fraction(0)
    return left, (when - timestamps[left]) / gap


def is_evenly_spaced(timestamps: Sequence[Fraction], place: int) -> bool:
    """Whether there is a frame before this one and one after it, as far away as each other."""
    if not 0 < place < len(timestamps) - 1:
        return False
    earlier, later = (b - a for a, b in pairwise(timestamps[place - 1 : place + 2]))
    return abs(later - earlier) < MAX_UNEVENNESS * max(earlier, later)


def find_time_base(times: Sequence[Fraction]) -> Fraction:
    """The longest duration of which all of these are multiples; the times are not all zero."""
    denominator = 1
    for time in times:
        denominator = denominator * time.denominator // gcd(denominator, time.denominator)
    return Fraction(gcd(*(int(time * denominator) for time in times)), denominator)


def to_pts(time: Fraction, time_base: Fraction) -> int:
    """A time as a whole number of ticks, rounded to the nearest, halves up."""
    return floor(time / time_base + Fraction(1, 2))
