"""Xiph: eight 4K sequences at 60 frames per second, 100 frames of each; test only.

<sequence>/001.png .. 100.png, or <sequence>-001.png ..., in the root or in netflix/
top-half-motion-sufficiency-gap2.txt      lines of three frames two apart, large motion
"""

import re
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from dataset.lists import read_triplets
from dataset.triplet import TripletPaths

NAME = "xiph"
SEQUENCES = (
    "BoxingPractice",
    "Crosswalk",
    "DrivingPOV",
    "FoodMarket",
    "FoodMarket2",
    "RitualDance",
    "SquareAndTimelapse",
    "Tango",
)
FRAMES = 100  # of each sequence, numbered from 1
LARGE_MOTION_LIST = "top-half-motion-sufficiency-gap2.txt"
LAYOUTS = ("{}/{:03d}.png", "{}-{:03d}.png", "netflix/{}/{:03d}.png", "netflix/{}-{:03d}.png")


def triplets(root: Path, gap: int = 1, frames: int = FRAMES) -> list[TripletPaths]:
    """Every second frame of each sequence, from those `gap` before and after it.

    With `gap` 1 these are the usual 392: all even frames but the last, each from its neighbours.
    """
    found = list(sequences(root))
    if not found:
        raise FileNotFoundError(
            f"{root} ({root.resolve()}) holds no frames of Xiph, such as "
            f"{LAYOUTS[0].format(SEQUENCES[0], 1)}. `python -m dataset verify xiph {root}` "
            f"says how to make them."
        )
    return [
        TripletPaths(*(frame_path(root, name, number) for number in (n - gap, n, n + gap)))
        for name in found
        for n in range(1 + gap, frames - gap + 1, 2)
    ]


def large_motion_triplets(root: Path) -> list[TripletPaths]:
    """The triplets of the large-motion list in `root`."""
    return [
        TripletPaths(*(frame_of(root, path) for path in triplet[:3]))
        for triplet in read_triplets(root / LARGE_MOTION_LIST, root, SEQUENCES)
    ]


def sequences(root: Path) -> Iterator[str]:
    """The sequences whose first frame is there."""
    return (name for name in SEQUENCES if frame_path(root, name, 1).is_file())


def frame_path(root: Path, sequence: str, number: int) -> Path:
    """Where a frame lies, in whichever layout is there; in the first one if none is."""
    candidates = [root / layout.format(sequence, number) for layout in LAYOUTS]
    return next((path for path in candidates if path.is_file()), candidates[0])


def frame_of(root: Path, listed: Path) -> Path:
    """A listed frame, wherever it is; looked for by sequence and number where it is not."""
    names = "|".join(SEQUENCES)
    match = re.search(rf"({names})[/-](\d+)\.png$", PurePosixPath(listed).as_posix())
    if listed.is_file() or not match:
        return listed
    return frame_path(root, match[1], int(match[2]))
