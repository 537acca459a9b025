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
from sgm_vfi.video.colour import BT601, BT709, FULL_RANGE, LAYOUTS, MATRICES, Colours, Layout

UNSTATED = 2  # of matrix, primaries and transfer in ITU-T H.273
RGB_MATRIX = 0  # there is none


class Tags(NamedTuple):
    """What the file says of its colours, as numbered in ITU-T H.273; range as FFmpeg numbers it."""

    matrix: int
    colour_range: int
    primaries: int
    transfer: int


class Light(NamedTuple):
    """HDR10's constants: of the display, and of the content."""

    mastering: tuple[int, ...] | None  # x, y of red, green, blue, white / 50000; min, max / 10000
    content: tuple[int, ...] | None  # brightest pixel and brightest mean of a frame, cd/m^2

    def parameters(self, display: str, levels: str) -> list[str]:
        """As x264 and x265 take them, who name them differently."""
        found = []
        if self.mastering is not None:
            red, green, blue, white = (self.mastering[k : k + 2] for k in (0, 2, 4, 6))
            darkest, brightest = self.mastering[8:]
            named = (("G", green), ("B", blue), ("R", red), ("WP", white))
            places = "".join(f"{name}({x},{y})" for name, (x, y) in named)
            found.append(f"{display}={places}L({brightest},{darkest})")
        if self.content is not None:
            found.append(f"{levels}={self.content[0]},{self.content[1]}")
        return found


def tags_of(picture: av.VideoFrame) -> Tags:
    """What a picture says of its colours."""
    return Tags(picture.colorspace, picture.color_range, picture.color_primaries, picture.color_trc)


def colours_of(path: Path, picture: av.VideoFrame) -> tuple[Colours, list[str]]:
    """What the samples of a picture mean, and what had to be guessed for it."""
    layout, tags, notes = layout_of(picture), tags_of(picture), []
    if any(component.is_alpha for component in picture.format.components):
        notes.append("its transparency is dropped")
    if layout.is_rgb:
        name = picture.format.name
        return Colours(layout, is_full=True, native=name, is_grey=is_grey(picture.format)), notes
    matrix = tags.matrix
    if matrix == UNSTATED or (matrix == RGB_MATRIX and not layout.is_rgb):
        matrix = usual_matrix(picture.height)
        notes.append(
            f"it states no colour matrix; {MATRICES[matrix][0]} is taken, as players do for "
            f"{picture.height} rows"
        )
    if matrix not in MATRICES:
        known = ", ".join(f"{key} ({name})" for key, (name, *_) in MATRICES.items())
        raise VideoError(f"{path} has colour matrix {matrix} (H.273); known are {known}.")
    is_full = tags.colour_range == FULL_RANGE or picture.format.name.startswith("yuvj")
    return Colours(layout, matrix, is_full, picture.format.name), notes


def is_grey(pixels: av.VideoFormat) -> bool:
    """Whether a format holds brightness only, and perhaps transparency."""
    shown = [component for component in pixels.components if not component.is_alpha]
    return len(shown) == 1 and not pixels.has_palette


def usual_matrix(height: int) -> int:
    """What players take for pictures that state no matrix."""
    return BT709 if height >= HD_HEIGHT else BT601


def layout_of(picture: av.VideoFrame) -> Layout:
    """The planar layout that holds what this picture holds."""
    name = picture.format.name.replace("yuvj", "yuv")
    if name in LAYOUTS:
        return LAYOUTS[name]
    components = picture.format.components
    bits = max(component.bits for component in components)
    ending = "" if bits <= 8 else "16le" if bits > 12 else f"{bits + bits % 2}le"
    if picture.format.is_rgb or len(components) < 3:
        return LAYOUTS[f"gbrp{ending}"]
    halves = {(2, 2): "420", (2, 1): "422"}
    chroma = next(c for c in components if not c.is_luma and not c.is_alpha)
    steps = (round(picture.width / chroma.width), round(picture.height / chroma.height))
    return LAYOUTS[f"yuv{halves.get(steps, '444')}p{ending}"]


def light_of(picture: av.VideoFrame) -> Light:
    """What a picture says of the display that it was graded on, and of its own brightness."""
    mastering = content = None
    for note in picture.side_data:
        if note.type == SideData.MASTERING_DISPLAY_METADATA:
            numbers = np.frombuffer(bytes(note), np.int32)
            if numbers[20] and numbers[21]:  # both parts are given
                ratios = numbers[:20].reshape(10, 2)
                units = [50000] * 8 + [10000] * 2
                scaled = zip(ratios.tolist(), units, strict=True)
                mastering = tuple(round(Fraction(a, b) * unit) for (a, b), unit in scaled)
        if note.type == SideData.CONTENT_LIGHT_LEVEL:
            content = tuple(np.frombuffer(bytes(note), np.uint32)[:2].tolist())
    return Light(mastering, content)


def to_planes(picture: av.VideoFrame, layout: Layout) -> list[Tensor]:
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


def to_picture(frame: Tensor, colours: Colours) -> av.VideoFrame:
    """A frame as the samples that an encoder takes. Shapes: (1, 3, H, W)."""
    height, width = frame.shape[-2:]
    picture = av.VideoFrame(width, height, colours.layout.pix_fmt)
    dtype = np.dtype("u1") if colours.layout.bits == 8 else np.dtype("<u2")
    for plane, samples in zip(picture.planes, colours.to_planes(frame), strict=True):
        rows = np.zeros((plane.height, plane.line_size // dtype.itemsize), dtype)
        rows[:, : plane.width] = samples.cpu().numpy()
        plane.update(rows)
    return picture


def upright(picture: Tensor, orientation: Orientation) -> Tensor:
    """Mirror and turn for display. Shapes: (1, C, H, W) -> the same, or (1, C, W, H)."""
    picture = picture.flip(-1) if orientation.is_mirrored else picture
    return torch.rot90(picture, orientation.quarter_turns, (-2, -1))
