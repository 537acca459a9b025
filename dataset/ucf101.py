"""UCF101 for interpolation: 379 triplets of 256x256; test only.

<n>/frame_00.png, frame_01_gt.png, frame_02.png      n = 1, 11, 21, ...; the second is the target
"""

from pathlib import Path

from sgm_vfi.dataset.clip_frames import DatasetPart
from sgm_vfi.dataset.triplet import TripletPaths
from sgm_vfi.media.images import natural_sort_key

NAME = "ucf101"
ORIGIN = """
UCF101 for interpolation: the archive of test triplets that comes with Deep Voxel Flow
(https://github.com/liuziwei7/voxel-flow), unpacked to the folder ucf101_interp_ours, which is the
root. What other methods predicted (frame_01_ours.png, ...) lies beside and is not read.
"""
SIZE = (256, 256)  # height, width
PUBLISHED = 379  # triplets
FRAMES = ("frame_00.png", "frame_01_gt.png", "frame_02.png")


def find_triplets(root: Path) -> list[TripletPaths]:
    """Find all triplets, sorted by the numbers of their folders."""
    folders = [file.parent for file in root.glob(f"*/{FRAMES[0]}")]
    if not folders:
        raise FileNotFoundError(
            f"{root} ({root.resolve()}) is no UCF101: it holds no <number>/{FRAMES[0]}. "
            f"Name the folder ucf101_interp_ours."
        )
    return [
        TripletPaths(folder / FRAMES[0], folder / FRAMES[1], folder / FRAMES[2])
        for folder in sorted(folders, key=natural_sort_key)
    ]


def list_parts(root: Path) -> list[DatasetPart]:
    """List the triplets on disk."""
    return [DatasetPart.of_triplets("test", find_triplets(root), PUBLISHED, SIZE)]
