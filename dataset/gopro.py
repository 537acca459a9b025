"""GoPro: 33 recordings at 240 frames per second, 1280x720; here for eight times as many frames.

train/<sequence>/000001.png ..., test/<sequence>/000001.png ...      22 and 11 sequences
"""

from pathlib import Path

from dataset.augment import Moment
from dataset.stacks import FileStack, Part
from dataset.triplet import TripletPaths
from dataset.x4k1000fps import triplet_of, without_gaps

NAME = "gopro"
ORIGIN = """
GoPro: https://seungjunnah.github.io/Datasets/gopro: GOPRO_Large_all, the sharp frames of the
whole recordings (35 GB), not the blurred GOPRO_Large. The root is the folder that holds train/
and test/.
"""
SIZE = (720, 1280)  # height, width
PUBLISHED = {"train": 22, "test": 11}  # sequences
FACTOR = 8  # frames from one input to the other: seven between are predicted


def file_stacks(root: Path, split: str = "test") -> list[FileStack]:
    """The sequences of a split, by name, each with its frames in order."""
    folders = sorted(folder for folder in (root / split).glob("*") if folder.is_dir())
    stacks = [
        FileStack(folder.name, folder, without_gaps(sorted(f.name for f in folder.glob("*.png"))))
        for folder in folders
    ]
    if not any(len(stack) for stack in stacks):
        raise FileNotFoundError(
            f"{root} ({root.resolve()}) is no GoPro: it holds no {split}/<sequence>/*.png. "
            f"Name the folder that holds train/ and test/."
        )
    return stacks


def triplets(root: Path, split: str = "test", factor: int = FACTOR) -> list[TripletPaths]:
    """The `factor` - 1 triplets of each window of `factor` + 1 frames.

    One window begins at every `factor`-th frame: the last frame of one is the first of the next.
    """
    return [
        triplet_of(stack, Moment(first, first + part, first + factor))
        for stack in file_stacks(root, split)
        for first in range(0, len(stack) - factor, factor)
        for part in range(1, factor)
    ]


def parts(root: Path) -> list[Part]:
    """What of the data set is there: the splits that are."""
    found = [split for split in PUBLISHED if (root / split).is_dir()]
    return [
        Part(
            split,
            len(stacks),
            PUBLISHED[split],
            "sequences",
            [file for stack in stacks for file in stack.files],
            SIZE,
        )
        for split in found or ["test"]
        for stacks in [file_stacks(root, split)]
    ]
