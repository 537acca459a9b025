"""Frame stacks: the frames of one clip in order, each read when it is indexed; file checks."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, Protocol, runtime_checkable

import numpy as np

from sgm_vfi.dataset.triplet import TripletPaths
from sgm_vfi.media.images import read_samples

PNG_HEAD, PNG_TAIL = b"\x89PNG\r\n\x1a\n", b"IEND\xaeB`\x82"
MAX_NAMED_PROBLEMS = 5  # in an error message
NUM_READERS = 16  # threads that check files; they mostly wait for the disk


class FrameStack(Protocol):
    """Frames of one clip; an item is (H, W, 3), RGB, uint8, possibly a memory map."""

    @property
    def name(self) -> str:
        """The name of the clip."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> np.ndarray: ...


@runtime_checkable
class DecodedFrameStack(Protocol):
    """A frame stack of a video, which reads several frames in one pass."""

    def read_frames(self, indices: Sequence[int]) -> list[np.ndarray]:
        """Read several frames, in any order."""


def read_frames(stack: FrameStack, indices: Sequence[int]) -> list[np.ndarray]:
    """Read several frames of a stack. Shapes: -> (H, W, 3) each, RGB, uint8."""
    if isinstance(stack, DecodedFrameStack):
        return stack.read_frames(indices)
    return [stack[index] for index in indices]


@dataclass(frozen=True)
class ImageFileStack:
    """A frame stack of image files in one folder."""

    name: str
    folder: Path
    file_names: tuple[str, ...]

    @property
    def files(self) -> list[Path]:
        """The paths of the images."""
        return [self.folder / name for name in self.file_names]

    def __len__(self) -> int:
        return len(self.file_names)

    def __getitem__(self, index: int) -> np.ndarray:
        return read_8_bit(self.folder / self.file_names[index])


class DatasetPart(NamedTuple):
    """A split or list of a data set, as found on disk."""

    name: str
    groups: int  # number of triplets, clips or sequences
    published: int | None  # number of groups in the published data set
    unit: str  # what a group is
    files: list[Path]  # all files it should have
    size: tuple[int, int]  # (height, width) of the published frames

    @classmethod
    def of_stacks(
        cls,
        name: str,
        stacks: Sequence[ImageFileStack],
        published: int | None,
        size: tuple[int, int],
        unit: str = "clips",
    ) -> "DatasetPart":
        """Return the part that consists of frame stacks."""
        files = [file for stack in stacks for file in stack.files]
        return cls(name, len(stacks), published, unit, files, size)

    @classmethod
    def of_triplets(
        cls,
        name: str,
        triplets: Sequence[TripletPaths],
        published: int | None,
        size: tuple[int, int],
    ) -> "DatasetPart":
        """Return the part that consists of triplets."""
        files = [frame for triplet in triplets for frame in triplet.frames]
        return cls(name, len(triplets), published, "triplets", files, size)


def read_8_bit(path: Path) -> np.ndarray:
    """Read an image as RGB bytes; round 16 bits to 8. Shapes: -> (H, W, 3), uint8."""
    return as_8_bit(read_samples(path))


def as_8_bit(samples: np.ndarray) -> np.ndarray:
    """Round 16 bits to 8. Shapes: any -> the same, uint8."""
    if samples.dtype == np.uint16:
        samples = ((samples.astype(np.uint32) + 128) // 257).astype(np.uint8)
    return samples


def find_file_problem(path: Path) -> str | None:
    """Describe what is wrong with the first and last bytes of an image file; None if nothing."""
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
    """Raise ValueError if image files are missing or truncated. Packed stacks are not checked."""
    files = [file for stack in stacks if isinstance(stack, ImageFileStack) for file in stack.files]
    with ThreadPoolExecutor(NUM_READERS) as pool:
        found = zip(files, pool.map(find_file_problem, files, chunksize=256), strict=True)
        problems = [f"{file} {problem}" for file, problem in found if problem]
    if problems:
        raise ValueError(
            f"{len(problems)} of {len(files)} files of {name} under {root} cannot be used:\n  "
            + "\n  ".join(problems[:MAX_NAMED_PROBLEMS])
            + ("\n  ..." if len(problems) > MAX_NAMED_PROBLEMS else "")
            + f"\n`sgm-vfi dataset verify {name} {root}` lists all."
        )
