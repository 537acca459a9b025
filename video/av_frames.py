"""PyAV video frames: read their colour metadata, and convert them to tensors and back."""

import re
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

import av
import numpy as np
import torch
from torch import Tensor

from sgm_vfi.media.colour_matrices import BT709, MATRICES, find_matrix
from sgm_vfi.media.display_matrix import Orientation, read_side_data
from sgm_vfi.media.frame_readers import require_supported_matrix
from sgm_vfi.media.open_local_media import VideoError
from sgm_vfi.video.colour_conversion import FULL_RANGE, PLANE_LAYOUTS, PixelFormat, PlaneLayout


class ColourTags(NamedTuple):
    """Colour tags as numbered by ITU-T H.273; the range as numbered by FFmpeg."""

    matrix: int
    colour_range: int
    primaries: int
    transfer: int


class HDRMetadata(NamedTuple):
    """HDR10 metadata.

    Args:
        mastering_display: x, y of red, green, blue and white / 50000; minimum, maximum / 10000.
        content_light: brightest pixel and brightest frame mean, cd/m^2.
    """

    mastering_display: tuple[int, ...] | None
    content_light: tuple[int, ...] | None

    def encoder_parameters(self, display: str, levels: str) -> list[str]:
        """Format as parameters of x264 or x265, given their two names."""
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
    """Return the colour tags of a frame."""
    return ColourTags(
        picture.colorspace, picture.color_range, picture.color_primaries, picture.color_trc
    )


def read_pixel_format(path: Path, picture: av.VideoFrame) -> tuple[PixelFormat, list[str]]:
    """Return the pixel format of a frame, and notes on what was assumed."""
    layout, tags = find_plane_layout(picture), read_colour_tags(picture)
    notes: list[str] = []
    if layout.is_rgb:
        is_grey = is_greyscale(picture.format)
        return PixelFormat(layout, BT709, True, picture.format.name, is_grey), notes
    require_supported_matrix(path, picture)
    matrix = find_matrix(picture)
    if matrix != tags.matrix:
        notes.append(
            f"it states no colour matrix; {MATRICES[matrix][0]} is taken, as players do for "
            f"{picture.height} rows"
        )
    is_full_range = tags.colour_range == FULL_RANGE or picture.format.name.startswith("yuvj")
    return PixelFormat(layout, matrix, is_full_range, picture.format.name), notes


def is_transparent(picture: av.VideoFrame) -> bool:
    """Return whether a decoded frame is transparent somewhere."""
    if not any(component.is_alpha for component in picture.format.components):
        return False
    if picture.format.name in ("rgba", "bgra"):
        return bool((picture.to_ndarray()[..., 3] < 255).any())
    alpha = picture.reformat(format="yuva444p").planes[3]
    rows = np.frombuffer(memoryview(alpha), np.uint8).reshape(alpha.height, -1)
    return bool((rows[:, : alpha.width] < 255).any())


def is_greyscale(pixels: av.VideoFormat) -> bool:
    """Return whether a format has luma only, and perhaps alpha."""
    shown = [component for component in pixels.components if not component.is_alpha]
    return len(shown) == 1 and not pixels.has_palette


def find_plane_layout(picture: av.VideoFrame) -> PlaneLayout:
    """Return the planar layout that represents a frame without loss."""
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
    """Return the HDR10 metadata of a frame."""
    mastering_display = content_light = None
    side_data = read_side_data(picture)
    if "MASTERING_DISPLAY_METADATA" in side_data:
        numbers = np.frombuffer(side_data["MASTERING_DISPLAY_METADATA"], np.int32)
        if numbers[20] and numbers[21]:  # has primaries and luminance
            units = [50000] * 8 + [10000] * 2
            scaled = zip(numbers[:20].reshape(10, 2).tolist(), units, strict=True)
            mastering_display = tuple(round(Fraction(a, b) * unit) for (a, b), unit in scaled)
    if "CONTENT_LIGHT_LEVEL" in side_data:
        levels = np.frombuffer(side_data["CONTENT_LIGHT_LEVEL"], np.uint32)[:2]
        content_light = tuple(levels.tolist())
    return HDRMetadata(mastering_display, content_light)


def read_chroma_location(picture: av.VideoFrame) -> str:
    """Return where a decoded frame has its chroma samples, by FFmpeg's name; "left" if unstated.

    PyAV does not tell; FFmpeg's filter `showinfo` writes it to the log.
    """
    graph, level = av.filter.Graph(), av.logging.get_level()
    source = graph.add_buffer(
        width=picture.width,
        height=picture.height,
        format=picture.format,
        time_base=picture.time_base or Fraction(1, 25),
    )
    graph.link_nodes(source, graph.add("showinfo"), graph.add("buffersink"))
    av.logging.set_level(av.logging.INFO)
    try:
        with av.logging.Capture() as messages:
            graph.configure()
            graph.push(picture)
            graph.pull()
    finally:
        av.logging.set_level(level)
    found = re.search(r" cl:(\w+) ", " ".join(text for _, _, text in messages))
    return found[1] if found and found[1] != "unspecified" else "left"


def read_planes(picture: av.VideoFrame, layout: PlaneLayout) -> list[Tensor]:
    """Return the decoded samples of a frame.

    Shapes: -> three planes (h, w), uint8, or int32 above 8 bits.
    """
    if picture.format.name.replace("yuvj", "yuv") != layout.pix_fmt:
        picture = picture.reformat(format=layout.pix_fmt)
    dtype = np.uint8 if layout.bits == 8 else np.dtype("<u2")
    planes = []
    for plane in picture.planes:
        rows = np.frombuffer(memoryview(plane), dtype).reshape(plane.height, -1)
        kept = rows[:, : plane.width]
        planes.append(torch.from_numpy(kept.astype(np.uint8 if layout.bits == 8 else np.int32)))
    return planes


def to_video_frame(frame: Tensor, pixel_format: PixelFormat) -> av.VideoFrame:
    """Convert an RGB frame (1, 3, H, W) to a PyAV frame."""
    height, width = frame.shape[-2:]
    picture = av.VideoFrame(width, height, pixel_format.layout.pix_fmt)
    dtype = np.dtype("u1") if pixel_format.layout.bits == 8 else np.dtype("<u2")
    for plane, samples in zip(picture.planes, pixel_format.to_planes(frame), strict=True):
        rows = np.zeros((plane.height, plane.line_size // dtype.itemsize), dtype)
        rows[:, : plane.width] = samples.cpu().numpy()
        plane.update(rows.tobytes())
    return picture


def apply_orientation(picture: Tensor, orientation: Orientation) -> Tensor:
    """Mirror and rotate for display. Shapes: (1, C, H, W) -> the same, or (1, C, W, H)."""
    picture = picture.flip(-1) if orientation.is_mirrored else picture
    return torch.rot90(picture, orientation.quarter_turns, (-2, -1))


def require_same_format(
    path: Path, index: int, first: av.VideoFrame, picture: av.VideoFrame
) -> None:
    """Raise VideoError if the size or the pixel format changes."""
    old, new = (f"{p.width}x{p.height} {p.format.name}" for p in (first, picture))
    if old != new:
        raise VideoError(
            f"{path} changes at frame {index} from {old} to {new}. Split it there and process the "
            f"parts separately."
        )
