"""Writes synthetic scenes in the layouts of published data sets, list files included.

The trees are small stand-ins: every reader, training and benchmark runs on them as on the real
thing. What they measure is no published number.
"""

import shutil
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import groupby
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

import torch
from tqdm import tqdm

from sgm_vfi.dataset import gopro, middlebury, snu_film, ucf101, vimeo90k, x4k1000fps, xiph
from sgm_vfi.dataset.synthetic import SceneGenerator, SyntheticConfig
from sgm_vfi.dataset.x4k1000fps import INTERVAL
from sgm_vfi.media.images import write_frame

DEFAULT_CONFIG = SyntheticConfig()
PIXELS_AT_ONCE = 2**20  # rendered in one batch
SMALL_SIDE = 32  # shorter side, in pixels, of the frames on which motion is measured for lists
LONG_SEQUENCE_MOTION = MappingProxyType(
    {"motion": (0.05, 1.5), "camera": (0.01, 0.4)}
)  # of 100 frames


class RenderedSequence(NamedTuple):
    """A scene, filmed in even steps from its beginning to its end, one file per step."""

    scene: int
    folder: str
    names: list[str]

    @property
    def files(self) -> list[str]:
        return [f"{self.folder}/{name}" for name in self.names]


class SequenceTriplet(NamedTuple):
    """A triplet of a shot, for a list of triplets."""

    shot: RenderedSequence
    frame0: int
    target: int
    frame1: int


@dataclass
class TreeLayout:
    """What a tree consists of."""

    size: tuple[int, int]  # (height, width) of the published frames
    shots: list[RenderedSequence] = field(default_factory=list)
    lists: dict[str, list[str]] = field(default_factory=dict)  # file name -> lines
    large_motion_lists: dict[str, list[SequenceTriplet]] = field(
        default_factory=dict
    )  # the larger half
    prefix: str = ""  # of paths in lists of triplets
    sizes: dict[str, tuple[int, int]] = field(default_factory=dict)  # of shots below a folder
    motion: dict[str, tuple[float, float]] = field(default_factory=dict)


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
    """Write a stand-in for the data set `name`; the tree appears once it is complete.

    Args:
        scenes: clips of the training set, or sequences; other parts follow from it.
        size: (height, width) of all frames; None takes the published sizes.
        config: what the scenes are like, their size apart.

    Returns the number of frames.
    """
    if root.exists():
        raise FileExistsError(f"{root} exists already. Remove it, or name another folder.")
    if scenes < 1:
        raise ValueError(f"A tree has one scene or more, got {scenes}.")
    plan = TREE_LAYOUTS[name](scenes)
    maker = SceneGenerator(replace(config, size=size or plan.size, **plan.motion), device)
    beside = root.with_name(f".{root.name}.part")
    shutil.rmtree(beside, ignore_errors=True)
    try:
        for shot in tqdm(plan.shots, name, unit="scene"):
            own = maker if size else maker.with_size(published_size(shot, plan))
            render_sequence(shot, own, seed, beside)
        for file, chosen in plan.large_motion_lists.items():
            plan.lists[file] = format_triplet_lines(
                select_larger_motion(chosen, maker, seed), plan.prefix
            )
        for file, lines in plan.lists.items():
            (beside / file).write_text("\n".join(lines) + "\n")
        beside.rename(root)
    finally:
        shutil.rmtree(beside, ignore_errors=True)
    return sum(len(shot.names) for shot in plan.shots)


def published_size(shot: RenderedSequence, plan: TreeLayout) -> tuple[int, int]:
    """The published size of a shot's frames."""
    return plan.sizes.get(shot.folder.partition("/")[0], plan.size)


