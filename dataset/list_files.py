"""List files: plain text, one triplet or clip per line."""

from collections.abc import Iterable
from pathlib import Path, PurePosixPath

from sgm_vfi.dataset.triplet import TripletPaths


def read_lines(path: Path) -> list[str]:
    """The lines of a text file without blank ones, whichever line ends it has."""
    if not path.is_file():
        raise FileNotFoundError(f"There is no list file {path} ({path.resolve()}).")
    lines = (line.strip() for line in path.read_text(encoding="utf-8-sig").splitlines())
    return [line for line in lines if line]


def read_triplet_list(path: Path, root: Path, anchors: Iterable[str]) -> list[TripletPaths]:
    """Read lines of three paths, first, middle and last frame, separated by blanks."""
    triplets = []
    for number, line in enumerate(read_lines(path), start=1):
        names = line.split()
        if len(names) != 3:
            raise ValueError(
                f"{path}, entry {number}: a line names three frames (first, middle, last), "
                f"got {len(names)}: {line!r}."
            )
        triplets.append(TripletPaths(*(resolve_listed_path(name, root, anchors) for name in names)))
    return triplets


def resolve_listed_path(name: str, root: Path, anchors: Iterable[str]) -> Path:
    """Say where a path of a list file lies on this machine.

    Lists were written on other machines. So a path is looked for as it is, if absolute; under
    `root`; and under `root` from any of its folders on that `anchors` names, which are the
    folders that a data set's root may hold. Where none of these is a file, the result is where it
    is missing: in the first of these folders that exists.
    """
    pure = PurePosixPath(name.replace("\\", "/"))
    parts, known = pure.parts, set(anchors)
    starts = [depth for depth, part in enumerate(parts) if depth and part in known]
    candidates = [root / pure] + [root.joinpath(*parts[depth:]) for depth in starts]
    found = [path for path in candidates if path.is_file()]
    found += [path for path in candidates if path.parent.is_dir()]
    return (found + candidates)[0]
