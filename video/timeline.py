"""Timestamps of output frames, and the source frames that each lies between.

All times are exact: `fractions.Fraction` seconds.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import pairwise
from math import ceil, floor, gcd
from typing import NamedTuple

from sgm_vfi.model.cli_options import parse_multiple
from sgm_vfi.video.option_fields import option, parse_rate

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

    multi: int | None = field(
        default=None,
        metadata=option(
            "N times as many frames: N - 1 new ones in every gap (default: 2)",
            metavar="N",
            parse=parse_multiple,
            for_videos=False,
        ),
    )
    fps: Fraction | int | None = field(
        default=None,
        metadata=option(
            "videos: R frames per second, more or fewer, such as 60 or 24000/1001",
            metavar="R",
            parse=parse_rate,
        ),
    )
    slow: int | None = field(
        default=None,
        metadata=option(
            "videos: slow motion, N times as long, without sound", metavar="N", parse=parse_multiple
        ),
    )

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
    def rate(self) -> Fraction | None:
        """The constant output rate, if `fps` is given."""
        return None if self.fps is None else Fraction(self.fps)

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
        if self.target.rate is not None:
            return self.start + self.num_frames / self.target.rate
        return self.start + (self.end - self.start) * self.target.stretch

    @property
    def num_frames(self) -> int:
        """Number of output frames.

        With `multi` and `slow`: N times that of the source; the last source frame is held for its
        duration. With `fps`: one at every multiple of 1 / fps from the first to the last source
        frame, then as many as bring the duration to the source's, rounded to frames. In both cases
        the duration equals the source's (times N for `slow`) to within one output frame.
        """
        if self.target.rate is not None:
            return count_frames_at_rate(self.start, self.timestamps[-1], self.end, self.target.rate)
        return len(self.timestamps) * self.target.frames_per_interval

    @property
    def output_time_base(self) -> Fraction:
        """The longest tick that represents every output time exactly, if containers support it."""
        if self.target.rate is not None:
            grid = [self.start, 1 / self.target.rate]
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
        """Yield every output frame, in order; see `schedule_frames`."""
        indices = range(len(self.timestamps)) if self.distinct is None else self.distinct
        last = self.timestamps[-1]
        intervals = ((begin, end, begin == last) for begin, end in self.intervals())
        return schedule_frames(
            ((index, self.timestamps[index]) for index in indices),
            output_times(intervals, self.target),
            time_base=self.time_base,
            is_cut=is_cut,
            uses_context_frames=uses_context_frames,
        )


def schedule_frames(
    frames: Iterator[tuple[int, Fraction]],
    times: Iterable[tuple[Fraction, Fraction]],
    *,
    time_base: Fraction = Fraction(0),
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
        is_cut: whether two source frames belong to different scenes: the first is then repeated
            until the second appears.
        uses_context_frames: add the frames before and after, where intervals are even.
    """

    before, left, right = None, next(frames, None), next(frames, None)
    if left is None:
        return
    after = next(frames, None) if uses_context_frames else None
    for timestamp, when in times:
        while right and right[1] - when <= find_slack(left, right, time_base):
            before, left = left, right
            right = after if uses_context_frames else next(frames, None)
            after = next(frames, None) if uses_context_frames else None
        time, end = Fraction(0), left[0]
        is_between = right and when - left[1] > find_slack(left, right, time_base)
        if right and is_between and not (is_cut and is_cut(left[0], right[0])):
            time, end = (when - left[1]) / (right[1] - left[1]), right[0]
        yield OutputFrame(
            timestamp,
            left[0],
            time,
            end,
            before[0]
            if uses_context_frames and before and is_evenly_spaced(before, left, right)
            else None,
            after[0] if time and after and is_evenly_spaced(left, right, after) else None,
        )


def output_times(
    intervals: Iterable[tuple[Fraction, Fraction, bool]], target: Target
) -> Iterator[tuple[Fraction, Fraction]]:
    """Yield the timestamp of each output frame, and the source time that it shows.

    Args:
        intervals: for each source frame, when it appears, when it disappears, and whether it is
            the last one.
    """
    start = None
    for begin, end, is_last in intervals:
        start = begin if start is None else start
        yield from split_interval(begin, end, start, target, is_last=is_last)


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
    rate = target.rate
    if rate is None:
        for share in range(target.frames_per_interval):
            when = begin + (end - begin) * share / target.frames_per_interval
            yield start + (when - start) * target.stretch, when
        return
    first = ceil((begin - start) * rate)
    if is_last:
        beyond = count_frames_at_rate(start, begin, end, rate)
    else:
        beyond = ceil((end - start) * rate)
    for number in range(first, beyond):
        yield start + number / rate, start + number / rate


def count_frames_at_rate(start: Fraction, last: Fraction, end: Fraction, fps: Fraction) -> int:
    """Return the number of output frames at a constant rate; see `Timeline.num_frames`."""
    return max(1, ceil((last - start) * fps), floor((end - start) * fps + Fraction(1, 2)))


def find_slack(
    left: tuple[int, Fraction], right: tuple[int, Fraction], time_base: Fraction
) -> Fraction:
    """Return how far an output time may miss a source frame and still show it, in seconds."""
    return min(time_base, (right[1] - left[1]) * MAX_SNAP)


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


def find_time_base(times: Sequence[Fraction]) -> Fraction:
    """Return the longest duration that divides all times, which are not all zero."""
    denominator = 1
    for time in times:
        denominator = denominator * time.denominator // gcd(denominator, time.denominator)
    return Fraction(gcd(*(int(time * denominator) for time in times)), denominator)


def to_pts(time: Fraction, time_base: Fraction) -> int:
    """Convert seconds to ticks, rounded to the nearest, halves up."""
    return floor(time / time_base + Fraction(1, 2))
