"""X4K1000FPS: high-speed recordings with extreme motion.

    train/<scene>/<clip>/*.png     4,408 clips of 65 frames, 768x768
    val/<type>/<scene>/*.png       scenes of 33 frames or more, 4096x2160
    test/<type>/<scene>/*.png      15 scenes of 33 frames, 4096x2160

Roots here are those of one split: .../train, .../val or .../test, or of its packed cache.
"""

from collections.abc import Sequence
from pathlib import Path

from sgm_vfi.dataset.augment import Augmentation, TripletIndices
from sgm_vfi.dataset.clip_frames import DatasetPart, FrameStack, ImageFileStack, require_intact
from sgm_vfi.dataset.packed_cache import is_packed, read_packed
from sgm_vfi.dataset.triplet import TripletPaths
from sgm_vfi.dataset.triplet_sampling import (
    FixedTriplets,
    TrainingTriplets,
    sample_any_frame,
    sample_middle_frame,
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


def open_stacks(root: Path) -> Sequence[FrameStack]:
    """Open the clips of one split, sorted by name."""
    return read_packed(root) if is_packed(root) else find_image_stacks(root)


def find_image_stacks(root: Path) -> list[ImageFileStack]:
    """Find the clips of one split as image files, unchecked."""
    clips = []
    for folder in sorted(folder for folder in root.glob("*/*") if folder.is_dir()):
        names = fill_numbering_gaps(sorted(file.name for file in folder.glob("*.png")))
        clips.append(ImageFileStack(folder.relative_to(root).as_posix(), folder, names))
    if not any(len(clip) for clip in clips):
        raise FileNotFoundError(
            f"{root} ({root.resolve()}) is no part of X4K1000FPS: it holds no "
            f"<scene>/<clip>/*.png. Name the folder train, val or test of the data set."
        )
    return clips


def build_training_set(
    root: Path, augmentation: Augmentation = PUBLISHED_AUGMENTATION, *, any_time: bool = False
) -> TrainingTriplets:
    """Build the training set: one sample per clip and epoch."""
    clips = open_stacks(root)
    require_length(clips, 3)
    require_intact(clips, NAME, root)
    return TrainingTriplets(
        clips, augmentation, sample_any_frame if any_time else sample_middle_frame
    )


def build_validation_set(root: Path, crop: int | None = 512) -> FixedTriplets:
    """Build the validation set: frames 0, 32 -> 16, 32, 64 -> 48, ..., centre-cropped."""
    clips = open_stacks(root)
    require_length(clips, 2 * INTERVAL + 1)
    require_intact(clips, NAME, root)
    picks = [(clip, moment) for clip in clips for moment in select_triplets(len(clip))]
    return FixedTriplets(picks, crop)


def find_triplets(root: Path, interval: int = INTERVAL, step: int = STEP) -> list[TripletPaths]:
    """Find the triplets (i, i + 2 interval -> i + interval) of all scenes."""
    clips = find_image_stacks(root)
    require_length(clips, 2 * interval + 1)
    return [
        triplet_paths(clip, moment)
        for clip in clips
        for moment in select_triplets(len(clip), interval, step)
    ]


def find_multi_frame_triplets(root: Path, factor: int = 8, step: int = STEP) -> list[TripletPaths]:
    """Find `factor` - 1 triplets between frames `step` apart, at times k / factor."""
    clips = find_image_stacks(root)
    require_length(clips, step + 1)
    return [
        triplet_paths(clip, TripletIndices(first, first + step * part // factor, first + step))
        for clip in clips
        for first in range(0, len(clip) - step, step)
        for part in range(1, factor)
    ]


def triplet_paths(clip: ImageFileStack, indices: TripletIndices) -> TripletPaths:
    """Return the files of one triplet."""
    frame0, target, frame1 = (clip.files[frame] for frame in indices)
    return TripletPaths(frame0, target, frame1, indices.time)


def select_triplets(
    length: int, interval: int = INTERVAL, step: int = STEP
) -> list[TripletIndices]:
    """Return the triplets of a scene of `length` frames.

    Triplets start at i + m for each multiple i of `step` and m = 0 .. step - 2 interval.
    """
    firsts = [
        start + shift
        for start in range(0, length - 1, step)
        for shift in range(step - 2 * interval + 1)
    ]
    return [
        TripletIndices(first, first + interval, first + 2 * interval)
        for first in firsts
        if first + 2 * interval < length
    ]


def require_length(clips: Sequence[FrameStack], least: int) -> None:
    """Raise ValueError if a clip has too few frames."""
    short = [f"{clip.name} has {len(clip)}" for clip in clips if len(clip) < least]
    if short:
        raise ValueError(
            f"Clips of {least} frames or more are needed, but {len(short)} of {len(clips)} "
            f"are shorter: {'; '.join(short[:5])}. Unpack them again, or remove their folders."
        )


def fill_numbering_gaps(names: Sequence[str]) -> tuple[str, ...]:
    """Add the missing names to numbered frames; a gap would shift the times of later frames."""
    stems = [Path(name).stem for name in names]
    if not stems or not all(stem.isdecimal() for stem in stems):
        return tuple(names)
    digits = len(stems[0])
    return tuple(f"{n:0{digits}d}.png" for n in range(int(stems[0]), int(stems[-1]) + 1))


def find_splits(root: Path) -> dict[str, Path]:
    """Find the splits in `root`; `root` itself may be one."""
    found = {split: root / split for split in PUBLISHED if (root / split).is_dir()}
    return found or {root.resolve().name: root}


def list_parts(root: Path) -> list[DatasetPart]:
    """List the splits on disk."""
    parts = []
    for split, folder in find_splits(root).items():
        published, size = PUBLISHED.get(split, (None, (768, 768)))
        parts.append(DatasetPart.of_stacks(split, find_image_stacks(folder), published, size))
    return parts


def list_packable(root: Path) -> dict[str, Sequence[FrameStack]]:
    """Return the clips to pack by the name of their folder."""
    return {split: find_image_stacks(folder) for split, folder in find_splits(root).items()}
