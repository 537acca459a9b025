"""Interpolation of a stream: y4m from standard input, to standard output or a file.

Frames are read, interpolated and written one by one; nothing is kept on disk.
"""

import argparse
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext, redirect_stdout
from dataclasses import Field, replace
from fractions import Fraction
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import torch
from torch import Tensor
from tqdm import tqdm

from sgm_vfi.command_errors import INTERRUPTED
from sgm_vfi.media.colour_matrices import MATRICES, guess_matrix
from sgm_vfi.media.display_matrix import parse_display_matrix, read_display_matrix
from sgm_vfi.media.frame_readers import require_quarter_turn
from sgm_vfi.media.image_output_paths import require_no_result
from sgm_vfi.media.sequences import is_video
from sgm_vfi.video.animated_output import choose_animation_target
from sgm_vfi.video.av_frames import (
    apply_orientation,
    read_pixel_format,
    read_planes,
)
from sgm_vfi.video.colour_conversion import PLANE_LAYOUTS, PixelFormat
from sgm_vfi.video.encoding_options import EncodingOptions
from sgm_vfi.video.input_frame_size import fit_size, resize_planes
from sgm_vfi.video.job_paths import is_folder, require_outputs
from sgm_vfi.video.job_plan import fit_source
from sgm_vfi.video.load_network import load_network_for_size
from sgm_vfi.video.options import VideoOptions, read_video_options
from sgm_vfi.video.options_from_dataclass_fields import format_given
from sgm_vfi.video.playable_pixel_formats import lossless_layout
from sgm_vfi.video.read_header import read_header
from sgm_vfi.video.source_decoder import SourceDecoder
from sgm_vfi.video.source_video import SourceVideo
from sgm_vfi.video.stream_api import SourceFrame, expected_times, interpolate_stream
from sgm_vfi.video.y4m import (
    Y4MHeader,
    chroma_parameter,
    read_y4m_frames,
    read_y4m_header,
    write_y4m_frame,
)
from sgm_vfi.video.y4m_stream_to_file import describe_stream, open_stream_file

PIPE = Path("-")
FILE_OPTIONS = ("start", "end", "stream", "follow_playlists")  # of the input
BROKEN_PIPE = 141  # exit status, as shells give it
USAGE = "ffmpeg -i IN -f yuv4mpegpipe - | ... - -o - | ffmpeg -i - OUT.mp4"


class PipeSource(NamedTuple):
    """A stream of frames, and how they are written again."""

    name: str
    header: Y4MHeader  # of the output, at the rate of the input
    pixel_format: PixelFormat  # of the output
    frames: Iterator[SourceFrame]
    described: SourceVideo | None = None  # for a file that it becomes


WriteFrame = Callable[[Tensor], None]  # takes (1, 3, H, W)


def is_pipe(args: argparse.Namespace) -> bool:
    """Return whether the input or the output is a stream."""
    return PIPE in args.inputs or args.output == PIPE


def run_pipe(args: argparse.Namespace) -> None:
    """Interpolate a stream; where it goes to standard output, all messages go to standard error."""
    options = read_video_options(args)
    require_pipe(args, os.environ)
    sink = sys.stdout.buffer
    with redirect_stdout(sys.stderr) if args.output == PIPE else nullcontext():
        try:
            source = open_source(args, options)
            if args.output == PIPE:
                write_stream(source, options, args, lambda rate: open_y4m(sink, source, rate))
            else:
                write_file(source, options, args)
        except BrokenPipeError:  # the reader has ended
            os.dup2(os.open(os.devnull, os.O_WRONLY), sink.fileno())  # for what Python flushes
            sys.exit(BROKEN_PIPE)
        except KeyboardInterrupt:
            print("interrupted; a stream cannot be continued", file=sys.stderr)
            sys.exit(INTERRUPTED)


