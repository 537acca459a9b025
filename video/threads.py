"""Work that goes on beside the rest: bounded queues between threads, and a clean end always."""

import queue
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import Generic, TypeVar

T = TypeVar("T")
POLL_SECONDS = 0.1  # seconds between looks at whether the other side is still there


class _End:
    """What a producer sends last: nothing more, or why not."""

    def __init__(self, error: BaseException | None = None) -> None:
        self.error = error


def prefetch(items: Iterable[T], size: int) -> Iterator[T]:
    """Give the items, while a thread makes up to `size` of the next ones.

    An error in making them is raised here, in its turn. Closing the generator ends the thread.
    """
    waiting: queue.Queue[T | _End] = queue.Queue(size)
    stop = threading.Event()

    def send(item: T | _End) -> None:
        while not stop.is_set():
            try:
                waiting.put(item, timeout=POLL_SECONDS)
            except queue.Full:
                continue
            return

    def produce() -> None:
        error = None
        try:
            for item in items:
                send(item)
                if stop.is_set():
                    break
        except BaseException as caught:  # it is raised again where the items are used
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
    """Takes items and hands them to a function in another thread, up to `size` behind.

    An error there is raised by the next `put`, or by the end of the `with` block; that waits until
    everything was taken, except when it is left by an error.
    """

    def __init__(self, take: Callable[[T], None], size: int) -> None:
        self.take = take
        self.waiting: queue.Queue[T | _End] = queue.Queue(size)
        self.error: BaseException | None = None
        self.stop = threading.Event()
        self.thread = threading.Thread(target=self._consume, daemon=True)

    def put(self, item: T) -> None:
        """Leave an item to the other thread; waits while `size` of them wait."""
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
            except BaseException as error:  # it is raised again where items come from
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
