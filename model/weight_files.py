"""Folders where files of weights are looked for, and the one search through them."""

import os
from collections.abc import Iterable
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent  # the repository, when run from a clone


def weights_folders() -> list[Path]:
    """Return the folders where weights may be: the current one's, the repository's, the user's."""
    return list(dict.fromkeys((Path.cwd() / "pretrained", ROOT / "pretrained", download_folder())))


def download_folder() -> Path:
    """Return the folder of this user for downloaded weights; it may not exist yet.

    It is `$SGM_VFI_WEIGHTS`, else `$XDG_CACHE_HOME/sgm_vfi`, else `~/.cache/sgm_vfi`.
    """
    if chosen := os.environ.get("SGM_VFI_WEIGHTS"):
        return Path(chosen)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "sgm_vfi"


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
    raise FileNotFoundError(f"No weights of {what}: looked for {listed}. {how_to_get}")
