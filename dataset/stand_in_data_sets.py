"""Synthetic stand-ins for published data sets: rendered frames in their folder layouts.

Readers, training and benchmarks run on them; the results are no published numbers.
"""

import shutil
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import groupby
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import torch
from tqdm import tqdm

from sgm_vfi.dataset import gopro, middlebury, snu_film, ucf101, vimeo90k, x4k1000fps, xiph
from sgm_vfi.dataset.synthetic import SceneGenerator, SyntheticConfig
from sgm_vfi.dataset.x4k1000fps import INTERVAL
from sgm_vfi.media.images import write_frame

DEFAULT_CONFIG = SyntheticConfig()
PIXELS_AT_ONCE = 2**20  # per rendered batch
SMALL_SIDE = 32  # in pixels, of frames on which motion is measured
LONG_SEQUENCE_MOTION = MappingProxyType({"motion": (0.05, 1.5), "camera": (0.01, 0.4)})


class RenderedSequence(NamedTuple):
    """A scene rendered at even times from 0 to 1, one file per time."""

    scene: int
    folder: str
    names: list[str]

    @property
    def files(self) -> list[str]:
        """The paths of the frames."""
        return [f"{self.folder}/{name}" for name in self.names]


class SequenceTriplet(NamedTuple):
    """A triplet of a rendered sequence, for a list file."""

    sequence: RenderedSequence
    frame0: int
    target: int
    frame1: int


@dataclass
class TreeLayout:
    """Sequences and list files of a stand-in."""

    size: tuple[int, int]  # (height, width) of the published frames
    sequences: list[RenderedSequence] = field(default_factory=list)
    lists: dict[str, list[str]] = field(default_factory=dict)  # file name -> lines
    # Lists of the half of these triplets with the larger motion:
    large_motion_lists: dict[str, list[SequenceTriplet]] = field(default_factory=dict)
    prefix: str = ""  # of paths in lists of triplets
    sizes: dict[str, tuple[int, int]] = field(default_factory=dict)  # of sequences below a folder
    motion: dict[str, Any] = field(default_factory=dict)


def write_stand_in(
    name: str,
    root: Path,
    *,
    scenes: int,
    size: tuple[int, int] | None = None,
    seed: int = 0,
    device: torch.device | str = "cpu",
    config: SyntheticConfig = DEFAULT_CONFIG,
) -> int:
    """Write a stand-in for the data set `name` atomically; return the number of frames.

    Args:
        scenes: number of training clips or sequences; determines the other parts.
        size: (height, width) of all frames; None takes the published sizes.
        config: configuration of the scenes except their size.
    """
    if root.exists():
        raise FileExistsError(f"{root} exists already. Remove it, or name another folder.")
    if scenes < 1:
        raise ValueError(f"A tree has one scene or more, got {scenes}.")
    layout = TREE_LAYOUTS[name](scenes)
    generator = SceneGenerator(replace(config, size=size or layout.size, **layout.motion), device)
    beside = root.with_name(f".{root.name}.part")
    shutil.rmtree(beside, ignore_errors=True)
    try:
        for sequence in tqdm(layout.sequences, name, unit="scene"):
            published = layout.sizes.get(sequence.folder.partition("/")[0], layout.size)
            render_sequence(sequence, generator.with_size(size or published), seed, beside)
        for file, chosen in layout.large_motion_lists.items():
            layout.lists[file] = format_triplet_lines(
                select_larger_motion(chosen, generator, seed), layout.prefix
            )
        for file, lines in layout.lists.items():
            (beside / file).write_text("\n".join(lines) + "\n")
        beside.rename(root)
    finally:
        shutil.rmtree(beside, ignore_errors=True)
    return sum(len(sequence.names) for sequence in layout.sequences)


