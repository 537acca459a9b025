"""Rows of measurements read back, whatever columns they have."""

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from sgm_vfi.benchmark.result_rows import ReportError, Row, counted, digits

FLOW_ERRORS = ("epe", "epe_visible", "epe_occluded")
LESS_IS_BETTER = ("lpips", "interpolation_error", "ie", "seconds", *FLOW_ERRORS)
METRIC_NAMES = ("psnr", "ssim", "ssim_uniform", *LESS_IS_BETTER)
MOTION = "motion"  # the column that says how much moves in a sample
APART = ("protocol", "view", "split", "gap", "bin")  # columns whose values are never averaged over
SUFFIXES = (".json", ".jsonl")
UNITS = {"psnr": "dB", "psnr_visible": "dB", "psnr_occluded": "dB"} | dict.fromkeys(
    FLOW_ERRORS, "px"
)


class ProtocolResult(NamedTuple):
    """What was measured under one protocol: rows of one set of columns."""

    name: str  # of the protocol
    about: Mapping[str, Any]  # what the file says of itself, besides the rows
    rows: Sequence[Row]
    metrics: Sequence[str]  # columns, in the order of the rows
    keys: Sequence[str]  # columns that tell the samples apart, `model` not among them

    @property
    def models(self) -> list[str]:
        return list(dict.fromkeys(row["model"] for row in self.rows))

    def sample(self, row: Row) -> tuple[Any, ...]:
        """What tells the sample of a row from others, whichever model predicted it."""
        return tuple(row.get(key) for key in self.keys)

    def label(self, row: Row) -> str:
        """The sample of a row in words: "carphone.mp4, gap 2, frame 7"."""
        told = (key for key in self.keys if key != "protocol")  # that is the result's name
        values = ((key, row[key]) for key in told if row.get(key) is not None)
        return ", ".join(str(v) if isinstance(v, str) else f"{key} {v}" for key, v in values)


def read_results(paths: Iterable[Path]) -> list[ProtocolResult]:
    """The results in files (JSON with `rows`, or JSON lines) and folders of such files.

    Files of one protocol become one result; a model that several of them measured is then told
    apart by its file.
    """
    found: dict[str, list[tuple[Path, Mapping[str, Any], list[Row]]]] = {}
    for path in files_among(paths):
        about, rows = read_rows(path)
        groups: dict[str, list[Row]] = {}
        for row in rows:
            name = row.get("protocol", about.get("protocol", path.stem))
            groups.setdefault(str(name), []).append(row)
        for name, group in groups.items():
            found.setdefault(name, []).append((path, about, group))
    if not found:
        raise ReportError(f"There are no rows in {', '.join(map(str, paths))}.")
    return [together(name, parts) for name, parts in found.items()]


def files_among(paths: Iterable[Path]) -> list[Path]:
    """The files that are named, and those in the folders that are."""
    files = []
    for path in paths:
        inside = sorted(p for p in path.glob("**/*") if p.suffix in SUFFIXES and p.is_file())
        if path.is_dir() and not inside:
            raise ReportError(f"{path} holds no results: looked for {' and '.join(SUFFIXES)}.")
        files += inside if path.is_dir() else [path]
    return files


def read_rows(path: Path) -> tuple[dict[str, Any], list[Row]]:
    """What a file of results says of itself, and its rows; half a last line is left out."""
    if path.suffix not in SUFFIXES:
        raise ReportError(f"Results are {' or '.join(SUFFIXES)} files, got {path}.")
    if not path.is_file():
        raise FileNotFoundError(f"There is no file of results at {path} ({path.resolve()}).")
    text = path.read_text(encoding="utf-8")
    try:
        if path.suffix == ".json":
            about = json.loads(text)
            rows = about.pop("rows", []) if isinstance(about, dict) else []
        else:
            entries = [json.loads(line) for line in text.split("\n")[:-1] if line.strip()]
            rows = [entry for entry in entries if "model" in entry]
            about = {k: v for entry in entries if "model" not in entry for k, v in entry.items()}
    except (ValueError, TypeError) as error:
        raise ReportError(f"{path} is no file of results: {error}.") from error
    if any(not isinstance(row, dict) or "model" not in row for row in rows):
        raise ReportError(f"{path} holds rows without a model: this is no file of results.")
    return about, rows


