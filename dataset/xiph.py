"""Xiph: eight 4K sequences at 60 frames per second, 100 frames of each; test only.

<sequence>/001.png .. 100.png, or <sequence>-001.png ..., in the root or in netflix/
top-half-motion-sufficiency-gap2.txt      lines of three frames two apart, large motion
"""

import re
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from sgm_vfi.dataset.clip_frames import DatasetPart
from sgm_vfi.dataset.triplet import TripletPaths, read_triplet_list

NAME = "xiph"
ORIGIN = """
Xiph: the first 100 frames of eight recordings, several GB each. For Tango, and so on for the
others (DrivingPOV's folder is Chimera, that of all others ElFuente):
  URL=https://media.xiph.org/video/derf/ElFuente/Netflix_Tango_4096x2160_60fps_10bit_420.y4m
  mkdir -p xiph/Tango
  ffmpeg -i $URL -pix_fmt rgb24 -vframes 100 xiph/Tango/%03d.png
The list top-half-motion-sufficiency-gap2.txt is linked from the README of SGM-VFI and belongs
into xiph/.
"""
SIZE = (2160, 4096)  # height, width
SEQUENCES = (
    "BoxingPractice",
    "Crosswalk",
    "DrivingPOV",
    "FoodMarket",
    "FoodMarket2",
    "RitualDance",
    "SquareAndTimelapse",
    "Tango",
)
FRAMES = 100  # of each sequence, numbered from 1
LARGE_MOTION_LIST = "top-half-motion-sufficiency-gap2.txt"
LAYOUTS = ("{}/{:03d}.png", "{}-{:03d}.png", "netflix/{}/{:03d}.png", "netflix/{}-{:03d}.png")


def find_triplets(root: Path, gap: int = 1, frames: int = FRAMES) -> list[TripletPaths]:
    """Find the triplets of every second frame, with inputs `gap` frames before and after it.

    `gap` 1 gives the usual 392 triplets.
    """
    found = list(find_sequences(root))
    if not found:
        raise FileNotFoundError(
            f"{root} ({root.resolve()}) holds no frames of Xiph, such as "
            f"{LAYOUTS[0].format(SEQUENCES[0], 1)}. `sgm-vfi dataset verify xiph {root}` "
            f"says how to make them."
        )
    return [
        TripletPaths(
            find_frame(root, name, n - gap),
            find_frame(root, name, n),
            find_frame(root, name, n + gap),
        )
        for name in found
        for n in range(1 + gap, frames - gap + 1, 2)
    ]


def find_large_motion_triplets(root: Path) -> list[TripletPaths]:
    """Read the triplets of the large-motion list in `root`."""
    return [
        find_listed_triplet(root, triplet)
        for triplet in read_triplet_list(root / LARGE_MOTION_LIST, root, SEQUENCES)
    ]


def find_sequences(root: Path) -> Iterator[str]:
    """Find the sequences whose first frame exists."""
    return (name for name in SEQUENCES if find_frame(root, name, 1).is_file())


def find_frame(root: Path, sequence: str, number: int) -> Path:
    """Find a frame in any layout; return its path in the first layout if it is missing."""
    candidates = [root / layout.format(sequence, number) for layout in LAYOUTS]
    return next((path for path in candidates if path.is_file()), candidates[0])


def find_listed_triplet(root: Path, listed: TripletPaths) -> TripletPaths:
    """Find the frames of a listed triplet in the layout on disk."""
    frame0, target, frame1 = (find_listed_frame(root, path) for path in listed.frames)
    return TripletPaths(frame0, target, frame1)


def find_listed_frame(root: Path, listed: Path) -> Path:
    """Find a listed frame: the file itself, else by its sequence and number."""
    names = "|".join(SEQUENCES)
    match = re.search(rf"({names})[/-](\d+)\.png$", PurePosixPath(listed).as_posix())
    if listed.is_file() or not match:
        return listed
    return find_frame(root, match[1], int(match[2]))


def list_parts(root: Path) -> list[DatasetPart]:
    """List the frames of all sequences and of the large-motion list."""
    find_triplets(root)  # raises if there are none
    found = [
        DatasetPart(
            "sequences",
            len(list(find_sequences(root))),
            len(SEQUENCES),
            "sequences",
            [find_frame(root, name, n) for name in SEQUENCES for n in range(1, FRAMES + 1)],
            SIZE,
        )
    ]
    if (root / LARGE_MOTION_LIST).is_file():
        listed = find_large_motion_triplets(root)
        found.append(DatasetPart.of_triplets("gap2-l", listed, None, SIZE))
    return found