def render_sequence(
    sequence: RenderedSequence, generator: SceneGenerator, seed: int, root: Path
) -> None:
    """Render and write the frames of a sequence."""
    folder = root / sequence.folder
    for name in sequence.names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
    height, width = generator.config.size
    scene = generator.draw([(seed, sequence.scene)])
    times = torch.linspace(0, 1, len(sequence.names), dtype=torch.float64)
    at_once = max(PIXELS_AT_ONCE // (height * width), 1)
    names = iter(sequence.names)
    for some in times.split(at_once):
        for frame in scene.subset([0] * len(some)).frame(some):
            write_frame(folder / next(names), frame)


def select_larger_motion(
    chosen: list[SequenceTriplet], generator: SceneGenerator, seed: int
) -> list[SequenceTriplet]:
    """Select the half of the triplets with the largest motion, in order."""
    height, width = generator.config.size
    scale = SMALL_SIDE / min(height, width)
    small = generator.with_size((round(height * scale), round(width * scale)))
    motions = [
        motion
        for _, triplets in groupby(chosen, key=lambda triplet: triplet.sequence)
        for motion in measure_motion(list(triplets), small, seed)
    ]
    least = sorted(motions)[len(motions) // 2]
    return [triplet for triplet, motion in zip(chosen, motions, strict=True) if motion >= least]


def measure_motion(
    chosen: list[SequenceTriplet], generator: SceneGenerator, seed: int
) -> list[float]:
    """Return the 95th percentile of the true flow length of each triplet of one sequence."""
    sequence = chosen[0].sequence
    scenes = generator.draw([(seed, sequence.scene)]).subset([0] * len(chosen))
    start, end = (
        scenes.pose(torch.tensor(frames, dtype=torch.float64) / (len(sequence.names) - 1))
        for frames in ([t.frame0 for t in chosen], [t.frame1 for t in chosen])
    )
    flow, _ = scenes.flow(scenes.surface(start), end)
    return flow.norm(dim=1).flatten(1).quantile(0.95, dim=1).tolist()


def format_triplet_lines(chosen: list[SequenceTriplet], prefix: str) -> list[str]:
    """Return the lines of a list file: first, middle and last frame."""
    return [
        " ".join(prefix + sequence.files[frame] for frame in frames) for sequence, *frames in chosen
    ]


def layout_vimeo90k(scenes: int, kind: str = "tri") -> TreeLayout:
    """Lay out `scenes` training clips and a quarter as many test clips."""
    lines = [f"{1 + scene // 1000:05d}/{1 + scene % 1000:04d}" for scene in range(2 * scenes)]
    train, test = lines[:scenes], lines[scenes:][: max(scenes // 4, 1)]
    names = [f"im{number}.png" for number in range(1, vimeo90k.FRAMES[kind] + 1)]
    return TreeLayout(
        vimeo90k.SIZE,
        sequences=[
            RenderedSequence(n, f"sequences/{line}", names) for n, line in enumerate(train + test)
        ],
        lists={f"{kind}_trainlist.txt": train, f"{kind}_testlist.txt": test},
    )


def layout_x4k1000fps(scenes: int) -> TreeLayout:
    """Lay out `scenes` training clips of 65 frames, a quarter as many of 33 for val and test."""
    fewer = max(scenes // 4, 1)
    layout = TreeLayout(x4k1000fps.PUBLISHED["train"][1])
    layout.sizes = {split: size for split, (_, size) in x4k1000fps.PUBLISHED.items()}
    frames = {"train": 4 * INTERVAL + 1, "val": 2 * INTERVAL + 1, "test": 2 * INTERVAL + 1}
    folders = [f"train/{2 + n // 4:03d}/occ{n % 4:03d}.{320 + 2 * n}" for n in range(scenes)]
    folders += [f"val/Type{1 + n % 3}/VAL{1 + n:02d}" for n in range(fewer)]
    folders += [f"test/Type{1 + n % 3}/TEST{1 + n:02d}" for n in range(fewer)]
    for scene, folder in enumerate(folders):
        names = [f"{n:04d}.png" for n in range(frames[folder.partition("/")[0]])]
        layout.sequences.append(RenderedSequence(scene, folder, names))
    return layout


def layout_snu_film(scenes: int) -> TreeLayout:
    """Lay out `scenes` sequences with one triplet each in every list."""
    layout = TreeLayout(snu_film.SIZE, prefix="data/SNU-FILM/")
    middle = max(snu_film.GAPS.values())
    for scene in range(scenes):
        youtube = scene % 2
        place = (
            f"YouTube_test/{scene:04d}" if youtube else f"GOPRO_test/GOPR{384 + scene:04d}_11_00"
        )
        digits = 5 if youtube else 6
        names = [f"{n:0{digits}d}.png" for n in range(1, 2 * middle + 2)]
        layout.sequences.append(RenderedSequence(scene, f"test/{place}", names))
    for split, gap in snu_film.GAPS.items():
        chosen = [
            SequenceTriplet(sequence, middle - gap, middle, middle + gap)
            for sequence in layout.sequences
        ]
        layout.lists[snu_film.LISTS[split]] = format_triplet_lines(chosen, layout.prefix)
        if f"{split}-l" in snu_film.LISTS:
            layout.large_motion_lists[snu_film.LISTS[f"{split}-l"]] = chosen
    return layout


def layout_xiph(scenes: int) -> TreeLayout:
    """Lay out the first `scenes` sequences of 100 frames."""
    layout = TreeLayout(xiph.SIZE, prefix="data/xiph/", motion=dict(LONG_SEQUENCE_MOTION))
    names = [f"{n:03d}.png" for n in range(1, xiph.FRAMES + 1)]
    layout.sequences = [
        RenderedSequence(scene, name, names) for scene, name in enumerate(xiph.SEQUENCES[:scenes])
    ]
    layout.large_motion_lists[xiph.LARGE_MOTION_LIST] = [
        SequenceTriplet(sequence, middle - 2, middle, middle + 2)
        for sequence in layout.sequences
        for middle in range(2, xiph.FRAMES - 2, 2)
    ]
    return layout


def layout_ucf101(scenes: int) -> TreeLayout:
    """Lay out `scenes` triplets."""
    names = list(ucf101.FRAMES)
    return TreeLayout(
        ucf101.SIZE,
        [RenderedSequence(scene, str(10 * scene + 1), names) for scene in range(scenes)],
    )


def layout_middlebury(scenes: int) -> TreeLayout:
    """Lay out the first `scenes` of the twelve sequences."""
    layout = TreeLayout(middlebury.SIZE)
    for scene, sequence in enumerate(middlebury.SEQUENCES[:scenes]):
        triplet = middlebury.triplet_paths(Path(), sequence)
        layout.sequences.append(
            RenderedSequence(scene, ".", [path.as_posix() for path in triplet[:3]])
        )
    return layout


def layout_gopro(scenes: int) -> TreeLayout:
    """Lay out `scenes` test sequences of two windows each."""
    names = [f"{n:06d}.png" for n in range(1, 2 * gopro.FACTOR + 2)]
    sequences = [RenderedSequence(n, f"test/GOPR{384 + n:04d}_11_00", names) for n in range(scenes)]
    return TreeLayout(gopro.SIZE, sequences)


TREE_LAYOUTS: MappingProxyType[str, Callable[[int], TreeLayout]] = MappingProxyType(
    {
        vimeo90k.NAME: layout_vimeo90k,
        f"{vimeo90k.NAME}-septuplets": partial(layout_vimeo90k, kind="sep"),
        x4k1000fps.NAME: layout_x4k1000fps,
        snu_film.NAME: layout_snu_film,
        xiph.NAME: layout_xiph,
        ucf101.NAME: layout_ucf101,
        middlebury.NAME: layout_middlebury,
        gopro.NAME: layout_gopro,
    }
)
