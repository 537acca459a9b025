"""Interpolation of a stream of frames, for programs with a decoder of their own."""

from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, NamedTuple

import torch
from torch import Tensor

from sgm_vfi.media.scene_cuts import detect_cuts
from sgm_vfi.model import DEFAULT, Interpolator
from sgm_vfi.model.api import FrameInterpolator, unwrap_network
from sgm_vfi.video.duplicates import drop_duplicates, is_duplicate
from sgm_vfi.video.frame_schedule import schedule_frames
from sgm_vfi.video.long_gaps import find_usual_gap
from sgm_vfi.video.memory_fallback import MAX_TIMES, MemoryAwareInterpolator, MemoryBudget
from sgm_vfi.video.options import VideoOptions
from sgm_vfi.video.output_timestamps import Interval, Target, output_times
from sgm_vfi.video.produce_output_frames import FrameProducer, FrameWindow

DEFAULT_DURATION = Fraction(1, 25)  # seconds that a single frame lasts
RECENT_FRAMES, FEWEST_FRAMES = 100, 3  # that tell the usual gap between frames


class TimedFrame(NamedTuple):
    """A frame and when it is shown."""

    seconds: Fraction
    frame: Tensor  # (3, H, W), RGB in [0, 1]


@dataclass(frozen=True)
class SourceFrame:
    """A frame of the input stream."""

    index: int
    timestamp: Fraction
    frame: Tensor  # (1, 3, H, W)


class FrameStream:
    """Reads a stream of frames once, for the schedule and for the producer.

    Args:
        frames: those to interpolate between.
        timestamps: of all frames of the input; grows as `frames` are read.
        holds: by the timestamp of a frame, when motion towards it begins; grows too.
    """

    def __init__(
        self,
        frames: Iterator[SourceFrame],
        timestamps: deque[Fraction],
        holds: Mapping[Fraction, Fraction],
    ) -> None:
        self.frames = frames
        self.holds = holds
        self.motions: dict[int, Fraction] = {}  # as `holds`, by the index of the frame
        self.timestamps = timestamps
        self.unscheduled: deque[tuple[int, Fraction]] = deque()
        self.unread: deque[tuple[int, Tensor]] = deque()  # by the producer
        self.last: Fraction | None = None
        self.gap = DEFAULT_DURATION  # seconds between the last two frames

    def _read(self) -> bool:
        source = next(self.frames, None)
        if source is None:
            return False
        if self.last is not None:
            self.gap = source.timestamp - self.last
        self.last = source.timestamp
        if source.timestamp in self.holds:
            self.motions[source.index] = self.holds[source.timestamp]
        self.unscheduled.append((source.index, source.timestamp))
        self.unread.append((source.index, source.frame))
        return True

    def read_times(self) -> Iterator[tuple[int, Fraction]]:
        """Yield index and timestamp of each frame."""
        while self.unscheduled or self._read():
            yield self.unscheduled.popleft()

    def read_intervals(self) -> Iterator[Interval]:
        """Yield how long each frame of the input lasts; the last one as long as the one before."""
        while True:
            while len(self.timestamps) < 2 and self._read():
                pass
            if len(self.timestamps) < 2:
                break
            begin = self.timestamps.popleft()
            end = self.timestamps[0]
            yield Interval(begin, end, motion=self.holds.get(end))
        for begin in self.timestamps:
            yield Interval(begin, begin + self.gap, is_last=True)

    def read_frames(self) -> Iterator[tuple[int, Tensor]]:
        """Yield index and picture of each frame whose time was read."""
        while True:
            yield self.unread.popleft()


def interpolate(
    frames: Iterable[Tensor] | Iterable[tuple[Fraction, Tensor]],
    options: VideoOptions | None = None,
    *,
    rate: Fraction | int | None = None,
    network: Interpolator | FrameInterpolator | str | None = None,
    budget: MemoryBudget | None = None,
) -> Iterator[TimedFrame]:
    """Give the frames of a video with a higher, a lower or a slowed-down rate, as they are needed.

    What comes in and falls on an output time goes out as it is. Some frames are held at once: two,
    four for a network that looks around, the next few where cuts or repeats are looked for, and a
    byte per pixel of eight where overlays are. See `Timeline.num_frames` for how many there are.
    After a gap that is far longer than the last ones (`hold_gaps`) motion takes one usual gap.

    Args:
        frames: RGB in [0, 1], (3, H, W), on any device; with `rate`, at that rate from 0 s on;
            without, each as (seconds, frame), times increasing.
        options: what is wanted; of the files that they speak of nothing is read or written.
        network: any interpolator; by default the one that needs no weights.
        effort: of the network.

    Raises:
        ValueError: frames that are none or not of one size, or times that do not increase.

    Shapes: (3, H, W) -> the same.
    """
    options = options or VideoOptions()
    if options.loop or options.max_size is not None:
        raise ValueError("A stream of frames has no loop and no max_size: give scaled frames.")
    interpolator = MemoryAwareInterpolator(
        unwrap_network(DEFAULT if network is None else network),
        budget or MemoryBudget(),
        expected_times(options.target),
    )
    return interpolate_stream(number_frames(frames, rate), options, interpolator)


