"""How pictures are compressed, and the writing of one closed piece of video."""

from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
from av.codec.codec import UnknownCodecError
from torch import Tensor

from sgm_vfi.video.av_frames import RGB_MATRIX, ColourTags, guess_matrix, to_video_frame
from sgm_vfi.video.colour_conversion import (
    FULL_RANGE,
    MATRICES,
    PLANE_LAYOUTS,
    PixelFormat,
    PlaneLayout,
)
from sgm_vfi.video.encoders import CODEC_ALIASES, ENCODERS, HDR_OPTIONS, EncoderSpec
from sgm_vfi.video.source_video import SourceVideo

SAME_CODEC = "same"  # as the source's
SEGMENT_RATE = 25  # frames per second at which a piece plays that is looked at by itself


class EncodingError(ValueError):
    """A wish that an encoder cannot fulfil: the message says what it can."""


@dataclass(frozen=True, kw_only=True)
class EncodingOptions:
    """What the user asks of the encoding; None: the best guess."""

    codec: str | None = None
    crf: int | None = None
    preset: str | None = None
    pix_fmt: str | None = None
    lossless: bool = False


@dataclass(frozen=True, kw_only=True)
class EncoderSettings:
    """How pictures are compressed."""

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
    """Settle what the user left open.

    Args:
        rate: output frames per second, on average.
        suffix: of the output file.

    Raises:
        EncodingError: no such encoder, or it has no such option or pixel format.
    """
    name = find_encoder(requested, source, suffix)
    encoder = ENCODERS.get(name, EncoderSpec())
    options = (
        dict(encoder.fixed_options)
        | choose_quality(requested, name, encoder)
        | choose_preset(requested, name, encoder)
    )
    if name in HDR_OPTIONS:
        option, *names = HDR_OPTIONS[name]
        given = [options[option]] if option in options else []
        parameters = [*given, *source.hdr_metadata.encoder_parameters(*names)]
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
    """The options that decide how much is lost."""
    if requested.lossless:
        if encoder.lossless is None:
            can = ", ".join(name for name, known in ENCODERS.items() if known.lossless is not None)
            raise EncodingError(f"{name} cannot encode without loss; these can: {can}.")
        if requested.crf is not None:
            raise EncodingError(f"Either --lossless or --crf {requested.crf}, not both.")
        return dict(encoder.lossless)
    if encoder.crf is None:
        if requested.crf is not None:
            raise EncodingError(f"{name} takes no --crf.")
        return {}
    crf = encoder.crf if requested.crf is None else requested.crf
    if not 0 <= crf <= encoder.max_crf:
        raise EncodingError(f"{name} takes a --crf from 0 to {encoder.max_crf}, got {crf}.")
    return {"crf": str(crf)}


def choose_preset(requested: EncodingOptions, name: str, encoder: EncoderSpec) -> dict[str, str]:
    """The option that decides how long it takes."""
    if encoder.preset is None:
        if requested.preset is not None:
            raise EncodingError(f"{name} takes no --preset.")
        return {}
    preset = encoder.preset if requested.preset is None else requested.preset
    if preset not in encoder.presets:
        known = ", ".join(encoder.presets)
        raise EncodingError(f"{name} has no --preset {preset}; it has {known}.")
    return {"preset": preset}


def find_encoder(requested: EncodingOptions, source: SourceVideo, suffix: str) -> str:
    """The encoder that is meant, which exists."""
    codec = requested.codec
    if codec is None:
        codec = (
            "vp9"
            if suffix == ".webm"
            else "ffv1"
            if requested.lossless and suffix == ".mkv"
            else "h264"
        )
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
        raise EncodingError(f"{name} encodes {found.type}, not video.")
    return name


def choose_layout(
    requested: EncodingOptions, source: SourceVideo, name: str, encoder: EncoderSpec
) -> tuple[PlaneLayout, list[str]]:
    """The pixel format: the source's, or the least that loses nothing where it cannot be had."""
    formats = [f.name for f in av.codec.Codec(name, "w").video_formats or ()]
    possible = {key: layout for key, layout in PLANE_LAYOUTS.items() if key in formats}
    is_odd = bool(source.height % 2 or source.width % 2)

    def fits(layout: PlaneLayout) -> bool:
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
    wanted = lossless_layout(source.pixel_format)
    if wanted.pix_fmt in possible and fits(wanted):
        if not source.pixel_format.is_greyscale:
            return wanted, []
        return wanted, [f"pixels become {wanted.pix_fmt}, without colours as they were"]
    choices = [layout for layout in possible.values() if fits(layout)]
    if not choices:
        raise EncodingError(
            f"{name} cannot write {source.width}x{source.height}, in any of its formats "
            f"({', '.join(possible)}). Take --codec h264 or ffv1."
        )
    layout = min(choices, key=lambda choice: layout_loss(wanted, choice))
    why = f"of odd size {source.width}x{source.height}" if is_odd else f"which {name} cannot write"
    hint = "; --pix_fmt yuv420p plays everywhere" if wanted.is_rgb and not is_odd else ""
    was = source.pixel_format.pix_fmt
    return layout, [f"pixels become {layout.pix_fmt}; they were {was}, {why}{hint}"]