def together(
    name: str, parts: Sequence[tuple[Path, Mapping[str, Any], list[Row]]]
) -> ProtocolResult:
    """One result of the parts that several files hold of it."""
    about = dict(parts[0][1])
    if len(parts) > 1:
        about.pop("means", None)  # these are of one file
    owners: dict[str, set[Path]] = {}
    for path, _, rows in parts:
        for row in rows:
            owners.setdefault(row["model"], set()).add(path)
    every = [
        row if len(owners[row["model"]]) == 1 else row | {"model": f"{row['model']} ({path})"}
        for path, _, rows in parts
        for row in rows
    ]
    columns = list(dict.fromkeys(column for row in every for column in row))
    known = (*about.get("metrics", ()), *METRIC_NAMES)
    metrics = [column for column in columns if column in known]
    keys = [
        column
        for column in columns
        if column not in (*metrics, "model") and not column.startswith(MOTION)
    ]
    if not metrics:
        raise ReportError(f"The rows of {parts[0][0]} hold no metric: {', '.join(columns)}.")
    return ProtocolResult(name, about, every, metrics, keys)


def averages(result: ProtocolResult) -> list[Row]:
    """One row per model, and per value of the columns that are never averaged over.

    The means that the file itself gives (clips may count equally there), or else those over the
    samples. `samples` says how many.
    """
    given = [row for row in result.about.get("means", ()) if row.get("clip") is None]
    if given:
        return [
            {("samples" if name == "triplets" else name): value for name, value in row.items()}
            for row in given
        ]
    groups: dict[tuple[Any, ...], list[Row]] = {}
    apart = [key for key in APART if key in result.keys]
    for row in result.rows:
        groups.setdefault((row["model"], *(row.get(key) for key in apart)), []).append(row)
    return [
        {
            "model": model,
            **dict(zip(apart, values, strict=True)),
            "samples": len(rows),
            **{name: mean(rows, name) for name in result.metrics if name in rows[0]},
        }
        for (model, *values), rows in groups.items()
    ]


def mean(rows: Sequence[Row], metric: str) -> float:
    """Over the rows that have it; equal frames count as in every mean."""
    values = [counted(metric, row[metric]) for row in rows if row.get(metric) is not None]
    return math.fsum(values) / len(values) if values else math.nan


def published_value(result: ProtocolResult, row: Row, metric: str) -> float | None:
    """What was published for a model under a protocol, if the file says so."""
    table = result.about.get("published") or {}
    for name in (row["model"], Path(row["model"]).stem):
        value = (table.get(name) or {}).get(metric)
        if isinstance(value, int | float):
            return float(value)
    return None


def summary(result: ProtocolResult) -> tuple[list[str], list[list[str]]]:
    """The head and the lines of a table: a line per model, published values and differences."""
    rows = averages(result)
    apart = [key for key in (*APART,) if any(key in row for row in rows) and key != "protocol"]
    head = ["model", *apart, "samples"]
    published = {
        metric: [published_value(result, row, metric) for row in rows] for metric in result.metrics
    }
    for metric in result.metrics:
        head.append(named(metric))
        if any(value is not None for value in published[metric]):
            head += ["published", "difference"]
    lines = []
    for index, row in enumerate(rows):
        line = [str(row["model"]), *(str(row[key]) for key in apart), str(row["samples"])]
        for metric in result.metrics:
            value, other = row.get(metric), published[metric][index]
            line.append("" if value is None else f"{value:.{digits(metric)}f}")
            if any(entry is not None for entry in published[metric]):
                both = value is not None and other is not None
                line.append("" if other is None else f"{other:.{digits(metric)}f}")
                line.append(f"{value - other:+.{digits(metric)}f}" if both else "")
        lines.append(line)
    return head, lines


def named(metric: str) -> str:
    """A metric as the head of a column, with the direction in which it is better."""
    unit = f" {UNITS[metric]}" if metric in UNITS else ""
    return f"{metric}{unit} {'↓' if metric in LESS_IS_BETTER else '↑'}"


def markdown_table(head: Sequence[str], lines: Iterable[Sequence[str]]) -> str:
    """A table whose first column is text and whose others are numbers."""
    ruler = f"|---|{'---:|' * (len(head) - 1)}"
    return "\n".join(
        [f"| {' | '.join(head)} |", ruler, *(f"| {' | '.join(line)} |" for line in lines)]
    )


def markdown_report(results: Iterable[ProtocolResult]) -> str:
    """One table per protocol."""
    return "\n\n".join(f"{r.name}\n\n{markdown_table(*summary(r))}" for r in results)
