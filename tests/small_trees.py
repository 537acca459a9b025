"""Data sets small enough for tests, and what is done to them."""

from pathlib import Path

import numpy as np

from sgm_vfi.dataset.synthetic import SyntheticConfig

SMALL = SyntheticConfig(textures=12, texture_size=64, masks=10, mask_size=48, blur=0.0)
SIZES = {"vimeo90k": (48, 80), "x4k1000fps": (48, 48), "snu-film": (36, 64), "xiph": (36, 64)}
SCENES = {"vimeo90k": 8, "x4k1000fps": 4, "snu-film": 4, "xiph": 8}


def damage(path: Path) -> None:
    """Spoil the middle of a file and leave its ends alone."""
    data = bytearray(path.read_bytes())
    middle = len(data) // 2
    data[middle - 40 : middle + 40] = bytes(80)
    path.write_bytes(data)


class Painted:
    """A stack whose pixels say where they are: row, column and frame number."""

    name = "painted"

    def __init__(self, side: int = 40, frames: int = 9) -> None:
        self.side, self.frames = side, frames

    def __len__(self) -> int:
        return self.frames

    def __getitem__(self, index: int) -> np.ndarray:
        row, column = np.mgrid[: self.side, : self.side]
        return np.stack((row, column, np.full_like(row, 200 + index)), -1).astype(np.uint8)
