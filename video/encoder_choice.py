"""Choice of the encoder, its options and its pixel format."""

from dataclasses import dataclass
from fractions import Fraction
from typing import NamedTuple

import av
from av.codec.codec import UnknownCodecError

from sgm_vfi.media.colour_matrices import MATRICES, RGB_MATRIX, guess_matrix
from sgm_vfi.video.av_frames import ColourTags
from sgm_vfi.video.colour_conversion import FULL_RANGE, PLANE_LAYOUTS, PixelFormat, PlaneLayout
from sgm_vfi.video.encoding_options import SAME_CODEC, EncodingOptions, apply_purpose
from sgm_vfi.video.hardware_quality import find_hardware_quality
from sgm_vfi.video.playable_pixel_formats import (
    PLAYED_CODECS,
    choose_wanted_layout,
    describe_players,
    find_codec,
)
from sgm_vfi.video.source_video import SourceVideo

CODEC_ALIASES = {  # name of a codec -> its encoder in FFmpeg
    **dict.fromkeys(("h264", "x264", "avc"), "libx264"),
    **dict.fromkeys(("hevc", "h265", "x265"), "libx265"),
    **dict.fromkeys(("av1", "libdav1d"), "libsvtav1"),
    "vp9": "libvpx-vp9",
    "prores": "prores_ks",
}

BT2020 = 9  # of primaries and of matrices in ITU-T H.273


class EncoderSpec(NamedTuple):
    """The options that an encoder supports."""

    crf: int | None = None  # default quality; None: not supported
    max_crf: int = 0
    preset: str | None = None  # default speed; None: not supported
    presets: tuple[str, ...] = ()
    lossless: tuple[tuple[str, str], ...] | None = None  # options; None: not supported
    fixed_options: tuple[tuple[str, str], ...] = ()
    allows_odd_sizes: bool = False  # writes 4:2:0 of odd sizes


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
CHROMA_LOCATIONS = ("center", "topleft", "top", "bottomleft", "bottom")  # of H.264, from 1
HDR_OPTIONS = {  # encoder -> its option for HDR10 metadata, and the two names in that
    "libx264": ("x264-params", "mastering-display", "cll"),
    "libx265": ("x265-params", "master-display", "max-cll"),
}


class EncodingError(ValueError):
    """An option that an encoder does not support; the message says what it supports."""


@dataclass(frozen=True, kw_only=True)
class EncoderSettings:
    """Complete settings of an encoder."""

    encoder: str
    pixel_format: PixelFormat
    tags: ColourTags
    options: tuple[tuple[str, str], ...]
    height: int
    width: int
    pixel_aspect: Fraction | None
    frame_rate: Fraction
    notes: tuple[str, ...] = ()

    def __str__(self) -> str:
        options = ", ".join(f"{name} {value}" for name, value in self.options)
        return f"{self.encoder} ({options})" if options else self.encoder


def choose_encoding(
    requested: EncodingOptions, source: SourceVideo, rate: Fraction, suffix: str
) -> EncoderSettings:
    """Choose what the user did not.

    Args:
        rate: mean number of output frames per second.
        suffix: of the output file.

    Raises:
        EncodingError: the encoder does not exist, or does not support an option or the size.
    """
    requested = apply_purpose(requested)
    name = find_encoder(requested, source, suffix)
    encoder = ENCODERS.get(name, EncoderSpec())
    options = dict(encoder.fixed_options) | choose_quality(requested, name, encoder)
    options |= choose_preset(requested, name, encoder)
    if name in HDR_OPTIONS:
        option, *names = HDR_OPTIONS[name]
        given = [options[option]] if option in options else []
        parameters = [*given, *source.hdr_metadata.encoder_parameters(*names)]
        if source.chroma_location in CHROMA_LOCATIONS:
            parameters.append(f"chromaloc={CHROMA_LOCATIONS.index(source.chroma_location) + 1}")
        options |= {option: ":".join(parameters)} if parameters else {}
    layout, notes = choose_layout(requested, source, name, encoder)
    pixel_format, tags = choose_pixel_format(source, layout)
    return EncoderSettings(
        encoder=name,
        pixel_format=pixel_format,
        tags=tags,
        options=tuple(options.items()),
        height=source.height,
        width=source.width,
        pixel_aspect=source.header.pixel_aspect,
        frame_rate=rate,
        notes=tuple(notes),
    )


