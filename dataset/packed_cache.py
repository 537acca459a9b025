"""Packed cache: decoded frame stacks in a few large files, read by memory mapping.

    <folder>/index.json            name, file, offset, frames, height and width of every stack
    <folder>/frames-00000.bin ...  RGB bytes, (frames, height, width, 3) for each stack

A crop then reads only the memory pages that it touches.
"""

import json
import operator
import shutil
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tqdm import tqdm

from sgm_vfi.dataset.clip_frames import FrameStack
from sgm_vfi.read_json import explain_structure, read_json_object

INDEX = "index.json"
FORMAT = 1  # version of the index
SHARD_BYTES = 4 * 2**30  # a new file begins after this size


@dataclass(frozen=True)
class PackedFrameStack:
    """A frame stack in a packed cache; items are memory maps."""

    name: str
    file: Path
    offset: int  # in bytes
    frames: int
    height: int
    width: int

    def __len__(self) -> int:
        return self.frames

    def __getitem__(self, index: int) -> np.ndarray:
        if not 0 <= index < self.frames:
            raise IndexError(f"{self.name} has {self.frames} frames, got index {index}.")
        shape = (self.height, self.width, 3)
        offset = self.offset + index * self.height * self.width * 3
        return np.memmap(self.file, np.uint8, mode="r", offset=offset, shape=shape)


def is_packed(folder: Path) -> bool:
    """Return True for the folder of a packed cache."""
    return (folder / INDEX).is_file()


def read_packed(folder: Path) -> list[PackedFrameStack]:
    """Open the stacks of a packed cache, in the order in which they were written."""
    index = read_json_object(folder / INDEX, "index of a packed cache")
    if index.get("format") != FORMAT:
        raise ValueError(
            f"{folder / INDEX} has format {index.get('format')}, this code reads {FORMAT}. "
            f"Pack the data set again: sgm-vfi dataset pack."
        )
    with explain_structure(folder / INDEX, "index of a packed cache"):
        stacks = [
            PackedFrameStack(name, folder / file, *map(operator.index, numbers))
            for name, file, *numbers in index["stacks"]
        ]
    require_complete(stacks)
    return stacks


def require_complete(stacks: Sequence[PackedFrameStack]) -> None:
    """Raise ValueError if files are shorter than the index says."""
    needed: dict[Path, int] = {}
    for stack in stacks:
        end = stack.offset + count_bytes(stack)
        needed[stack.file] = max(needed.get(stack.file, 0), end)
    for file, size in needed.items():
        found = file.stat().st_size if file.is_file() else 0
        if found < size:
            raise ValueError(
                f"{file} has {found} bytes of {size}: the packed cache is not complete. "
                f"Pack the data set again: sgm-vfi dataset pack."
            )


def write_packed(
    stacks: Sequence[FrameStack], folder: Path, *, threads: int = 2, shard_bytes: int = SHARD_BYTES
) -> int:
    """Decode all frames into a packed cache, written atomically; return the number of bytes."""
    if folder.exists():
        raise FileExistsError(f"{folder} exists already. Remove it, or name another folder.")
    beside = folder.with_name(f".{folder.name}.part")
    shutil.rmtree(beside, ignore_errors=True)
    beside.mkdir(parents=True)
    try:
        require_space(stacks, beside)
        rows = write_shards(
            tqdm(stacks, desc=folder.name, unit="clip"), beside, threads, shard_bytes
        )
        (beside / INDEX).write_text(json.dumps({"format": FORMAT, "stacks": rows}))
        beside.rename(folder)
    finally:
        shutil.rmtree(beside, ignore_errors=True)
    return sum(count_bytes(stack) for stack in read_packed(folder))


def write_shards(
    stacks: Iterable[FrameStack], folder: Path, threads: int, shard_bytes: int
) -> list[tuple[str | int, ...]]:
    """Write the frames; return the rows of the index."""
    rows: list[tuple[str | int, ...]] = []
    shard = offset = 0
    with ThreadPoolExecutor(threads) as pool:
        for stack in stacks:
            if offset >= shard_bytes:
                shard, offset = shard + 1, 0
            file = folder / f"frames-{shard:05d}.bin"
            height, width = append_frames(stack, file, pool, threads)
            rows.append((stack.name, file.name, offset, len(stack), height, width))
            offset += len(stack) * height * width * 3
    return rows


def append_frames(
    stack: FrameStack, path: Path, pool: ThreadPoolExecutor, at_once: int
) -> tuple[int, int]:
    """Append the decoded frames of a stack to a file, `at_once` in memory; return height, width."""
    shapes = set()
    with path.open("ab") as file:
        for start in range(0, len(stack), at_once):
            indices = range(start, min(start + at_once, len(stack)))
            for frame in pool.map(stack.__getitem__, indices):
                shapes.add(frame.shape[:2])
                file.write(np.ascontiguousarray(frame).data)
    if len(shapes) != 1:
        raise ValueError(
            f"Frames of one stack have one size, but {stack.name} has {sorted(shapes)}. "
            f"Unpack it again, or leave it out."
        )
    return shapes.pop()


def require_space(stacks: Sequence[FrameStack], folder: Path) -> None:
    """Raise OSError if the disk is too small, estimated from the first stack's frame size."""
    height, width = stacks[0][0].shape[:2]
    needed = sum(len(stack) for stack in stacks) * height * width * 3
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise OSError(
            f"The packed cache takes about {needed / 1e9:.1f} GB, but {folder.parent.resolve()} "
            f"has {free / 1e9:.1f} GB free. Choose another disk."
        )


def count_bytes(stack: PackedFrameStack) -> int:
    """Return the number of bytes of a stack."""
    return stack.frames * stack.height * stack.width * 3
