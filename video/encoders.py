"""Encoders, and what each of them understands."""

from typing import NamedTuple

CODEC_ALIASES = {  # what users call a codec, and who writes it
    "h264": "libx264",
    "x264": "libx264",
    "avc": "libx264",
    "hevc": "libx265",
    "h265": "libx265",
    "x265": "libx265",
    "vp9": "libvpx-vp9",
    "av1": "libsvtav1",
    "libdav1d": "libsvtav1",
    "prores": "prores_ks",
}


class EncoderSpec(NamedTuple):
    """What an encoder understands."""

    crf: int | None = None  # the default quality; None: it has no such number
    max_crf: int = 0
    preset: str | None = None  # the default speed; None: it has no such names
    presets: tuple[str, ...] = ()
    lossless: tuple[tuple[str, str], ...] | None = None  # options; None: it cannot
    fixed_options: tuple[tuple[str, str], ...] = ()
    allows_odd_sizes: bool = False  # takes 4:2:0 of odd sizes


X26X_PRESETS = (
    *("ultrafast", "superfast", "veryfast", "faster", "fast"),
    *("medium", "slow", "slower", "veryslow", "placebo"),
)
ENCODERS = {
    "libx264": EncoderSpec(16, 51, "medium", X26X_PRESETS, lossless=(("qp", "0"),)),
    "libx265": EncoderSpec(
        18,
        51,
        "medium",
        X26X_PRESETS,
        lossless=(("x265-params", "lossless=1:log-level=error"),),
        fixed_options=(("x265-params", "log-level=error"),),
    ),
    "libvpx-vp9": EncoderSpec(
        20,
        63,
        lossless=(("lossless", "1"),),
        fixed_options=(("row-mt", "1"),),
        allows_odd_sizes=True,
    ),
    "libsvtav1": EncoderSpec(20, 63, "6", tuple(map(str, range(-1, 14)))),
    "ffv1": EncoderSpec(lossless=(), allows_odd_sizes=True, fixed_options=(("level", "3"),)),
}


HDR_OPTIONS = {  # how encoders that write HDR10 metadata are told: option and two names in it
    "libx264": ("x264-params", "mastering-display", "cll"),
    "libx265": ("x265-params", "master-display", "max-cll"),
}
