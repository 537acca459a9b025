"""How pictures are compressed, and the writing of one closed piece of video."""

from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
from av.codec.codec import UnknownCodecError
from torch import Tensor

from sgm_vfi.video.colour import FULL_RANGE, LAYOUTS, MATRICES, Colours, Layout
from sgm_vfi.video.encoders import ENCODERS, KNOWN, LIGHT_NAMES, Encoder
from sgm_vfi.video.frame_format import RGB_MATRIX, Tags, to_picture, usual_matrix
from sgm_vfi.video.source import Source

SAME = "same"  # as the source's
PIECE_RATE = 25  # frames per second at which a piece plays that is looked at by itself


class EncodingError(ValueError):
    """A wish that an encoder cannot run_plan: the message says what it can."""


@dataclass(frozen=True, kw_only=True)
class Wish:
    """What the user asks of the encoding; None: the best guess."""

    codec: str | None = None
    crf: int | None = None
    preset: str | None = None
    pix_fmt: str | None = None
    lossless: bool = False


@dataclass(frozen=True, kw_only=True)
class Encoding:
    """How pictures are compressed."""

    encoder: str
    colours: Colours
    tags: Tags
    options: tuple[tuple[str, str], ...]
    height: int
    width: int
    aspect: Fraction | None
    rate: Fraction
    notes: tuple[str, ...] = ()

    def __str__(self) -> str:
        options = ", ".join(f"{name} {value}" for name, value in self.options)
        return f"{self.encoder} ({options})" if options else self.encoder


def choose_encoding(wish: Wish, source: Source, rate: Fraction, suffix: str) -> Encoding:
    """Settle what the user left open.

    Args:
        rate: output frames per second, on average.
        suffix: of the output file.

    Raises:
        EncodingError: no such encoder, or it has no such option or pixel format.
    """
    name = encoder_name(wish, source, suffix)
    encoder = KNOWN.get(name, Encoder())
    options = dict(encoder.always) | quality(wish, name, encoder) | speed(wish, name, encoder)
    if name in LIGHT_NAMES:
        option, *names = LIGHT_NAMES[name]
        given = [options[option]] if option in options else []
        parameters = [*given, *source.light.parameters(*names)]
        options |= {option: ":".join(parameters)} if parameters else {}
    layout, notes = choose_layout(wish, source, name, encoder)
    colours, tags = outgoing_colours(source, layout)
    return Encoding(
        encoder=name,
        colours=colours,
        tags=tags,
        options=tuple(options.items()),
        height=source.height,
        width=source.width,
        aspect=source.header.aspect,
        rate=rate,
        notes=tuple(notes),
    )


def quality(wish: Wish, name: str, encoder: Encoder) -> dict[str, str]:
    """The options that decide how much is lost."""
    if wish.lossless:
        if encoder.lossless is None:
            can = ", ".join(name for name, known in KNOWN.items() if known.lossless is not None)
            raise EncodingError(f"{name} cannot encode without loss; these can: {can}.")
        if wish.crf is not None:
            raise EncodingError(f"Either --lossless or --crf {wish.crf}, not both.")
        return dict(encoder.lossless)
    if encoder.crf is None:
        if wish.crf is not None:
            raise EncodingError(f"{name} takes no --crf.")
        return {}
    crf = encoder.crf if wish.crf is None else wish.crf
    if not 0 <= crf <= encoder.largest_crf:
        raise EncodingError(f"{name} takes a --crf from 0 to {encoder.largest_crf}, got {crf}.")
    return {"crf": str(crf)}


def speed(wish: Wish, name: str, encoder: Encoder) -> dict[str, str]:
    """The option that decides how long it takes."""
    if encoder.preset is None:
        if wish.preset is not None:
            raise EncodingError(f"{name} takes no --preset.")
        return {}
    preset = encoder.preset if wish.preset is None else wish.preset
    if preset not in encoder.presets:
        known = ", ".join(encoder.presets)
        raise EncodingError(f"{name} has no --preset {preset}; it has {known}.")
    return {"preset": preset}


def encoder_name(wish: Wish, source: Source, suffix: str) -> str:
    """The encoder that is meant, which exists."""
    codec = wish.codec
    if codec is None:
        codec = (
            "vp9" if suffix == ".webm" else "ffv1" if wish.lossless and suffix == ".mkv" else "h264"
        )
    if codec == SAME:
        codec = source.header.codec
    name = ENCODERS.get(codec, codec)
    try:
        found = av.codec.Codec(name, "w")
    except UnknownCodecError as error:
        raise EncodingError(
            f"There is no encoder {name!r} here. Try {', '.join(KNOWN)}, or {SAME} for the "
            f"source's own codec."
        ) from error
    if found.type != "video":
        raise EncodingError(f"{name} encodes {found.type}, not video.")
    return name


