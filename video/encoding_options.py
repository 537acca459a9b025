"""Options of the encoder of a video."""

from dataclasses import dataclass, field, fields, replace
from types import MappingProxyType
from typing import Literal, get_args

from sgm_vfi.video.options_from_dataclass_fields import option

SAME_CODEC = "same"  # as the source
Purpose = Literal["web", "edit", "archive"]


@dataclass(frozen=True, kw_only=True)
class EncodingOptions:
    """Encoding options of the user; None: chosen automatically."""

    purpose: Purpose | None = field(
        default=None,
        metadata=option(
            "defaults of the encoder. web: H.264 in MP4 that every browser and phone plays, with "
            "AAC sound; edit: ProRes in MOV; archive: lossless FFV1 in MKV",
            name="for",
            choices=get_args(Purpose),
            changes_frames=False,  # the encoding that results is saved instead
            is_common=True,
        ),
    )
    codec: str | None = field(
        default=None,
        metadata=option(
            "h264, hevc, av1, vp9, prores, ffv1, any encoder of FFmpeg, or "
            f"{SAME_CODEC} as the input; list: print those that work here (default: h264)",
            changes_frames=False,
            is_common=True,
        ),
    )
    crf: int | None = field(
        default=None,
        metadata=option(
            "quality, such as 0 to 51 for h264: a lower value is better and larger (default: 16)",
            parse=int,
            changes_frames=False,
            is_common=True,
        ),
    )
    preset: str | None = field(
        default=None,
        metadata=option("speed of the encoder (default: medium)", changes_frames=False),
    )
    pix_fmt: str | None = field(
        default=None,
        metadata=option(
            "pixel format, such as yuv420p or yuv444p10le (default: that of the input; of RGB "
            "yuv420p, which players need)",
            changes_frames=False,
        ),
    )
    lossless: bool = field(
        default=False, metadata=option("encode without loss", changes_frames=False)
    )


PURPOSES = MappingProxyType(
    {
        "web": EncodingOptions(codec="h264", crf=20),
        "edit": EncodingOptions(codec="prores"),
        "archive": EncodingOptions(codec="ffv1", lossless=True),
    }
)
PURPOSE_SUFFIXES = MappingProxyType({"web": ".mp4", "edit": ".mov", "archive": ".mkv"})
PURPOSE_SOUND = MappingProxyType({"web": ("aac", "mp3")})  # codecs that are copied


def describe_purpose(requested: EncodingOptions) -> str:
    """Return the options that the purpose chose, as they are written."""
    chosen = apply_purpose(requested)
    texts = [
        f"--{f.name}" if value is True else f"--{f.name} {value}"
        for f in fields(chosen)
        if (value := getattr(chosen, f.name)) != getattr(requested, f.name)
    ]
    limits = "; 8 bits, 4:2:0; sound is AAC or MP3" if requested.purpose == "web" else ""
    return f"{requested.purpose}: {' '.join(texts) or 'all options are given'}{limits}"


def apply_purpose(requested: EncodingOptions) -> EncodingOptions:
    """Return the options with the defaults of their purpose where the user chose nothing.

    A codec that the user chose has its own quality.
    """
    if requested.purpose is None:
        return requested
    defaults = PURPOSES[requested.purpose]
    if requested.codec is not None:
        defaults = replace(defaults, crf=None)
    if requested.crf is not None:
        defaults = replace(defaults, lossless=False)
    chosen = {
        f.name: getattr(defaults, f.name) for f in fields(requested)
        if getattr(requested, f.name) == f.default
    }  # fmt: skip
    return replace(requested, **chosen)
