"""Progress of long work on the terminal: what is done, and the time that is left."""

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from time import perf_counter
from typing import TypeVar

from tqdm import tqdm

from sgm_vfi.video.read_header import VideoHeader

T = TypeVar("T")
WINDOW_SECONDS, WINDOW_FRAMES = 20.0, 16  # that the speed is averaged over, at least
BAR_FORMAT = "{desc}{percentage:3.0f}%|{bar}| {n_fmt}/{total_fmt} frames [{elapsed}{postfix}]"


class TimeLeft:
    """Predicts how long a job lasts from the new frames that were made.

    The first new frame starts the clock, as it loads kernels and starts threads. The speed is that
    of the last 20 seconds, so that it follows the load of the machine.

    Args:
        num_new: number of frames that the network will make.
    """

    def __init__(self, num_new: int, clock: Callable[[], float] = perf_counter) -> None:
        self.num_new = num_new
        self.clock = clock
        self.num_done = 0
        self._last: float | None = None  # when the newest frame was made
        self._seconds: deque[float] = deque()  # of each of the newest frames
        self._total = 0.0  # of these

    def advance(self) -> None:
        """Take note of a new frame."""
        now, self.num_done = self.clock(), self.num_done + 1
        if self._last is not None:
            self._seconds.append(now - self._last)
            self._total += self._seconds[-1]
        self._last = now
        while (
            len(self._seconds) > WINDOW_FRAMES and self._total - self._seconds[0] > WINDOW_SECONDS
        ):
            self._total -= self._seconds.popleft()

    def restart(self) -> None:
        """Let the next new frame start the clock again, as decoding and threads start again."""
        self._last = None

    @property
    def seconds_per_frame(self) -> float | None:
        """Seconds for a new frame, or None before two of them."""
        return self._total / len(self._seconds) if self._seconds else None

    @property
    def seconds_left(self) -> float | None:
        """Seconds until all new frames are made, or None if unknown."""
        each = self.seconds_per_frame
        return None if each is None else each * (self.num_new - self.num_done)


class FrameBar:
    """A bar over the frames of one job or of several, with the time that is left.

    Args:
        num_expected: number of frames of jobs that have not begun, as far as known.
    """

    def __init__(self, *, num_expected: int = 0, is_shown: bool = True) -> None:
        self.time_left = TimeLeft(0)
        self.num_expected = num_expected
        disable = None if is_shown else True  # None: shown on a terminal only
        self.bar = tqdm(total=num_expected, bar_format=BAR_FORMAT, disable=disable)

    def begin(self, num_frames: int, num_new: int) -> None:
        """Add the frames of a job."""
        self.time_left = TimeLeft(num_new)
        self.bar.total = self.bar.n + num_frames + self.num_expected
        self.bar.refresh()

    def advance(self, *, is_new: bool) -> None:
        """Show one more frame, and the time that is left of the job."""
        if is_new:
            self.time_left.advance()
            left, each = self.time_left.seconds_left, self.time_left.seconds_per_frame
            if left is not None and each is not None:
                text = f"time left {format_duration(left)}, {each:.2g} s for a new frame"
                self.bar.set_postfix_str(text, refresh=False)
        self.bar.update(1)

    def __enter__(self) -> "FrameBar":
        return self

    def __exit__(self, *_: object) -> None:
        self.bar.close()


def show_progress(items: Iterable[T], what: str, total: int) -> Iterator[T]:
    """Pass frames on and show a bar on a terminal, which disappears at the end.

    Args:
        what: is done with the frames, as a participle.
        total: number of frames, about; 0: unknown.
    """
    is_main = os.environ.get("RANK", "0") == "0"
    disable = None if is_main else True
    yield from tqdm(items, what, total or None, leave=False, unit="frame", disable=disable)


def count_declared_frames(header: VideoHeader) -> int:
    """Return about how many frames a video has, as its header says; 0 if it does not."""
    frames = header.num_declared_frames or header.duration * (header.frame_rate or 0)
    return round(frames)


def format_duration(seconds: float) -> str:
    """Return a duration as H:MM:SS."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}"
