"""Encoders, and what each of them understands."""

from typing import NamedTuple

ENCODERS = {  # what users call a codec, and who writes it
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


class Encoder(NamedTuple):
    """What an encoder understands."""

    crf: int | None = None  # the default quality; None: it has no such number
    largest_crf: int = 0
    preset: str | None = None  # the default speed; None: it has no such names
    presets: tuple[str, ...] = ()
    lossless: tuple[tuple[str, str], ...] | None = None  # options; None: it cannot
    always: tuple[tuple[str, str], ...] = ()
    odd_chroma: bool = False  # takes 4:2:0 of odd sizes


NAMED_SPEEDS = (
    *("ultrafast", "superfast", "veryfast", "faster", "fast"),
    *("medium", "slow", "slower", "veryslow", "placebo"),
)
KNOWN = {
    "libx264": Encoder(16, 51, "medium", NAMED_SPEEDS, lossless=(("qp", "0"),)),
    "libx265": Encoder(
        18,
        51,
        "medium",
        NAMED_SPEEDS,
        lossless=(("x265-params", "lossless=1:log-level=error"),),
        always=(("x265-params", "log-level=error"),),
    ),
    "libvpx-vp9": Encoder(
        20, 63, lossless=(("lossless", "1"),), always=(("row-mt", "1"),), odd_chroma=True
    ),
    "libsvtav1": Encoder(20, 63, "6", tuple(map(str, range(-1, 14)))),
    "ffv1": Encoder(lossless=(), odd_chroma=True, always=(("level", "3"),)),
}


LIGHT_NAMES = {  # how encoders that write HDR10 metadata are told: option and two names in it
    "libx264": ("x264-params", "mastering-display", "cll"),
    "libx265": ("x265-params", "master-display", "max-cll"),
}
