"""Decode, interpolate and encode in three threads, connected by bounded queues.

Memory use does not depend on the length of the video.
"""

import queue
import threading
from collections.abc import Callable, Generator, Iterable, Iterator
from typing import Any, Generic, NamedTuple, Protocol, TypeVar

import torch
from torch import Tensor

from sgm_vfi.video.frame_schedule import OutputFrame
from sgm_vfi.video.produce_output_frames import FrameProducer, FrameWindow, ProducedFrame
from sgm_vfi.video.segments_and_ranks import Segment
from sgm_vfi.video.source_video import SourceVideo
from sgm_vfi.video.work_folder import WorkFolder

DECODE_QUEUE, WRITE_QUEUE = 2, 4  # frames that wait for the network, and for the encoder
POLL_SECONDS = 0.1  # between checks whether the other thread has stopped

T = TypeVar("T")


class OutputWriter(Protocol):
    """Writes the frames of one segment."""

    def write(self, produced: ProducedFrame) -> None:
        """Write one frame."""

    def close(self) -> dict[str, Any]:
        """Finish the segment and return what joining the segments needs to know."""


class WriteRequest(NamedTuple):
    """A message from the network's thread to the encoder's."""

    number: int  # of the segment
    produced: ProducedFrame | None = None  # None: the segment ends
    stats: dict[str, Any] | None = None  # at the end of the segment


def run_pipeline(
    source: SourceVideo,
    list_segments: Callable[[], Iterable[Segment]],
    producer: FrameProducer,
    open_writer: Callable[[int], OutputWriter],
    work: WorkFolder,
    device: torch.device,
    *,
    num_history: int = 1,
    progress: Callable[[ProducedFrame], object] = lambda produced: None,
    on_frame: Callable[[], object] = lambda: None,
    before_finish: Callable[[], object] = lambda: None,
    stop: Callable[[], bool] = lambda: False,
) -> None:
    """Produce and write segments in order.

    Args:
        list_segments: returns the segments. It is called twice, as decoding runs ahead.
        open_writer: opens the writer of the segment of the given number.
        num_history: number of source frames, up to the right one, that the producer must observe.
        progress: called with every frame that was written.
        on_frame: called in this thread for every produced frame; an error of it ends the job.
        before_finish: called before a segment counts as finished; may raise.
        stop: returns whether to end; the current segment is then finished with the frames that it
            has, up to a source frame.
    """
    writers = SegmentWriters(open_writer, work, progress, before_finish)
    indices = find_needed_frames(list_segments(), num_history)
    stream = prefetch(decode_rgb(source, indices, device), DECODE_QUEUE)
    try:
        with torch.inference_mode(), BackgroundSink(writers.write, WRITE_QUEUE) as sink:
            frames = FrameWindow(stream, producer.observe)
            for segment in list_segments():
                if stop():
                    break
                for output_frame in take_until(segment.output_frames, stop):
                    sink.put(WriteRequest(segment.number, producer.produce(output_frame, frames)))
                    on_frame()
                sink.put(WriteRequest(segment.number, None, producer.take_stats()))
    finally:
        stream.close()
        writers.discard()


class SegmentWriters:
    """Writers of the segments that are not finished; arguments as those of `run_pipeline`."""

    def __init__(
        self,
        open_writer: Callable[[int], OutputWriter],
        work: WorkFolder,
        progress: Callable[[ProducedFrame], object],
        before_finish: Callable[[], object],
    ) -> None:
        self.open_writer, self.work = open_writer, work
        self.progress, self.before_finish = progress, before_finish
        self.writers: dict[int, OutputWriter] = {}

    def write(self, request: WriteRequest) -> None:
        """Write one frame to its segment, or finish the segment."""
        number = request.number
        if number not in self.writers:
            self.writers[number] = self.open_writer(number)
        if request.produced is not None:
            self.writers[number].write(request.produced)
            self.progress(request.produced)
        else:
            record = self.writers[number].close() | (request.stats or {})
            self.before_finish()
            self.work.finish(number, record)
            del self.writers[number]

    def discard(self) -> None:
        """Remove what unfinished segments have written."""
        for number in self.writers:
            self.work.discard(number)


