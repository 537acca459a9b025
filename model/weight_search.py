"""Where files of weights are looked for: the one search that all networks use."""

import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent  # the repository, when run from a clone
ENDINGS = (".safetensors", ".pth", ".pt", ".pkl")  # of files of weights, ours and as published


def weights_folders() -> list[Path]:
    """Return the folders for weights: `./pretrained`, the repository's own, and the user's."""
    return [*(root / "pretrained" for root in search_roots()), download_folder()]


def search_roots() -> list[Path]:
    """Return the current folder and the repository."""
    return list(dict.fromkeys((Path.cwd(), ROOT)))


def download_folder() -> Path:
    """Return the folder of this user for downloaded weights; it may not exist yet.

    It is `$SGM_VFI_WEIGHTS`, else `$XDG_CACHE_HOME/sgm_vfi`, else `~/.cache/sgm_vfi`.
    """
    if chosen := os.environ.get("SGM_VFI_WEIGHTS"):
        return Path(chosen)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "sgm_vfi"


def list_candidates(stems: Sequence[str]) -> Iterator[Path]:
    """List the files that may hold the weights called `stems`, in order of preference.

    Under the current folder, then under the repository, these are `pretrained/<stem>` and the
    result of a training run, `log/<stem>/ckpt/<stem>`; last comes the user's folder.
    """
    for root in search_roots():
        for stem in stems:
            for folder in (root / "pretrained", root / "log" / stem / "ckpt"):
                yield from (folder / f"{stem}{ending}" for ending in ENDINGS)
    for stem in stems:
        yield from (download_folder() / f"{stem}{ending}" for ending in ENDINGS)


def find_file(paths: Iterable[Path], what: str, how_to_get: str) -> Path:
    """Return the first of `paths` that is a file.

    Args:
        what: the weights that are looked for, to name in the error.
        how_to_get: the command or the page that provides the file, for the error.

    Raises:
        FileNotFoundError: none is there; the message lists all of them.
    """
    paths = list(paths)
    for path in paths:
        if path.is_file():
            return path
    listed = ", ".join(map(str, paths))
    raise FileNotFoundError(f"No {what}: looked for {listed}. {how_to_get}")
