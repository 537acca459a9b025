"""Display matrix of a video: rotation and mirroring for display."""

from collections.abc import Sequence
from math import atan2, cos, degrees, radians, sin
from typing import Any, NamedTuple, cast

import av
import numpy as np

UNKNOWN = "UNKNOWN"  # side data of a kind that PyAV does not know


class Orientation(NamedTuple):
    """Horizontal mirroring followed by a counter-clockwise rotation."""

    is_mirrored: bool = False
    degrees: int = 0  # 0 to 359

    def __str__(self) -> str:
        return f"{self.degrees} degrees{', mirrored' if self.is_mirrored else ''}"

    @property
    def is_quarter_turn(self) -> bool:
        """Whether the rotation is a multiple of 90 degrees, which needs no resampling."""
        return self.degrees % 90 == 0

    @property
    def quarter_turns(self) -> int:
        """Number of counter-clockwise quarter turns, 0 to 3."""
        assert self.is_quarter_turn
        return self.degrees // 90


def read_side_data(picture: av.VideoFrame) -> dict[str, bytes]:
    """Return the side data of a frame by the names that PyAV gives its kinds.

    PyAV refuses all side data of a frame if it does not know one kind of it, such as EXIF. Then
    there are `UNKNOWN`, and the rotation, without mirroring.
    """
    try:
        return {data.type.name: bytes(data) for data in cast(Any, picture.side_data)}
    except ValueError:
        angle = radians(picture.rotation)
        a, b = (round(65536 * value) for value in (cos(angle), -sin(angle)))
        matrix = np.array([a, b, 0, -b, a, 0, 0, 0, 1 << 30], np.int32).tobytes()
        return {UNKNOWN: b""} | ({"DISPLAYMATRIX": matrix} if picture.rotation else {})


def read_display_matrix(picture: av.VideoFrame) -> tuple[int, ...] | None:
    """Read the nine numbers of the display matrix; None if there is none.

    Elements 0, 1, 3 and 4, in units of 1/65536, are a, b, c and d: the point (x, y) is shown at
    (ax + cy, bx + dy), y downwards.
    """
    matrix = read_side_data(picture).get("DISPLAYMATRIX")
    return None if matrix is None else tuple(np.frombuffer(matrix, np.int32).tolist())


def parse_display_matrix(matrix: Sequence[int] | None) -> Orientation:
    """Return the orientation of a display matrix in whole degrees; ignore scale and shift."""
    if matrix is None:
        return Orientation()
    a, b, c, d = (matrix[i] for i in (0, 1, 3, 4))
    is_mirrored = a * d < b * c
    right, down = (-a, -b) if is_mirrored else (a, b)  # image of the x axis
    return Orientation(is_mirrored, -round(degrees(atan2(down, right))) % 360)
