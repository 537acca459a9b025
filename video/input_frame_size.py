"""Size of the frames that a job reads: scaled down on request, and even where players need it."""

from fractions import Fraction

import torch.nn.functional as F
from torch import Tensor

from sgm_vfi.model.cli_options import parse_positive, parse_size
from sgm_vfi.video.colour_conversion import PlaneLayout

MIN_SIDE = 2  # pixels


def parse_max_size(text: str) -> tuple[int, int]:
    """Parse the largest size of frames, 1280 (both sides) or 1280x720, into (height, width)."""
    height, width = parse_size(text) if "x" in text else (parse_positive(text),) * 2
    if min(height, width) < MIN_SIDE:
        raise ValueError(f"frames are at least {MIN_SIDE} pixels high and wide, got {text}")
    return height, width


def fit_size(
    height: int, width: int, largest: tuple[int, int] | None, *, is_even: bool
) -> tuple[int, int]:
    """Return the size of frames that are scaled to fit into the largest size.

    Frames that fit are not enlarged. Scaled sizes are even, as most encoders need.

    Args:
        largest: (height, width); None: any.
        is_even: cut an odd last row or column off frames that are not scaled.
    """
    if largest is not None and (height > largest[0] or width > largest[1]):
        scale = min(Fraction(largest[0], height), Fraction(largest[1], width))
        sides = zip((height, width), largest, strict=True)
        new_height, new_width = (
            max(MIN_SIDE, min(2 * round(side * scale / 2), limit // 2 * 2)) for side, limit in sides
        )
        return new_height, new_width
    if is_even:
        return max(height - height % 2, 1), max(width - width % 2, 1)
    return height, width


def resize_planes(
    planes: list[Tensor], layout: PlaneLayout, height: int, width: int
) -> list[Tensor]:
    """Cut an odd last row or column off samples, or scale them where the sizes differ by more.

    Shapes: three planes (h, w), integers -> the same of another size.
    """
    rows, columns = planes[0].shape
    if (rows, columns) == (height, width):
        return planes
    steps = ((1, 1), (layout.step_y, layout.step_x), (layout.step_y, layout.step_x))
    sizes = [(-(-height // down), -(-width // across)) for down, across in steps]
    if 0 <= rows - height < 2 and 0 <= columns - width < 2:
        return [plane[:h, :w] for plane, (h, w) in zip(planes, sizes, strict=True)]
    return [scale_plane(plane, *size, layout) for plane, size in zip(planes, sizes, strict=True)]


def scale_plane(plane: Tensor, height: int, width: int, layout: PlaneLayout) -> Tensor:
    """Scale samples, with a low-pass filter. Shapes: (h, w) -> (height, width), the same type."""
    scaled = F.interpolate(
        plane[None, None].float(), (height, width), mode="bicubic", antialias=True
    )
    return scaled[0, 0].round_().clamp_(0, 2**layout.bits - 1).to(plane.dtype)
