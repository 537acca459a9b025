"""How a video asks to be shown: turned, mirrored, or both."""

from collections.abc import Sequence
from math import atan2, degrees
from typing import NamedTuple

import av
import numpy as np
from av.sidedata.sidedata import Type as SideData


class Orientation(NamedTuple):
    """Mirrored or not, left for right, and then turned to the left."""

    is_mirrored: bool = False
    degrees: int = 0  # up to 359

    def __str__(self) -> str:
        return f"{self.degrees} degrees{', mirrored' if self.is_mirrored else ''}"

    @property
    def is_quarter_turn(self) -> bool:
        """Whether it is turned by whole quarters, as pictures can be without resampling."""
        return self.degrees % 90 == 0

    @property
    def quarter_turns(self) -> int:
        """Turns to the left, 0 to 3."""
        assert self.is_quarter_turn
        return self.degrees // 90


def read_display_matrix(picture: av.VideoFrame) -> tuple[int, ...] | None:
    """The nine numbers that say how the picture is turned and mirrored for display.

    The first, second, fourth and fifth, in units of 1/65536, are a, b, c and d: what is at (x, y)
    is shown at (ax + cy, bx + dy), y downwards.
    """
    for note in picture.side_data:
        if note.type == SideData.DISPLAYMATRIX:
            return tuple(np.frombuffer(bytes(note), np.int32).tolist())
    return None


def parse_display_matrix(matrix: Sequence[int] | None) -> Orientation:
    """What a display matrix asks for, to the degree, whatever it scales by or moves to."""
    if matrix is None:
        return Orientation()
    a, b, c, d = (matrix[i] for i in (0, 1, 3, 4))
    is_mirrored = a * d < b * c
    right, down = (-a, -b) if is_mirrored else (a, b)  # where what points to the right is turned
    return Orientation(is_mirrored, -round(degrees(atan2(down, right))) % 360)
