"""Stacks: the frames of one shot in order, read one by one, from image files or a packed cache."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np

from sgm_vfi.media.images import read_samples

PNG_HEAD, PNG_TAIL = b"\x89PNG\r\n\x1a\n", b"IEND\xaeB`\x82"
NAMED_PROBLEMS = 5  # in a message: enough to see a pattern, few enough to read
READERS = 16  # threads that look at files before training: they mostly wait for the disk


class FrameStack(Protocol):
    """Frames of one shot; an item is (H, W, 3), RGB, uint8, possibly read when it is sliced."""

    name: str

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> np.ndarray: ...


@dataclass(frozen=True)
class ImageFileStack:
    """A stack of image files of one folder, each decoded when it is asked for."""

    name: str
    folder: Path
    file_names: tuple[str, ...]

    @property
    def files(self) -> list[Path]:
        return [self.folder / name for name in self.file_names]

    def __len__(self) -> int:
        return len(self.file_names)

    def __getitem__(self, index: int) -> np.ndarray:
        return read_8_bit(self.folder / self.file_names[index])


class DatasetPart(NamedTuple):
    """One split or list of a data set, as it was found on disk."""

    name: str
    groups: int  # triplets, clips or sequences
    published: int | None  # how many the published data set has
    unit: str  # what they are
    files: list[Path]  # that must be there
    size: tuple[int, int]  # (height, width) of the published frames


def read_8_bit(path: Path) -> np.ndarray:
    """Decode an image to RGB bytes; 16 bits are rounded to 8. Shapes: -> (H, W, 3), uint8."""
    samples = read_samples(path)
    if samples.dtype == np.uint16:
        samples = ((samples.astype(np.uint32) + 128) // 257).astype(np.uint8)
    return samples


def find_file_problem(path: Path) -> str | None:
    """What is wrong with an image file, as far as its ends tell; None where nothing is.

    Reads a few bytes: fast enough to do for a whole data set before a training run.
    """
    try:
        with path.open("rb") as file:
            head = file.read(len(PNG_HEAD))
            if not head:
                return "is empty"
            if path.suffix.lower() != ".png":
                return None
            if head != PNG_HEAD:
                return "is no PNG file"
            file.seek(-min(len(PNG_TAIL), file.seek(0, 2)), 2)
            return None if file.read() == PNG_TAIL else "is cut off"
    except FileNotFoundError:
        return "is missing"
    except OSError as error:
        return f"cannot be read ({error.strerror})"


def require_intact(stacks: Sequence[FrameStack], name: str, root: Path) -> None:
    """Refuse to start on a data set with missing or visibly damaged files; name the first few.

    Packed stacks were whole when they were written, and are not looked at.
    """
    files = [file for stack in stacks if isinstance(stack, ImageFileStack) for file in stack.files]
    with ThreadPoolExecutor(READERS) as pool:
        problems = [
            f"{file} {problem}"
            for file, problem in zip(
                files, pool.map(find_file_problem, files, chunksize=256), strict=True
            )
            if problem
        ]
    if problems:
        raise ValueError(
            f"{len(problems)} of {len(files)} files of {name} under {root} cannot be used:\n  "
            + "\n  ".join(problems[:NAMED_PROBLEMS])
            + ("\n  ..." if len(problems) > NAMED_PROBLEMS else "")
            + f"\n`sgm-vfi dataset verify {name} {root}` lists all."
        )
