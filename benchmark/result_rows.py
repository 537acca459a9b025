"""What a measurement leaves behind: rows, kept as they come, their means, and their origin."""

import json
import math
import os
import platform
import subprocess
from collections.abc import Iterable, Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, TypeAlias

import av
import cv2
import numpy as np
import skimage
import torch

from sgm_vfi.media.images import write_atomically

Row: TypeAlias = dict[str, Any]  # model, clip, gap, frame, then one number per metric

ROOT = Path(__file__).resolve().parent.parent
LIBRARIES = (torch, np, cv2, av, skimage)
KEY = ("model", "clip", "gap", "frame")
PSNR_CEILING = 100.0  # dB: what equal frames count for in a mean


class ReportError(ValueError):
    """A report that cannot be written or gone on with: the message says what to do."""


class RowJournal:
    """Rows on disk as they come, so that a run that was interrupted can go on from there.

    The first line says what is measured; a journal of another measurement is refused. A last line
    that was cut off by a crash is measured again.

    Args:
        key: the names of what tells one row from another.
    """

    def __init__(self, path: Path, measurement: dict[str, Any], key: Sequence[str] = KEY) -> None:
        self.path = path
        self.key = key
        self.rows: list[Row] = []
        opening = as_json(measurement)
        if path.exists():
            first, *lines = path.read_text(encoding="utf-8").split("\n")[:-1] or ["{}"]
            if first != opening:
                raise ReportError(
                    f"{path} keeps rows of another, unfinished measurement, which differs in "
                    f"{differences(json.loads(first), json.loads(opening))}. Finish that one with "
                    f"its own command, name another --output, or delete the file."
                )
            self.rows = [json.loads(line) for line in lines]
        self.known = {key_of(row, key) for row in self.rows}
        write_atomically(
            path, "".join(f"{line}\n" for line in (opening, *map(as_json, self.rows))).encode()
        )
        self.file = path.open("a", encoding="utf-8")

    def holds(self, row: Row) -> bool:
        """Whether this row was measured before; its numbers do not matter."""
        return key_of(row, self.key) in self.known

    def append(self, row: Row) -> None:
        """Keep a row, past a crash of this process."""
        self.file.write(f"{as_json(row)}\n")
        self.file.flush()
        self.known.add(key_of(row, self.key))
        self.rows.append(row)

    def __enter__(self) -> "RowJournal":
        return self

    def __exit__(self, *_: object) -> None:
        self.file.close()


def differences(one: dict[str, Any], other: dict[str, Any]) -> str:
    """The names under which two dictionaries differ."""
    names = sorted(one.keys() | other.keys())
    return ", ".join(name for name in names if one.get(name) != other.get(name))


def key_of(row: Row, key: Sequence[str] = KEY) -> tuple[Any, ...]:
    """What tells one row from another."""
    return tuple(row[name] for name in key)


def as_json(value: Any) -> str:
    """Strict JSON, which has no infinity: that is written as the string "inf"."""
    return json.dumps(finite(value), allow_nan=False)


def report_text(report: dict[str, Any]) -> str:
    """A report as JSON: one line per entry, and one per row where an entry is a list of rows."""
    lines = []
    for name, value in report.items():
        rows = isinstance(value, list) and value and isinstance(value[0], dict)
        text = "[\n" + ",\n".join(map(as_json, value)) + "\n]" if rows else as_json(value)
        lines.append(f"{as_json(name)}: {text}")
    return "{\n" + ",\n".join(lines) + "\n}\n"


def finite(value: Any) -> Any:
    """The same value with every infinite number in it replaced by its name."""
    if isinstance(value, dict):
        return {key: finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [finite(item) for item in value]
    return str(value) if isinstance(value, float) and math.isinf(value) else value


def means(rows: Iterable[Row], metrics: Sequence[str]) -> list[Row]:
    """The mean per model, clip and gap; then per model and gap the mean of those (clip: None).

    Equal frames count as PSNR_CEILING in the mean of `psnr`.
    """
    groups: dict[tuple[Any, ...], list[Row]] = {}
    for row in rows:
        groups.setdefault(key_of(row)[:3], []).append(row)
    per_clip = [mean_row(group, group[0]["clip"], metrics) for group in groups.values()]
    over_clips: dict[tuple[Any, ...], list[Row]] = {}
    for row in per_clip:
        over_clips.setdefault((row["model"], row["gap"]), []).append(row)
    return per_clip + [mean_row(group, None, metrics) for group in over_clips.values()]


def mean_row(rows: list[Row], clip: str | None, metrics: Sequence[str]) -> Row:
    """One row that stands for several."""
    mean = {
        name: math.fsum(counted(name, row[name]) for row in rows) / len(rows) for name in metrics
    }
    count = sum(row.get("triplets", 1) for row in rows)
    first = rows[0]
    return {"model": first["model"], "clip": clip, "gap": first["gap"], "triplets": count, **mean}


def counted(metric: str, value: float | str) -> float:
    """What a row's number counts for in a mean."""
    return min(float(value), PSNR_CEILING) if metric.startswith("psnr") else float(value)


def markdown(means: Sequence[Row], metrics: Sequence[str]) -> str:
    """One table per gap: a line per clip, then the mean of the clips; a column per model."""
    models = list(dict.fromkeys(row["model"] for row in means))
    tables = []
    for gap in dict.fromkeys(row["gap"] for row in means):
        cells = {(row["clip"], row["model"]): row for row in means if row["gap"] == gap}
        lines = [
            f"Gap {gap}: {' / '.join(metrics)}",
            "",
            f"| clip | triplets | {' | '.join(models)} |",
            f"|---|---:|{'---:|' * len(models)}",
        ]
        for clip in dict.fromkeys(clip for clip, _ in cells):
            shown = [cells[clip, model] for model in models]
            numbers = (
                " / ".join(f"{row[name]:.{digits(name)}f}" for name in metrics) for row in shown
            )
            name = "**mean of the clips**" if clip is None else clip
            lines.append(f"| {name} | {shown[0]['triplets']} | {' | '.join(numbers)} |")
        tables.append("\n".join(lines))
    return "\n\n".join(tables)


def digits(metric: str) -> int:
    """Decimals worth printing."""
    return 2 if metric.startswith(("psnr", "epe")) else 4


def provenance(device: torch.device) -> dict[str, Any]:
    """The commit, the device and the versions that numbers come from."""
    cuda = device.type == "cuda"
    return {
        "commit": commit(),
        "device": torch.cuda.get_device_name(device)
        if cuda
        else f"{device}, {os.cpu_count()} cores",
        "versions": {
            "python": platform.python_version(),
            **{library.__name__: str(library.__version__) for library in LIBRARIES},
        },
    }


def commit() -> str:
    """The commit of this code, with a + where files differ from it; "unknown" outside git."""
    try:
        said = subprocess.run(
            ("git", "describe", "--always", "--abbrev=12", "--exclude=*", "--dirty=+"),
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=True,
        )
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return said.stdout.strip()


def now() -> str:
    """The date and time of day, UTC."""
    return datetime.now(timezone.utc).strftime("%Y-%m-%d %H:%M UTC")
