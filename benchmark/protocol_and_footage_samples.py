"""Samples to predict: those of a protocol, read ahead, and frames left out of footage."""

from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import NamedTuple, TypeVar

from torch import Tensor
from tqdm import tqdm

from sgm_vfi.benchmark.protocols import Protocol
from sgm_vfi.dataset.clip_frames import ImageFileStack, read_8_bit, require_intact
from sgm_vfi.dataset.triplet import Triplet, TripletPaths
from sgm_vfi.media.frame_readers import FrameReader, FrameReaderInfo
from sgm_vfi.media.images import FrameError
from sgm_vfi.media.open_local_media import VideoError
from sgm_vfi.model.interpolator import time_like

T = TypeVar("T")
READ_AHEAD = 3  # frames; at 4K each takes 100 MiB


class ProtocolSample(NamedTuple):
    """One frame to predict; the name is unique in its protocol."""

    name: str
    paths: TripletPaths


class ProtocolSamples(NamedTuple):
    """A protocol, the root of its data, and the samples found there."""

    protocol: Protocol
    root: Path
    samples: list[ProtocolSample]


class FrameGroup(NamedTuple):
    """Two input frames and all targets between them. Shapes: frames (1, 3, H, W)."""

    samples: Sequence[ProtocolSample]
    frame0: Tensor
    frame1: Tensor
    targets: Sequence[Tensor]


@dataclass(frozen=True)
class ClipSamples:
    """The samples of one clip: every target at every gap."""

    clip: FrameReader
    info: FrameReaderInfo
    gaps: tuple[int, ...]  # those that fit the clip
    targets: tuple[int, ...]  # numbers of the frames to predict, ascending

    @property
    def num_triplets(self) -> int:
        """Number of triplets."""
        return len(self.gaps) * len(self.targets)

    @property
    def frame_numbers(self) -> set[int]:
        """Numbers of all frames that are read."""
        steps = {0, *self.gaps, *(-gap for gap in self.gaps)}
        return {target + step for target in self.targets for step in steps}

    def read_triplets(self) -> Iterator[tuple[int, int, Triplet]]:
        """Yield gap, frame number and triplet; frames (1, 3, H, W), time 1/2.

        The clip is read once for all gaps; no more frames are held than lie between the outermost
        two of a triplet.
        """
        reach = max(self.gaps, default=0)
        targets = set(self.targets)
        window: dict[int, Tensor] = {}
        for index, frame in self.clip.read_frames(self.frame_numbers):
            window[index] = frame[None]
            target = index - reach
            if target in targets:
                middle = window[target]
                for gap in self.gaps:
                    before, after = window[target - gap], window[target + gap]
                    yield gap, target, Triplet(before, middle, after, time_like(middle, 0.5))
            window = {key: frame for key, frame in window.items() if key > target - reach}


def subsample(items: Sequence[T], limit: int | None) -> list[T]:
    """Select at most `limit` items: the middle one of each of as many equal parts."""
    if limit is None or limit >= len(items):
        return list(items)
    return [items[(2 * part + 1) * len(items) // (2 * limit)] for part in range(limit)]


def select_targets(
    clip: FrameReader, info: FrameReaderInfo, gaps: Iterable[int], limit: int | None
) -> ClipSamples:
    """Select the frames that have enough neighbours for the largest gap that fits the clip.

    A clip that is too short for every gap has no targets.
    """
    fitting = tuple(gap for gap in gaps if 2 * gap < info.num_frames)
    reach = max(fitting, default=info.num_frames)
    targets = subsample(range(reach, info.num_frames - reach), limit)
    return ClipSamples(clip, info, fitting, tuple(targets))


def probe_clips(clips: Sequence[FrameReader]) -> list[FrameReaderInfo]:
    """Probe every clip; report all damaged ones in one error."""
    infos, problems = [], []
    for clip in tqdm(clips, desc="reading clips", unit="clip", leave=False):
        try:
            infos.append(clip.probe())
        except (VideoError, FrameError) as error:
            problems.append(str(error))
    if problems:
        raise VideoError("\n".join(problems))
    return infos


def find_samples(protocol: Protocol, root: Path, limit: int | None = None) -> ProtocolSamples:
    """Find the samples of a protocol, and check that their files are complete.

    Args:
        limit: largest number of samples, evenly spread.
    """
    samples = name_samples(protocol.triplets(root), root)
    if not samples:
        raise ValueError(f"{protocol.name} finds nothing to predict in {root} ({root.resolve()}).")
    samples = subsample(samples, limit)
    files = [ImageFileStack(name, Path(), tuple(map(str, paths[:3]))) for name, paths in samples]
    require_intact(files, protocol.data_set, root)
    return ProtocolSamples(protocol, root, samples)


def name_samples(triplets: Iterable[TripletPaths], root: Path) -> list[ProtocolSample]:
    """Name each triplet by the folder of its target and its three files: "scene/000_016_032".

    A triplet that a list names again gets the suffix "#2".
    """
    samples, counts = [], Counter[str]()
    for paths in triplets:
        folder = paths.target.parent
        folder = folder.relative_to(root if folder.is_relative_to(root) else folder.anchor)
        files = "_".join(path.stem for path in paths[:3])
        name = "/".join((*(part for part in folder.parts if part != ".."), files))
        counts[name] += 1
        unique = name if counts[name] == 1 else f"{name}#{counts[name]}"
        samples.append(ProtocolSample(unique, paths))
    return samples


def group_by_inputs(samples: Iterable[ProtocolSample]) -> list[list[ProtocolSample]]:
    """Group consecutive samples that lie between the same two frames."""
    keyed = groupby(samples, key=lambda sample: (sample.paths.frame0, sample.paths.frame1))
    return [list(group) for _, group in keyed]


def read_frame_groups(
    protocol: Protocol, groups: Sequence[Sequence[ProtocolSample]]
) -> Iterator[FrameGroup]:
    """Read every frame once, transformed as the protocol says, a few frames ahead."""

    def read(path: Path) -> Tensor:
        """Read one frame. Shapes: -> (1, 3, H, W)."""
        return protocol.view(read_8_bit(path))[None]

    paths = [
        path
        for samples in groups
        for path in (
            samples[0].paths.frame0,
            samples[0].paths.frame1,
            *(sample.paths.target for sample in samples),
        )
    ]
    frames = read_ahead(read, paths)
    for samples in groups:
        frame0, frame1 = next(frames), next(frames)
        targets = [next(frames) for _ in samples]
        for sample, target in zip(samples, targets, strict=True):
            require_one_size(sample.paths, (frame0, target, frame1))
        yield FrameGroup(samples, frame0, frame1, targets)


def read_ahead(read: Callable[[Path], Tensor], paths: Iterable[Path]) -> Iterator[Tensor]:
    """Read files in order in two threads, a few files ahead."""
    pending: deque[Future[Tensor]] = deque()
    with ThreadPoolExecutor(2) as pool:
        for path in paths:
            pending.append(pool.submit(read, path))
            if len(pending) > READ_AHEAD:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()


def require_one_size(paths: TripletPaths, frames: Sequence[Tensor]) -> None:
    """Raise ValueError if the frames of a triplet differ in size."""
    sizes = [f"{frame.shape[-1]}x{frame.shape[-2]}" for frame in frames]
    if len(set(sizes)) > 1:
        found = ", ".join(f"{path} {size}" for path, size in zip(paths[:3], sizes, strict=True))
        raise ValueError(f"The frames of a triplet have one size, got {found}.")