def require_pipe(args: argparse.Namespace, environment: Mapping[str, str]) -> None:
    """Raise unless a stream or video is written to a stream or file, with options they allow."""
    to_file = args.output != PIPE
    if to_file and (args.output is None or is_folder(args.output)):
        raise ValueError(f"Say where the stream goes: -o OUT.mp4, or -o - as in\n{USAGE}")
    if len(args.inputs) != 1 or not (args.inputs[0] == PIPE or is_video(args.inputs[0])):
        got = ", ".join(map(str, args.inputs)) or "nothing"
        raise ValueError(f"To -o - goes one video, or a y4m stream from - , not {got}.")
    if args.inputs[0] == PIPE and sys.stdin.isatty():
        raise ValueError(f"Standard input is a terminal. Send a y4m stream:\n{USAGE}")
    if not to_file and sys.stdout.isatty():
        raise ValueError(f"Standard output is a terminal. Send the stream on:\n{USAGE}")
    if int(environment.get("WORLD_SIZE", 1)) > 1:
        raise ValueError("A stream is for one process; torchrun shares out files only.")

    def needs_file(declared: Field[Any]) -> bool:
        """Tell whether an option needs a file instead of a stream."""
        is_read = args.inputs[0] == PIPE and declared.name in FILE_OPTIONS
        is_written = to_file and declared.name == "overwrite"
        return is_read or not (declared.metadata["for_pipes"] or is_written)

    given = [
        text
        for cls in ((VideoOptions,) if to_file else (EncodingOptions, VideoOptions))
        for text in format_given(args, cls, needs_file)
    ]
    if given:
        raise ValueError(f"A stream takes no {', '.join(given)}: these need files.")


def open_source(args: argparse.Namespace, options: VideoOptions) -> PipeSource:
    """Open the input and read as much as says what it is."""
    path = args.inputs[0]
    if path == PIPE:
        return open_stream(sys.stdin.buffer, "Standard input", args, options)
    return open_video(path, options, args.device)


def open_stream(
    file: BinaryIO, name: str, args: argparse.Namespace, options: VideoOptions
) -> PipeSource:
    """Read the header of a y4m stream."""
    header = read_y4m_header(file, name)
    pixel_format = header.pixel_format
    source = fit_source(describe_stream(header, name), args.output, options)

    def read() -> Iterator[SourceFrame]:
        """Read source frames one by one."""
        for index, planes in enumerate(read_y4m_frames(file, header, name)):
            samples = [plane.to(args.device) for plane in source.resize(planes)]
            yield SourceFrame(index, index / header.rate, pixel_format.to_rgb(samples))

    fitted = header._replace(height=source.height, width=source.width)
    return PipeSource(name, fitted, pixel_format, read(), source)


def open_video(path: Path, options: VideoOptions, device: torch.device) -> PipeSource:
    """Decode the first frame of a video, which decides about the stream. Frames are upright."""
    header = read_header(path, options.stream, follow_playlists=options.follow_playlists)
    first = next(iter(SourceDecoder(path, header, options.trim)), None)
    if first is None or header.frame_rate is None:
        raise ValueError(f"{path} gives no frame or no rate. Make it a file of another kind first.")
    pixel_format, notes = read_pixel_format(path, first.picture)
    orientation = parse_display_matrix(read_display_matrix(first.picture))
    require_quarter_turn(orientation)
    is_turned = bool(orientation.quarter_turns % 2)
    largest = options.max_size
    largest = largest[::-1] if largest and is_turned else largest
    stored = fit_size(first.picture.height, first.picture.width, largest, is_even=False)
    height, width = stored[::-1] if is_turned else stored
    aspect = header.pixel_aspect or Fraction(1)
    output = choose_stream_format(pixel_format, height)
    for note in notes:
        print(f"note    {note}")

    def read() -> Iterator[SourceFrame]:
        """Read source frames one by one."""
        for decoded in SourceDecoder(path, header, options.trim):
            planes = read_planes(decoded.picture, pixel_format.layout)
            planes = resize_planes(planes, pixel_format.layout, *stored)
            frame = pixel_format.to_rgb([plane.to(device) for plane in planes])
            upright = apply_orientation(frame, orientation)
            yield SourceFrame(decoded.index, decoded.timestamp, upright)

    parameters = Y4MHeader(
        height,
        width,
        header.frame_rate,
        1 / aspect if is_turned else aspect,
        chroma_parameter(output.layout),
        output.is_full_range,
    )
    return PipeSource(str(path), parameters, output, read())


