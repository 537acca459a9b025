"""Output paths of images: names, checks before the work, errors on a full disk."""

import errno
import os
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from sgm_vfi.media.images import FrameError, is_image

MAX_NAME_BYTES = 220  # of the 255 of most file systems


def require_writable_path(path: Path) -> None:
    """Raise FrameError if a file cannot be written; missing parent folders are allowed."""
    if len(os.fsencode(path.name)) > MAX_NAME_BYTES:
        raise FrameError(
            f"Cannot write {path.name[:40]}...: its name has {len(os.fsencode(path.name))} bytes; "
            f"{MAX_NAME_BYTES} leave room for what is added while it is written. Shorten it."
        )
    if path.is_dir():
        raise FrameError(f"Cannot write {path}: it is a folder.")
    folder = find_existing_parent(path)
    if not folder.is_dir():
        raise FrameError(f"Cannot write {path}: {folder} is a file, no folder.")
    try:
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise FrameError(
            f"Cannot write {path}: no file can be made in {folder} ({error.strerror})."
        ) from error


def find_existing_parent(path: Path) -> Path:
    """Return the nearest parent folder that exists."""
    return next(folder for folder in path.resolve().parents if folder.exists())


def require_not_input(files: Iterable[Path], inputs: Iterable[Path]) -> None:
    """Raise FrameError if an output is among the inputs."""
    both = {file.resolve() for file in files} & {path.resolve() for path in inputs}
    if both:
        raise FrameError(f"{min(both)} is among the frames to read; name another output.")


def require_no_result(files: Iterable[Path], *, overwrite: bool) -> None:
    """Raise FrameError if an output exists already, unless it may be overwritten."""
    existing = next((file for file in files if file.is_file()), None)
    if existing is not None and not overwrite:
        raise FrameError(
            f"{existing} exists already. Name another --output, or replace it with --overwrite."
        )


def require_output_folder(output: Path, instead: str) -> None:
    """Raise FrameError if an output folder is a file or looks like one.

    Args:
        instead: the remedy, as an imperative sentence.
    """
    if output.is_file():
        raise FrameError(f"{output} is a file: {instead}")
    if output.suffix and not output.is_dir():
        raise FrameError(
            f"{output} ends in {output.suffix} as files do: {instead} If a folder of that name is "
            f"meant, make it first."
        )


def require_no_other_images(files: Sequence[Path]) -> None:
    """Raise FrameError if the output folder holds other images."""
    folder = files[0].parent
    if not folder.is_dir():
        return
    others = {file.name for file in filter(is_image, folder.iterdir())} - {f.name for f in files}
    if others:
        raise FrameError(
            f"{folder} holds {len(others)} images that do not belong to this run "
            f"(such as {min(others)}). Name another folder, or empty it."
        )


@contextmanager
def explain_full_disk(folder: Path) -> Iterator[None]:
    """Turn disk-full errors into one that names the kept results and the remedy."""
    try:
        yield
    except (ValueError, OSError) as error:
        reasons = {getattr(part, "errno", None) for part in (error, error.__cause__)}
        if not reasons & {errno.ENOSPC, errno.EDQUOT}:
            raise
        raise FrameError(
            f"The disk is full. What is finished is kept in {folder}: make room, and the same "
            f"command goes on."
        ) from error


def is_image_output(output: Path) -> bool:
    """Return True if the output is one image, not a folder."""
    return is_image(output) and not output.is_dir()


def pair_output_paths(output: Path, times: Sequence[float]) -> list[Path]:
    """Return the output path of the frame at each time."""
    if is_image_output(output):
        if len(times) > 1:
            raise ValueError(f"{output} holds one frame, not {len(times)}: name a folder.")
        return [output]
    if times == [0.5]:
        return [output / "middle.png"]
    digits = len(str(len(times)))
    return [output / f"between_{number:0{digits}d}.png" for number in range(1, len(times) + 1)]
