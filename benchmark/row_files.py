"""Files of result rows: resumable journals of several processes, JSON, provenance.

Each process appends its rows to a journal of its own, PROTOCOL.part<rank>; a later run may have
more processes or fewer. When all rows are there, one file PROTOCOL.jsonl replaces the journals: a
header that describes the measurement, then the rows in the order of the samples.
"""

import json
import logging
import os
import platform
import subprocess
from collections.abc import Callable, Collection, Iterator, Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import skimage
import torch

from sgm_vfi.benchmark.row_journal import (
    PROTOCOL_KEY,
    ReportError,
    Row,
    RowJournal,
    differing_keys,
    row_key,
    to_json,
)
from sgm_vfi.engine.distributed import World
from sgm_vfi.storage.atomic_write import remove_temporaries, write_atomically
from sgm_vfi.storage.file_lock import FileLock

ROOT = Path(__file__).resolve().parent.parent
LIBRARIES = (torch, np, cv2, av, skimage)
UNCOMPARED = ("command", "date")  # may differ between two runs of one measurement

logger = logging.getLogger(__name__)


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
    with world.hold_lock(FileLock(path.with_suffix(".lock"), path)):
        remove_temporaries(path)
        header = world.broadcast(header)
        if not world.broadcast(is_finished(path, header)):
            _measure_missing(path, header, models, samples, command, world, measure_rows)
        elif world.is_main:  # a run was killed before it deleted its journals
            for left in path.parent.glob(journal_path(path, "*").name):
                left.unlink()
    return path


def _measure_missing(
    path: Path,
    header: dict[str, Any],
    models: Sequence[str],
    samples: Sequence[str],
    command: str,
    world: World,
    measure_rows: Callable[[RankRows], tuple[int, Iterator[Row]]],
) -> None:
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


def is_finished(path: Path, header: dict[str, Any]) -> bool:
    """Return whether the file of a measurement exists.

    Raises:
        ReportError: the file belongs to another measurement.
    """
    if not path.is_file():
        return False
    with path.open(encoding="utf-8", errors="replace") as file:
        first = file.readline()
    try:
        found = dict(json.loads(first))
    except (ValueError, TypeError):
        logger.warning("%s is damaged: it has no header. It is measured again.", path)
        return False
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


def format_report(report: dict[str, Any]) -> str:
    """Format a report as JSON with one line per entry, and one per row of a list of rows."""
    lines = []
    for name, value in report.items():
        is_rows = isinstance(value, list) and value and isinstance(value[0], dict)
        text = "[\n" + ",\n".join(map(to_json, value)) + "\n]" if is_rows else to_json(value)
        lines.append(f"{to_json(name)}: {text}")
    return "{\n" + ",\n".join(lines) + "\n}\n"


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
