"""Middlebury's OTHER set: twelve triplets of up to 640x480, the truth of which is public.

other-data/<sequence>/frame10.png, frame11.png      the inputs
other-gt-interp/<sequence>/frame10i11.png           the target
"""

from pathlib import Path

from sgm_vfi.dataset.frame_stack import DatasetPart
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
INPUTS, TRUTH = "other-data", "other-gt-interp"


def find_triplets(root: Path) -> list[TripletPaths]:
    """The triplets of the sequences that are there, in the order of their names."""
    found = [name for name in SEQUENCES if (root / INPUTS / name).is_dir()]
    if not found:
        raise FileNotFoundError(
            f"{root} ({root.resolve()}) is no Middlebury OTHER: it holds no "
            f"{INPUTS}/{SEQUENCES[0]} or another of the twelve. Name the folder that holds "
            f"{INPUTS}/ and {TRUTH}/."
        )
    return [triplet_paths(root, name) for name in found]


def triplet_paths(root: Path, sequence: str) -> TripletPaths:
    """The files of one sequence."""
    inputs = root / INPUTS / sequence
    target = root / TRUTH / sequence / "frame10i11.png"
    return TripletPaths(inputs / "frame10.png", target, inputs / "frame11.png")


def list_parts(root: Path) -> list[DatasetPart]:
    """What of the data set is there; all sequences must be."""
    found = len(find_triplets(root))
    files = [frame for name in SEQUENCES for frame in triplet_paths(root, name)[:3]]
    return [DatasetPart("other", found, len(SEQUENCES), "sequences", files, SIZE)]
