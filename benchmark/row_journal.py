"""Journals of result rows, from which an interrupted measurement goes on."""

import hashlib
import json
import logging
import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, TypeAlias

from tqdm import tqdm

from sgm_vfi.storage.atomic_write import remove_temporaries, write_atomically

Row: TypeAlias = dict[str, Any]  # model, sample columns, one number per metric

FOOTAGE_KEY = ("model", "clip", "gap", "frame")
PROTOCOL_KEY = ("model", "protocol", "sample")
CHECK = "check"  # column of a journal: hash of the row and of the header
CHECK_DIGITS = 16

logger = logging.getLogger(__name__)


class ReportError(ValueError):
    """A report that cannot be written or resumed; the message says what to do."""


class RowJournal:
    """Rows on disk, written as they come, so that an interrupted run can be resumed.

    The first line describes the measurement; a journal of another measurement is refused. A last
    line that a crash cut off is measured again, and so are damaged rows, which are named. Of rows
    with equal keys the last one counts.

    Args:
        header: description of the measurement.
        key: columns that identify a row.
    """

    def __init__(
        self, path: Path, header: dict[str, Any], key: Sequence[str] = FOOTAGE_KEY
    ) -> None:
        self.path = path
        self.key = key
        self.opening = to_json(header)
        remove_temporaries(path)
        self.rows: list[Row] = self._read_rows() if path.exists() else []
        self.known = {row_key(row, key) for row in self.rows}
        lines = (self.opening, *(format_line(row, self.opening) for row in self.rows))
        write_atomically(path, "".join(f"{line}\n" for line in lines).encode())
        self.file = path.open("a", encoding="utf-8")

    def holds(self, row: Row) -> bool:
        """Return whether a row with the same key was measured before."""
        return row_key(row, self.key) in self.known

    def append(self, row: Row) -> None:
        """Write a row to disk at once."""
        self.file.write(f"{format_line(row, self.opening)}\n")
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

    def _read_rows(self) -> list[Row]:
        """Return the rows of an earlier run that are as they were written."""
        text = self.path.read_text(encoding="utf-8", errors="replace")
        first, *lines = text.split("\n")[:-1] or [""]  # what follows the last end was cut off
        rows = [row for line in lines if (row := parse_line(line, self.opening)) is not None]
        if first != self.opening:
            if any(parse_line(line, first) is not None for line in lines):
                raise ReportError(
                    f"{self.path} keeps rows of another, unfinished measurement, which differs in "
                    f"{differing_keys(json.loads(first), json.loads(self.opening))}. Finish that "
                    f"one with its own command, name another --output, or delete the file."
                )
            logger.warning("%s is damaged: its header is lost. It is written again.", self.path)
        if len(rows) < len(lines):
            damaged = len(lines) - len(rows)
            logger.warning("%s holds %d damaged rows: measured again.", self.path, damaged)
        return drop_duplicates(rows, self.key, self.path)


def format_line(row: Row, opening: str) -> str:
    """Format a row with its check.

    Args:
        opening: line of the header of its journal.
    """
    return to_json(row | {CHECK: hash_row(row, opening)})


def parse_line(line: str, opening: str) -> Row | None:
    """Return the row of a line, or None if it is not as it was written below that header."""
    try:
        row = dict(json.loads(line))
    except (ValueError, TypeError):
        return None
    check = row.pop(CHECK, None)
    return row if check == hash_row(row, opening) else None


def hash_row(row: Row, opening: str) -> str:
    """Return the first digits of a hash of the header and the row."""
    text = f"{opening}\n{to_json(row)}"
    return hashlib.sha256(text.encode()).hexdigest()[:CHECK_DIGITS]


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


def stringify_infinities(value: Any) -> Any:
    """Replace every infinite number in nested lists and dictionaries by its name."""
    if isinstance(value, dict):
        return {key: stringify_infinities(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [stringify_infinities(item) for item in value]
    return str(value) if isinstance(value, float) and math.isinf(value) else value
