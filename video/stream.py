"""Interpolation for people who bring their own decoder: frames in, more frames out."""

from collections import deque
from collections.abc import Iterable, Iterator
from fractions import Fraction
from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor

from sgm_vfi.model import DEFAULT, Interpolator, load_interpolator
from sgm_vfi.video.duplicates import drop_duplicates, is_duplicate
from sgm_vfi.video.frame_producer import FrameProducer, ProducerOptions
from sgm_vfi.video.memory_fallback import MAX_TIMES, MemoryAwareInterpolator, MemoryBudget
from sgm_vfi.video.options import VideoOptions
from sgm_vfi.video.scene_cuts import CutDetector
from sgm_vfi.video.timeline import (
    OutputFrame,
    Target,
    is_evenly_spaced,
    locate_timestamp,
    split_interval,
)


class TimedFrame(NamedTuple):
    """A frame and when it is shown."""

    seconds: Fraction
    frame: Tensor  # (3, H, W), RGB in [0, 1]


class SourceFrame(NamedTuple):
    """A frame as it came in."""

    index: int
    timestamp: Fraction
    frame: Tensor  # (1, 3, H, W)


class Pair(NamedTuple):
    """Two neighbours, for a maker, and the frames around them where those are of use."""

    left: SourceFrame
    right: SourceFrame
    before: SourceFrame | None = None
    after: SourceFrame | None = None

    def get_pair(self, output_frame: OutputFrame) -> tuple[Tensor, Tensor]:
        """Both, whatever the moment. Shapes: (1, 3, H, W) each."""
        return self.left.frame, self.right.frame

    def get_context(self, output_frame: OutputFrame) -> dict[str, Tensor]:
        """Those of the frames around that the moment names. Shapes: (1, 3, H, W) each."""
        sides = {
            "before": (output_frame.before, self.before),
            "after": (output_frame.after, self.after),
        }
        return {name: came.frame for name, (index, came) in sides.items() if index is not None}

    def indices_around(self) -> tuple[int | None, int | None]:
        """Those of the frames around that are as far away as the two are from each other."""
        before = after = None
        if self.before is not None and is_evenly_spaced(
            (self.before.timestamp, *self.timestamps), 1
        ):
            before = self.before.index
        if self.after is not None and is_evenly_spaced((*self.timestamps, self.after.timestamp), 1):
            after = self.after.index
        return before, after

    @property
    def timestamps(self) -> tuple[Fraction, Fraction]:
        return self.left.timestamp, self.right.timestamp


