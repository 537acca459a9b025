"""The video encoders that work on this machine."""

import os
from collections.abc import Iterator
from fractions import Fraction

import av
from av.codec.codec import UnknownCodecError

from sgm_vfi.video.encoder_choice import ENCODERS, EncoderSpec

SOFTWARE = ("libx264", "libx265", "libsvtav1", "libaom-av1", "libvpx-vp9", "prores_ks", "ffv1")
FAMILIES = ("h264", "hevc", "av1", "vp9", "prores")
HARDWARE = ("nvenc", "qsv", "vaapi", "amf", "videotoolbox", "v4l2m2m", "vulkan", "mf")
SIZE = 256  # pixels; some hardware refuses smaller frames


def describe_encoders() -> str:
    """Return which software and hardware encoders work here, each tried with a frame."""
    hardware = [f"{family}_{kind}" for family in FAMILIES for kind in HARDWARE]
    lines = []
    for title, names in (("software", SOFTWARE), ("hardware", hardware)):
        works = ", ".join(find_working_encoders(names)) or "none works on this machine"
        lines.append(f"{title}  {works}")
    return "\n".join(lines)


def find_working_encoders(names: tuple[str, ...] | list[str]) -> Iterator[str]:
    """Yield the encoders that exist and encode a frame."""
    level = av.logging.get_level()
    av.logging.set_level(av.logging.PANIC)
    os.environ.setdefault("SVT_LOG", "1")  # SVT-AV1 prints errors only
    try:
        yield from filter(can_encode, names)
    finally:
        av.logging.set_level(level)


def can_encode(name: str) -> bool:
    """Return whether an encoder exists here and encodes a frame."""
    try:
        formats = [f.name for f in av.codec.Codec(name, "w").video_formats or ()]
        for pix_fmt in [f for f in ("yuv420p", "nv12", "yuv422p10le") if f in formats][:1]:
            context = av.CodecContext.create(name, "w")
            assert isinstance(context, av.VideoCodecContext)
            context.options = dict(ENCODERS.get(name, EncoderSpec()).fixed_options)  # quiet
            context.width = context.height = SIZE
            context.pix_fmt, context.time_base = pix_fmt, Fraction(1, 25)
            picture = av.VideoFrame(SIZE, SIZE, pix_fmt)
            picture.pts = 0
            return bool([*context.encode(picture), *context.encode(None)])
    except (UnknownCodecError, av.error.FFmpegError, ValueError):
        return False
    return False