def choose_quality(requested: EncodingOptions, name: str, encoder: EncoderSpec) -> dict[str, str]:
    """Return the options that decide the quality."""
    if requested.lossless:
        if encoder.lossless is None:
            can = ", ".join(name for name, known in ENCODERS.items() if known.lossless is not None)
            raise EncodingError(f"{name} has no lossless mode; these encoders have: {can}.")
        if requested.crf is not None:
            raise EncodingError(f"Give either --lossless or --crf {requested.crf}, not both.")
        return dict(encoder.lossless)
    if encoder.crf is None:
        if hardware := find_hardware_quality(name, requested.crf):
            return hardware
        if requested.crf is not None:
            raise EncodingError(f"{name} takes no --crf. Leave it out.")
        return {}
    crf = encoder.crf if requested.crf is None else requested.crf
    if not 0 <= crf <= encoder.max_crf:
        raise EncodingError(f"{name} takes a --crf from 0 to {encoder.max_crf}, got {crf}.")
    return {"crf": str(crf)}


def choose_preset(requested: EncodingOptions, name: str, encoder: EncoderSpec) -> dict[str, str]:
    """Return the option that decides the speed."""
    if encoder.preset is None:
        if requested.preset is not None:
            raise EncodingError(f"{name} takes no --preset. Leave it out.")
        return {}
    preset = encoder.preset if requested.preset is None else requested.preset
    if preset not in encoder.presets:
        known = ", ".join(encoder.presets)
        raise EncodingError(f"{name} has no --preset {preset}; it has {known}.")
    return {"preset": preset}


def find_encoder(requested: EncodingOptions, source: SourceVideo, suffix: str) -> str:
    """Return the name of an existing FFmpeg encoder."""
    codec = requested.codec
    if codec is None:
        lossless = "ffv1" if suffix == ".mkv" else "h264"
        codec = "vp9" if suffix == ".webm" else lossless if requested.lossless else "h264"
    if codec == SAME_CODEC:
        codec = source.header.codec
    name = CODEC_ALIASES.get(codec, codec)
    try:
        found = av.codec.Codec(name, "w")
    except UnknownCodecError as error:
        raise EncodingError(
            f"There is no encoder {name!r} here. Try {', '.join(ENCODERS)}, or {SAME_CODEC} for "
            f"the source's own codec."
        ) from error
    if found.type != "video":
        raise EncodingError(f"{name} encodes {found.type}, not video. Try {', '.join(ENCODERS)}.")
    return name