def interpolate(
    frames: Iterable[Tensor] | Iterable[tuple[Fraction, Tensor]],
    options: VideoOptions | None = None,
    *,
    rate: Fraction | int | None = None,
    network: Interpolator | None = None,
    budget: MemoryBudget | None = None,
) -> Iterator[TimedFrame]:
    """Give the frames of a video with a higher, a lower or a slowed-down rate, as they are needed.

    What comes in and falls on an output time goes out as it is. Some frames are held at once: two,
    four for a network that looks around, the next few where cuts or repeats are looked for, and a
    byte per pixel of eight where overlays are. See `Timeline.num_frames` for how many there are.

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
    interpolator = MemoryAwareInterpolator(
        load_interpolator(DEFAULT) if network is None else network,
        budget or MemoryBudget(),
        expected_times(options.target),
    )
    cuts: set[int] = set()
    producer_options = ProducerOptions(
        cuts=cuts,
        at_cuts=options.at_cuts,
        min_reliability=options.min_reliability,
        protect_static=options.protect_static,
    )
    return _interpolated(
        number_frames(frames, rate), options, cuts, FrameProducer(interpolator, producer_options)
    )


def _interpolated(
    stream: Iterator[SourceFrame], options: VideoOptions, cuts: set[int], producer: FrameProducer
) -> Iterator[TimedFrame]:
    timestamps: deque[Fraction] = deque()  # of all frames from the left one on
    stream = noted(stream, timestamps)
    if options.cuts:
        stream = with_cuts(stream, options.cut_threshold, cuts)
    if options.dedup:
        threshold = options.dedup_threshold
        stream = drop_duplicates(
            stream,
            lambda first, second: is_duplicate(first.frame, second.frame, threshold),
            lambda came: came.timestamp,
        )
    first = last = next(stream, None)
    if first is None:
        return
    start, gap = first.timestamp, Fraction(1, 25)
    with torch.inference_mode():
        producer.observe(first.frame)
    for pair in pairs(first, stream, uses_context_frames=producer.interpolator.uses_context_frames):
        last, gap = pair.right, pair.right.timestamp - pair.left.timestamp
        yield from between(pair, start, timestamps, options.target, producer)
    while len(timestamps) > 1:  # repeats of the last frame
        yield from held(
            last, timestamps.popleft(), timestamps[0], start, options.target, is_last=False
        )
    yield from held(last, timestamps[0], timestamps[0] + gap, start, options.target, is_last=True)


def pairs(
    first: SourceFrame, stream: Iterator[SourceFrame], *, uses_context_frames: bool
) -> Iterator[Pair]:
    """Each two neighbours. For the frames around them one more is read ahead, and one kept."""
    before, left, right = None, first, next(stream, None)
    while right is not None:
        after = next(stream, None) if uses_context_frames else None
        yield Pair(left, right, before, after)
        before = left if uses_context_frames else None
        left, right = right, after if uses_context_frames else next(stream, None)


def between(
    pair: Pair,
    start: Fraction,
    timestamps: deque[Fraction],
    target: Target,
    producer: FrameProducer,
) -> Iterator[TimedFrame]:
    """The output frames from one frame on until the next one, and forget the stamps in between."""
    left, right = pair.left, pair.right
    inner = [timestamp for timestamp in timestamps if timestamp <= right.timestamp]
    while timestamps[0] < right.timestamp:
        timestamps.popleft()
    with torch.inference_mode():
        producer.observe(right.frame)
    around = pair.indices_around()
    for begin, end in pairwise(inner):
        for timestamp, when in split_interval(begin, end, start, target, is_last=False):
            _, time = locate_timestamp([left.timestamp, right.timestamp], when)
            output_frame = OutputFrame(
                timestamp, left.index, time, right.index if time else left.index, *around
            )
            with torch.inference_mode():
                produced = producer.produce(output_frame, pair)
            yield TimedFrame(timestamp, produced.frame[0])


def held(
    last: SourceFrame,
    begin: Fraction,
    end: Fraction,
    start: Fraction,
    target: Target,
    *,
    is_last: bool,
) -> Iterator[TimedFrame]:
    """The output frames of a time in which nothing follows."""
    for timestamp, _ in split_interval(begin, end, start, target, is_last=is_last):
        yield TimedFrame(timestamp, last.frame[0])


def number_frames(
    frames: Iterable[Tensor] | Iterable[tuple[Fraction, Tensor]], rate: Fraction | int | None
) -> Iterator[SourceFrame]:
    """Number the frames, and see that they are some."""
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
        came = SourceFrame(index, Fraction(timestamp), frame[None])
        if before is not None and came.timestamp <= before:
            raise ValueError(
                f"Times increase; frame {index} comes at {timestamp} after {before} s."
            )
        before = came.timestamp
        yield came


def noted(stream: Iterator[SourceFrame], timestamps: deque[Fraction]) -> Iterator[SourceFrame]:
    """Pass frames on, and note when they come."""
    for came in stream:
        timestamps.append(came.timestamp)
        yield came


def with_cuts(
    stream: Iterator[SourceFrame], threshold: float, cuts: set[int]
) -> Iterator[SourceFrame]:
    """Pass frames on, and note those that begin a scene."""
    for came, begins in CutDetector(threshold).scan(stream, lambda came: came.frame):
        if begins:
            cuts.add(came.index)
        yield came


def expected_times(target: Target) -> list[Fraction]:
    """Times between two frames that will be asked for: of a rate, any."""
    shares = MAX_TIMES if target.fps is not None else target.frames_per_interval
    return [Fraction(share, shares) for share in range(1, shares)]
