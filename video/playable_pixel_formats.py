"""Pixel formats that browsers and phones show."""

import av

from sgm_vfi.video.colour_conversion import PLANE_LAYOUTS, PixelFormat, PlaneLayout
from sgm_vfi.video.encoding_options import EncodingOptions
from sgm_vfi.video.source_video import SourceVideo

HDR_TRANSFERS = (16, 18)  # PQ and HLG in ITU-T H.273
PLAYED_CODECS = ("h264", "hevc", "av1", "vp9", "vp8")  # by browsers and phones, as 4:2:0


def find_codec(encoder: str) -> str:
    """Return the codec that an encoder writes, such as h264 of h264_nvenc."""
    return av.codec.Codec(encoder, "w").canonical_name


def choose_wanted_layout(
    requested: EncodingOptions, source: SourceVideo, encoder: str
) -> PlaneLayout:
    """Return the layout of the source, or the one that players show where RGB is to be played."""
    given, codec = lossless_layout(source.pixel_format), find_codec(encoder)
    if codec not in PLAYED_CODECS or requested.lossless:
        return given
    if requested.purpose == "web":
        return PLANE_LAYOUTS["yuv420p"]
    if not given.is_rgb:
        return given
    is_deep = given.bits > 8 and (codec != "h264" or source.tags.transfer in HDR_TRANSFERS)
    return PLANE_LAYOUTS["yuv420p10le" if is_deep else "yuv420p"]


def describe_players(requested: EncodingOptions, layout: PlaneLayout, encoder: str) -> list[str]:
    """Return a note if few browsers and phones show a layout in a codec that is made for them."""
    codec = find_codec(encoder)
    if codec not in PLAYED_CODECS or requested.lossless or requested.pix_fmt is not None:
        return []
    halves_chroma = (layout.step_y, layout.step_x) == (2, 2)
    if halves_chroma and (layout.bits == 8 or (layout.bits == 10 and codec != "h264")):
        return []
    return [f"few browsers and phones show {layout.pix_fmt} in {codec}; --for web writes yuv420p"]


def lossless_layout(pixel_format: PixelFormat) -> PlaneLayout:
    """Return the source's layout; for greyscale, a YUV layout that players support."""
    if pixel_format.is_greyscale:
        return PLANE_LAYOUTS[pixel_format.layout.pix_fmt.replace("gbrp", "yuv420p")]
    return pixel_format.layout