def choose_stream_format(pixel_format: PixelFormat, height: int) -> PixelFormat:
    """Return the samples of the stream: those of the video; of RGB, YUV with all chroma."""
    if pixel_format.is_greyscale or not pixel_format.layout.is_rgb:
        layout = lossless_layout(pixel_format)
        return PixelFormat(layout, pixel_format.matrix, pixel_format.is_full_range)
    name = pixel_format.layout.pix_fmt.replace("gbrp", "yuv444p")
    return PixelFormat(PLANE_LAYOUTS[name], guess_matrix(height))


def write_stream(
    source: PipeSource,
    options: VideoOptions,
    args: argparse.Namespace,
    open_sink: Callable[[Fraction], AbstractContextManager[WriteFrame]],
) -> int:
    """Interpolate the frames of a source, write them, and return how many there are.

    Args:
        open_sink: opens the output for a number of frames per second.
    """
    header = source.header
    target = replace(options.target, source_rate=header.rate)
    options = replace(options, target=target)
    rate = (target.rate or header.rate * target.frames_per_interval) / target.stretch
    print(
        f"stream  {source.name}: {header.width}x{header.height} {header.chroma}, "
        f"{float(header.rate):.5g} fps to {float(rate):.5g} fps"
    )
    loaded = load_network_for_size(
        args, header.height, header.width, expected_times(target), print_line
    )
    start, count = None, 0
    frames = interpolate_stream(source.frames, options, loaded.interpolator)
    with open_sink(rate) as write:
        for timestamp, frame in tqdm(frames, unit="frame", disable=None):
            start = timestamp if start is None else start
            if abs(timestamp - start - count / rate) > 1 / rate / 2:
                raise ValueError(
                    f"{source.name} has a variable frame rate (at {float(timestamp):.3f} s), which "
                    f"a y4m stream cannot hold. Add --fps, such as --fps {round(rate)}."
                )
            write(frame[None])
            count += 1
        if not count:
            raise ValueError(f"{source.name} holds no frame.")
    print(f"done    {count} frames")
    return count


@contextmanager
def open_y4m(file: BinaryIO, source: PipeSource, rate: Fraction) -> Iterator[WriteFrame]:
    """Write the header of a y4m stream, and give a function that writes a frame."""
    if source.pixel_format.matrix != guess_matrix(source.header.height):
        name = MATRICES[source.pixel_format.matrix][0]
        print(f"note    samples are of {name}, which a y4m stream cannot say: tag the result")
    file.write(source.header._replace(rate=rate).encode())
    layout = source.pixel_format.layout
    yield lambda frame: write_y4m_frame(file, layout, source.pixel_format.to_planes(frame))


def write_file(source: PipeSource, options: VideoOptions, args: argparse.Namespace) -> None:
    """Interpolate a stream into a video file or an animation."""
    output, described = args.output, source.described
    assert described is not None, "a video becomes a file in another way"
    require_outputs([described.path], output, options)
    require_no_result([output], overwrite=options.overwrite)
    gap = (Fraction(0), 1 / source.header.rate)
    target, notes = choose_animation_target(options.target, gap, output.suffix.lower())
    described = replace(described, notes=(*described.notes, *notes))
    write_stream(
        source,
        replace(options, target=target),
        args,
        lambda rate: open_stream_file(output, described, options.encoding, rate),
    )
    print(f"file    {output}")


def print_line(name: str, text: object) -> None:
    """Print a title and a text."""
    print(f"{name:8}{text}")