def choose_layout(
    wish: Wish, source: Source, name: str, encoder: Encoder
) -> tuple[Layout, list[str]]:
    """The pixel format: the source's, or the least that loses nothing where it cannot be had."""
    formats = [f.name for f in av.codec.Codec(name, "w").video_formats or ()]
    possible = {key: layout for key, layout in LAYOUTS.items() if key in formats}
    is_odd = bool(source.height % 2 or source.width % 2)

    def fits(layout: Layout) -> bool:
        odd_y = source.height % layout.step_y and not encoder.odd_chroma
        odd_x = source.width % layout.step_x and not encoder.odd_chroma
        return not odd_y and not odd_x

    if wish.pix_fmt is not None:
        layout = possible.get(wish.pix_fmt)
        if layout is None:
            raise EncodingError(
                f"{name} cannot write --pix_fmt {wish.pix_fmt} here; it can: {', '.join(possible)}."
            )
        if not fits(layout):
            raise EncodingError(
                f"{name} cannot write {source.width}x{source.height} as {layout.pix_fmt}, which "
                f"halves its chroma: leave --pix_fmt out, or take a yuv444p format."
            )
        return layout, []
    wanted = wanted_layout(source.colours)
    if wanted.pix_fmt in possible and fits(wanted):
        if not source.colours.is_grey:
            return wanted, []
        return wanted, [f"pixels become {wanted.pix_fmt}, without colours as they were"]
    choices = [layout for layout in possible.values() if fits(layout)]
    if not choices:
        raise EncodingError(
            f"{name} cannot write {source.width}x{source.height}, in any of its formats "
            f"({', '.join(possible)}). Take --codec h264 or ffv1."
        )
    layout = min(choices, key=lambda choice: distance(wanted, choice))
    why = f"of odd size {source.width}x{source.height}" if is_odd else f"which {name} cannot write"
    hint = "; --pix_fmt yuv420p plays everywhere" if wanted.is_rgb and not is_odd else ""
    was = source.colours.pix_fmt
    return layout, [f"pixels become {layout.pix_fmt}; they were {was}, {why}{hint}"]


def wanted_layout(colours: Colours) -> Layout:
    """What loses nothing: the source's layout, or of grey pictures one that plays everywhere."""
    if colours.is_grey:
        return LAYOUTS[colours.layout.pix_fmt.replace("gbrp", "yuv420p")]
    return colours.layout


def distance(wanted: Layout, choice: Layout) -> tuple[int, int, bool, int, int]:
    """Lost bits first, then lost chroma, then what is only a detour."""
    return (
        max(wanted.bits - choice.bits, 0),
        max(choice.step_y - wanted.step_y, 0) + max(choice.step_x - wanted.step_x, 0),
        wanted.is_rgb != choice.is_rgb,
        abs(wanted.bits - choice.bits),
        abs(choice.step_y - wanted.step_y) + abs(choice.step_x - wanted.step_x),
    )


def outgoing_colours(source: Source, layout: Layout) -> tuple[Colours, Tags]:
    """The source's own matrix, range and tags; between RGB and luma they have to change."""
    colours, tags = source.colours, source.tags
    if layout.is_rgb:
        return Colours(layout, is_full=True), tags._replace(matrix=RGB_MATRIX, colour_range=2)
    if colours.is_grey:  # brightness as it was, which is of full range unless the file denies it
        matrix = tags.matrix if tags.matrix in MATRICES else usual_matrix(source.height)
        kept = tags._replace(matrix=matrix, colour_range=tags.colour_range or FULL_RANGE)
        return Colours(layout, matrix, is_full=True), kept
    if colours.layout.is_rgb:
        matrix = usual_matrix(source.height)
        return Colours(layout, matrix), tags._replace(matrix=matrix, colour_range=1)
    return Colours(layout, colours.matrix, colours.is_full), tags


class PieceWriter:
    """Writes consecutive pictures as a closed piece of video, which can be joined with others.

    The piece plays at 25 frames per second; the times that count come in when pieces are joined.
    """

    def __init__(self, path: Path, encoding: Encoding) -> None:
        self.encoding = encoding
        rate = encoding.rate.limit_denominator(2**16)
        self.container = av.open(path, "w", format="matroska")
        try:
            self.stream = self.container.add_stream(
                encoding.encoder,
                rate=rate,
                options=dict(encoding.options),
                width=encoding.width,
                height=encoding.height,
                pix_fmt=encoding.colours.layout.pix_fmt,
            )
        except ValueError as error:
            raise EncodingError(
                f"Pieces of video are kept as Matroska, which cannot hold {encoding.encoder}. Take "
                f"--codec h264 or ffv1."
            ) from error
        context, tags = self.stream.codec_context, encoding.tags
        context.colorspace, context.color_range = tags.matrix, tags.colour_range
        context.color_primaries, context.color_trc = tags.primaries, tags.transfer
        if encoding.aspect:
            context.sample_aspect_ratio = encoding.aspect
        self.tick = 1 / rate
        context.time_base = self.tick
        self.count = self.muxed = self.reorder = 0

    def write(self, frame: Tensor) -> None:
        """Shapes: (1, 3, H, W), RGB in [0, 1], on any device."""
        picture = to_picture(frame, self.encoding.colours)
        picture.pts, picture.time_base = self.count, self.tick
        self.count += 1
        try:
            packets = self.stream.encode(picture)
        except av.error.FFmpegError as error:
            raise EncodingError(
                f"{self.encoding} cannot encode {picture.width}x{picture.height} "
                f"{picture.format.name} at {float(1 / self.tick):.5g} fps: {error.strerror}. Take "
                f"--codec h264 or ffv1."
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
            packet.time_base = Fraction(1, PIECE_RATE)
            self.container.mux(packet)
