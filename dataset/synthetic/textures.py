"""Textures of synthetic scenes (photographs of scikit-image, procedural patterns); their atlas."""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import skimage.data
import torch
import torch.nn.functional as F
from torch import Tensor

from sgm_vfi.media.images import as_frame, read_samples

# Photographs inside scikit-image's wheel; no downloads.
PHOTOGRAPHS = (
    "astronaut.png",
    "brick.png",
    "camera.png",
    "chelsea.png",
    "coffee.png",
    "coins.png",
    "grass.png",
    "gravel.png",
    "hubble_deep_field.jpg",
    "ihc.png",
    "moon.png",
    "motorcycle_left.png",
    "retina.jpg",
    "rocket.jpg",
    "text.png",
)
PHOTOGRAPH_SHARE = 0.6  # of all textures

SIGNS = "abcdefghijklmnopqrstuvwxyz ABCDEFGHIJKLMNOPQRSTUVWXYZ 0123456789 .,:-"

PatternFunction = Callable[[int, np.random.Generator], np.ndarray]


def draw_texture_tiles(count: int, side: int, random: np.random.Generator) -> list[np.ndarray]:
    """Draw `count` textures: photographs and patterns. Shapes: -> (side, side, 3) each."""
    num_photographs = round(count * PHOTOGRAPH_SHARE)
    photographs = [read_photograph(path) for path in find_photographs()[:num_photographs]]
    cut = [
        crop_random_square(photographs[number % len(photographs)], side, random)
        for number in range(num_photographs)
    ]
    painted = [
        PATTERNS[number % len(PATTERNS)](side, random) for number in range(count - num_photographs)
    ]
    return [tile.clip(0, 1).astype(np.float32) for tile in cut + painted]


def find_photographs() -> list[Path]:
    """Find scikit-image's photographs; raise FileNotFoundError if one is missing."""
    folder = Path(skimage.data.__file__).parent
    missing = [name for name in PHOTOGRAPHS if not (folder / name).is_file()]
    if missing:
        raise FileNotFoundError(
            f"scikit-image in {folder} lacks {', '.join(missing)}, which synthetic textures are "
            f"made of. Install the version that requirements.txt names, as a wheel."
        )
    return [folder / name for name in PHOTOGRAPHS]


def read_photograph(path: Path) -> np.ndarray:
    """Read a photograph. Shapes: -> (H, W, 3), float32 in [0, 1]."""
    return as_frame(read_samples(path)).numpy().transpose(1, 2, 0)


def crop_random_square(picture: np.ndarray, side: int, random: np.random.Generator) -> np.ndarray:
    """Crop and resize a random square of 75 to 100 % of the largest size."""
    height, width = picture.shape[:2]
    cut = int(min(height, width) * random.uniform(0.75, 1))
    top, left = random.integers(height - cut + 1), random.integers(width - cut + 1)
    square = picture[top : top + cut, left : left + cut]
    shrink = cut > side
    method = cv2.INTER_AREA if shrink else cv2.INTER_CUBIC
    return cv2.resize(square, (side, side), interpolation=method)


def draw_palette(colours: int, random: np.random.Generator) -> np.ndarray:
    """Draw colours that differ in brightness. Shapes: -> (colours, 3)."""
    brightness = random.permutation(np.linspace(0.12, 0.88, colours))[:, None]
    return (brightness + random.normal(0, 0.12, (colours, 3))).clip(0.02, 0.98)


def spectrum_noise(
    side: int, random: np.random.Generator, exponent: float, planes: int = 1
) -> np.ndarray:
    """Draw noise with amplitude 1 / frequency^exponent, standardised. Shapes: (planes, s, s)."""
    rows, columns = np.fft.fftfreq(side)[:, None], np.fft.rfftfreq(side)[None]
    frequency = np.hypot(rows, columns)
    frequency[0, 0] = 1
    white = np.fft.rfft2(random.normal(size=(planes, side, side)))
    noise = np.fft.irfft2(white / frequency**exponent, s=(side, side))
    noise -= noise.mean((1, 2), keepdims=True)
    return noise / noise.std((1, 2), keepdims=True)


