"""Files of result rows: resumable journals of one or several processes, JSON, provenance.

Each process appends its rows to a journal of its own, PROTOCOL.part<rank>; a later run may have
more processes or fewer. When all rows are there, one file PROTOCOL.jsonl replaces the journals: a
header that describes the measurement, then the rows in the order of the samples.
"""

import json
import logging
import math
import os
import platform
import subprocess
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, TypeAlias

import av
import cv2
import numpy as np
import skimage
import torch
from tqdm import tqdm

from sgm_vfi.engine.distributed import World
from sgm_vfi.media.images import write_atomically

Row: TypeAlias = dict[str, Any]  # model, sample columns, one number per metric

ROOT = Path(__file__).resolve().parent.parent
LIBRARIES = (torch, np, cv2, av, skimage)
FOOTAGE_KEY = ("model", "clip", "gap", "frame")
PROTOCOL_KEY = ("model", "protocol", "sample")
UNCOMPARED = ("command", "date")  # may differ between two runs of one measurement

logger = logging.getLogger(__name__)


class ReportError(ValueError):
    """A report that cannot be written or resumed; the message says what to do."""


class RowJournal:
    """Rows on disk, written as they come, so that an interrupted run can be resumed.

    The first line describes the measurement; a journal of another measurement is refused. A last
    line that a crash cut off is measured again. Of rows with equal keys the last one counts.

    Args:
        header: description of the measurement.
        key: columns that identify a row.
    """

    def __init__(
        self, path: Path, header: dict[str, Any], key: Sequence[str] = FOOTAGE_KEY
    ) -> None:
        self.path = path
        self.key = key
        self.rows: list[Row] = []
        opening = to_json(header)
        if path.exists():
            first, *lines = path.read_text(encoding="utf-8").split("\n")[:-1] or ["{}"]
            if first != opening:
                raise ReportError(
                    f"{path} keeps rows of another, unfinished measurement, which differs in "
                    f"{differing_keys(json.loads(first), json.loads(opening))}. Finish that one "
                    f"with its own command, name another --output, or delete the file."
                )
            self.rows = drop_duplicates(map(json.loads, lines), key, path)
        self.known = {row_key(row, key) for row in self.rows}
        write_atomically(
            path, "".join(f"{line}\n" for line in (opening, *map(to_json, self.rows))).encode()
        )
        self.file = path.open("a", encoding="utf-8")

    def holds(self, row: Row) -> bool:
        """Return whether a row with the same key was measured before."""
        return row_key(row, self.key) in self.known

    def append(self, row: Row) -> None:
        """Write a row to disk at once."""
        self.file.write(f"{to_json(row)}\n")
        self.file.flush()
        self.known.add(row_key(row, self.key))
        self.rows.append(row)

    def extend(self, rows: Iterable[Row], total: int, unit: str = "frame", **bar: Any) -> None:
        """Append rows under a progress bar of `total` rows, then close the file."""
        with self, tqdm(total=total, unit=unit, **bar) as progress:
            for row in rows:
                self.append(row)
                progress.update()

    def __enter__(self) -> "RowJournal":
        return self

    def __exit__(self, *_: object) -> None:
        self.file.close()


class RankRows:
    """The journal of this process, and the keys of the rows of all processes."""

    def __init__(self, path: Path, header: dict[str, Any], world: World) -> None:
        """Open the journal, merge those of ranks that no longer exist, exchange the keys."""
        self.world = world
        self.own = RowJournal(journal_path(path, world.rank), header, PROTOCOL_KEY)
        if world.is_main:
            for other in path.parent.glob(journal_path(path, "*").name):
                if int(other.suffix.removeprefix(".part")) >= world.size:
                    self._merge(RowJournal(other, header, PROTOCOL_KEY))
        keys = world.all_gather([row_key(row, PROTOCOL_KEY) for row in self.own.rows])
        self.known = {tuple(key) for some in keys for key in some}

    def _merge(self, other: RowJournal) -> None:
        with other:
            for row in other.rows:
                self.own.append(row)
        other.path.unlink()

    def holds(self, row: Row) -> bool:
        """Return whether any process measured this row before, or this one during the run."""
        return row_key(row, PROTOCOL_KEY) in self.known or self.own.holds(row)

    def gather(self, models: Sequence[str], samples: Collection[str]) -> list[Row]:
        """Return the rows of all processes, ordered by sample and model."""
        rows = {
            row_key(row, PROTOCOL_KEY)[::2]: row
            for some in self.world.all_gather(self.own.rows)
            for row in some
        }
        return [rows[model, sample] for sample in samples for model in models]

    def remove(self) -> None:
        """Delete the journal when every process has arrived here."""
        self.world.barrier()
        self.own.path.unlink(missing_ok=True)


