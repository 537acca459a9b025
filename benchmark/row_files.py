"""Rows that several processes measure together, and the file that they end up in.

Each process keeps its own rows as they come, in PROTOCOL.part<rank>; whoever goes on with them
later may be more processes, or fewer. Once all is measured, one file PROTOCOL.jsonl takes their
place: what was measured, then the rows in the order of the samples.
"""

import json
from collections.abc import Callable, Collection, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from tqdm import tqdm

from sgm_vfi.benchmark.result_rows import (
    ReportError,
    Row,
    RowJournal,
    as_json,
    differences,
    key_of,
    now,
)
from sgm_vfi.engine.distributed import World
from sgm_vfi.media.images import write_atomically

KEY = ("model", "protocol", "sample")
UNCOMPARED = ("command", "date")  # may differ between two runs of one measurement


def is_finished(path: Path, measurement: dict[str, Any]) -> bool:
    """Whether the file of a measurement is there.

    Raises:
        ReportError: it is the file of another one.
    """
    if not path.is_file():
        return False
    with path.open(encoding="utf-8") as file:
        about = json.loads(file.readline())
    about = {name: value for name, value in about.items() if name not in UNCOMPARED}
    wanted = json.loads(as_json(measurement))
    if about != wanted:
        raise ReportError(
            f"{path} is the result of another measurement, which differs in "
            f"{differences(about, wanted)}. Name another --output, or move the file."
        )
    return True


def write_result(path: Path, about: dict[str, Any], rows: Sequence[Row]) -> None:
    """Write the file of a measurement, whole."""
    write_atomically(path, "".join(f"{as_json(line)}\n" for line in (about, *rows)).encode())


class RankRows:
    """This process's journal among those of the others."""

    def __init__(self, path: Path, measurement: dict[str, Any], world: World) -> None:
        """Open the journal, take over those that more processes left, and learn what is known."""
        self.world = world
        self.own = RowJournal(part_of(path, world.rank), measurement, KEY)
        if world.is_main:
            for other in path.parent.glob(part_of(path, "*").name):
                if int(other.suffix.removeprefix(".part")) >= world.size:
                    self.take_over(RowJournal(other, measurement, KEY))
        keys = world.all_gather([key_of(row, KEY) for row in self.own.rows])
        self.known = {tuple(key) for some in keys for key in some}

    def take_over(self, other: RowJournal) -> None:
        """Move the rows of another journal here."""
        with other:
            for row in other.rows:
                self.own.append(row)
        other.path.unlink()

    def holds(self, row: Row) -> bool:
        """Whether some process measured this row, before this run or in this process."""
        return key_of(row, KEY) in self.known or self.own.holds(row)

    def together(self, models: Sequence[str], samples: Collection[str]) -> list[Row]:
        """The rows of all processes, sample by sample and model by model."""
        rows = {
            key_of(row, KEY)[::2]: row
            for some in self.world.all_gather(self.own.rows)
            for row in some
        }
        return [rows[model, sample] for sample in samples for model in models]

    def remove(self) -> None:
        """Let the journal go, once every process may."""
        self.world.barrier()
        self.own.path.unlink(missing_ok=True)


class Work(NamedTuple):
    """Every model on every sample."""

    path: Path  # of the file that the rows end up in
    measurement: dict[str, Any]  # two are one where this is the same
    models: Sequence[str]
    samples: Sequence[str]


def measure_in_parallel(
    work: Work,
    command: str,
    world: World,
    own_rows: Callable[[RankRows], tuple[int, Iterator[Row]]],
) -> Path:
    """Measure what is missing, this process its share of it; the main one writes the file.

    Args:
        own_rows: from what is known to how many rows this process adds at most, and these.
    """
    path, measurement = work.path, world.broadcast(work.measurement)
    if world.broadcast(is_finished(path, measurement)):
        return path
    parts = RankRows(path, measurement, world)
    if world.is_main and parts.known:
        total = len(work.samples) * len(work.models)
        print(f"{path.stem}: {len(parts.known)} of {total} rows were measured before.")
    total, rows = own_rows(parts)
    with parts.own, tqdm(total=total, unit="frame", desc=path.stem, disable=not world.is_main) as p:
        for row in rows:
            parts.own.append(row)
            p.update()
    rows = parts.together(work.models, work.samples)
    if world.is_main:
        write_result(path, {"command": command, "date": now(), **measurement}, rows)
    parts.remove()
    return path


def part_of(path: Path, rank: int | str) -> Path:
    """Where the rows of one process are kept."""
    return path.with_suffix(f".part{rank}")
