"""A folder of frames as a video that has lost nothing, to be worked on as any other."""

import argparse
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import av
from torch import Tensor
from tqdm import tqdm

from sgm_vfi.media.images import FrameError, read_frame
from sgm_vfi.media.sequences import FrameFormat, find_sequence, probe_frames
from sgm_vfi.model.cli_options import describe_weights
from sgm_vfi.video.av_frames import to_video_frame
from sgm_vfi.video.colour_conversion import PLANE_LAYOUTS, PixelFormat
from sgm_vfi.video.command import fill_video, run_plan
from sgm_vfi.video.options import VideoOptions, read_video_options
from sgm_vfi.video.output_paths import free_space, require_outputs
from sgm_vfi.video.plan import VideoPlan, complete_plan, format_bytes
from sgm_vfi.video.segment_ranks import read_segment_rank
from sgm_vfi.video.source_video import SourceVideo, probe_video

SAMPLE = 2  # frames that are tried first, for all


class Film(NamedTuple):
    """Images that are shown one after the other."""

    paths: Sequence[Path]
    rate: Fraction  # per second
    frame_format: FrameFormat

    def write(self, file: Path, count: int | None = None) -> None:
        """Write the first images, by default all, as AVI, whose clock counts any rate exactly."""
        height, width, bits = self.frame_format
        codec, pix_fmt = ("utvideo", "gbrp") if bits == 8 else ("ffv1", "gbrp16le")
        pixel_format = PixelFormat(PLANE_LAYOUTS[pix_fmt], is_full_range=True)
        with av.open(file, "w", format="avi", options={"fflags": "bitexact"}) as container:
            size = {"height": height, "width": width}
            stream = container.add_stream(codec, rate=self.rate, pix_fmt=pix_fmt, **size)
            for number, path in enumerate(tqdm(self.paths[:count], "gathering", leave=False)):
                picture = to_video_frame(read_frame(path)[None], pixel_format)
                picture.pts, picture.time_base = number, 1 / self.rate
                container.mux(stream.encode(picture))
            container.mux(stream.encode(None))


@dataclass(frozen=True)
class Images(SourceVideo):
    """What a film will be, while its pictures are images yet."""

    files: Sequence[Path] = ()

    def planes(self, wanted: Iterable[int] | None = None) -> Iterator[tuple[int, list[Tensor]]]:
        """As of a video; each image is read when it is wanted."""
        for index in range(len(self.files)) if wanted is None else wanted:
            yield index, self.pixel_format.to_planes(read_frame(self.files[index])[None])


def film_folder(args: argparse.Namespace) -> None:
    """Write a video of a folder's frames and of new ones between them."""
    if args.rate is None:
        raise ValueError(
            f"{args.output} is a video: say how many frames of {args.inputs[0]} it shows a second, "
            f"as in --rate 24; or name a folder."
        )
    if read_segment_rank(os.environ).world > 1:
        raise ValueError("A folder becomes a video in one process. Start one, without torchrun.")
    options = read_video_options(args)
    describe_weights(args.model)  # a wrong name is found before frames are gathered
    paths = find_sequence(args.inputs)
    film = Film(paths, args.rate, probe_frames(tqdm(paths, "checking", leave=False)))
    file = args.output.with_name(f"{args.output.name}.frames.avi")
    plan = foreseen(film, file, args.output, options)
    if args.dry_run:
        images = Images(**vars(plan.source) | {"path": args.inputs[0]}, files=paths)
        run_plan(replace(plan, source=images), args)
        return
    require_room(plan, file)
    with filmed(film, file):
        fill_video(file, args)


def foreseen(film: Film, file: Path, output: Path, options: VideoOptions) -> VideoPlan:
    """What will be done with a film that is not there yet, as some of its frames tell.

    Cuts and repeats are not looked for.

    Raises:
        ValueError: it cannot be done.
    """
    require_outputs(file, output, options)
    with TemporaryDirectory() as folder:
        sample = Path(folder, file.name)
        film.write(sample, SAMPLE)
        count = len(film.paths)
        timestamps = tuple(number / film.rate for number in range(count))
        source = replace(probe_video(sample), timestamps=timestamps, end=count / film.rate)
        plan = complete_plan(source, output, replace(options, cuts=False, dedup=False))
        return replace(plan, gathered=sample.stat().st_size * count // SAMPLE)


def require_room(plan: VideoPlan, file: Path) -> None:
    """Refuse to gather more than the disk can hold."""
    free = free_space(file)
    if plan.gathered > free:
        raise OSError(
            f"{len(plan.source.timestamps)} frames are gathered in {file}, which takes about "
            f"{format_bytes(plan.gathered)}, and {format_bytes(free)} are free."
        )


@contextmanager
def filmed(film: Film, file: Path) -> Iterator[None]:
    """While it is open, a file holds the film.

    It is as old as the newest of the images, so that work on it goes on where it was: written
    again, it is the same file.

    Raises:
        FrameError: another file has that name.
    """
    newest = max(path.stat().st_mtime_ns for path in film.paths)
    if file.exists() and file.stat().st_mtime_ns != newest:  # not left by a run that was killed
        raise FrameError(
            f"{file} is there already, where frames are to be gathered. Move it, or name another "
            f"output."
        )
    file.parent.mkdir(parents=True, exist_ok=True)
    beside = file.with_name(f".{file.name}.{os.getpid()}.part")
    try:
        film.write(beside)
        os.utime(beside, ns=(newest, newest))
        beside.replace(file)
    finally:
        beside.unlink(missing_ok=True)
    try:
        yield
    finally:
        file.unlink(missing_ok=True)
