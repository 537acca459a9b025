"""The video encoders that work on this machine."""

import os
import textwrap
from fractions import Fraction

import av
from av.codec.codec import UnknownCodecError

from sgm_vfi.video.encoder_choice import ENCODERS, EncoderSpec

SOFTWARE = ("libx264", "libx265", "libsvtav1", "libaom-av1", "libvpx-vp9", "prores_ks", "ffv1")
FAMILIES = ("h264", "hevc", "av1", "vp9", "prores")
HARDWARE = ("nvenc", "qsv", "vaapi", "amf", "videotoolbox", "v4l2m2m", "vulkan", "mf")
SIZE = 256  # pixels; some hardware refuses smaller frames
PIXEL_FORMATS = ("yuv420p", "nv12", "yuv422p10le")
NOT_BUILT = "not in this build of PyAV"
WIDTH, WRAP = 20, 100  # columns of the table


def describe_encoders() -> str:
    """Return a table of software and hardware encoders, each tried with a frame."""
    hardware = [f"{family}_{kind}" for family in FAMILIES for kind in HARDWARE]
    built = [name for name in hardware if is_built(name)]
    lines = [f"{'encoder':<{WIDTH}}works here"]
    for name in (*SOFTWARE, *built):
        reason = find_reason(name)
        lines.append(f"{name:<{WIDTH}}{f'no: {reason}' if reason else 'yes'}")
    missing = [name for name in hardware if name not in built]
    left_out = textwrap.fill(
        ", ".join(missing), WRAP, initial_indent=" " * WIDTH, subsequent_indent=" " * WIDTH
    )
    return "\n".join([*lines, f"{NOT_BUILT}, so not tried:", left_out])


def is_built(name: str) -> bool:
    """Return whether this build of PyAV has an encoder."""
    try:
        return av.codec.Codec(name, "w").is_encoder
    except UnknownCodecError:
        return False


def find_reason(name: str) -> str | None:
    """Return why an encoder does not work here, in FFmpeg's words; None if it encodes a frame."""
    os.environ.setdefault("SVT_LOG", "1")  # SVT-AV1 prints errors only
    level = av.logging.get_level()
    av.logging.set_level(av.logging.ERROR)
    try:
        with av.logging.Capture() as messages:
            encode_frame(name)
    except UnknownCodecError:
        return NOT_BUILT
    except (av.error.FFmpegError, ValueError) as error:
        said = [text.strip() for _, _, text in messages]
        return said[0] if said else str(getattr(error, "strerror", error))
    finally:
        av.logging.set_level(level)
    return None


def encode_frame(name: str) -> None:
    """Encode a grey frame.

    Raises:
        UnknownCodecError: there is no such encoder.
        FFmpegError: it does not work.
    """
    formats = [f.name for f in av.codec.Codec(name, "w").video_formats or ()]
    context = av.CodecContext.create(name, "w")
    assert isinstance(context, av.VideoCodecContext)
    context.options = dict(ENCODERS.get(name, EncoderSpec()).fixed_options)  # quiet
    context.width = context.height = SIZE
    context.pix_fmt = next((f for f in PIXEL_FORMATS if f in formats), PIXEL_FORMATS[0])
    context.time_base = Fraction(1, 25)
    picture = av.VideoFrame(SIZE, SIZE, context.pix_fmt)
    picture.pts = 0
    if not [*context.encode(picture), *context.encode(None)]:
        raise ValueError("it wrote nothing")
