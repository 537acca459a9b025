"""Paths of the files that a job writes."""

import re
import shutil
from collections.abc import Sequence
from pathlib import Path

from sgm_vfi.media.image_output_paths import (
    find_existing_parent,
    require_no_result,
    require_not_input,
    require_writable_path,
)
from sgm_vfi.media.images import FrameError
from sgm_vfi.video.animated_output import ANIMATIONS
from sgm_vfi.video.encoding_options import PURPOSE_SUFFIXES
from sgm_vfi.video.mux import CONTAINERS
from sgm_vfi.video.options import VideoOptions
from sgm_vfi.video.segment_writers import COMPARE, EXPLAIN, MAIN
from sgm_vfi.video.work_folder import WorkFolder

FIRST = "000001.png"  # or any other name of a file in a folder


def is_folder(output: Path) -> bool:
    """Return whether an output is a folder of images, as it has no suffix."""
    return not output.suffix


def output_paths(output: Path, options: VideoOptions) -> dict[str, Path]:
    """Return the paths of the video and of its views by their names."""
    names = [MAIN]
    names += [COMPARE] if options.compare else []
    names += [EXPLAIN] if options.explain else []
    return {name: output.with_stem(f"{output.stem}_{name}") if name else output for name in names}


def receipt_path(output: Path) -> Path:
    """Return the path of the JSON file that describes how the output was made."""
    return output.with_name(f"{output.name}.json")


def worst_frames_path(output: Path) -> Path:
    """Return the path of the picture of the least reliable frames."""
    return output.with_name(f"{output.stem}_worst.jpg")


def work_path(output: Path) -> Path:
    """Return the folder of finished segments, which is deleted at the end."""
    return output.with_name(f"{output.name}.parts")


def lock_path(output: Path) -> Path:
    """Return the file of the lock on a job, which exists while a process works on it."""
    return output.with_name(f"{output.name}.lock")


def require_outputs(inputs: Sequence[Path], output: Path, options: VideoOptions) -> None:
    """Raise if an output cannot be written, or would overwrite an input.

    Args:
        inputs: the video or the images that are read.
    """
    if not is_folder(output) and output.suffix.lower() not in (*CONTAINERS, *ANIMATIONS):
        raise ValueError(
            f"Cannot write a video to {output}: name a file ending in "
            f"{', '.join((*CONTAINERS, *ANIMATIONS))}, "
            f"or a folder for frames as PNG."
        )
    files = [*output_paths(output, options).values(), receipt_path(output)]
    files += [worst_frames_path(output)] if options.min_reliability is not None else []
    require_not_input(files, inputs)
    if work_path(output).resolve() in inputs[0].resolve().parents:
        raise FrameError(
            f"{inputs[0]} lies in the folder of unfinished work on {output}, which is deleted in "
            f"the end. Move it, or name another output."
        )
    if is_folder(output):
        files[0] = output / FIRST
    for file in (*files, work_path(output) / FIRST):
        require_writable_path(file)


def require_no_finished_job(path: Path, output: Path, options: VideoOptions) -> None:
    """Raise if the output or a view of it exists, unless it may be overwritten.

    Args:
        path: of the input, which `require_outputs` protects.
    """
    if is_folder(output):  # see `require_empty`
        return
    if WorkFolder(work_path(output)).is_open():  # the job has begun, or is about to end
        return
    if lock_path(output).exists():  # a process was killed, perhaps after its work: see `run_job`
        return
    require_no_other_result(path, output, options)


def require_no_other_result(path: Path, output: Path, options: VideoOptions) -> None:
    """Raise if the output or a view of it exists, unless it may be overwritten."""
    files = output_paths(output, options).values()
    others = [file for file in files if file.resolve() != path.resolve()]
    require_no_result(others, overwrite=options.overwrite)


def require_rate(path: Path, output: Path, options: VideoOptions) -> None:
    """Raise unless a folder of images comes with a rate, and a video without."""
    if path.is_dir() and options.rate is None:
        raise ValueError(
            f"{output} is a video: say how many frames of {path} it shows a second, as in "
            f"--rate 24; or name a folder."
        )
    if options.rate is not None and not path.is_dir():
        raise ValueError("--rate is for folders of frames; of a video say --fps or --slow.")
    if path.is_dir() and (options.stream is not None or options.follow_playlists):
        raise ValueError("--stream and --follow_playlists are for videos, not for folders.")


def require_empty(output: Path) -> None:
    """Raise if an output folder exists and is not empty."""
    if output.is_file() or (output.is_dir() and any(output.iterdir())):
        raise ValueError(f"{output} is there already. Name another folder, or empty it.")


def require_empty_or_unfinished(output: Path) -> None:
    """Raise if an output folder is not empty, unless a job was interrupted, as `run_job` knows."""
    if not work_path(output).is_dir() and not lock_path(output).exists():
        require_empty(output)


def default_output(path: Path, options: VideoOptions, model: str) -> Path:
    """Return output/NAME_2x_MODEL.mp4, NAME_60fps_MODEL.mp4 or NAME_slow4x_MODEL.mp4.

    Args:
        model: name of a network, or file of weights.
    """
    target = options.target
    if target.fps is not None:
        done = f"{float(target.fps):.6g}fps"
    else:
        done = f"{target.multi}x" if target.multi else f"slow{float(target.slow or 1):.6g}x"
    suffix = path.suffix.lower().replace(".png", ".apng")  # animated
    suffix = suffix if suffix in (*CONTAINERS, *ANIMATIONS) else ".mkv"
    suffix = PURPOSE_SUFFIXES.get(options.encoding.purpose or "", suffix)
    network = re.sub(r"[^\w.+-]", "_", Path(model).stem if is_path(model) else model)
    return Path("output", f"{path.stem}_{done}_{network}{suffix}")


def is_path(model: str) -> bool:
    """Return whether a model is given as a file of weights."""
    return Path(model).is_file() or Path(model).name != model


def free_space(path: Path) -> int:
    """Return the free bytes of the disk that a path is on, or will be."""
    return shutil.disk_usage(find_existing_parent(path)).free