def interpolate_stream(
    frames: Iterator[SourceFrame], options: VideoOptions, interpolator: MemoryAwareInterpolator
) -> Iterator[TimedFrame]:
    """Schedule and make the output frames, with frames numbered from 0 whose times increase."""
    cuts: set[int] = set()  # grows as they are detected
    producer = FrameProducer(interpolator, options.producer_options(cuts))
    timestamps: deque[Fraction] = deque()
    holds: dict[Fraction, Fraction] = {}
    frames = record_holds(record_timestamps(frames, timestamps), options.hold_gaps, holds)
    if options.cuts:
        frames = record_cuts(frames, options.cut_threshold, cuts)
    if options.dedup:
        threshold = options.dedup_threshold
        frames = drop_duplicates(
            frames,
            lambda first, second: is_duplicate(first.frame, second.frame, threshold),
            lambda source: source.timestamp,
        )
    stream = FrameStream(frames, timestamps, holds)
    window = FrameWindow(stream.read_frames(), producer.observe)
    schedule = schedule_frames(
        stream.read_times(),
        output_times(stream.read_intervals(), options.target),
        holds=stream.motions,
        is_cut=producer.options.crosses_cut if options.at_cuts == "hold" else None,
        uses_context_frames=producer.interpolator.uses_context_frames,
    )
    for output_frame in schedule:
        with torch.inference_mode():
            produced = producer.produce(output_frame, window)
        yield TimedFrame(output_frame.timestamp, produced.frame[0])


def number_frames(frames: Iterable[Any], rate: Fraction | int | None) -> Iterator[SourceFrame]:
    """Number the frames, and raise if they are not of one size or their times do not increase."""
    before = size = None
    for index, item in enumerate(frames):
        timestamp, frame = (index / Fraction(rate), item) if rate is not None else item
        if not isinstance(frame, Tensor) or frame.ndim != 3 or frame.shape[0] != 3:
            got = tuple(frame.shape) if isinstance(frame, Tensor) else type(frame).__name__
            raise ValueError(f"Frames are tensors (3, H, W); number {index} is {got}.")
        size = size or frame.shape
        if frame.shape != size:
            raise ValueError(
                f"Frames are of one size; number {index} is {tuple(frame.shape)} after "
                f"{tuple(size)}. Resize them, or give the parts one by one."
            )
        source = SourceFrame(index, Fraction(timestamp), frame[None])
        if before is not None and source.timestamp <= before:
            raise ValueError(
                f"Times increase; frame {index} comes at {timestamp} after {before} s."
            )
        before = source.timestamp
        yield source


def record_timestamps(
    frames: Iterator[SourceFrame], timestamps: deque[Fraction]
) -> Iterator[SourceFrame]:
    """Pass frames on, and append their timestamps to a queue."""
    for source in frames:
        timestamps.append(source.timestamp)
        yield source


def record_holds(
    frames: Iterator[SourceFrame], hold_gaps: float, holds: dict[Fraction, Fraction]
) -> Iterator[SourceFrame]:
    """Pass frames on, and record the long gaps in which the frame before is held.

    As `find_holds` does, but the usual gap is that of the last frames, as later ones are unknown.

    Args:
        holds: receives, by the timestamp of the frame after a long gap, when motion begins.
    """
    recent: deque[Fraction] = deque(maxlen=RECENT_FRAMES)
    for source in frames:
        if hold_gaps and len(recent) > FEWEST_FRAMES:
            usual = find_usual_gap(recent)
            if source.timestamp - recent[-1] > usual * Fraction(hold_gaps):
                holds[source.timestamp] = source.timestamp - usual
        recent.append(source.timestamp)
        yield source


def record_cuts(
    frames: Iterator[SourceFrame], threshold: float, cuts: set[int]
) -> Iterator[SourceFrame]:
    """Pass frames on, and add the indices of those that begin a scene to `cuts`."""
    for source, begins in detect_cuts(frames, lambda source: source.frame, threshold):
        if begins:
            cuts.add(source.index)
        yield source


def expected_times(target: Target) -> list[Fraction]:
    """Return the times between two frames that are likely to be needed."""
    shares = MAX_TIMES if target.rate is not None else target.frames_per_interval
    return [Fraction(share, shares) for share in range(1, shares)]
