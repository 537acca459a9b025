"""Detection of telecine (3:2 pulldown): film at 24 frames per second in interlaced video at 30.

Four film frames become ten fields, 3 + 2 + 3 + 2, and so five video frames. In two of these five
one field repeats that of the frame before: once the top field, once the bottom field. The same
happens five frames later. In interlaced footage both fields change with every frame.
"""

from collections import Counter, deque

import av
import numpy as np

PERIOD = 5  # frames after which the pattern repeats
REPEAT_RATIO = 3.0  # the other field changes at least so many times as much
MIN_CHANGE = 0.3 / 255  # of the other field, as a share of the largest sample
MIN_MATCHES = 4  # repeated fields that the frame five places earlier repeats too
MIN_SHARE = 0.6  # of all repeated fields
MAX_COLUMNS = 256  # that are compared

TOP, BOTTOM = "top", "bottom"


class TelecineDetector:
    """Counts repeated fields that recur after five frames."""

    def __init__(self) -> None:
        self.before: np.ndarray | None = None
        self.recent: deque[str | None] = deque(maxlen=PERIOD)
        self.num_repeats = 0
        self.matches: Counter[str] = Counter()

    def observe(self, picture: av.VideoFrame) -> None:
        """Compare the fields of a frame with those of the one before."""
        samples = sample_columns(picture)
        repeated = None if self.before is None else find_repeated_field(self.before, samples)
        if repeated is not None:
            self.num_repeats += 1
            if len(self.recent) == PERIOD and self.recent[0] == repeated:
                self.matches[repeated] += 1
        self.recent.append(repeated)
        self.before = samples

    @property
    def is_telecined(self) -> bool:
        """Whether repeated top and bottom fields recur after five frames."""
        total = self.matches.total()
        is_regular = total >= max(MIN_MATCHES, MIN_SHARE * self.num_repeats)
        return is_regular and min(self.matches[TOP], self.matches[BOTTOM]) > 0


def find_repeated_field(before: np.ndarray, after: np.ndarray) -> str | None:
    """Return the field that repeats while the other one changes. Shapes: (H, W) each."""
    change = np.abs(after - before)
    top, bottom = float(change[0::2].mean()), float(change[1::2].mean())
    if max(top, bottom) < MIN_CHANGE or max(top, bottom) < REPEAT_RATIO * min(top, bottom):
        return None
    return TOP if top < bottom else BOTTOM


def sample_columns(picture: av.VideoFrame) -> np.ndarray:
    """Return some columns of the first plane, which is luma in video.

    Shapes: -> (H, W up to 256), float32, about [0, 1].
    """
    plane, bits = picture.planes[0], picture.format.components[0].bits
    dtype = np.dtype("u1") if bits <= 8 else np.dtype("<u2")
    rows = np.frombuffer(memoryview(plane), dtype).reshape(plane.height, -1)
    step = -(-plane.width // MAX_COLUMNS)
    samples: np.ndarray = rows[:, : plane.width : step].astype(np.float32) / (2**bits - 1)
    return samples