def render_sequence(shot: RenderedSequence, maker: SceneGenerator, seed: int, root: Path) -> None:
    """Render a scene at its times and write the frames."""
    folder = root / shot.folder
    for name in shot.names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
    height, width = maker.config.size
    scene = maker.draw([(seed, shot.scene)])
    times = torch.linspace(0, 1, len(shot.names), dtype=torch.float64)
    at_once = max(PIXELS_AT_ONCE // (height * width), 1)
    for some, names in zip(times.split(at_once), batched(shot.names, at_once), strict=True):
        for name, frame in zip(names, scene.subset([0] * len(some)).frame(some), strict=True):
            write_frame(folder / name, frame)


def batched(names: list[str], count: int) -> list[list[str]]:
    """Cut a list into lists of `count`, the last one shorter."""
    return [names[start : start + count] for start in range(0, len(names), count)]


def select_larger_motion(
    chosen: list[SequenceTriplet], maker: SceneGenerator, seed: int
) -> list[SequenceTriplet]:
    """Keep the half of the triplets whose motion is largest, in order."""
    height, width = maker.config.size
    scale = SMALL_SIDE / min(height, width)
    small = maker.with_size((round(height * scale), round(width * scale)))
    motions = [
        motion
        for _, triplets in groupby(chosen, key=lambda triplet: triplet.shot)
        for motion in measure_motion(list(triplets), small, seed)
    ]
    least = sorted(motions)[len(motions) // 2]
    return [triplet for triplet, motion in zip(chosen, motions, strict=True) if motion >= least]


def measure_motion(chosen: list[SequenceTriplet], maker: SceneGenerator, seed: int) -> list[float]:
    """The length that 5 % of the true flow between the outer frames exceed, for each triplet.

    The triplets are of one shot.
    """
    shot = chosen[0].shot
    scenes = maker.draw([(seed, shot.scene)]).subset([0] * len(chosen))
    start, end = (
        scenes.pose(torch.tensor(frames, dtype=torch.float64) / (len(shot.names) - 1))
        for frames in ([t.frame0 for t in chosen], [t.frame1 for t in chosen])
    )
    flow, _ = scenes.flow(scenes.surface(start), end)
    return flow.norm(dim=1).flatten(1).quantile(0.95, dim=1).tolist()


def format_triplet_lines(chosen: list[SequenceTriplet], prefix: str) -> list[str]:
    """Lines of a list file: first, middle and last frame."""
    return [" ".join(prefix + shot.files[frame] for frame in frames) for shot, *frames in chosen]


def layout_vimeo90k(scenes: int, kind: str = "tri") -> TreeLayout:
    """`scenes` training clips and a quarter as many test clips: triplets or septuplets."""
    lines = [f"{1 + scene // 1000:05d}/{1 + scene % 1000:04d}" for scene in range(2 * scenes)]
    train, test = lines[:scenes], lines[scenes:][: max(scenes // 4, 1)]
    names = [f"im{number}.png" for number in range(1, vimeo90k.FRAMES[kind] + 1)]
    return TreeLayout(
        vimeo90k.SIZE,
        shots=[
            RenderedSequence(n, f"sequences/{line}", names) for n, line in enumerate(train + test)
        ],
        lists={f"{kind}_trainlist.txt": train, f"{kind}_testlist.txt": test},
    )


def layout_x4k1000fps(scenes: int) -> TreeLayout:
    """`scenes` training clips of 65 frames, and a quarter as many for val and test, of 33."""
    fewer = max(scenes // 4, 1)
    plan = TreeLayout(x4k1000fps.PUBLISHED["train"][1])
    plan.sizes = {split: size for split, (_, size) in x4k1000fps.PUBLISHED.items()}
    frames = {"train": 4 * INTERVAL + 1, "val": 2 * INTERVAL + 1, "test": 2 * INTERVAL + 1}
    folders = [f"train/{2 + n // 4:03d}/occ{n % 4:03d}.{320 + 2 * n}" for n in range(scenes)]
    folders += [f"val/Type{1 + n % 3}/VAL{1 + n:02d}" for n in range(fewer)]
    folders += [f"test/Type{1 + n % 3}/TEST{1 + n:02d}" for n in range(fewer)]
    for scene, folder in enumerate(folders):
        names = [f"{n:04d}.png" for n in range(frames[folder.partition("/")[0]])]
        plan.shots.append(RenderedSequence(scene, folder, names))
    return plan


def layout_snu_film(scenes: int) -> TreeLayout:
    """`scenes` sequences, one triplet of each in every list."""
    plan = TreeLayout(snu_film.SIZE, prefix="data/SNU-FILM/")
    middle = max(snu_film.GAPS.values())
    for scene in range(scenes):
        youtube = scene % 2
        place = (
            f"YouTube_test/{scene:04d}" if youtube else f"GOPRO_test/GOPR{384 + scene:04d}_11_00"
        )
        digits = 5 if youtube else 6
        names = [f"{n:0{digits}d}.png" for n in range(1, 2 * middle + 2)]
        plan.shots.append(RenderedSequence(scene, f"test/{place}", names))
    for split, gap in snu_film.GAPS.items():
        chosen = [SequenceTriplet(shot, middle - gap, middle, middle + gap) for shot in plan.shots]
        plan.lists[snu_film.LISTS[split]] = format_triplet_lines(chosen, plan.prefix)
        if f"{split}-l" in snu_film.LISTS:
            plan.large_motion_lists[snu_film.LISTS[f"{split}-l"]] = chosen
    return plan


def layout_xiph(scenes: int) -> TreeLayout:
    """The first `scenes` of the eight sequences, 100 frames each."""
    plan = TreeLayout(xiph.SIZE, prefix="data/xiph/", motion=dict(LONG_SEQUENCE_MOTION))
    names = [f"{n:03d}.png" for n in range(1, xiph.FRAMES + 1)]
    plan.shots = [
        RenderedSequence(scene, name, names) for scene, name in enumerate(xiph.SEQUENCES[:scenes])
    ]
    plan.large_motion_lists[xiph.LARGE_MOTION_LIST] = [
        SequenceTriplet(shot, middle - 2, middle, middle + 2)
        for shot in plan.shots
        for middle in range(2, xiph.FRAMES - 2, 2)
    ]
    return plan


def layout_ucf101(scenes: int) -> TreeLayout:
    """`scenes` triplets."""
    names = list(ucf101.FRAMES)
    return TreeLayout(
        ucf101.SIZE,
        [RenderedSequence(scene, str(10 * scene + 1), names) for scene in range(scenes)],
    )


def layout_middlebury(scenes: int) -> TreeLayout:
    """The first `scenes` of the twelve sequences."""
    plan = TreeLayout(middlebury.SIZE)
    for scene, sequence in enumerate(middlebury.SEQUENCES[:scenes]):
        triplet = middlebury.triplet_paths(Path(), sequence)
        plan.shots.append(RenderedSequence(scene, ".", [path.as_posix() for path in triplet[:3]]))
    return plan


def layout_gopro(scenes: int) -> TreeLayout:
    """`scenes` test sequences, two windows of each."""
    names = [f"{n:06d}.png" for n in range(1, 2 * gopro.FACTOR + 2)]
    shots = [RenderedSequence(n, f"test/GOPR{384 + n:04d}_11_00", names) for n in range(scenes)]
    return TreeLayout(gopro.SIZE, shots)


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
