"""Verification of data sets: counts, missing and damaged files, and how to obtain them."""

from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

from tqdm import tqdm

from sgm_vfi.dataset import gopro, middlebury, snu_film, ucf101, vimeo90k, x4k1000fps, xiph
from sgm_vfi.dataset.clip_frames import DatasetPart, find_file_problem
from sgm_vfi.media.images import FrameError, read_samples

DATA_SETS = MappingProxyType(
    {
        module.NAME: module
        for module in (vimeo90k, x4k1000fps, snu_film, xiph, ucf101, middlebury, gopro)
    }
)


class FileCheck(NamedTuple):
    """The result of checking one file."""

    path: Path
    problem: str | None  # None: none
    size: tuple[int, int] | None = None  # (height, width), where it was decoded


def verify_data_set(
    name: str, root: Path, *, quick: bool = False, threads: int = 2
) -> tuple[bool, str]:
    """Check every file of a data set; `quick` reads only the ends of files.

    Returns whether the data set is complete and intact, and a report.
    """
    module = DATA_SETS[name]
    try:
        parts = module.list_parts(root)
    except (FileNotFoundError, ValueError) as error:
        return False, f"{error}\n\n{module.ORIGIN.strip()}"
    check = check_file_ends if quick else check_by_decoding
    lines, problems = [f"{name} in {root}"], dict[Path, str]()
    with ThreadPoolExecutor(threads) as pool:
        for part in parts:
            findings = list(check_files(part, check, pool))
            lines += describe_part(part, findings)
            problems |= {path: problem for path, problem, _ in findings if problem}
    if problems:
        lines.append(f"{len(problems)} files cannot be used:")
        lines += [f"  {path} {problem}" for path, problem in problems.items()]
        lines += ["", module.ORIGIN.strip()]
    else:
        lines.append("Every file is there" + (", by its ends." if quick else " and can be read."))
    return not problems, "\n".join(lines)


def check_files(
    part: DatasetPart, check: Callable[[Path], FileCheck], pool: ThreadPoolExecutor
) -> Iterator[FileCheck]:
    """Check all files of a part, with a progress bar."""
    files = list(dict.fromkeys(part.files))
    yield from tqdm(pool.map(check, files), part.name, len(files), unit="file", leave=False)


def check_file_ends(path: Path) -> FileCheck:
    """Check the ends of a file."""
    return FileCheck(path, find_file_problem(path))


def check_by_decoding(path: Path) -> FileCheck:
    """Decode a file."""
    problem = find_file_problem(path)
    if problem:
        return FileCheck(path, problem)
    try:
        return FileCheck(path, None, read_samples(path).shape[:2])
    except FrameError as error:
        return FileCheck(path, f"is damaged: {error}")


def describe_part(part: DatasetPart, findings: list[FileCheck]) -> list[str]:
    """Report counts and sizes of one part and of the published data set."""
    counts = Counter((finding.problem or "good").partition(":")[0] for finding in findings)
    states = ", ".join(f"{count:,} {state}" for state, count in sorted(counts.items()))
    published = f"published: {part.published:,}" if part.published else "published: unknown"
    lines = [
        f"{part.name}: {part.groups:,} {part.unit} ({published}); "
        f"{len(findings):,} files: {states or 'none'}"
    ]
    sizes = Counter(finding.size for finding in findings if finding.size)
    for (height, width), count in sizes.most_common():
        if (height, width) != part.size:
            lines.append(
                f"  {count:,} frames are {width}x{height}; published: {part.size[1]}x{part.size[0]}"
            )
    return lines
