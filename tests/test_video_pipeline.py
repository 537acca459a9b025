"""Work beside work: in order, bounded, and with errors where they belong."""

import threading
import time
from collections.abc import Iterator

import pytest

from sgm_vfi.video.pipeline import BackgroundSink, prefetch


def test_ahead_keeps_the_order_and_runs_ahead_by_no_more_than_its_size() -> None:
    made = []

    def numbers() -> Iterator[int]:
        for number in range(20):
            made.append(number)
            yield number

    stream = prefetch(numbers(), 3)
    taken = [next(stream)]
    time.sleep(0.3)
    assert len(made) <= 1 + 3 + 1  # taken, waiting, and one in the hand
    taken += stream
    assert taken == list(range(20))


def test_an_error_comes_after_what_was_made_before_it() -> None:
    def numbers() -> Iterator[int]:
        yield 1
        raise OSError("the disk is gone")

    stream = prefetch(numbers(), 4)
    assert next(stream) == 1
    with pytest.raises(OSError, match="the disk is gone"):
        next(stream)


def test_closing_ends_the_thread() -> None:
    before = threading.active_count()
    stream = prefetch(iter(range(10**9)), 2)
    next(stream)
    assert threading.active_count() == before + 1
    stream.close()
    assert threading.active_count() == before


def test_a_sink_takes_all_in_order_before_it_ends() -> None:
    taken: list[int] = []

    def take(number: int) -> None:
        time.sleep(0.005)
        taken.append(number)

    with BackgroundSink(take, 2) as sink:
        for number in range(10):
            sink.put(number)
            assert number - len(taken) <= 2 + 1
    assert taken == list(range(10))


def test_an_error_in_a_sink_stops_what_feeds_it() -> None:
    def take(number: int) -> None:
        if number == 2:
            raise OSError("no space left")

    def feed() -> None:
        with BackgroundSink(take, 1) as sink:
            for number in range(1000):
                sink.put(number)

    with pytest.raises(OSError, match="no space left"):
        feed()


def test_an_error_at_the_end_of_a_sink_is_not_lost() -> None:
    def take(number: int) -> None:
        time.sleep(0.05)
        raise OSError("no space left")

    with pytest.raises(OSError, match="no space left"), BackgroundSink(take, 4) as sink:
        sink.put(1)


def test_a_sink_that_is_left_by_an_error_takes_no_more() -> None:
    taken = []

    def take(number: int) -> None:
        time.sleep(0.02)
        taken.append(number)

    def feed() -> None:
        with BackgroundSink(take, 100) as sink:
            for number in range(50):
                sink.put(number)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        feed()
    assert len(taken) < 50