def choose_layout(
    requested: EncodingOptions, source: SourceVideo, name: str, encoder: EncoderSpec
) -> tuple[PlaneLayout, list[str]]:
    """Choose the source's pixel format, or else the nearest one that loses nothing."""
    formats = [f.name for f in av.codec.Codec(name, "w").video_formats or ()]
    possible = {key: layout for key, layout in PLANE_LAYOUTS.items() if key in formats}
    is_odd = bool(source.height % 2 or source.width % 2)

    def fits(layout: PlaneLayout) -> bool:
        """Tell whether the encoder takes frames of this size in a layout."""
        odd_y = source.height % layout.step_y and not encoder.allows_odd_sizes
        odd_x = source.width % layout.step_x and not encoder.allows_odd_sizes
        return not odd_y and not odd_x

    if requested.pix_fmt is not None:
        layout = possible.get(requested.pix_fmt)
        if layout is None:
            raise EncodingError(
                f"{name} cannot write --pix_fmt {requested.pix_fmt} here; it can: "
                f"{', '.join(possible)}."
            )
        if not fits(layout):
            raise EncodingError(
                f"{name} cannot write {source.width}x{source.height} as {layout.pix_fmt}, which "
                f"halves its chroma: leave --pix_fmt out, or take a yuv444p format."
            )
        return layout, []
    wanted = choose_wanted_layout(requested, source, name)
    was = source.pixel_format.pix_fmt
    if wanted.pix_fmt in possible and fits(wanted):
        if source.pixel_format.is_greyscale:
            return wanted, [f"pixels become {wanted.pix_fmt}, without colours as they were"]
        if wanted != source.pixel_format.layout:
            why = f"which few players show as {find_codec(name)}; --pix_fmt keeps more"
            return wanted, [f"pixels become {wanted.pix_fmt}; they were {was}, {why}"]
        return wanted, describe_players(requested, wanted, name)
    choices = [layout for layout in possible.values() if fits(layout)]
    if not choices:
        raise EncodingError(
            f"{name} cannot write {source.width}x{source.height} in any pixel format that is "
            f"written here ({', '.join(possible) or 'it takes others'}). Take --codec h264 or ffv1."
        )
    layout = min(choices, key=lambda choice: layout_loss(wanted, choice))
    why = f"of odd size {source.width}x{source.height}" if is_odd else f"which {name} cannot write"
    notes = [f"pixels become {layout.pix_fmt}; they were {was}, {why}"]
    return layout, notes + describe_players(requested, layout, name)


def needs_even_size(requested: EncodingOptions, source: SourceVideo, suffix: str) -> bool:
    """Return whether frames must lose an odd row or column to be 4:2:0, as players need them."""
    name = find_encoder(apply_purpose(requested), source, suffix)
    allows_odd = ENCODERS.get(name, EncoderSpec()).allows_odd_sizes
    if allows_odd or requested.pix_fmt is not None or find_codec(name) not in PLAYED_CODECS:
        return False
    is_rgb = source.pixel_format.layout.is_rgb and not requested.lossless
    return is_rgb or requested.purpose == "web"


def layout_loss(wanted: PlaneLayout, choice: PlaneLayout) -> tuple[int, int, bool, int, int]:
    """Rank layouts by lost bits, then lost chroma, then other differences."""
    return (
        max(wanted.bits - choice.bits, 0),
        max(choice.step_y - wanted.step_y, 0) + max(choice.step_x - wanted.step_x, 0),
        wanted.is_rgb != choice.is_rgb,
        abs(wanted.bits - choice.bits),
        abs(choice.step_y - wanted.step_y) + abs(choice.step_x - wanted.step_x),
    )


def choose_pixel_format(source: SourceVideo, layout: PlaneLayout) -> tuple[PixelFormat, ColourTags]:
    """Keep the source's matrix, range and tags, unless RGB becomes YUV or the reverse."""
    pixel_format, tags = source.pixel_format, source.tags
    if layout.is_rgb:
        tags = tags._replace(matrix=RGB_MATRIX, colour_range=FULL_RANGE)
        return PixelFormat(layout, is_full_range=True), tags
    if pixel_format.is_greyscale:  # luma stays; greyscale has full range unless tagged otherwise
        matrix = tags.matrix if tags.matrix in MATRICES else guess_matrix(source.height)
        kept = tags._replace(matrix=matrix, colour_range=tags.colour_range or FULL_RANGE)
        return PixelFormat(layout, matrix, is_full_range=True), kept
    if pixel_format.layout.is_rgb:
        matrix = BT2020 if tags.primaries == BT2020 else guess_matrix(source.height)
        return PixelFormat(layout, matrix), tags._replace(matrix=matrix, colour_range=1)
    if source.stored_size is not None and tags.matrix not in MATRICES:
        tags = tags._replace(matrix=pixel_format.matrix)  # players guess it by the number of rows
    return PixelFormat(layout, pixel_format.matrix, pixel_format.is_full_range), tags