def take_until(
    output_frames: Iterable[OutputFrame], stop: Callable[[], bool]
) -> Iterator[OutputFrame]:
    """Yield output frames up to the first source frame after `stop` returns True."""
    left = None
    for output_frame in output_frames:
        if left is not None and output_frame.left != left and stop():
            return
        left = output_frame.left
        yield output_frame


def decode_rgb(
    source: SourceVideo, indices: Iterable[int], device: torch.device
) -> Generator[tuple[int, Tensor], None, None]:
    """Yield the index and the RGB frame (1, 3, H, W) of source frames."""
    for index, planes in source.planes(indices):
        yield index, source.pixel_format.to_rgb([plane.to(device) for plane in planes])


def find_needed_frames(segments: Iterable[Segment], num_history: int = 1) -> Iterator[int]:
    """Yield the indices of the source frames that segments need, each once, in order.

    Args:
        num_history: smallest number of consecutive frames needed, up to the right one.
    """
    last = -1
    for segment in segments:
        for frame in segment.output_frames:
            indices = (frame.left, frame.right, frame.before, frame.after)
            needed = sorted({index for index in indices if index is not None})
            if num_history > 1:
                first = min(needed[0], frame.right - num_history + 1)
                needed = [*range(max(first, 0), needed[-1] + 1)]
            for index in needed:
                if index > last:
                    last = index
                    yield index


class _End:
    """The last message of a queue, with the error that ended it, if any."""

    def __init__(self, error: BaseException | None = None) -> None:
        self.error = error


def prefetch(items: Iterable[T], size: int) -> Generator[T, None, None]:
    """Yield items while a thread computes up to `size` of the next ones.

    An error in computing an item is raised here, after the items before it. Closing the generator
    ends the thread.
    """
    waiting: queue.Queue[T | _End] = queue.Queue(size)
    stop = threading.Event()

    def send(item: T | _End) -> None:
        """Put an item into the queue, unless the reader has stopped."""
        while not stop.is_set():
            try:
                waiting.put(item, timeout=POLL_SECONDS)
            except queue.Full:
                continue
            return

    def produce() -> None:
        """Run the iterator and pass its items and errors on."""
        error = None
        try:
            for item in items:
                send(item)
                if stop.is_set():
                    break
        except BaseException as caught:  # raised again in the consuming thread
            error = caught
        send(_End(error))

    thread = threading.Thread(target=produce, daemon=True)
    thread.start()
    try:
        while True:
            item = waiting.get()
            if isinstance(item, _End):
                if item.error is not None:
                    raise item.error
                return
            yield item
    finally:
        stop.set()
        thread.join()


class BackgroundSink(Generic[T]):
    """Passes items to a function in another thread, at most `size` items behind.

    An error of the function is raised by the next `put` or at the end of the `with` block. The
    block waits until all items are taken, unless an error leaves it.
    """

    def __init__(self, take: Callable[[T], None], size: int) -> None:
        self.take = take
        self.waiting: queue.Queue[T | _End] = queue.Queue(size)
        self.error: BaseException | None = None
        self.stop = threading.Event()
        self.thread = threading.Thread(target=self._consume, daemon=True)

    def put(self, item: T) -> None:
        """Queue an item; wait while the queue is full."""
        self._send(item)

    def _send(self, item: T | _End) -> None:
        while self.error is None:
            try:
                self.waiting.put(item, timeout=POLL_SECONDS)
            except queue.Full:
                continue
            return
        raise self.error

    def _consume(self) -> None:
        while not self.stop.is_set():
            try:
                item = self.waiting.get(timeout=POLL_SECONDS)
            except queue.Empty:
                continue
            if isinstance(item, _End):
                return
            try:
                self.take(item)
            except BaseException as error:  # raised again in the producing thread
                self.error = error
                return

    def __enter__(self) -> "BackgroundSink[T]":
        self.thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            self._send(_End())
        else:
            self.stop.set()
        self.thread.join()
        if kind is None and self.error is not None:
            raise self.error
