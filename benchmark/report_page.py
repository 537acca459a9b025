"""Results as tables, in Markdown and on one self-contained HTML page with plots."""

import argparse
import json
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from sgm_vfi.benchmark.document import SampleFigure, as_table, document, figure
from sgm_vfi.benchmark.plot import TREND_FROM, ScatterPoint, legend, scatter
from sgm_vfi.benchmark.result_rows import ReportError, Row, digits
from sgm_vfi.benchmark.results import (
    LESS_IS_BETTER,
    MOTION,
    ProtocolResult,
    markdown_report,
    named,
    read_results,
    summary,
)
from sgm_vfi.benchmark.revisit import revisited
from sgm_vfi.media.images import write_atomically
from sgm_vfi.model.cli_options import add_device_option

PICTURE_SIDES = (480, 640)  # width and height that a picture is brought below, in pixels
SMALLER_SIDES = (320, 480)  # where there are many
MANY_PICTURES = 130
EXTREMES = 10  # samples in the table of the worst
SHOWN_ABOUT = ("command", "date", "device", "commit", "flow_scale", "limit")  # in the heading


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe `python -m benchmark report`."""
    add = parser.add_argument
    add("file", type=Path, nargs="+", help="results: .json or .jsonl, or folders of them")
    add("--output", type=Path, default=Path("output/report.html"), help="the page")
    add(
        "--pictures",
        action="store_true",
        help="read a protocol's data again: motion of all samples, pictures of the worst ones",
    )
    add_device_option(
        parser, help="device for --pictures, such as cpu or cuda:1 (default: %(default)s)"
    )


def run(args: argparse.Namespace) -> None:
    """Print the tables and write the page."""
    if args.output.suffix != ".html":
        raise ReportError(f"The page is HTML: --output ends in .html, got {args.output}.")
    results, exhibits = read_results(args.file), []
    if args.pictures:
        seen = [revisited(result, args.device) for result in results]
        results = [result for result, _ in seen]
        exhibits = [exhibit for _, shown in seen for exhibit in shown]
    args.output.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(args.output, page("Results", results, exhibits).encode())
    print(f"{markdown_report(results)}\n\n{args.output}: tables and plots, for a browser.")


def page(
    title: str, results: Sequence[ProtocolResult], exhibits: Sequence[SampleFigure] = ()
) -> str:
    """The page. Everything is inside: no file, font or script from elsewhere."""
    sides = PICTURE_SIDES
    if sum(len(row) for exhibit in exhibits for row in exhibit.rows.values()) > MANY_PICTURES:
        sides = SMALLER_SIDES
    parts = []
    for result in results:
        parts += [f"<h2>{escape(result.name)}</h2>", origin(result.about), table_of(result)]
        parts += [published(result), plots(result), hardest(result), small_print(result.about)]
    if exhibits:
        parts.append("<h2>Samples</h2>")
        parts += [shown(exhibit, sides) for exhibit in exhibits]
    return document(title, parts)


def origin(about: Mapping[str, Any]) -> str:
    """Where the numbers come from, in one paragraph."""
    known = [(name, about[name]) for name in SHOWN_ABOUT if about.get(name) not in (None, "")]
    items = (f"{escape(name)}: <code>{escape(str(value))}</code>" for name, value in known)
    return f'<p class="soft">{"<br>".join(items)}</p>' if known else ""


def table_of(result: ProtocolResult) -> str:
    """The means, the best of each column and group in colour."""
    head, lines = summary(result)
    best = best_cells(head, lines)
    rows = (
        [
            f'<td class="best">{escape(cell)}</td>'
            if (row, column) in best
            else f"<td>{escape(cell)}</td>"
            for column, cell in enumerate(line)
        ]
        for row, line in enumerate(lines)
    )
    return as_table(head, rows)


def published(result: ProtocolResult) -> str:
    """Every published value under the protocol, with where it was published."""
    sources = result.about.get("published_in", {})
    lines = [
        [f"<td>{escape(cell)}</td>" for cell in (model, *cells, sources.get(model, ""))]
        for model, values in result.about.get("published", {}).items()
        for cells in [[f"{values[m]:g}" if m in values else "" for m in result.metrics]]
    ]
    if not lines:
        return ""
    table = as_table(["model", *map(named, result.metrics), "where"], lines)
    return f"<details><summary>Published values</summary>{table}</details>"


def best_cells(head: Sequence[str], lines: Sequence[Sequence[str]]) -> set[tuple[int, int]]:
    """Row and column of the best value of each metric, among models measured on the same.

    A lone model is no best one.
    """
    groups: dict[tuple[str, ...], list[int]] = {}
    samples = head.index("samples")
    for number, line in enumerate(lines):
        groups.setdefault(tuple(line[1:samples]), []).append(number)
    best = set()
    for numbers in groups.values():
        for column in (c for c, name in enumerate(head) if name[-1] in "↑↓"):
            values = {n: float(lines[n][column]) for n in numbers if lines[n][column]}
            choose = min if head[column].endswith("↓") else max
            if len(values) > 1:
                target = choose(values.values())
                best |= {(n, column) for n, value in values.items() if value == target}
    return best


def plots(result: ProtocolResult) -> str:
    """Each metric against motion, a colour per model; nothing where no motion is known."""
    rows = [row for row in result.rows if row.get(MOTION) is not None]
    if not rows:
        return ""
    parts = ["<h3>Against motion</h3>", legend(result.models), '<div class="plots">']
    for metric in result.metrics:
        series = {
            model: [
                ScatterPoint(float(row[MOTION]), float(row[metric]), caption(result, row, metric))
                for row in rows
                if row["model"] == model and row.get(metric) is not None
            ]
            for model in result.models
        }
        parts.append(scatter(series, "motion, px", named(metric)))
    parts.append(
        f'</div><p class="soft">One point per sample: point at it to see which. From {TREND_FROM} '
        "samples a line joins the medians of an eighth of them each.</p>"
    )
    return "".join(parts)


def caption(result: ProtocolResult, row: Row, metric: str) -> str:
    """A sample, its motion and how well it was predicted."""
    value = float(row[metric])
    moved = f", motion {float(row[MOTION]):.1f} px" if row.get(MOTION) is not None else ""
    return f"{result.label(row)}: {metric} {value:.{digits(metric)}f}{moved}"


def hardest(result: ProtocolResult) -> str:
    """The samples that are worst by the first metric, each with all models' values."""
    metric = result.metrics[0]
    samples: dict[tuple[Any, ...], dict[str, Row]] = {}
    for row in result.rows:
        if row.get(metric) is not None:
            samples.setdefault(result.sample(row), {})[row["model"]] = row
    sign = -1 if metric in LESS_IS_BETTER else 1
    worst_first = sorted(
        samples.values(),
        key=lambda by_model: max(sign * float(r[metric]) for r in by_model.values()),
    )
    lines = []
    for by_model in worst_first[:EXTREMES]:
        row = next(iter(by_model.values()))
        moved = f"{float(row[MOTION]):.1f}" if row.get(MOTION) is not None else ""
        values = (
            f"{float(by_model[m][metric]):.{digits(metric)}f}" if m in by_model else ""
            for m in result.models
        )
        lines.append([f"<td>{escape(cell)}</td>" for cell in (result.label(row), moved, *values)])
    table = as_table(["sample", "motion, px", *result.models], lines)
    heading = f"The {len(lines)} hardest of {len(samples)} samples, by {metric} of the best model"
    return f"<details><summary>{escape(heading)}</summary>{table}</details>"


def small_print(about: Mapping[str, Any]) -> str:
    """The rules, and everything else that the file says of itself."""
    rules = "".join(f"<li>{escape(str(rule))}</li>" for rule in about.get("rules", ()))
    rest = {k: v for k, v in about.items() if k not in ("rules", "means", "rows", *SHOWN_ABOUT)}
    text = escape(json.dumps(rest, indent=1, ensure_ascii=False))
    parts = [f"<details><summary>How it was measured</summary><ul>{rules}</ul></details>"] * bool(
        rules
    )
    if rest:
        parts.append(f"<details><summary>All that is known</summary><pre>{text}</pre></details>")
    return "".join(parts)


def shown(exhibit: SampleFigure, sides: tuple[int, int]) -> str:
    """One sample: pictures with captions."""
    parts = [f"<section><h3>{escape(exhibit.heading)}</h3>"]
    if exhibit.note:
        parts.append(f'<p class="soft">{escape(exhibit.note)}</p>')
    for name, pictures in exhibit.rows.items():
        figures = "".join(figure(picture, sides) for picture in pictures)
        parts.append(f'<h4>{escape(name)}</h4><div class="pictures">{figures}</div>')
    return "".join([*parts, "</section>"])
