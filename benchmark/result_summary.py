"""Result rows read from files: means, tables, and checks against expected means."""

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from sgm_vfi.benchmark.row_journal import ReportError, Row, drop_duplicates
from sgm_vfi.benchmark.tables import (
    LOWER_IS_BETTER,
    format_metric,
    markdown_table,
    metric_heading,
)
from sgm_vfi.read_json import explain_structure, parse_json_object, read_json_object

METRIC_NAMES = ("psnr", "ssim", "ssim_uniform", *LOWER_IS_BETTER)
MOTION = "motion"  # the column with the motion of a sample
GROUP_COLUMNS = ("view", "split", "gap", "bin")  # values that are never averaged over
SUFFIXES = (".json", ".jsonl")
PSNR_CEILING = 100.0  # dB: value of equal frames in a mean
EXPECTED_EXAMPLE = '{"snu-film-hard": {"blend": {"psnr": [24.1, 0.01]}}}'


class ProtocolResult(NamedTuple):
    """Rows measured under one protocol, all with the same columns."""

    name: str  # of the protocol
    about: Mapping[str, Any]  # header of the file
    rows: Sequence[Row]
    metrics: Sequence[str]  # columns, in the order of the rows
    keys: Sequence[str]  # columns that identify a sample, without `model`

    @property
    def models(self) -> list[str]:
        """Names of the models, in the order of the rows."""
        return list(dict.fromkeys(row["model"] for row in self.rows))

    @property
    def group_columns(self) -> list[str]:
        """Columns of the samples whose values are never averaged over."""
        return [key for key in GROUP_COLUMNS if key in self.keys]

    def sample_key(self, row: Row) -> tuple[Any, ...]:
        """Return the values that identify the sample of a row."""
        return tuple(row.get(key) for key in self.keys)

    def sample_label(self, row: Row) -> str:
        """Return a label of the sample of a row: "carphone.mp4, gap 2, frame 7"."""
        keys = (key for key in self.keys if key != "protocol" and row.get(key) is not None)
        return ", ".join(
            row[key] if isinstance(row[key], str) else f"{key} {row[key]}" for key in keys
        )

    def rows_by_sample(self) -> list[dict[str, Row]]:
        """Return the rows of each sample by model."""
        samples: dict[tuple[Any, ...], dict[str, Row]] = {}
        for row in self.rows:
            samples.setdefault(self.sample_key(row), {})[row["model"]] = row
        return list(samples.values())


class ExpectedMean(NamedTuple):
    """An expected mean and its tolerance."""

    protocol: str
    model: str
    metric: str
    value: float
    tolerance: float


Part = tuple[Path, Mapping[str, Any], list[Row]]  # what one file holds of a protocol


def read_results(paths: Iterable[Path]) -> list[ProtocolResult]:
    """Read files (JSON with `rows`, or JSON lines) and folders of such files.

    Files of one protocol become one result; a model that several of them hold is then named with
    its file.
    """
    found: dict[str, list[Part]] = {}
    for path in find_result_files(paths):
        about, rows = read_rows(path)
        groups: dict[str, list[Row]] = {}
        for row in rows:
            name = row.get("protocol", about.get("protocol", path.stem))
            groups.setdefault(str(name), []).append(row)
        for name, group in groups.items():
            found.setdefault(name, []).append((path, about, group))
    if not found:
        raise ReportError(f"There are no rows in {', '.join(map(str, paths))}.")
    return [merge_parts(name, parts) for name, parts in found.items()]


def find_result_files(paths: Iterable[Path]) -> list[Path]:
    """Return the files that are named, and those below the folders that are named."""
    files = []
    for path in paths:
        inside = sorted(p for p in path.glob("**/*") if p.suffix in SUFFIXES and p.is_file())
        if path.is_dir() and not inside:
            raise ReportError(f"{path} holds no results: looked for {' and '.join(SUFFIXES)}.")
        files += inside if path.is_dir() else [path]
    return files


