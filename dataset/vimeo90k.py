"""Vimeo90K: short clips of 448x256, published as triplets and as septuplets.

    <root>/tri_trainlist.txt, tri_testlist.txt      lines like 00001/0001
    <root>/sequences/<line>/im1.png .. im3.png      im2 is the target

Septuplets: sep_trainlist.txt, sep_testlist.txt and im1.png .. im7.png. A packed cache stands in
the place of the list file, as a folder tri_train, tri_test, sep_train or sep_test.
"""

from collections.abc import Sequence
from pathlib import Path

from sgm_vfi.dataset.augment import Augmentation, TripletIndices
from sgm_vfi.dataset.clip_frames import DatasetPart, FrameStack, ImageFileStack, require_intact
from sgm_vfi.dataset.packed_cache import is_packed, read_packed
from sgm_vfi.dataset.triplet import TripletPaths, read_lines
from sgm_vfi.dataset.triplet_sampling import (
    FixedTriplets,
    TrainingTriplets,
    sample_any_frame,
    sample_middle_frame,
)

NAME = "vimeo90k"
ORIGIN = """
Vimeo90K: http://toflow.csail.mit.edu, "The original training + test set": vimeo_triplet.zip
(33 GB) and, for arbitrary times, vimeo_septuplet.zip (82 GB). Unpack; the root is the folder that
holds the list files and sequences/.
"""
SIZE = (256, 448)  # height, width
FRAMES = {"tri": 3, "sep": 7}  # list files' prefix -> frames of a clip
PUBLISHED = {
    ("tri", "train"): 51312,
    ("tri", "test"): 3782,
    ("sep", "train"): 64612,
    ("sep", "test"): 7824,
}
PUBLISHED_AUGMENTATION = Augmentation(
    crop=256,
    reverse_colours=True,
    reverse_time=True,
    flip_vertically=True,
    flip_horizontally=True,
    rotate=True,
)


def open_stacks(root: Path, split: str, kind: str = "tri") -> Sequence[FrameStack]:
    """Open the clips of a split: `kind` "tri" for triplets, "sep" for septuplets."""
    packed = root / f"{kind}_{split}"
    return read_packed(packed) if is_packed(packed) else find_image_stacks(root, split, kind)


def find_image_stacks(root: Path, split: str, kind: str = "tri") -> list[ImageFileStack]:
    """Find the clips of a split as image files, unchecked."""
    list_file = root / f"{kind}_{split}list.txt"
    if not list_file.is_file():
        raise FileNotFoundError(
            f"{root} ({root.resolve()}) is no Vimeo90K: it has no {list_file.name}. "
            f"Name the folder that holds it and sequences/."
        )
    frames = tuple(f"im{number}.png" for number in range(1, FRAMES[kind] + 1))
    lines = read_lines(list_file)
    return [ImageFileStack(line, root / "sequences" / line, frames) for line in lines]


def build_training_set(
    root: Path, augmentation: Augmentation = PUBLISHED_AUGMENTATION, *, any_time: bool = False
) -> TrainingTriplets:
    """Build the training set: triplets or, for any time, three ordered frames of septuplets."""
    clips = open_stacks(root, "train", "sep" if any_time else "tri")
    require_intact(clips, NAME, root)
    return TrainingTriplets(
        clips, augmentation, sample_any_frame if any_time else sample_middle_frame
    )


def build_validation_set(root: Path, *, any_time: bool = False) -> FixedTriplets:
    """Build the validation set: the test triplets, whole frames, in the list's order.

    For any time, the inputs are the outer frames of the test septuplets and the target cycles
    through the inner frames.
    """
    clips = open_stacks(root, "test", "sep" if any_time else "tri")
    require_intact(clips, NAME, root)
    last = FRAMES["sep"] - 1
    between = (1 + number % (last - 1) for number in range(len(clips)))
    indices = [
        TripletIndices(0, frame, last) if any_time else TripletIndices(0, 1, 2) for frame in between
    ]
    return FixedTriplets(list(zip(clips, indices, strict=True)))


def find_triplets(root: Path, split: str = "test") -> list[TripletPaths]:
    """Find the triplets of a split, in the list's order."""
    return [
        TripletPaths(frame0, target, frame1)
        for frame0, target, frame1 in (clip.files for clip in find_image_stacks(root, split))
    ]


def list_parts(root: Path) -> list[DatasetPart]:
    """List the parts whose list files exist."""
    found = [part for part in PUBLISHED if (root / "{}_{}list.txt".format(*part)).is_file()]
    return [
        DatasetPart.of_stacks(
            f"{kind}_{split}", find_image_stacks(root, split, kind), PUBLISHED[kind, split], SIZE
        )
        for kind, split in found or [("tri", "train")]
    ]


def list_packable(root: Path) -> dict[str, Sequence[FrameStack]]:
    """Return the clips to pack by the name of their folder."""
    return {
        part.name: find_image_stacks(root, *reversed(part.name.split("_")))
        for part in list_parts(root)
    }