def lossless_layout(pixel_format: PixelFormat) -> PlaneLayout:
    """What loses nothing: the source's layout, or of grey pictures one that plays everywhere."""
    if pixel_format.is_greyscale:
        return PLANE_LAYOUTS[pixel_format.layout.pix_fmt.replace("gbrp", "yuv420p")]
    return pixel_format.layout


def layout_loss(wanted: PlaneLayout, choice: PlaneLayout) -> tuple[int, int, bool, int, int]:
    """Lost bits first, then lost chroma, then what is only a detour."""
    return (
        max(wanted.bits - choice.bits, 0),
        max(choice.step_y - wanted.step_y, 0) + max(choice.step_x - wanted.step_x, 0),
        wanted.is_rgb != choice.is_rgb,
        abs(wanted.bits - choice.bits),
        abs(choice.step_y - wanted.step_y) + abs(choice.step_x - wanted.step_x),
    )


def choose_pixel_format(source: SourceVideo, layout: PlaneLayout) -> tuple[PixelFormat, ColourTags]:
    """The source's own matrix, range and tags; between RGB and luma they have to change."""
    pixel_format, tags = source.pixel_format, source.tags
    if layout.is_rgb:
        return PixelFormat(layout, is_full_range=True), tags._replace(
            matrix=RGB_MATRIX, colour_range=2
        )
    if (
        pixel_format.is_greyscale
    ):  # brightness as it was, which is of full range unless the file denies it
        matrix = tags.matrix if tags.matrix in MATRICES else guess_matrix(source.height)
        kept = tags._replace(matrix=matrix, colour_range=tags.colour_range or FULL_RANGE)
        return PixelFormat(layout, matrix, is_full_range=True), kept
    if pixel_format.layout.is_rgb:
        matrix = guess_matrix(source.height)
        return PixelFormat(layout, matrix), tags._replace(matrix=matrix, colour_range=1)
    return PixelFormat(layout, pixel_format.matrix, pixel_format.is_full_range), tags


class SegmentEncoder:
    """Writes consecutive pictures as a closed piece of video, which can be joined with others.

    The piece plays at 25 frames per second; the times that count come in when pieces are joined.
    """

    def __init__(self, path: Path, encoding: EncoderSettings) -> None:
        self.encoding = encoding
        rate = encoding.frame_rate.limit_denominator(2**16)
        self.container = av.open(path, "w", format="matroska")
        try:
            self.stream = self.container.add_stream(
                encoding.encoder,
                rate=rate,
                options=dict(encoding.options),
                width=encoding.width,
                height=encoding.height,
                pix_fmt=encoding.pixel_format.layout.pix_fmt,
            )
        except ValueError as error:
            raise EncodingError(
                f"Pieces of video are kept as Matroska, which cannot hold {encoding.encoder}. Take "
                f"--codec h264 or ffv1."
            ) from error
        context, tags = self.stream.codec_context, encoding.tags
        context.colorspace, context.color_range = tags.matrix, tags.colour_range
        context.color_primaries, context.color_trc = tags.primaries, tags.transfer
        if encoding.pixel_aspect:
            context.sample_aspect_ratio = encoding.pixel_aspect
        self.time_base = 1 / rate
        context.time_base = self.time_base
        self.count = self.muxed = self.reorder = 0

    def write(self, frame: Tensor) -> None:
        """Shapes: (1, 3, H, W), RGB in [0, 1], on any device."""
        picture = to_video_frame(frame, self.encoding.pixel_format)
        picture.pts, picture.time_base = self.count, self.time_base
        self.count += 1
        try:
            packets = self.stream.encode(picture)
        except av.error.FFmpegError as error:
            raise EncodingError(
                f"{self.encoding} cannot encode {picture.width}x{picture.height} "
                f"{picture.format.name} at {float(1 / self.time_base):.5g} fps: {error.strerror}. "
                f"Take --codec h264 or ffv1."
            ) from error
        self._mux(packets)

    def close(self) -> dict[str, int]:
        """Finish the file; give how many frames it has, and how far out of order, at most."""
        self._mux(self.stream.encode(None))
        self.container.close()
        return {"frames": self.count, "reorder": self.reorder}

    def _mux(self, packets: list[av.Packet]) -> None:
        for packet in packets:
            self.reorder = max(self.reorder, self.muxed - packet.pts)
            self.muxed += 1
            packet.time_base = Fraction(1, SEGMENT_RATE)
            self.container.mux(packet)