def measure_in_parallel(
    path: Path,
    header: dict[str, Any],
    models: Sequence[str],
    samples: Sequence[str],
    command: str,
    world: World,
    measure_rows: Callable[[RankRows], tuple[int, Iterator[Row]]],
) -> Path:
    """Measure every model on every sample, skip known rows, and write one file.

    Args:
        path: the file of the finished rows, .jsonl.
        header: description of the measurement.
        command: recorded in the file with the date.
        measure_rows: given the known rows, returns the largest number of rows that this process
            adds, and these rows.
    """
    header = world.broadcast(header)
    if world.broadcast(is_finished(path, header)):
        return path
    rank_rows = RankRows(path, header, world)
    if world.is_main and rank_rows.known:
        total = len(samples) * len(models)
        print(f"{path.stem}: {len(rank_rows.known)} of {total} rows were measured before.")
    total, rows = measure_rows(rank_rows)
    rank_rows.own.extend(rows, total, desc=path.stem, disable=not world.is_main)
    gathered = rank_rows.gather(models, samples)
    if world.is_main:
        lines = ({"command": command, "date": utc_now(), **header}, *gathered)
        write_atomically(path, "".join(f"{to_json(line)}\n" for line in lines).encode())
    rank_rows.remove()
    return path


def is_finished(path: Path, header: dict[str, Any]) -> bool:
    """Return whether the file of a measurement exists.

    Raises:
        ReportError: the file belongs to another measurement.
    """
    if not path.is_file():
        return False
    with path.open(encoding="utf-8") as file:
        found = json.loads(file.readline())
    found = {name: value for name, value in found.items() if name not in UNCOMPARED}
    expected = json.loads(to_json(header))
    if found != expected:
        raise ReportError(
            f"{path} is the result of another measurement, which differs in "
            f"{differing_keys(found, expected)}. Name another --output, or move the file."
        )
    return True


def journal_path(path: Path, rank: int | str) -> Path:
    """Return the journal of one process."""
    return path.with_suffix(f".part{rank}")


def row_key(row: Row, key: Sequence[str]) -> tuple[Any, ...]:
    """Return the values that identify a row."""
    return tuple(row.get(name) for name in key)


def drop_duplicates(rows: Iterable[Row], key: Sequence[str], path: Path) -> list[Row]:
    """Keep the last of the rows with equal keys, and log how many are dropped."""
    rows = list(rows)
    kept = {row_key(row, key): row for row in rows}
    if len(kept) < len(rows):
        logger.warning(
            "%s holds %d rows twice; the last of each counts.", path, len(rows) - len(kept)
        )
    return list(kept.values())


def differing_keys(one: dict[str, Any], other: dict[str, Any]) -> str:
    """Return the names under which two dictionaries differ."""
    names = sorted(one.keys() | other.keys())
    return ", ".join(name for name in names if one.get(name) != other.get(name))


def to_json(value: Any) -> str:
    """Format strict JSON; infinite numbers become strings such as "inf"."""
    return json.dumps(stringify_infinities(value), allow_nan=False)


def format_report(report: dict[str, Any]) -> str:
    """Format a report as JSON with one line per entry, and one per row of a list of rows."""
    lines = []
    for name, value in report.items():
        is_rows = isinstance(value, list) and value and isinstance(value[0], dict)
        text = "[\n" + ",\n".join(map(to_json, value)) + "\n]" if is_rows else to_json(value)
        lines.append(f"{to_json(name)}: {text}")
    return "{\n" + ",\n".join(lines) + "\n}\n"


def stringify_infinities(value: Any) -> Any:
    """Replace every infinite number in nested lists and dictionaries by its name."""
    if isinstance(value, dict):
        return {key: stringify_infinities(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [stringify_infinities(item) for item in value]
    return str(value) if isinstance(value, float) and math.isinf(value) else value


def describe_environment(device: torch.device) -> dict[str, Any]:
    """Return the commit, the device and the library versions."""
    is_cuda = device.type == "cuda"
    name = torch.cuda.get_device_name(device) if is_cuda else f"{device}, {os.cpu_count()} cores"
    versions = {library.__name__: str(library.__version__) for library in LIBRARIES}
    return {
        "commit": git_commit(),
        "device": name,
        "versions": {"python": platform.python_version(), **versions},
    }


def git_commit() -> str:
    """Return the commit of this code, with a + if files are modified; "unknown" outside git."""
    try:
        result = subprocess.run(
            ("git", "describe", "--always", "--abbrev=12", "--exclude=*", "--dirty=+"),
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=True,
        )
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return result.stdout.strip()


def utc_now() -> str:
    """Return the date and time of day in UTC."""
    return datetime.now(timezone.utc).strftime("%Y-%m-%d %H:%M UTC")
