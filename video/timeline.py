"""Timestamps of output frames, and the source frames that each lies between.

All times are exact: `fractions.Fraction` seconds.
"""

from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from math import ceil, floor, gcd
from typing import NamedTuple

MAX_TICKS_PER_SECOND = 2**30  # that every container supports
MAX_SNAP = Fraction(1, 32)  # of an interval: largest distance to a source frame that counts as 0
MAX_UNEVENNESS = Fraction(1, 8)  # of an interval: timestamps are rounded


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


@dataclass(frozen=True, kw_only=True)
class Target:
    """The output frame rate; exactly one of the three is given.

    Args:
        multi: N output frames per source frame.
        fps: constant output rate, higher or lower than that of the source.
        slow: N output frames per source frame, N times as long: slow motion.
    """

    multi: int | None = None
    fps: Fraction | int | None = None
    slow: int | None = None

    def __post_init__(self) -> None:
        given = [name for name in ("multi", "fps", "slow") if getattr(self, name) is not None]
        if len(given) != 1:
            raise ValueError(
                f"Give exactly one of multi, fps and slow, got {', '.join(given) or 'none'}."
            )
        for name in ("multi", "slow"):
            value = getattr(self, name)
            if value is not None and value < 2:
                raise ValueError(f"{name} must be a whole number from 2 up, got {value}.")
        if self.fps is None:
            return
        if isinstance(self.fps, float):
            raise ValueError(
                f"fps must be an exact rate such as Fraction(60000, 1001), got {self.fps}."
            )
        if self.fps <= 0:
            raise ValueError(f"fps must be above 0, got {self.fps}.")
        object.__setattr__(self, "fps", Fraction(self.fps))

    @property
    def frames_per_interval(self) -> int:
        """Number of output frames per source frame, for `multi` and `slow`."""
        return self.multi or self.slow or 1

    @property
    def stretch(self) -> int:
        """Ratio of the durations of output and source."""
        return self.slow or 1


class Timeline(NamedTuple):
    """Timestamps of source frames, and the output frames made of them."""

    timestamps: Sequence[Fraction]  # of source frames, increasing, in seconds
    end: Fraction  # of the last source frame
    target: Target
    time_base: Fraction = Fraction(0)  # resolution of the timestamps
    distinct: Sequence[int] | None = None  # frames to interpolate between; None: all

    @property
    def start(self) -> Fraction:
        """Timestamp of the first frame."""
        return self.timestamps[0]

    @property
    def output_end(self) -> Fraction:
        """End of the last output frame, in seconds."""
        if self.target.fps is not None:
            return self.start + self.num_frames / self.target.fps
        return self.start + (self.end - self.start) * self.target.stretch

    @property
    def num_frames(self) -> int:
        """Number of output frames.

        With `multi` and `slow`: N times that of the source; the last source frame is held for its
        duration. With `fps`: one at every multiple of 1 / fps from the first to the last source
        frame, then as many as bring the duration to the source's, rounded to frames. In both cases
        the duration equals the source's (times N for `slow`) to within one output frame.
        """
        if self.target.fps is not None:
            return count_frames_at_rate(self.start, self.timestamps[-1], self.end, self.target.fps)
        return len(self.timestamps) * self.target.frames_per_interval

    @property
    def output_time_base(self) -> Fraction:
        """The longest tick that represents every output time exactly, if containers support it."""
        if self.target.fps is not None:
            grid = [self.start, 1 / Fraction(self.target.fps)]
        else:  # with `slow`, output intervals are as long as those of the source
            grid = [self.start, *((b - a) / (self.target.multi or 1) for a, b in self.intervals())]
        time_base = find_time_base(grid)
        is_too_fine = time_base.denominator > MAX_TICKS_PER_SECOND
        return Fraction(1, MAX_TICKS_PER_SECOND) if is_too_fine else time_base

    def intervals(self) -> Iterator[tuple[Fraction, Fraction]]:
        """Yield the start and the end of each source frame."""
        yield from pairwise(self.timestamps)
        yield self.timestamps[-1], self.end

    def output_frames(
        self, is_cut: Callable[[int, int], bool] | None = None, *, uses_context_frames: bool = False
    ) -> Iterator[OutputFrame]:
        """Yield every output frame, in order.

        An output frame at the timestamp of a source frame is that frame. Distances up to one tick
        of the source (and 1/32 of the interval) are ignored, as timestamps are rounded to ticks:
        33 ms stands for 1/30 s. Frames after the last source frame repeat it.

        Args:
            is_cut: returns whether two source frames belong to different scenes; then the first is
                held until the second.
            uses_context_frames: also set `before` and `after` where intervals are even.
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
        """Yield the timestamp of each output frame and the source time that it shows."""
        for begin, end in self.intervals():
            yield from split_interval(
                begin, end, self.start, self.target, is_last=begin == self.timestamps[-1]
            )


def split_interval(
    begin: Fraction, end: Fraction, start: Fraction, target: Target, *, is_last: bool
) -> Iterator[tuple[Fraction, Fraction]]:
    """Yield the output frames between the start and the end of one source frame.

    Args:
        start: timestamp of the first source frame.
        is_last: whether it is the last source frame.

    Yields:
        The timestamp of an output frame, and the source time that it shows.
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
    """Return the number of output frames at a constant rate; see `Timeline.num_frames`."""
    return max(1, ceil((last - start) * fps), floor((end - start) * fps + Fraction(1, 2)))


def locate_timestamp(
    timestamps: Sequence[Fraction], when: Fraction, time_base: Fraction = Fraction(0)
) -> tuple[int, Fraction]:
    """Return the index of the frame at or before a time, and the position to the next in [0, 1).

    Times before the first frame or after the last are those of that frame.
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
    """Return whether the frames before and after this one exist and are equally far away."""
    if not 0 < place < len(timestamps) - 1:
        return False
    earlier, later = (b - a for a, b in pairwise(timestamps[place - 1 : place + 2]))
    return abs(later - earlier) < MAX_UNEVENNESS * max(earlier, later)


def find_time_base(times: Sequence[Fraction]) -> Fraction:
    """Return the longest duration that divides all times, which are not all zero."""
    denominator = 1
    for time in times:
        denominator = denominator * time.denominator // gcd(denominator, time.denominator)
    return Fraction(gcd(*(int(time * denominator) for time in times)), denominator)


def to_pts(time: Fraction, time_base: Fraction) -> int:
    """Convert seconds to ticks, rounded to the nearest, halves up."""
    return floor(time / time_base + Fraction(1, 2))
