"""Timestamps of output frames, made of those of the source.

All times are exact: `fractions.Fraction` seconds.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import pairwise
from math import ceil, floor, gcd
from typing import NamedTuple

from sgm_vfi.model.cli_options import parse_multiple
from sgm_vfi.video.frame_schedule import NO_HOLDS, OutputFrame, schedule_frames
from sgm_vfi.video.options_from_dataclass_fields import option, parse_rate, parse_slow

MAX_TICKS_PER_SECOND = 2**30  # that every container supports


@dataclass(frozen=True, kw_only=True)
class Target:
    """The output frame rate; exactly one of the three is given.

    Args:
        multi: N output frames per source frame.
        fps: constant output rate, higher or lower than that of the source.
        slow: N times as long, slow motion: with as many output frames per source frame if N is a
            whole number, else at the mean rate of the source.
        source_rate: mean rate of the source, for `slow` that is no whole number.
    """

    multi: int | None = field(
        default=None,
        metadata=option(
            "N times as many frames: N - 1 new ones in every gap (default: 2)",
            metavar="N",
            parse=parse_multiple,
            for_videos=False,
            is_common=True,
        ),
    )
    fps: Fraction | int | None = field(
        default=None,
        metadata=option(
            "videos: R frames per second, more or fewer, such as 60 or 24000/1001",
            metavar="R",
            parse=parse_rate,
            is_common=True,
        ),
    )
    slow: Fraction | int | None = field(
        default=None,
        metadata=option(
            "videos: slow motion, N times as long, such as 4, 1.5 or 5/3; see --slow_sound",
            metavar="N",
            parse=parse_slow,
            is_common=True,
        ),
    )
    source_rate: Fraction | None = None

    def __post_init__(self) -> None:
        given = [name for name in ("multi", "fps", "slow") if getattr(self, name) is not None]
        if len(given) != 1:
            raise ValueError(
                f"Give exactly one of multi, fps and slow, got {', '.join(given) or 'none'}."
            )
        if self.multi is not None and self.multi < 2:
            raise ValueError(f"multi must be a whole number from 2 up, got {self.multi}.")
        if self.slow is not None and (isinstance(self.slow, float) or self.slow <= 1):
            raise ValueError(
                f"slow must be above 1 and exact, such as 2 or Fraction(3, 2), got {self.slow}."
            )
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
        """Output frames per second of the source, if they do not depend on its frames.

        Raises:
            ValueError: `slow` is no whole number, and the rate of the source is unknown.
        """
        if self.slow is not None and self.slow != int(self.slow):
            if self.source_rate is None:
                raise ValueError(f"slow is a whole number from 2 up here, got {self.slow}.")
            return self.source_rate * self.slow
        return None if self.fps is None else Fraction(self.fps)

    @property
    def frames_per_interval(self) -> int:
        """Number of output frames per source frame, for `multi` and `slow`; rounded up."""
        return self.multi or ceil(self.slow or 1)

    @property
    def stretch(self) -> Fraction:
        """Ratio of the durations of output and source."""
        return Fraction(self.slow or 1)


class Interval(NamedTuple):
    """The time from one source frame to the next, in seconds."""

    begin: Fraction
    end: Fraction
    is_last: bool = False  # of the source: the frame is shown until the end
    motion: Fraction | None = None  # when motion begins, if the frame is held first
    slots: int = 1  # source frames for which there is room: more than one if some are missing


class Timeline(NamedTuple):
    """Timestamps of source frames, and the output frames made of them."""

    timestamps: Sequence[Fraction]  # of source frames, increasing, in seconds
    end: Fraction  # of the last source frame
    target: Target
    time_base: Fraction = Fraction(0)  # resolution of the timestamps
    distinct: Sequence[int] | None = None  # frames to interpolate between; None: all
    holds: Mapping[int, Fraction] = NO_HOLDS  # see `schedule_frames`
    spacing: Fraction | None = None  # of source frames, some of which are missing
    is_loop: bool = False  # the first frame comes again at the end, as frame N of N

    @property
    def source_times(self) -> Sequence[Fraction]:
        """Timestamps of the frames to interpolate between; of a loop, the end too."""
        return (*self.timestamps, self.end) if self.is_loop else self.timestamps

    @property
    def start(self) -> Fraction:
        """Timestamp of the first frame."""
        return self.timestamps[0]

    @property
    def output_end(self) -> Fraction:
        """End of the last output frame, in seconds."""
        if self.target.rate is not None:
            return self.start + self.num_frames / self.target.rate * self.target.stretch
        return self.start + (self.end - self.start) * self.target.stretch

    @property
    def num_frames(self) -> int:
        """Number of output frames.

        With `multi` and `slow`: N times that of the source, of which missing frames are part; the
        last source frame is held for its duration. With `fps`: one at every multiple of 1 / fps
        from the first to the last source frame, then as many as bring the duration to the
        source's, rounded to frames. In both cases the duration equals the source's (times N for
        `slow`) to within one output frame. A loop has as many: the last source frame is not held.
        """
        if self.target.rate is not None:
            return count_frames_at_rate(self.start, self.timestamps[-1], self.end, self.target.rate)
        num_slots = len(self.timestamps)
        if self.spacing is not None:
            num_slots = sum(interval.slots for interval in self.intervals())
        return num_slots * self.target.frames_per_interval

    @property
    def output_time_base(self) -> Fraction:
        """The longest tick that represents every output time exactly, if containers support it."""
        if self.target.rate is not None:
            grid = [self.start, self.target.stretch / self.target.rate]
        else:  # with `slow`, output intervals are as long as those of the source
            grid = [self.start]
            for step in self.intervals():
                motion = step.begin if step.motion is None else step.motion
                grid += [] if step.motion is None else [step.end - step.begin]
                grid.append((step.end - motion) / (self.target.multi or 1) / step.slots)
        time_base = find_time_base(grid)
        is_too_fine = time_base.denominator > MAX_TICKS_PER_SECOND
        return Fraction(1, MAX_TICKS_PER_SECOND) if is_too_fine else time_base

    def intervals(self) -> Iterator[Interval]:
        """Yield the time that each source frame lasts."""
        for index, (begin, end) in enumerate(pairwise(self.timestamps), start=1):
            slots = 1 if self.spacing is None else round((end - begin) / self.spacing)
            yield Interval(begin, end, motion=self.holds.get(index), slots=slots)
        motion = self.holds.get(len(self.timestamps))  # of a loop
        yield Interval(self.timestamps[-1], self.end, is_last=True, motion=motion)

    def output_frames(
        self, is_cut: Callable[[int, int], bool] | None = None, *, uses_context_frames: bool = False
    ) -> Iterator[OutputFrame]:
        """Yield every output frame, in order; see `schedule_frames`."""
        source_times = self.source_times
        indices = range(len(source_times)) if self.distinct is None else self.distinct
        return schedule_frames(
            ((index, source_times[index]) for index in indices),
            output_times(self.intervals(), self.target),
            time_base=self.time_base,
            holds=self.holds,
            is_cut=is_cut,
            uses_context_frames=uses_context_frames,
        )


def output_times(
    intervals: Iterable[Interval], target: Target
) -> Iterator[tuple[Fraction, Fraction]]:
    """Yield the timestamp of each output frame, and the source time that it shows."""
    start = None
    for interval in intervals:
        start = interval.begin if start is None else start
        yield from split_interval(interval, start, target)


def split_interval(
    interval: Interval, start: Fraction, target: Target
) -> Iterator[tuple[Fraction, Fraction]]:
    """Yield the output frames between a source frame and the next.

    Args:
        start: timestamp of the first source frame.

    Yields:
        The timestamp of an output frame, and the source time that it shows.
    """
    begin, end, is_last, motion, slots = interval
    rate = target.rate
    if rate is None:
        count = target.frames_per_interval * slots
        for share in range(count):
            moving = begin if motion is None or not share else motion
            when = moving + (end - moving) * share / count
            yield start + (when - start) * target.stretch, when
        return
    first = ceil((begin - start) * rate)
    if is_last:
        beyond = count_frames_at_rate(start, begin, end, rate)
    else:
        beyond = ceil((end - start) * rate)
    for number in range(first, beyond):
        yield start + number / rate * target.stretch, start + number / rate


def count_frames_at_rate(start: Fraction, last: Fraction, end: Fraction, fps: Fraction) -> int:
    """Return the number of output frames at a constant rate; see `Timeline.num_frames`."""
    return max(1, ceil((last - start) * fps), floor((end - start) * fps + Fraction(1, 2)))


def find_time_base(times: Sequence[Fraction]) -> Fraction:
    """Return the longest duration that divides all times, which are not all zero."""
    denominator = 1
    for time in times:
        denominator = denominator * time.denominator // gcd(denominator, time.denominator)
    return Fraction(gcd(*(int(time * denominator) for time in times)), denominator)


def to_pts(time: Fraction, time_base: Fraction) -> int:
    """Convert seconds to ticks, rounded to the nearest, halves up."""
    return floor(time / time_base + Fraction(1, 2))
