"""Where results of a video go: what they may be called, and that nothing is lost for them."""

import shutil
from pathlib import Path

from sgm_vfi.media.images import FrameError
from sgm_vfi.media.output_paths import (
    find_existing_parent,
    require_not_input,
    require_writable_path,
)
from sgm_vfi.video.image_output import is_folder
from sgm_vfi.video.mux import CONTAINERS
from sgm_vfi.video.options import VideoOptions
from sgm_vfi.video.writer import COMPARE, EXPLAIN, MAIN

FIRST = "000001.png"  # or any other name of a file in a folder


def output_paths(output: Path, options: VideoOptions) -> dict[str, Path]:
    """What is written, by name, and where to."""
    names = [MAIN]
    names += [COMPARE] if options.compare else []
    names += [EXPLAIN] if options.explain else []
    return {name: output.with_stem(f"{output.stem}_{name}") if name else output for name in names}


def receipt_path(output: Path) -> Path:
    """Where it is written what was made of what."""
    return output.with_name(f"{output.name}.json")


def parts_path(output: Path) -> Path:
    """The folder where finished segments wait, which is deleted in the end."""
    return output.with_name(f"{output.name}.parts")


def require_outputs(path: Path, output: Path, options: VideoOptions) -> None:
    """Refuse names under which nothing can be written, or something would be lost.

    Args:
        path: the video that is read.
    """
    require_container(output)
    files = [*output_paths(output, options).values(), receipt_path(output)]
    require_not_input(files, [path])
    if parts_path(output).resolve() in path.resolve().parents:
        raise FrameError(
            f"{path} lies in the folder of unfinished work on {output}, which is deleted in the "
            f"end. Move it, or name another output."
        )
    if is_folder(output):
        files[0] = output / FIRST
    for file in (*files, parts_path(output) / FIRST):
        require_writable_path(file)


def require_container(output: Path) -> None:
    """Refuse a name whose suffix is no container that holds any timestamps."""
    if not is_folder(output) and output.suffix.lower() not in CONTAINERS:
        raise ValueError(
            f"Cannot write a video to {output}: name a file ending in {', '.join(CONTAINERS)}, "
            f"or a folder for frames as PNG."
        )


def default_output(path: Path, options: VideoOptions) -> Path:
    """A name that says what was done: NAME_2x.mp4, NAME_60fps.mp4, NAME_slow4x.mp4."""
    target = options.target
    if target.fps is not None:
        done = f"{float(target.fps):.6g}fps"
    else:
        done = f"{target.multi}x" if target.multi else f"slow{target.slow}x"
    suffix = path.suffix.lower() if path.suffix.lower() in CONTAINERS else ".mkv"
    return Path("output", f"{path.stem}_{done}{suffix}")


def free_space(path: Path) -> int:
    """Bytes that are free where a path is, or will be."""
    return shutil.disk_usage(find_existing_parent(path)).free
