"""Animated images: GIF, WebP and APNG, encoded from a finished video."""

import struct
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from types import MappingProxyType
from typing import cast

import av
import numpy as np
from av.filter.context import FilterContext

from sgm_vfi.media.frame_readers import VideoReader, to_rgb_samples
from sgm_vfi.media.open_local_media import open_output
from sgm_vfi.video.long_gaps import find_usual_gap
from sgm_vfi.video.output_timestamps import Target, to_pts

MIN_GIF_DELAY = 2  # hundredths of a second; players slow shorter delays down to a tenth
DITHER = "dither=bayer:bayer_scale=4"  # the same pattern in every frame: nothing flickers


@dataclass(frozen=True)
class AnimationFormat:
    """How FFmpeg writes a format of animated images."""

    encoder: str
    pix_fmt: str
    time_base: Fraction  # resolution of the delays, in seconds
    repeat_option: str  # of the container: 0 repeats without end
    final_delay: bool = True  # the container takes the delay of the last frame
    least_delay: int = 1  # in units of the time base


ANIMATIONS = MappingProxyType(
    {
        ".gif": AnimationFormat("gif", "pal8", Fraction(1, 100), "loop", least_delay=MIN_GIF_DELAY),
        ".webp": AnimationFormat("libwebp_anim", "bgra", Fraction(1, 1000), "loop", False),
        ".apng": AnimationFormat("apng", "rgb24", Fraction(1, 1000), "plays", False),
    }
)


def is_animation_output(output: Path) -> bool:
    """Return whether an output is an animated image."""
    return output.suffix.lower() in ANIMATIONS


def choose_animation_target(
    target: Target, timestamps: Sequence[Fraction], suffix: str
) -> tuple[Target, tuple[str, ...]]:
    """Return the output rate that players of a format honour, and a note if it differs.

    GIF counts in hundredths of a second, and players honour two or more. Slow motion keeps its
    times, rounded.
    """
    if suffix != ".gif" or target.slow is not None:
        return target, ()
    wanted = target.rate or target.frames_per_interval / find_usual_gap(timestamps)
    rate = Fraction(100, max(MIN_GIF_DELAY, round(100 / wanted)))
    note = (
        f"{float(rate):.4g} frames per second instead of {float(wanted):.4g}: GIF delays are whole "
        f"hundredths of a second, from {MIN_GIF_DELAY} up"
    )
    return Target(fps=rate), (note,) if rate != wanted else ()


def describe_left_out(timestamps: Iterable[Fraction], suffix: str) -> tuple[str, ...]:
    """Return a note if frames follow each other too fast for an animation; others have no limit."""
    if suffix not in ANIMATIONS:
        return ()
    form, last, num_left_out, count = ANIMATIONS[suffix], None, 0, 0
    for count, timestamp in enumerate(timestamps, start=1):  # noqa: B007
        pts = to_pts(timestamp, form.time_base)
        if last is not None and pts - last < form.least_delay:
            num_left_out += 1
        else:
            last = pts
    least = float(form.least_delay * form.time_base)
    note = (
        f"{num_left_out} of {count} frames are left out: {suffix} shows a frame for {least:g} s or "
        f"longer. A video or .webp has them all"
    )
    return (note,) if num_left_out else ()


def write_animation(video: Path, output: Path, duration: Fraction) -> None:
    """Encode a finished video as an animation that repeats without end.

    Args:
        duration: of the video, in seconds.

    Raises:
        ValueError: the file that was written does not last as long.
    """
    suffix = output.suffix.lower()
    form = ANIMATIONS[suffix]
    pictures = read_pictures(video, form)
    pts = 0
    first = next(read_pictures(video, form))
    palette = make_palette(video, form) if form.pix_fmt == "pal8" else None
    end = to_pts(duration, form.time_base)
    options = {form.repeat_option: "0"}
    if form.final_delay:
        last = max(picture.pts or 0 for picture in read_pictures(video, form))
        options["final_delay"] = str(max(end - last, MIN_GIF_DELAY))
    with open_output(output, **options) as container:
        stream = container.add_stream(form.encoder, rate=int(1 / form.time_base))
        assert isinstance(stream, av.VideoStream)
        stream.width, stream.height, stream.pix_fmt = first.width, first.height, form.pix_fmt
        stream.time_base = stream.codec_context.time_base = form.time_base
        if palette is not None:
            pictures = apply_palette(pictures, first, palette, form)
        else:
            pictures = (to_format(picture, form) for picture in pictures)
        for picture in pictures:
            pts = picture.pts or 0
            container.mux(stream.encode(picture))
        container.mux(stream.encode(None))
    found = measure_duration(output)
    if abs(found - duration) > max(2 * form.time_base, duration - pts * form.time_base):
        raise ValueError(
            f"{output} lasts {float(found):.3f} s for {float(duration):.3f} s. It stays there."
        )


