"""Options of the encoder of a video."""

from dataclasses import dataclass, field

from sgm_vfi.video.option_fields import option

SAME_CODEC = "same"  # as the source


@dataclass(frozen=True, kw_only=True)
class EncodingOptions:
    """Encoding options of the user; None: chosen automatically."""

    codec: str | None = field(
        default=None,
        metadata=option(
            "h264, hevc, av1, vp9, prores, ffv1, any encoder of FFmpeg, or "
            f"{SAME_CODEC} as the input; list: print those that work here (default: h264)",
            changes_frames=False,  # the encoding that results is saved instead
        ),
    )
    crf: int | None = field(
        default=None,
        metadata=option(
            "quality: a lower value is better and larger (default: 16)",
            parse=int,
            changes_frames=False,
        ),
    )
    preset: str | None = field(
        default=None,
        metadata=option("speed of the encoder (default: medium)", changes_frames=False),
    )
    pix_fmt: str | None = field(
        default=None,
        metadata=option(
            "pixel format, such as yuv420p or yuv444p10le (default: that of the input)",
            changes_frames=False,
        ),
    )
    lossless: bool = field(
        default=False, metadata=option("encode without loss", changes_frames=False)
    )
