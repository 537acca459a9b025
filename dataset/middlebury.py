"""Middlebury's OTHER set: twelve triplets of up to 640x480 with public ground truth.

other-data/<sequence>/frame10.png, frame11.png      the inputs
other-gt-interp/<sequence>/frame10i11.png           the target
"""

from pathlib import Path

from sgm_vfi.dataset.clip_frames import DatasetPart
from sgm_vfi.dataset.triplet import TripletPaths

NAME = "middlebury"
ORIGIN = """
Middlebury OTHER: https://vision.middlebury.edu/flow/data: other-color-twoframes.zip (or
-allframes) and other-gt-interp.zip. Unpack both into one folder, which is the root.
"""
SIZE = (480, 640)  # height, width; some sequences are smaller
SEQUENCES = (
    "Beanbags",
    "Dimetrodon",
    "DogDance",
    "Grove2",
    "Grove3",
    "Hydrangea",
    "MiniCooper",
    "RubberWhale",
    "Urban2",
    "Urban3",
    "Venus",
    "Walking",
)
INPUT_FOLDER, TARGET_FOLDER = "other-data", "other-gt-interp"


def find_triplets(root: Path) -> list[TripletPaths]:
    """Find the triplets of the sequences on disk, sorted by name."""
    found = [name for name in SEQUENCES if (root / INPUT_FOLDER / name).is_dir()]
    if not found:
        raise FileNotFoundError(
            f"{root} ({root.resolve()}) is no Middlebury OTHER: it holds no "
            f"{INPUT_FOLDER}/{SEQUENCES[0]} or another of the twelve. Name the folder that holds "
            f"{INPUT_FOLDER}/ and {TARGET_FOLDER}/."
        )
    return [triplet_paths(root, name) for name in found]


def triplet_paths(root: Path, sequence: str) -> TripletPaths:
    """Return the files of one sequence."""
    inputs = root / INPUT_FOLDER / sequence
    target = root / TARGET_FOLDER / sequence / "frame10i11.png"
    return TripletPaths(inputs / "frame10.png", target, inputs / "frame11.png")


def list_parts(root: Path) -> list[DatasetPart]:
    """List the files of all twelve sequences."""
    found = len(find_triplets(root))
    files = [frame for name in SEQUENCES for frame in triplet_paths(root, name).frames]
    return [DatasetPart("other", found, len(SEQUENCES), "sequences", files, SIZE)]