def read_rows(path: Path) -> tuple[dict[str, Any], list[Row]]:
    """Read the header and the rows of a file; an incomplete last line is left out."""
    if path.suffix not in SUFFIXES:
        raise ReportError(f"Results are {' or '.join(SUFFIXES)} files, got {path}.")
    if not path.is_file():
        raise FileNotFoundError(f"There is no file of results at {path} ({path.resolve()}).")
    with explain_structure(path, "file of results", ReportError):
        text = path.read_text(encoding="utf-8")
        if path.suffix == ".json":
            about = parse_json_object(text)
            rows = about.pop("rows", [])
        else:
            entries = [parse_json_object(line) for line in text.split("\n")[:-1] if line.strip()]
            rows = [entry for entry in entries if "model" in entry]
            about = {k: v for entry in entries if "model" not in entry for k, v in entry.items()}
        if any(isinstance(row, dict) and "gflop" in row for row in rows):
            raise ReportError(
                f"{path} holds the speed of networks, not their quality. Compare it by `sgm-vfi "
                f"benchmark speed --against {path}`, with the options of that measurement."
            )
        require_structure(about, rows)
    return about, rows


def require_structure(about: Mapping[str, Any], rows: Sequence[Row]) -> None:
    """Raise ValueError or TypeError for values that are of another kind than those we write."""
    metrics = (*about.get("metrics", ()), *METRIC_NAMES)
    for row in (*rows, *about.get("means", ())):
        if not isinstance(row, dict) or not isinstance(row.get("model"), str):
            raise ValueError("it holds rows without a model")
        for name, value in row.items():
            if isinstance(value, list | dict):
                raise ValueError(f"{name} of a row is a {type(value).__name__}")
            if name in metrics and value is not None:
                float(value)
    published = about.get("published") or {}
    if not all(scores is None or isinstance(scores, dict) for scores in published.values()):
        raise ValueError("its published values are not per model")


def merge_parts(name: str, parts: Sequence[Part]) -> ProtocolResult:
    """Merge the rows that several files hold of one protocol."""
    about = dict(parts[0][1])
    if len(parts) > 1:
        about.pop("means", None)  # these are of one file
    columns = list(dict.fromkeys(column for _, _, rows in parts for row in rows for column in row))
    known = (*about.get("metrics", ()), *METRIC_NAMES)
    metrics = [column for column in columns if column in known]
    keys = [
        column
        for column in columns
        if column not in (*metrics, "model") and not column.startswith(MOTION)
    ]
    if not metrics:
        raise ReportError(f"The rows of {parts[0][0]} hold no metric: {', '.join(columns)}.")
    owners: dict[str, set[Path]] = {}
    for path, _, rows in parts:
        for row in rows:
            owners.setdefault(row["model"], set()).add(path)
    merged = [
        row if len(owners[row["model"]]) == 1 else row | {"model": f"{row['model']} ({path})"}
        for path, _, rows in parts
        for row in drop_duplicates(rows, ("model", *keys), path)
    ]
    return ProtocolResult(name, about, merged, metrics, keys)


def average_by_model(result: ProtocolResult) -> list[Row]:
    """Return one row of means per model and per value of the group columns.

    The means that the file itself gives are preferred (footage counts clips equally); otherwise
    they are over the samples. `samples` is their number.
    """
    given = [row for row in result.about.get("means", ()) if row.get("clip") is None]
    if given:
        return [
            {("samples" if name == "triplets" else name): value for name, value in row.items()}
            for row in given
        ]
    groups: dict[tuple[Any, ...], list[Row]] = {}
    for row in result.rows:
        values = (row.get(key) for key in result.group_columns)
        groups.setdefault((row["model"], *values), []).append(row)
    return [
        {
            "model": model,
            **dict(zip(result.group_columns, values, strict=True)),
            "samples": len(rows),
            **{name: average(rows, name) for name in result.metrics if name in rows[0]},
        }
        for (model, *values), rows in groups.items()
    ]