def to_format(picture: av.VideoFrame, form: AnimationFormat) -> av.VideoFrame:
    """Return a picture in the pixel format of an encoder, at the same time."""
    converted = picture.reformat(format=form.pix_fmt)
    converted.pts, converted.time_base = picture.pts, picture.time_base
    return converted


def read_pictures(video: Path, form: AnimationFormat) -> Iterator[av.VideoFrame]:
    """Yield the frames of a video as RGB, upright, at times from 0 in ticks of the format.

    Frames that would follow the one before too soon are left out.
    """
    start = last = None
    for picture in VideoReader(video.name, video).decode():
        assert picture.pts is not None
        assert picture.time_base is not None
        seconds = picture.pts * picture.time_base
        start = seconds if start is None else start
        pts = to_pts(seconds - start, form.time_base)
        if last is not None and pts - last < form.least_delay:
            continue
        last = pts
        samples = to_rgb_samples(picture)
        if samples.dtype != np.uint8:
            samples = np.round(samples / 257).astype(np.uint8)
        shown = av.VideoFrame.from_ndarray(np.ascontiguousarray(samples), "rgb24")
        shown.pts, shown.time_base = pts, form.time_base
        yield shown


def add_source(
    graph: av.filter.Graph, picture: av.VideoFrame, form: AnimationFormat
) -> FilterContext:
    """Add an input for pictures like the given one to a filter graph."""
    return graph.add_buffer(
        width=picture.width,
        height=picture.height,
        format=picture.format,
        time_base=form.time_base,
    )


def make_palette(video: Path, form: AnimationFormat) -> av.VideoFrame:
    """Return the 256 colours that suit all frames of a video best."""
    graph: av.filter.Graph | None = None
    for picture in read_pictures(video, form):
        if graph is None:
            graph = av.filter.Graph()
            graph.link_nodes(
                add_source(graph, picture, form), graph.add("palettegen"), graph.add("buffersink")
            ).configure()
        graph.push(picture)
    assert graph is not None
    graph.push(None)
    return cast(av.VideoFrame, graph.pull())


def apply_palette(
    pictures: Iterator[av.VideoFrame],
    like: av.VideoFrame,
    palette: av.VideoFrame,
    form: AnimationFormat,
) -> Iterator[av.VideoFrame]:
    """Yield pictures in the colours of a palette."""
    graph = av.filter.Graph()
    frames, colours = add_source(graph, like, form), add_source(graph, palette, form)
    use, sink = graph.add("paletteuse", DITHER), graph.add("buffersink")
    frames.link_to(use, 0, 0)
    colours.link_to(use, 0, 1)
    use.link_to(sink)
    graph.configure()
    palette.pts, palette.time_base = 0, form.time_base
    colours.push(palette)
    colours.push(None)
    for picture in pictures:
        frames.push(picture)
        yield from pull_all(sink)
    frames.push(None)
    yield from pull_all(sink)


def pull_all(sink: FilterContext) -> Iterator[av.VideoFrame]:
    """Yield the pictures that a filter graph has ready."""
    while True:
        try:
            yield cast(av.VideoFrame, sink.pull())
        except (av.error.BlockingIOError, av.error.EOFError):
            return


def measure_duration(animation: Path) -> Fraction:
    """Return the sum of all delays of an animation, in seconds."""
    if animation.suffix.lower() == ".webp":  # which FFmpeg does not decode
        return Fraction(sum(read_webp_delays(animation.read_bytes())), 1000)
    total = Fraction(0)
    for picture in VideoReader(animation.name, animation).decode():
        total += (picture.duration or 0) * (picture.time_base or 0)
    return total


def read_webp_delays(data: bytes) -> Iterator[int]:
    """Yield the delay of each frame of an animated WebP file, in milliseconds."""
    place = 12
    while place + 8 <= len(data):
        name, size = struct.unpack("<4sI", data[place : place + 8])
        if name == b"ANMF":
            yield int.from_bytes(data[place + 20 : place + 23], "little")
        place += 8 + size + size % 2
