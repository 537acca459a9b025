"""Several videos, one after the other: which they are, and a summary of what became of them."""

import os
import re
from collections.abc import Callable, Iterable, Sequence
from glob import glob, has_magic
from pathlib import Path
from time import perf_counter
from typing import Any, NamedTuple

from tqdm import tqdm

from sgm_vfi.command_errors import describe_error, is_out_of_memory
from sgm_vfi.media.frame_readers import VIDEO_SUFFIXES
from sgm_vfi.media.images import is_image, natural_sort_key
from sgm_vfi.media.sequences import is_video
from sgm_vfi.video.job_paths import default_output
from sgm_vfi.video.mux import CONTAINERS
from sgm_vfi.video.options import VideoOptions
from sgm_vfi.video.output_timestamps import Target
from sgm_vfi.video.progress_bar import FrameBar, count_declared_frames
from sgm_vfi.video.read_header import read_header

RunVideo = Callable[[Path, Path, FrameBar], dict[str, Any] | None]


class BatchResult(NamedTuple):
    """What became of one video."""

    path: Path
    frames: int
    seconds: float
    result: str  # the output, or why there is none
    is_failure: bool = False


def expand_inputs(inputs: Iterable[Path]) -> list[Path]:
    """Replace patterns such as *.mp4 by the files that match; what exists is no pattern."""
    found: list[Path] = []
    for path in inputs:
        if path.exists() or not has_magic(str(path)):
            found.append(path)
            continue
        matches = sorted(map(Path, glob(str(path))), key=natural_sort_key)
        if not matches:
            raise ValueError(f"No file matches {path}.")
        found += matches
    return found


def find_batch(inputs: Sequence[Path]) -> list[Path] | None:
    """Return the videos of a batch: of a folder, or several; None if the inputs are no batch.

    Raises:
        ValueError: a folder holds images and videos, or images are given with videos.
    """
    videos, others = [], []
    for path in inputs:
        is_file = is_video(path) or (path.suffix.lower() in VIDEO_SUFFIXES and not path.is_dir())
        below = list_videos(path) if path.is_dir() else [path] if is_file else []
        videos += below
        others += [] if below else [path]
    if not videos or (len(inputs) == 1 and not inputs[0].is_dir()):
        return None
    if others and len(inputs) == 2 and not others[0].is_dir():
        return None  # a pair, one of which is no image
    if others:
        raise ValueError(
            f"{others[0]} is no video, as {videos[0]} is. Give two images, a folder of images, or "
            f"videos and folders of videos."
        )
    return list(dict.fromkeys(videos))


def list_videos(folder: Path) -> list[Path]:
    """Return the videos of a folder in natural order, or none if it holds images.

    Raises:
        ValueError: it holds both.
    """
    files = [file for file in folder.iterdir() if file.is_file() and file.name[0] != "."]
    videos = [file for file in files if file.suffix.lower() in VIDEO_SUFFIXES]
    if videos and any(map(is_image, files)):
        raise ValueError(
            f"{folder} holds images and videos, such as {min(videos).name}. Move either to another "
            f"folder: a folder of images becomes denser, every video of a folder becomes a video."
        )
    return sorted(videos, key=natural_sort_key)


def run_batch(
    paths: Sequence[Path], output: Path | None, options: VideoOptions, model: str, run: RunVideo
) -> int:
    """Run the jobs of several videos, print a summary, and return the exit code.

    One that fails does not stop the others.

    Args:
        output: folder of the results.
        model: part of their names.
        run: runs one job and returns its receipt.
    """
    folder = require_batch_folder(output, len(paths))
    expected = [count_expected_frames(path, options.target) for path in paths]
    results = []
    is_main = os.environ.get("RANK", "0") == "0"
    with FrameBar(num_expected=sum(expected), is_shown=is_main and not options.dry_run) as bar:
        for number, path in enumerate(paths):
            bar.num_expected = sum(expected[number + 1 :])
            if is_main:
                tqdm.write(f"\nvideo   {number + 1} of {len(paths)}")
            name = folder / default_output(path, options, model).name
            results.append(run_one(path, name, options, bar, run))
    if is_main and not options.dry_run:
        print("\n" + format_summary(results))
    return int(any(result.is_failure for result in results))


def run_one(
    path: Path, output: Path, options: VideoOptions, bar: FrameBar, run: RunVideo
) -> BatchResult:
    """Run one job of a batch; an error becomes its result."""
    start = perf_counter()
    if output.is_file() and not options.overwrite and not options.dry_run:
        return BatchResult(path, 0, 0.0, f"{output} exists already; --overwrite makes it again")
    try:
        receipt = run(path, output, bar) or {"frames made in this run": 0}
    except (ValueError, OSError, MemoryError, RuntimeError) as error:
        if isinstance(error, RuntimeError) and not is_out_of_memory(error):
            raise
        reason = re.sub(r"\s+", " ", describe_error(error))
        tqdm.write(f"failed  {reason}")
        return BatchResult(path, 0, perf_counter() - start, reason, is_failure=True)
    frames = int(receipt.get("frames made in this run", 0))
    return BatchResult(path, frames, perf_counter() - start, str(output))


def require_batch_folder(output: Path | None, count: int) -> Path:
    """Return the folder of the results.

    Raises:
        ValueError: the output is one file.
    """
    if output is None:
        return Path("output")
    if output.suffix.lower() in CONTAINERS or output.is_file():
        raise ValueError(f"{output} is one video, but {count} are given: name a folder.")
    return output


def count_expected_frames(path: Path, target: Target) -> int:
    """Return about how many frames a job makes, from the header of its video; 0 if unknown."""
    try:
        header = read_header(path)
    except ValueError:  # its job will fail
        return 0
    if target.rate is not None:
        return round(header.duration * target.rate)
    return count_declared_frames(header) * target.frames_per_interval


def format_summary(results: Sequence[BatchResult]) -> str:
    """Return one line per video: file, frames, seconds, result; and how many failed."""
    width = max(len(str(result.path)) for result in results)
    lines = [f"{'video':{width}}  frames  seconds  result"]
    for path, frames, seconds, result, is_failure in results:
        shown = f"FAILED: {result}" if is_failure else result
        lines.append(f"{path!s:{width}}  {frames:6}  {seconds:7.1f}  {shown}")
    failed = sum(result.is_failure for result in results)
    lines.append(f"{len(results) - failed} of {len(results)} videos are done, {failed} failed")
    return "\n".join(lines)
