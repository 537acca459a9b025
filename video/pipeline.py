"""Decoding, interpolation and encoding, each in a thread of its own, with a few frames between.

How much memory they take does not depend on how long the video is.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import Any, Generic, NamedTuple, Protocol, TypeVar

import torch
from torch import Tensor

from sgm_vfi.video.segments import Segment, WorkFolder
from sgm_vfi.video.source import Source
from sgm_vfi.video.threads import Sink, ahead
from sgm_vfi.video.timeline import Moment

DECODED, MADE = 2, 4  # frames that wait for the network, and for the encoder

Made = TypeVar("Made")


class Frames:
    """The source frames around the present moment; earlier ones are forgotten."""

    def __init__(self, stream: Iterator[tuple[int, Tensor]], see: Callable[[Tensor], None]) -> None:
        self.stream = stream
        self.see = see  # is shown each frame as it comes
        self.held: dict[int, Tensor] = {}

    def pair(self, moment: Moment) -> tuple[Tensor, Tensor]:
        """The frames before and after a moment. Shapes: (1, 3, H, W) each."""
        first = first_of(moment)
        for index in [index for index in self.held if index < first]:
            del self.held[index]
        self._read(first, moment.right)
        return self.held[moment.left], self.held[moment.right]

    def around(self, moment: Moment) -> dict[str, Tensor]:
        """The frames on either side of this pair, by the names of a network that looks there.

        Reads no further than `pair` where the moment names none. Shapes: (1, 3, H, W) each.
        """
        places = {"before": moment.before, "after": moment.after}
        wanted = {name: index for name, index in places.items() if index is not None}
        for index in wanted.values():
            self._read(first_of(moment), index)
        return {name: self.held[index] for name, index in wanted.items()}

    def _read(self, first: int, last: int) -> None:
        """Take frames of the stream up to one, and hold those from another on."""
        while last not in self.held:
            index, frame = next(self.stream)
            self.see(frame)
            if index >= first:
                self.held[index] = frame


class Making(Protocol[Made]):
    """Makes what is written, moment by moment."""

    def see(self, frame: Tensor) -> None:
        """Is shown each source frame as it comes."""

    def shoot(self, moment: Moment, frames: Frames) -> Made:
        """What is written of a moment."""

    def take_tally(self) -> dict[str, Any]:
        """What is to be known about what was made since the last call."""


class Writing(Protocol[Made]):
    """Takes what was made of a segment."""

    def write(self, made: Made) -> None:
        """Take what was made of one moment."""

    def close(self) -> dict[str, Any]:
        """Finish; give what is to be known when segments are joined."""


class Message(NamedTuple, Generic[Made]):
    """What is on its way to be written."""

    number: int  # of the segment
    made: Made | None = None  # None: the segment ends
    tally: dict[str, Any] | None = None  # at the end


def run(
    source: Source,
    todo: Callable[[], Iterable[Segment]],
    maker: Making[Made],
    open_piece: Callable[[int], Writing[Made]],
    work: WorkFolder,
    device: torch.device,
    *,
    lead: int = 1,
    progress: Callable[[int], object] = lambda count: None,
) -> None:
    """Make and write some segments, in order.

    Args:
        todo: the segments; called twice, as decoding runs ahead of the rest.
        open_piece: begins to write the segment of that number.
        lead: how many source frames, up to the one after a moment, the maker has to see.
        progress: told how many frames were written since the last call.
    """
    open_pieces: dict[int, Writing[Made]] = {}

    def write(message: Message[Made]) -> None:
        number = message.number
        if number not in open_pieces:
            open_pieces[number] = open_piece(number)
        if message.made is not None:
            open_pieces[number].write(message.made)
            progress(1)
        else:
            work.finish(number, open_pieces.pop(number).close() | (message.tally or {}))

    stream = ahead(decoded(source, wanted(todo(), lead), device), DECODED)
    try:
        with torch.inference_mode(), Sink(write, MADE) as sink:
            frames = Frames(stream, maker.see)
            for segment in todo():
                for moment in segment.moments:
                    sink.put(Message(segment.number, maker.shoot(moment, frames)))
                sink.put(Message(segment.number, None, maker.take_tally()))
    finally:
        stream.close()
        for number in open_pieces:
            work.discard(number)


def decoded(
    source: Source, indices: Iterable[int], device: torch.device
) -> Iterator[tuple[int, Tensor]]:
    """Source frames by index, in RGB. Shapes: -> (1, 3, H, W)."""
    for index, planes in source.planes(indices):
        yield index, source.colours.to_rgb([plane.to(device) for plane in planes])


def first_of(moment: Moment) -> int:
    """The first source frame that a moment needs."""
    return moment.left if moment.before is None else moment.before


def wanted(segments: Iterable[Segment], lead: int = 1) -> Iterator[int]:
    """The source frames that segments need, each once, in order.

    Args:
        lead: how many frames are needed in a row, at least, up to the one after a moment.
    """
    last = -1
    for segment in segments:
        for moment in segment.moments:
            around = {moment.before, moment.after} - {None}
            needed = sorted({moment.left, moment.right} | around)
            if lead > 1:
                first = min(needed[0], moment.right - lead + 1)
                needed = [*range(max(first, 0), needed[-1] + 1)]
            for index in needed:
                if index > last:
                    last = index
                    yield index
