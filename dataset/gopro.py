"""GoPro: 33 recordings at 240 frames per second, 1280x720, used for 8x interpolation.

train/<sequence>/000001.png ..., test/<sequence>/000001.png ...      22 and 11 sequences
"""

from dataclasses import replace
from pathlib import Path

from sgm_vfi.dataset.augment import IFRNET_AUGMENTATION, Augmentation, TripletIndices
from sgm_vfi.dataset.clip_frames import DatasetPart, ImageFileStack, require_intact
from sgm_vfi.dataset.triplet import TripletPaths
from sgm_vfi.dataset.triplet_sampling import FixedTriplets, TrainingTriplets, sample_inner_frame
from sgm_vfi.dataset.x4k1000fps import fill_numbering_gaps, triplet_paths

NAME = "gopro"
ORIGIN = """
GoPro: https://seungjunnah.github.io/Datasets/gopro: GOPRO_Large_all, the sharp frames of the
whole recordings (35 GB), not the blurred GOPRO_Large. The root is the folder that holds train/
and test/.
"""
SIZE = (720, 1280)  # height, width
PUBLISHED = {"train": 22, "test": 11}  # sequences
PUBLISHED_AUGMENTATION = IFRNET_AUGMENTATION  # the only published one
FACTOR = 8  # frames from one input to the next; the seven between are predicted


def find_image_stacks(root: Path, split: str = "test") -> list[ImageFileStack]:
    """Find the sequences of a split, sorted by name."""
    folders = sorted(folder for folder in (root / split).glob("*") if folder.is_dir())
    stacks = [
        ImageFileStack(
            folder.name, folder, fill_numbering_gaps(sorted(f.name for f in folder.glob("*.png")))
        )
        for folder in folders
    ]
    if not any(len(stack) for stack in stacks):
        raise FileNotFoundError(
            f"{root} ({root.resolve()}) is no GoPro: it holds no {split}/<sequence>/*.png. "
            f"Name the folder that holds train/ and test/."
        )
    return stacks


def find_triplets(root: Path, split: str = "test", factor: int = FACTOR) -> list[TripletPaths]:
    """Return the `factor` - 1 triplets of each window."""
    return [
        triplet_paths(window, TripletIndices(0, part, factor))
        for window in split_windows(root, split, factor)
        for part in range(1, factor)
    ]


def split_windows(root: Path, split: str, factor: int = FACTOR) -> list[ImageFileStack]:
    """Split sequences into windows of `factor` + 1 frames; neighbours share their outer frame."""
    return [
        replace(stack, file_names=stack.file_names[first : first + factor + 1])
        for stack in find_image_stacks(root, split)
        for first in range(0, len(stack) - factor, factor)
    ]


def build_training_set(
    root: Path, augmentation: Augmentation = PUBLISHED_AUGMENTATION, *, any_time: bool = True
) -> TrainingTriplets:
    """Build the training set: `FACTOR` - 1 random targets of each window and epoch."""
    if not any_time:
        raise ValueError("GoPro is for 8x interpolation: set data.any_time and model.any_time.")
    sequences = split_windows(root, "train")
    require_intact(sequences, NAME, root)
    return TrainingTriplets(sequences * (FACTOR - 1), augmentation, sample_inner_frame)


def build_validation_set(root: Path, crop: int | None = 512) -> FixedTriplets:
    """Build the validation set: all targets of the test windows, centre-cropped, as published."""
    sequences = split_windows(root, "test")
    require_intact(sequences, NAME, root)
    indices = [TripletIndices(0, part, FACTOR) for part in range(1, FACTOR)]
    return FixedTriplets([(window, moment) for window in sequences for moment in indices], crop)


def list_parts(root: Path) -> list[DatasetPart]:
    """List the splits on disk."""
    found = [split for split in PUBLISHED if (root / split).is_dir()] or ["test"]
    return [
        DatasetPart.of_stacks(
            split, find_image_stacks(root, split), PUBLISHED[split], SIZE, "sequences"
        )
        for split in found
    ]
