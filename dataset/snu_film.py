"""SNU-FILM: 240 frames per second, 1280x720, four lists with growing frame distance; test only.

    test-{easy,medium,hard,extreme}.txt                      310 lines: first, middle, last frame
    top-half-motion-sufficiency_test-{hard,extreme}.txt      the half with the larger motion
    test/GOPRO_test/<sequence>/<frame>.png, test/YouTube_test/<sequence>/<frame>.png

The lists stand in the root or in eval_modes/; their paths begin with data/SNU-FILM/test.
"""

from pathlib import Path

from sgm_vfi.dataset.clip_frames import DatasetPart
from sgm_vfi.dataset.triplet import TripletPaths, read_triplet_list

NAME = "snu-film"
ORIGIN = """
SNU-FILM: https://myungsub.github.io/CAIN: the test set and the lists (eval_modes). The
-L lists, top-half-motion-sufficiency_test-{hard,extreme}.txt, are linked from the README of
SGM-VFI and belong beside the others.
"""
SIZE = (720, 1280)  # height, width
PUBLISHED = 310  # triplets in each list
GAPS = {"easy": 1, "medium": 2, "hard": 4, "extreme": 8}  # frames from the target to either side
LISTS = {
    **{split: f"test-{split}.txt" for split in GAPS},
    **{f"{split}-l": f"top-half-motion-sufficiency_test-{split}.txt" for split in list(GAPS)[2:]},
}
LIST_FOLDERS = (".", "eval_modes")
FOLDERS = ("test", "GOPRO_test", "YouTube_test")  # from which a listed path may start


def find_triplets(root: Path, split: str) -> list[TripletPaths]:
    """Read the triplets of a list: easy, medium, hard, extreme, hard-l or extreme-l."""
    return read_triplet_list(find_list_file(root, split), root, FOLDERS)


def find_list_file(root: Path, split: str) -> Path:
    """Find the list file of a split."""
    if split not in LISTS:
        raise ValueError(f"SNU-FILM has the lists {', '.join(LISTS)}, got {split!r}.")
    for folder in LIST_FOLDERS:
        path = root / folder / LISTS[split]
        if path.is_file():
            return path
    raise FileNotFoundError(
        f"{root} ({root.resolve()}) has no {LISTS[split]}, neither there nor in eval_modes/. "
        f"Name the folder that holds the lists and test/."
    )


def list_parts(root: Path) -> list[DatasetPart]:
    """List the list files on disk with the frames that they name."""
    found = [
        split for split in LISTS if any((root / f / LISTS[split]).is_file() for f in LIST_FOLDERS)
    ]
    return [
        DatasetPart.of_triplets(
            split,
            find_triplets(root, split),
            PUBLISHED // 2 if split.endswith("-l") else PUBLISHED,
            SIZE,
        )
        for split in found or ["easy"]
    ]
