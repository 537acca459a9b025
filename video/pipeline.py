"""Decoding, interpolation and encoding, each in a thread of its own, with a few frames between.

How much memory they take does not depend on how long the video is.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import Any, Generic, NamedTuple, Protocol, TypeVar

import torch
from torch import Tensor

from sgm_vfi.video.segments import Segment, WorkFolder
from sgm_vfi.video.source_video import SourceVideo
from sgm_vfi.video.threads import BackgroundSink, prefetch
from sgm_vfi.video.timeline import OutputFrame

DECODE_QUEUE, WRITE_QUEUE = 2, 4  # frames that wait for the network, and for the encoder

Made = TypeVar("Made")


class FrameWindow:
    """The source frames around the present moment; earlier ones are forgotten."""

    def __init__(
        self, stream: Iterator[tuple[int, Tensor]], observe: Callable[[Tensor], None]
    ) -> None:
        self.stream = stream
        self.observe = observe  # is shown each frame as it comes
        self.held: dict[int, Tensor] = {}

    def get_pair(self, output_frame: OutputFrame) -> tuple[Tensor, Tensor]:
        """The frames before and after a moment. Shapes: (1, 3, H, W) each."""
        first = first_needed_frame(output_frame)
        for index in [index for index in self.held if index < first]:
            del self.held[index]
        self._read(first, output_frame.right)
        return self.held[output_frame.left], self.held[output_frame.right]

    def get_context(self, output_frame: OutputFrame) -> dict[str, Tensor]:
        """The frames on either side of this pair, by the names of a network that looks there.

        Reads no further than `pair` where the moment names none. Shapes: (1, 3, H, W) each.
        """
        places = {"before": output_frame.before, "after": output_frame.after}
        wanted = {name: index for name, index in places.items() if index is not None}
        for index in wanted.values():
            self._read(first_needed_frame(output_frame), index)
        return {name: self.held[index] for name, index in wanted.items()}

    def _read(self, first: int, last: int) -> None:
        """Take frames of the stream up to one, and hold those from another on."""
        while last not in self.held:
            index, frame = next(self.stream)
            self.observe(frame)
            if index >= first:
                self.held[index] = frame


class Producer(Protocol[Made]):
    """Makes what is written, moment by moment."""

    def observe(self, frame: Tensor) -> None:
        """Is shown each source frame as it comes."""

    def produce(self, output_frame: OutputFrame, frames: FrameWindow) -> Made:
        """What is written of a moment."""

    def take_stats(self) -> dict[str, Any]:
        """What is to be known about what was made since the last call."""


class OutputWriter(Protocol[Made]):
    """Takes what was made of a segment."""

    def write(self, made: Made) -> None:
        """Take what was made of one moment."""

    def close(self) -> dict[str, Any]:
        """Finish; give what is to be known when segments are joined."""


class WriteRequest(NamedTuple, Generic[Made]):
    """What is on its way to be written."""

    number: int  # of the segment
    made: Made | None = None  # None: the segment ends
    stats: dict[str, Any] | None = None  # at the end


def run_pipeline(
    source: SourceVideo,
    list_segments: Callable[[], Iterable[Segment]],
    producer: Producer[Made],
    open_writer: Callable[[int], OutputWriter[Made]],
    work: WorkFolder,
    device: torch.device,
    *,
    num_history: int = 1,
    progress: Callable[[int], object] = lambda count: None,
) -> None:
    """Make and write some segments, in order.

    Args:
        todo: the segments; called twice, as decoding runs ahead of the rest.
        open_piece: begins to write the segment of that number.
        lead: how many source frames, up to the one after a moment, the maker has to see.
        progress: told how many frames were written since the last call.
    """
    open_pieces: dict[int, OutputWriter[Made]] = {}

    def write(message: WriteRequest[Made]) -> None:
        number = message.number
        if number not in open_pieces:
            open_pieces[number] = open_writer(number)
        if message.made is not None:
            open_pieces[number].write(message.made)
            progress(1)
        else:
            work.finish(number, open_pieces.pop(number).close() | (message.stats or {}))

    stream = prefetch(
        decode_rgb(source, find_needed_frames(list_segments(), num_history), device), DECODE_QUEUE
    )
    try:
        with torch.inference_mode(), BackgroundSink(write, WRITE_QUEUE) as sink:
            frames = FrameWindow(stream, producer.observe)
            for segment in list_segments():
                for output_frame in segment.output_frames:
                    sink.put(WriteRequest(segment.number, producer.produce(output_frame, frames)))
                sink.put(WriteRequest(segment.number, None, producer.take_stats()))
    finally:
        stream.close()
        for number in open_pieces:
            work.discard(number)


def decode_rgb(
    source: SourceVideo, indices: Iterable[int], device: torch.device
) -> Iterator[tuple[int, Tensor]]:
    """Source frames by index, in RGB. Shapes: -> (1, 3, H, W)."""
    for index, planes in source.planes(indices):
        yield index, source.pixel_format.to_rgb([plane.to(device) for plane in planes])


def first_needed_frame(output_frame: OutputFrame) -> int:
    """The first source frame that a moment needs."""
    return output_frame.left if output_frame.before is None else output_frame.before


def find_needed_frames(segments: Iterable[Segment], num_history: int = 1) -> Iterator[int]:
    """The source frames that segments need, each once, in order.

    Args:
        lead: how many frames are needed in a row, at least, up to the one after a moment.
    """
    last = -1
    for segment in segments:
        for output_frame in segment.output_frames:
            around = {output_frame.before, output_frame.after} - {None}
            needed = sorted({output_frame.left, output_frame.right} | around)
            if num_history > 1:
                first = min(needed[0], output_frame.right - num_history + 1)
                needed = [*range(max(first, 0), needed[-1] + 1)]
            for index in needed:
                if index > last:
                    last = index
                    yield index
