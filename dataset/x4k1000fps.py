"""X4K1000FPS: high-speed recordings with extreme motion.

    train/<scene>/<clip>/*.png     4,408 clips of 65 frames, 768x768
    val/<type>/<scene>/*.png       scenes of 33 frames or more, 4096x2160
    test/<type>/<scene>/*.png      15 scenes of 33 frames, 4096x2160

Roots here are those of one split: .../train, .../val or .../test, or of its packed cache.
"""

from collections.abc import Sequence
from pathlib import Path

from sgm_vfi.dataset.augment import Augmentation, Moment
from sgm_vfi.dataset.frame_stack import FileStack, Part, Stack, require_intact
from sgm_vfi.dataset.packed_cache import is_packed, read_packed
from sgm_vfi.dataset.triplet import TripletPaths
from sgm_vfi.dataset.triplet_sampling import (
    FixedTriplets,
    TrainingTriplets,
    any_frame,
    middle_frame,
)

NAME = "x4k1000fps"
ORIGIN = """
X4K1000FPS: linked from https://github.com/JihyongOh/XVFI. X-TRAIN is encoded; decode it with the
script that comes with it, to train/<scene>/<clip>/0000.png .. 0064.png (about 240 GB). X-TEST and
the validation scenes are folders of PNG files already: test/<type>/<scene>, val/<type>/<scene>.
"""
PUBLISHED = {  # split -> clips, (height, width)
    "train": (4408, (768, 768)),
    "val": (None, (2160, 4096)),
    "test": (15, (2160, 4096)),
}
INTERVAL = 16  # frames between an outer frame and the target, in validation and in XTest-L
STEP = 32  # frames between the starts of two of a scene's triplets
PUBLISHED_AUGMENTATION = Augmentation(
    crop=512, reverse_time=True, flip_horizontally=True, rotate=True
)


def stacks(root: Path) -> Sequence[Stack]:
    """The clips of one split, by name, each with its frames in order."""
    return read_packed(root) if is_packed(root) else file_stacks(root)


def file_stacks(root: Path) -> list[FileStack]:
    """`stacks` as published: image files, checked by nobody yet."""
    clips = []
    for folder in sorted(folder for folder in root.glob("*/*") if folder.is_dir()):
        names = without_gaps(sorted(file.name for file in folder.glob("*.png")))
        clips.append(FileStack(folder.relative_to(root).as_posix(), folder, names))
    if not any(len(clip) for clip in clips):
        raise FileNotFoundError(
            f"{root} ({root.resolve()}) is no part of X4K1000FPS: it holds no "
            f"<scene>/<clip>/*.png. Name the folder train, val or test of the data set."
        )
    return clips


def training_set(
    root: Path,
    augmentation: Augmentation = PUBLISHED_AUGMENTATION,
    *,
    any_time: bool = False,
) -> TrainingTriplets:
    """Training samples, one per clip and epoch: frames a, a + g, a + 2 g, or any in order.

    Refuses to start on cut-off files and on clips with fewer than three frames.
    """
    clips = stacks(root)
    require_length(clips, 3)
    require_intact(clips, NAME, root)
    return TrainingTriplets(clips, augmentation, any_frame if any_time else middle_frame)


def validation_set(root: Path, crop: int | None = 512) -> FixedTriplets:
    """The middle frames of all scenes (0, 32 -> 16, 32, 64 -> 48, ...), centre-cropped."""
    clips = stacks(root)
    require_length(clips, 2 * INTERVAL + 1)
    require_intact(clips, NAME, root)
    picks = [(clip, moment) for clip in clips for moment in moments(len(clip))]
    return FixedTriplets(picks, crop)


def triplets(root: Path, interval: int = INTERVAL, step: int = STEP) -> list[TripletPaths]:
    """The files of all scenes' triplets (i, i + 2 interval -> i + interval), in order."""
    clips = file_stacks(root)
    require_length(clips, 2 * interval + 1)
    return [
        triplet_of(clip, moment) for clip in clips for moment in moments(len(clip), interval, step)
    ]


def multiple_triplets(root: Path, factor: int = 8, step: int = STEP) -> list[TripletPaths]:
    """The files of `factor` - 1 triplets between frames `step` apart, at times k / factor."""
    clips = file_stacks(root)
    require_length(clips, step + 1)
    return [
        triplet_of(clip, Moment(first, first + step * part // factor, first + step))
        for clip in clips
        for first in range(0, len(clip) - step, step)
        for part in range(1, factor)
    ]


def triplet_of(clip: FileStack, moment: Moment) -> TripletPaths:
    """The files of one triplet."""
    return TripletPaths(*(clip.files[frame] for frame in moment), time=moment.time)


def moments(length: int, interval: int = INTERVAL, step: int = STEP) -> list[Moment]:
    """The triplets of a scene of `length` frames.

    One starts at each multiple of `step`. Where `step` leaves room for more of `interval`, as
    many follow as end within it: i + m for m = 0 .. step - 2 interval.
    """
    firsts = [
        start + shift
        for start in range(0, length - 1, step)
        for shift in range(step - 2 * interval + 1)
    ]
    return [
        Moment(first, first + interval, first + 2 * interval)
        for first in firsts
        if first + 2 * interval < length
    ]


def require_length(clips: Sequence[Stack], least: int) -> None:
    """Refuse clips that lack frames."""
    short = [f"{clip.name} has {len(clip)}" for clip in clips if len(clip) < least]
    if short:
        raise ValueError(
            f"Clips of {least} frames or more are needed, but {len(short)} of {len(clips)} "
            f"are shorter: {'; '.join(short[:5])}. Unpack them again, or remove their folders."
        )


def without_gaps(names: Sequence[str]) -> tuple[str, ...]:
    """The names of a clip's frames, and of those that should stand between numbered ones.

    A frame that is missing in the middle would otherwise shift the times of all later ones.
    """
    stems = [Path(name).stem for name in names]
    if not stems or not all(stem.isdecimal() for stem in stems):
        return tuple(names)
    digits = len(stems[0])
    return tuple(f"{n:0{digits}d}.png" for n in range(int(stems[0]), int(stems[-1]) + 1))


def splits(root: Path) -> dict[str, Path]:
    """The splits in `root`, or `root` itself, where it is one."""
    found = {split: root / split for split in PUBLISHED if (root / split).is_dir()}
    return found or {root.resolve().name: root}


def parts(root: Path) -> list[Part]:
    """What of the data set is there."""
    return [
        Part(
            split,
            len(clips),
            published,
            "clips",
            [file for clip in clips for file in clip.files],
            size,
        )
        for split, folder in splits(root).items()
        for clips in [file_stacks(folder)]
        for published, size in [PUBLISHED.get(split, (None, (768, 768)))]
    ]


def packable(root: Path) -> dict[str, Sequence[Stack]]:
    """What a packed cache is made of: the name of each split's folder, and its clips."""
    return {split: file_stacks(folder) for split, folder in splits(root).items()}