def coordinates(side: int, random: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Return pixel coordinates rotated by a random angle."""
    angle = random.uniform(0, np.pi)
    y, x = np.mgrid[:side, :side].astype(np.float64)
    return x * np.cos(angle) + y * np.sin(angle), y * np.cos(angle) - x * np.sin(angle)


def noise(side: int, random: np.random.Generator) -> np.ndarray:
    """Draw coloured noise between two colours."""
    planes = spectrum_noise(side, random, random.uniform(0.9, 1.7), planes=2)
    dark, light = draw_palette(2, random)
    mix = (0.5 + 0.22 * planes[0])[..., None]
    return dark + (light - dark) * mix + 0.04 * planes[1][..., None]


def gradient(side: int, random: np.random.Generator) -> np.ndarray:
    """Draw a smooth colour gradient with faint noise."""
    smooth = spectrum_noise(side, random, 3.0, planes=3).transpose(1, 2, 0)
    return random.uniform(0.3, 0.7, 3) + 0.12 * smooth + 0.012 * random.normal(size=(side, side, 1))


def stripes(side: int, random: np.random.Generator) -> np.ndarray:
    """Draw parallel stripes with soft edges."""
    across, _ = coordinates(side, random)
    wave = np.sin(across * (2 * np.pi / random.uniform(12, 64)))
    return two_tone(np.tanh(wave * random.uniform(0.8, 4)), side, random)


def checks(side: int, random: np.random.Generator) -> np.ndarray:
    """Draw a chessboard."""
    x, y = coordinates(side, random)
    period = 2 * np.pi / random.uniform(20, 80)
    return two_tone(np.tanh(6 * np.sin(x * period) * np.sin(y * period)), side, random)


def dots(side: int, random: np.random.Generator) -> np.ndarray:
    """Draw dots on a grid."""
    x, y = coordinates(side, random)
    period = 2 * np.pi / random.uniform(14, 50)
    level = np.cos(x * period) + np.cos(y * period) - random.uniform(0.2, 1.2)
    return two_tone(np.tanh(4 * level), side, random)


def two_tone(pattern: np.ndarray, side: int, random: np.random.Generator) -> np.ndarray:
    """Colour a pattern in -1 .. 1 with two colours and add noise."""
    dark, light = draw_palette(2, random)
    wear = 0.05 * spectrum_noise(side, random, 1.2)[0][..., None]
    return dark + (light - dark) * (0.5 + 0.5 * pattern[..., None]) + wear


def cells(side: int, random: np.random.Generator) -> np.ndarray:
    """Draw irregular cells with dark joints."""
    count = int(random.integers(40, 400))
    seeds = np.full((side, side), 255, np.uint8)
    seeds[tuple(random.integers(0, side, (2, count)))] = 0
    distance, label = cv2.distanceTransformWithLabels(
        seeds, cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL
    )
    colour = random.uniform(0.3, 0.8, 3) + random.normal(0, 0.1, (label.max() + 1, 3))
    spread = side / np.sqrt(count)
    tile = colour[label] * (1.15 - 0.55 * (distance / spread).clip(0, 1))[..., None]
    return (
        cv2.GaussianBlur(tile, (0, 0), 0.8) + 0.02 * spectrum_noise(side, random, 1)[0][..., None]
    )


def lettering(side: int, random: np.random.Generator) -> np.ndarray:
    """Draw lines of random characters."""
    ink = np.zeros((side, side), np.uint8)
    scale = random.uniform(0.5, 2.2)
    thickness = max(round(1.6 * scale), 1)
    fonts = (cv2.FONT_HERSHEY_SIMPLEX, cv2.FONT_HERSHEY_COMPLEX, cv2.FONT_HERSHEY_DUPLEX)
    font = fonts[int(random.integers(len(fonts)))]
    for baseline in np.arange(20 * scale, side + 20 * scale, 34 * scale):
        text = "".join(SIGNS[number] for number in random.integers(len(SIGNS), size=64))
        place = -int(random.integers(40)), int(baseline)
        cv2.putText(ink, text, place, font, scale, 255, thickness, cv2.LINE_AA)
    return two_tone(ink / 127.5 - 1, side, random)


PATTERNS = (noise, cells, stripes, lettering, gradient, checks, noise, dots)


class TextureAtlas(NamedTuple):
    """Square tiles of one size in one tensor, so that each sample of a batch can read its own."""

    picture: Tensor  # (1, C, rows * side, columns * side)
    side: int
    columns: int
    num_tiles: int

    def sample(self, tile: Tensor, x: Tensor, y: Tensor) -> Tensor:
        """Sample tile `tile[b]` for each sample b bilinearly at (x, y), with replicated borders.

        Shapes: tile (B,), x and y (B, H, W) in pixels of a tile -> (B, C, H, W).
        """
        height, width = self.picture.shape[-2:]
        left = (tile % self.columns * self.side).view(-1, 1, 1)
        top = (tile // self.columns * self.side).view(-1, 1, 1)
        grid = torch.empty(*x.shape, 2, device=x.device)
        grid[..., 0] = x.clamp(0, self.side - 1).add_(left).mul_(2 / (width - 1)).sub_(1)
        grid[..., 1] = y.clamp(0, self.side - 1).add_(top).mul_(2 / (height - 1)).sub_(1)
        picture = self.picture.expand(len(x), -1, -1, -1)  # no copy: cuDNN, which would, needs
        return F.grid_sample(picture, grid, padding_mode="border", align_corners=True)  # zeros


def build_atlas(tiles: list[np.ndarray], device: torch.device | str) -> TextureAtlas:
    """Arrange tiles on a grid. Shapes: (side, side, C) float each."""
    side, channels = tiles[0].shape[0], tiles[0].shape[2]
    columns = int(np.ceil(np.sqrt(len(tiles))))
    rows = -(-len(tiles) // columns)
    picture = np.zeros((channels, rows * side, columns * side), np.float32)
    for number, tile in enumerate(tiles):
        top, left = number // columns * side, number % columns * side
        picture[:, top : top + side, left : left + side] = tile.transpose(2, 0, 1)
    return TextureAtlas(torch.from_numpy(picture)[None].to(device), side, columns, len(tiles))


def mirror_coordinates(position: Tensor, side: int) -> Tensor:
    """Fold the plane into a tile by reflection at its edges."""
    last = side - 1
    return last - (position.remainder(2 * last) - last).abs()
