"""Decoding, interpolation and encoding, each in a thread of its own, with a few frames between.

How much memory they take does not depend on how long the video is.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor

from video.colour import shared_excess
from video.segments import Segment, Workplace
from video.source import Source
from video.synthesis import Synthesis
from video.threads import Sink, ahead
from video.timeline import Moment

DECODED, MADE = 2, 4  # frames that wait for the network, and for the encoder


class Writer(Protocol):
    """Takes the pictures of a segment."""

    def write(self, frame: Tensor) -> None:
        """Shapes: (1, 3, H, W)."""

    def close(self) -> dict[str, Any]:
        """Finish; give what is to be known when segments are joined."""


class Made(NamedTuple):
    """A frame on its way to the encoder; None ends a segment."""

    segment: Segment
    frame: Tensor | None


def run(
    source: Source,
    todo: Callable[[], Iterable[Segment]],
    make: Callable[[Moment, "Frames"], Tensor],
    open_piece: Callable[[int], Writer],
    work: Workplace,
    device: torch.device,
    progress: Callable[[int], None],
) -> None:
    """Make and encode the frames of some segments, in order.

    Args:
        todo: the segments; called twice, as decoding runs ahead of the rest.
        make: the frame of a moment.
        open_piece: begins to write the segment of that number.
        progress: told how many frames were encoded since the last call.
    """
    writers: dict[int, Writer] = {}

    def write(made: Made) -> None:
        number = made.segment.number
        if number not in writers:
            writers[number] = open_piece(number)
        if made.frame is None:
            work.finish(number, writers.pop(number).close())
        else:
            writers[number].write(made.frame)
            progress(1)

    def decoded() -> Iterator[tuple[int, Tensor]]:
        for index, planes in source.planes(wanted(todo())):
            planes = [plane.to(device) for plane in planes]
            yield index, source.colours.to_rgb(planes)

    stream = ahead(decoded(), DECODED)
    try:
        with torch.inference_mode(), Sink(write, MADE) as sink:
            frames = Frames(stream)
            for segment in todo():
                for moment in segment.moments:
                    sink.put(Made(segment, make(moment, frames)))
                sink.put(Made(segment, None))
    finally:
        stream.close()
        for number in writers:
            work.begun(number).unlink(missing_ok=True)


def wanted(segments: Iterable[Segment]) -> Iterator[int]:
    """The source frames that segments need, each once, in order."""
    last = -1
    for segment in segments:
        for moment in segment.moments:
            for index in (moment.left, moment.right):
                if index > last:
                    last = index
                    yield index


class Frames:
    """The source frames around the present moment; earlier ones are forgotten."""

    def __init__(self, stream: Iterator[tuple[int, Tensor]]) -> None:
        self.stream = stream
        self.held: dict[int, Tensor] = {}

    def pair(self, moment: Moment) -> tuple[Tensor, Tensor]:
        """The frames before and after a moment. Shapes: (1, 3, H, W) each."""
        for index in [index for index in self.held if index < moment.left]:
            del self.held[index]
        while moment.right not in self.held:
            index, frame = next(self.stream)
            if index >= moment.left:
                self.held[index] = frame
        return self.held[moment.left], self.held[moment.right]


class Maker:
    """Makes the frame of a moment: source frames as they are, and between them what a network says.

    Networks see frames clamped to [0, 1]. What both neighbours have beyond is added to their
    result, so that it does not flicker.
    """

    def __init__(self, synthesis: Synthesis) -> None:
        self.synthesis = synthesis
        self.pair: tuple[int, int] | None = None
        self.clamped: tuple[Tensor, Tensor]
        self.excess: Tensor

    def __call__(self, moment: Moment, frames: Frames) -> Tensor:
        """Shapes: -> (1, 3, H, W)."""
        frame0, frame1 = frames.pair(moment)
        if not moment.time:
            return frame0
        pair = (moment.left, moment.right)
        if pair != self.pair:
            self.pair = pair
            self.clamped = (frame0.clamp(0, 1), frame1.clamp(0, 1))
            self.excess = shared_excess(frame0, frame1)
        made = self.synthesis.at(pair, *self.clamped, moment.time)
        return made.frame.clamp(0, 1) + self.excess
