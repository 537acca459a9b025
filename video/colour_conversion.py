"""Conversion between planes of samples (YUV or planar RGB) and RGB frames, about [0, 1].

The round trip is the identity, bit by bit: values are not rounded to bytes, chroma downsampling is
the exact inverse of upsampling, and colours outside of RGB, which are common at sharp edges, stay
outside of [0, 1]. Source frames keep their samples, and static scenes do not flicker.
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from sgm_vfi.media.colour_matrices import BT709, MATRICES

FULL_RANGE = 2  # in FFmpeg; 1: limited range, 0: unspecified


class PlaneLayout(NamedTuple):
    """Planes of a pixel format: luma and two of chroma, or green, blue and red."""

    pix_fmt: str
    bits: int
    step_y: int  # rows of luma for each row of chroma: 1 or 2
    step_x: int
    is_rgb: bool = False


def _layouts() -> dict[str, PlaneLayout]:
    found = {}
    for bits in (8, 9, 10, 12, 14, 16):
        ending = "" if bits == 8 else f"{bits}le"
        for name, step_y, step_x in (("420", 2, 2), ("422", 1, 2), ("444", 1, 1)):
            pix_fmt = f"yuv{name}p{ending}"
            found[pix_fmt] = PlaneLayout(pix_fmt, bits, step_y, step_x)
        found[f"gbrp{ending}"] = PlaneLayout(f"gbrp{ending}", bits, 1, 1, is_rgb=True)
    return found


PLANE_LAYOUTS = _layouts()


class PixelFormat(NamedTuple):
    """The meaning of samples: layout, colour matrix and range."""

    layout: PlaneLayout
    matrix: int = BT709  # a key of MATRICES
    is_full_range: bool = False  # luma from 0 to the largest sample; else from 16/255 to 235/255
    native_pix_fmt: str = ""  # of the file, if it differs from the layout
    is_greyscale: bool = False  # red, green and blue are equal

    @property
    def pix_fmt(self) -> str:
        """Name of the format of the file."""
        return self.native_pix_fmt or self.layout.pix_fmt

    def to_rgb(self, planes: list[Tensor]) -> Tensor:
        """Convert samples to RGB. Shapes: three integer planes (h, w) -> (1, 3, H, W), float32."""
        first, second, third = (plane.float() for plane in planes)
        if self.layout.is_rgb:
            green, blue, red = (plane / self.max_value for plane in (first, second, third))
            return torch.stack((red, green, blue))[None]
        height, width = first.shape
        luma = (first - self.luma_black) / self.luma_range
        chroma = (torch.stack((second, third)) - self.chroma_zero) / self.chroma_range
        blue, red = upsample_chroma(chroma, self.layout, height, width)
        _, share_red, share_blue = MATRICES[self.matrix]
        share_green = 1 - share_red - share_blue
        from_red, from_blue = 2 * (1 - share_red), 2 * (1 - share_blue)
        rgb = luma.new_empty(1, 3, height, width)
        torch.add(luma, red, alpha=from_red, out=rgb[0, 0])
        torch.add(luma, red, alpha=-from_red * share_red / share_green, out=rgb[0, 1])
        rgb[0, 1].add_(blue, alpha=-from_blue * share_blue / share_green)
        torch.add(luma, blue, alpha=from_blue, out=rgb[0, 2])
        return rgb

    def to_planes(self, frame: Tensor) -> list[Tensor]:
        """Convert RGB to samples.

        Shapes: (1, 3, H, W) -> three planes (h, w), uint8, or int32 above 8 bits.
        """
        red, green, blue = frame[0].float()
        if self.layout.is_rgb:
            return [self.quantize(plane * self.max_value) for plane in (green, blue, red)]
        _, share_red, share_blue = MATRICES[self.matrix]
        luma = share_red * red + (1 - share_red - share_blue) * green + share_blue * blue
        chroma = torch.stack(
            ((blue - luma) / (2 * (1 - share_blue)), (red - luma) / (2 * (1 - share_red)))
        )
        chroma = downsample_chroma(chroma, self.layout) * self.chroma_range + self.chroma_zero
        return [
            self.quantize(plane) for plane in (luma * self.luma_range + self.luma_black, *chroma)
        ]

    def quantize(self, plane: Tensor) -> Tensor:
        """Round and clamp to integer samples."""
        whole = plane.round_().clamp_(0, self.max_value)
        return whole.to(torch.uint8 if self.layout.bits == 8 else torch.int32)

    @property
    def max_value(self) -> int:
        """Largest sample."""
        return 2**self.layout.bits - 1

    @property
    def chroma_zero(self) -> int:
        """Chroma sample of grey."""
        return 2 ** (self.layout.bits - 1)

    @property
    def luma_black(self) -> int:
        """Luma sample of black."""
        return 0 if self.is_full_range else 16 << (self.layout.bits - 8)

    @property
    def luma_range(self) -> int:
        """Luma samples from black to white."""
        return self.max_value if self.is_full_range else 219 << (self.layout.bits - 8)

    @property
    def chroma_range(self) -> int:
        """Chroma samples from one extreme to the other."""
        return self.max_value if self.is_full_range else 224 << (self.layout.bits - 8)


def shared_overshoot(frame0: Tensor, frame1: Tensor) -> Tensor:
    """Return what both frames have outside of [0, 1]; for equal frames, all of it.

    Shapes: (B, C, H, W), twice -> the same.
    """
    above = torch.minimum(frame0, frame1).sub_(1).clamp_(min=0)
    return above.add_(torch.maximum(frame0, frame1).clamp_(max=0))


def upsample_chroma(chroma: Tensor, layout: PlaneLayout, height: int, width: int) -> Tensor:
    """Upsample chroma linearly: samples sit on even columns and between two rows.

    Shapes: (2, h, w) -> (2, H, W).
    """
    if layout.step_y == 2:
        above = torch.cat((chroma[:, :1], chroma[:, :-1]), dim=1)
        below = torch.cat((chroma[:, 1:], chroma[:, -1:]), dim=1)
        rows = (torch.lerp(chroma, above, 0.25), torch.lerp(chroma, below, 0.25))
        chroma = torch.stack(rows, dim=2).flatten(1, 2)[:, :height]
    if layout.step_x == 2:
        columns = chroma.new_empty(*chroma.shape, 2)  # a third of the time that a stack takes
        columns[..., 0] = chroma
        torch.lerp(chroma[..., :-1], chroma[..., 1:], 0.5, out=columns[..., :-1, 1])
        columns[..., -1, 1] = chroma[..., -1]
        chroma = columns.flatten(2)[..., :width]
    return chroma


def downsample_chroma(chroma: Tensor, layout: PlaneLayout) -> Tensor:
    """Invert `upsample_chroma`.

    The filters are (-1, 2, 6, 2, -1) / 8 along rows and (-1, 3, 3, -1) / 4 along columns: they undo
    the linear upsampling exactly (an odd last row to within an eighth).

    Shapes: (2, H, W) -> (2, h, w).
    """
    if layout.step_x == 2:
        width = chroma.shape[2]
        right = 2 - width % 2 + 1
        wide = F.pad(chroma[None], (2, right, 0, 0), mode="replicate")[0]
        count = -(-width // 2)
        taps = [wide[..., place::2][..., :count] for place in range(5)]
        chroma = 0.75 * taps[2] + 0.25 * (taps[1] + taps[3]) - 0.125 * (taps[0] + taps[4])
    if layout.step_y == 2:
        height = chroma.shape[1]
        tall = F.pad(chroma[None], (0, 0, 1, 1 + height % 2), mode="replicate")[0]
        count = -(-height // 2)
        taps = [tall[:, place::2][:, :count] for place in range(4)]
        chroma = 0.75 * (taps[1] + taps[2]) - 0.25 * (taps[0] + taps[3])
    return chroma
