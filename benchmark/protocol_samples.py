"""What a protocol measures: its samples by name, and their frames read ahead."""

from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import groupby
from pathlib import Path
from typing import NamedTuple

from torch import Tensor

from sgm_vfi.benchmark.footage_samples import spread
from sgm_vfi.benchmark.protocols import Protocol
from sgm_vfi.dataset.frame_stack import ImageFileStack, read_8_bit, require_intact
from sgm_vfi.dataset.triplet import TripletPaths

READ_AHEAD = 3  # frames; at 4K each takes 100 MiB


class ProtocolSample(NamedTuple):
    """One frame to predict; the name is unique in its protocol."""

    name: str
    paths: TripletPaths


class ProtocolSamples(NamedTuple):
    """A protocol and what it is measured on."""

    protocol: Protocol
    root: Path
    samples: list[ProtocolSample]


class FrameGroup(NamedTuple):
    """Two frames and all that is predicted between them. Shapes: frames (1, 3, H, W)."""

    samples: Sequence[ProtocolSample]
    frame0: Tensor
    frame1: Tensor
    targets: Sequence[Tensor]


def find_samples(protocol: Protocol, root: Path, limit: int | None = None) -> ProtocolSamples:
    """Look up the samples, and refuse to start where a file is missing or cut off.

    Args:
        limit: samples at most, evenly spread.
    """
    samples = named(protocol.triplets(root), root)
    if not samples:
        raise ValueError(f"{protocol.name} finds nothing to predict in {root} ({root.resolve()}).")
    samples = spread(samples, limit)
    files = [ImageFileStack(name, Path(), tuple(map(str, paths[:3]))) for name, paths in samples]
    require_intact(files, protocol.data_set, root)
    return ProtocolSamples(protocol, root, samples)


def named(triplets: Iterable[TripletPaths], root: Path) -> list[ProtocolSample]:
    """Name each triplet by the folder of its target and its three files: "scene/000_016_032".

    Where a list names a triplet again, "#2" tells it from the first.
    """
    samples, seen = [], Counter[str]()
    for paths in triplets:
        folder = paths.target.parent
        folder = folder.relative_to(root if folder.is_relative_to(root) else folder.anchor)
        files = "_".join(path.stem for path in paths[:3])
        name = "/".join((*(part for part in folder.parts if part != ".."), files))
        seen[name] += 1
        samples.append(ProtocolSample(name if seen[name] == 1 else f"{name}#{seen[name]}", paths))
    return samples


def pairs(samples: Iterable[ProtocolSample]) -> list[list[ProtocolSample]]:
    """Bring together the samples that follow each other and lie between the same two frames."""
    keyed = groupby(samples, key=lambda sample: (sample.paths.frame0, sample.paths.frame1))
    return [list(group) for _, group in keyed]


def read_frame_groups(
    protocol: Protocol, pairs: Sequence[Sequence[ProtocolSample]]
) -> Iterator[FrameGroup]:
    """Read every frame once, as the protocol looks at it, a few of them ahead."""

    def read(path: Path) -> Tensor:
        return protocol.view(read_8_bit(path))[None]

    paths = [
        path
        for samples in pairs
        for path in (
            samples[0].paths.frame0,
            samples[0].paths.frame1,
            *(sample.paths.target for sample in samples),
        )
    ]
    frames = ahead(read, paths)
    for samples in pairs:
        frame0, frame1 = next(frames), next(frames)
        targets = [next(frames) for _ in samples]
        for sample, target in zip(samples, targets, strict=True):
            require_one_size(sample.paths, (frame0, target, frame1))
        yield FrameGroup(samples, frame0, frame1, targets)


def ahead(read: Callable[[Path], Tensor], paths: Iterable[Path]) -> Iterator[Tensor]:
    """Read files in order, a few before they are asked for."""
    waiting = deque()
    with ThreadPoolExecutor(2) as pool:
        for path in paths:
            waiting.append(pool.submit(read, path))
            if len(waiting) > READ_AHEAD:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def require_one_size(paths: TripletPaths, frames: Sequence[Tensor]) -> None:
    """Refuse a triplet of frames of several sizes."""
    sizes = [f"{frame.shape[-1]}x{frame.shape[-2]}" for frame in frames]
    if len(set(sizes)) > 1:
        listed = ", ".join(f"{path} {size}" for path, size in zip(paths[:3], sizes, strict=True))
        raise ValueError(f"The frames of a triplet have one size, got {listed}.")
