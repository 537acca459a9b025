"""One picture: its samples, what they mean, and how it asks to be shown."""

from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

import av
import numpy as np
import torch
from av.sidedata.sidedata import Type as SideData
from torch import Tensor

from sgm_vfi.media.display_matrix import Orientation
from sgm_vfi.media.videos import HD_HEIGHT, VideoError
from sgm_vfi.video.colour_conversion import (
    BT601,
    BT709,
    FULL_RANGE,
    MATRICES,
    PLANE_LAYOUTS,
    PixelFormat,
    PlaneLayout,
)

UNSPECIFIED = 2  # of matrix, primaries and transfer in ITU-T H.273
RGB_MATRIX = 0  # there is none


class ColourTags(NamedTuple):
    """What the file says of its colours, as numbered in ITU-T H.273; range as FFmpeg numbers it."""

    matrix: int
    colour_range: int
    primaries: int
    transfer: int


class HDRMetadata(NamedTuple):
    """HDR10's constants: of the display, and of the content."""

    mastering_display: (
        tuple[int, ...] | None
    )  # x, y of red, green, blue, white / 50000; min, max / 10000
    content_light: tuple[int, ...] | None  # brightest pixel and brightest mean of a frame, cd/m^2

    def encoder_parameters(self, display: str, levels: str) -> list[str]:
        """As x264 and x265 take them, who name them differently."""
        found = []
        if self.mastering_display is not None:
            red, green, blue, white = (self.mastering_display[k : k + 2] for k in (0, 2, 4, 6))
            darkest, brightest = self.mastering_display[8:]
            named = (("G", green), ("B", blue), ("R", red), ("WP", white))
            places = "".join(f"{name}({x},{y})" for name, (x, y) in named)
            found.append(f"{display}={places}L({brightest},{darkest})")
        if self.content_light is not None:
            found.append(f"{levels}={self.content_light[0]},{self.content_light[1]}")
        return found


def read_colour_tags(picture: av.VideoFrame) -> ColourTags:
    """What a picture says of its colours."""
    return ColourTags(
        picture.colorspace, picture.color_range, picture.color_primaries, picture.color_trc
    )


def read_pixel_format(path: Path, picture: av.VideoFrame) -> tuple[PixelFormat, list[str]]:
    """What the samples of a picture mean, and what had to be guessed for it."""
    layout, tags, notes = find_plane_layout(picture), read_colour_tags(picture), []
    if any(component.is_alpha for component in picture.format.components):
        notes.append("its transparency is dropped")
    if layout.is_rgb:
        name = picture.format.name
        return PixelFormat(
            layout,
            is_full_range=True,
            native_pix_fmt=name,
            is_greyscale=is_greyscale(picture.format),
        ), notes
    matrix = tags.matrix
    if matrix == UNSPECIFIED or (matrix == RGB_MATRIX and not layout.is_rgb):
        matrix = guess_matrix(picture.height)
        notes.append(
            f"it states no colour matrix; {MATRICES[matrix][0]} is taken, as players do for "
            f"{picture.height} rows"
        )
    if matrix not in MATRICES:
        known = ", ".join(f"{key} ({name})" for key, (name, *_) in MATRICES.items())
        raise VideoError(f"{path} has colour matrix {matrix} (H.273); known are {known}.")
    is_full_range = tags.colour_range == FULL_RANGE or picture.format.name.startswith("yuvj")
    return PixelFormat(layout, matrix, is_full_range, picture.format.name), notes


def is_greyscale(pixels: av.VideoFormat) -> bool:
    """Whether a format holds brightness only, and perhaps transparency."""
    shown = [component for component in pixels.components if not component.is_alpha]
    return len(shown) == 1 and not pixels.has_palette


def guess_matrix(height: int) -> int:
    """What players take for pictures that state no matrix."""
    return BT709 if height >= HD_HEIGHT else BT601


def find_plane_layout(picture: av.VideoFrame) -> PlaneLayout:
    """The planar layout that holds what this picture holds."""
    name = picture.format.name.replace("yuvj", "yuv")
    if name in PLANE_LAYOUTS:
        return PLANE_LAYOUTS[name]
    components = picture.format.components
    bits = max(component.bits for component in components)
    ending = "" if bits <= 8 else "16le" if bits > 12 else f"{bits + bits % 2}le"
    if picture.format.is_rgb or len(components) < 3:
        return PLANE_LAYOUTS[f"gbrp{ending}"]
    halves = {(2, 2): "420", (2, 1): "422"}
    chroma = next(c for c in components if not c.is_luma and not c.is_alpha)
    steps = (round(picture.width / chroma.width), round(picture.height / chroma.height))
    return PLANE_LAYOUTS[f"yuv{halves.get(steps, '444')}p{ending}"]


def read_hdr_metadata(picture: av.VideoFrame) -> HDRMetadata:
    """What a picture says of the display that it was graded on, and of its own brightness."""
    mastering_display = content_light = None
    for note in picture.side_data:
        if note.type == SideData.MASTERING_DISPLAY_METADATA:
            numbers = np.frombuffer(bytes(note), np.int32)
            if numbers[20] and numbers[21]:  # both parts are given
                ratios = numbers[:20].reshape(10, 2)
                units = [50000] * 8 + [10000] * 2
                scaled = zip(ratios.tolist(), units, strict=True)
                mastering_display = tuple(round(Fraction(a, b) * unit) for (a, b), unit in scaled)
        if note.type == SideData.CONTENT_LIGHT_LEVEL:
            content_light = tuple(np.frombuffer(bytes(note), np.uint32)[:2].tolist())
    return HDRMetadata(mastering_display, content_light)


def read_planes(picture: av.VideoFrame, layout: PlaneLayout) -> list[Tensor]:
    """Samples as they were decoded.

    Shapes: -> three planes (h, w), uint8, or int32 above 8 bits.
    """
    if picture.format.name.replace("yuvj", "yuv") != layout.pix_fmt:
        picture = picture.reformat(format=layout.pix_fmt)
    dtype = np.uint8 if layout.bits == 8 else np.dtype("<u2")
    planes = []
    for plane in picture.planes:
        rows = np.frombuffer(plane, dtype).reshape(plane.height, -1)
        kept = rows[:, : plane.width]
        planes.append(torch.from_numpy(kept.astype(np.uint8 if layout.bits == 8 else np.int32)))
    return planes


def to_video_frame(frame: Tensor, pixel_format: PixelFormat) -> av.VideoFrame:
    """A frame as the samples that an encoder takes. Shapes: (1, 3, H, W)."""
    height, width = frame.shape[-2:]
    picture = av.VideoFrame(width, height, pixel_format.layout.pix_fmt)
    dtype = np.dtype("u1") if pixel_format.layout.bits == 8 else np.dtype("<u2")
    for plane, samples in zip(picture.planes, pixel_format.to_planes(frame), strict=True):
        rows = np.zeros((plane.height, plane.line_size // dtype.itemsize), dtype)
        rows[:, : plane.width] = samples.cpu().numpy()
        plane.update(rows)
    return picture


def apply_orientation(picture: Tensor, orientation: Orientation) -> Tensor:
    """Mirror and turn for display. Shapes: (1, C, H, W) -> the same, or (1, C, W, H)."""
    picture = picture.flip(-1) if orientation.is_mirrored else picture
    return torch.rot90(picture, orientation.quarter_turns, (-2, -1))