def average(rows: Sequence[Row], metric: str) -> float:
    """Return the mean over the rows that have the metric, with PSNR limited to its ceiling."""
    values = [cap_psnr(metric, row[metric]) for row in rows if row.get(metric) is not None]
    return math.fsum(values) / len(values) if values else math.nan


def cap_psnr(metric: str, value: float | str) -> float:
    """Return the value of a metric in a mean: PSNR is at most `PSNR_CEILING`."""
    return min(float(value), PSNR_CEILING) if metric.startswith("psnr") else float(value)


def find_published_value(result: ProtocolResult, row: Row, metric: str) -> float | None:
    """Return the published value of a model under a protocol, if the file has one."""
    table = result.about.get("published") or {}
    for name in (row["model"], Path(row["model"]).stem):
        value = (table.get(name) or {}).get(metric)
        if isinstance(value, int | float):
            return float(value)
    return None


def summarise(result: ProtocolResult) -> tuple[list[str], list[list[str]]]:
    """Return the head and the rows of a table: one row per model, beside published values."""
    rows = average_by_model(result)
    columns = [key for key in GROUP_COLUMNS if any(key in row for row in rows)]
    head = ["model", *columns, "samples"]
    lines = [
        [str(row["model"]), *(str(row[key]) for key in columns), str(row["samples"])]
        for row in rows
    ]
    for metric in result.metrics:
        published = [find_published_value(result, row, metric) for row in rows]
        has_published = any(value is not None for value in published)
        head += [metric_heading(metric), *(["published", "difference"] * has_published)]
        for line, row, other in zip(lines, rows, published, strict=True):
            value = row.get(metric)
            line.append(format_metric(metric, value))
            if has_published:
                gap = None if value is None or other is None else value - other
                line += [format_metric(metric, other), format_metric(metric, gap, "+")]
    return head, lines


def format_results(results: Iterable[ProtocolResult]) -> str:
    """Format one Markdown table per protocol."""
    return "\n\n".join(f"{r.name}\n\n{markdown_table(*summarise(r))}" for r in results)


def read_expected_means(
    path: Path, protocols: Collection[str], models: Collection[str]
) -> list[ExpectedMean]:
    """Read the expected means of these protocols and models; the file may hold more.

    The file is JSON: protocol, model, metric, then value and tolerance.
    """
    try:
        table = read_json_object(path, "file of expected means")
        every = [
            ExpectedMean(protocol, model, metric, float(value), float(tolerance))
            for protocol, by_model in table.items()
            for model, by_metric in by_model.items()
            for metric, (value, tolerance) in by_metric.items()
        ]
    except (ValueError, TypeError, AttributeError) as error:
        raise ValueError(
            f"{path} is no file of expected means such as {EXPECTED_EXAMPLE}: {error}."
        ) from error
    chosen = [one for one in every if one.protocol in protocols and one.model in models]
    if not chosen:
        raise ValueError(
            f"{path} expects nothing of {', '.join(models)} under {', '.join(protocols)}."
        )
    return chosen


def find_deviations(
    expected: Iterable[ExpectedMean], results: Iterable[ProtocolResult]
) -> list[str]:
    """Describe the expected means that are missing or out of tolerance."""
    found = {
        (result.name, row["model"]): row for result in results for row in average_by_model(result)
    }
    problems = []
    for one in expected:
        value = found.get((one.protocol, one.model), {}).get(one.metric)
        what = f"{one.protocol}, {one.model}: {one.metric}"
        if value is None:
            problems.append(f"{what} was not measured, expected {one.value:g}")
        elif not abs(value - one.value) <= one.tolerance:
            problems.append(f"{what} is {value:.6g}, expected {one.value:g} +- {one.tolerance:g}")
    return problems
