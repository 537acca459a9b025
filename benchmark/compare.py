"""Compare two files of results sample by sample: paired differences, a bootstrap interval."""

import argparse
import csv
import io
from collections.abc import Iterable, Sequence
from html import escape
from pathlib import Path

from sgm_vfi.benchmark.document import as_table, document
from sgm_vfi.benchmark.paired_statistics import Comparison, compare
from sgm_vfi.benchmark.plot import ScatterPoint, legend, scatter
from sgm_vfi.benchmark.result_rows import ReportError, as_json, differences, digits
from sgm_vfi.benchmark.results import LESS_IS_BETTER, ProtocolResult, markdown_table, read_results
from sgm_vfi.media.images import write_atomically

NOT_RULES = ("command", "date", "device", "commit", "versions", "means", "models", "not_measured")
HEAD = (
    *("protocol", "metric", "samples", "mean A", "mean B", "B - A"),
    *("interval", "B better", "largest loss of B"),
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe `python -m benchmark compare`."""
    add = parser.add_argument
    add("a", type=Path, metavar="A", help="results: .json or .jsonl, or a folder of them")
    add("b", type=Path, metavar="B", help="the same, of what is compared with A")
    add("--models", nargs=2, metavar=("OF_A", "OF_B"), help="default: those of one name")
    add("--by", metavar="COLUMN", help="resample these together, such as the frames of a clip")
    add("--confidence", type=float, default=0.95, help="of the interval (default: %(default)s)")
    add("--seed", type=int, default=0, help="of the bootstrap (default: %(default)s)")
    add("--output", type=Path, nargs="+", default=[], help="a page (.html), every pair (.csv)")


def run(args: argparse.Namespace) -> None:
    """Print a table, and write what `--output` names."""
    for path in args.output:
        if path.suffix not in (".html", ".csv"):
            raise ReportError(f"A comparison is written as .html and .csv, got {path}.")
    if not 0 < args.confidence < 1:
        raise ReportError(f"A confidence lies between 0 and 1, got {args.confidence}.")
    a, b = (read_results([path]) for path in (args.a, args.b))
    comparisons = compare(a, b, args.models, args.by, args.confidence, args.seed)
    head = [f"{args.confidence:.0%} {name}" if name == "interval" else name for name in HEAD]
    warnings = rules_apart(a, b)
    for line in warnings:
        print(f"{line}\n")
    titles = list(dict.fromkeys(one.models for one in comparisons))
    for models in titles:
        chosen = [one for one in comparisons if one.models == models]
        print(f"A: {models[0]} of {args.a}\nB: {models[1]} of {args.b}\n")
        print(markdown_table(head, map(line_of, chosen)) + "\n")
    for path in args.output:
        path.parent.mkdir(parents=True, exist_ok=True)
        files = (f"A: {args.a}", f"B: {args.b}")
        text = (
            page_of(comparisons, files, head, warnings)
            if path.suffix == ".html"
            else csv_of(comparisons)
        )
        write_atomically(path, text.encode())


def rules_apart(a: Sequence[ProtocolResult], b: Sequence[ProtocolResult]) -> list[str]:
    """A warning for every protocol that was not measured alike."""
    others = {result.name: result for result in b}
    warnings = []
    for one in (one for one in a if one.name in others):
        rules, theirs = (
            {k: v for k, v in result.about.items() if k not in NOT_RULES}
            for result in (one, others[one.name])
        )
        if as_json(rules) != as_json(theirs):
            what = differences(rules, theirs)
            warnings.append(f"Not measured alike: {one.name} differs in {what}.")
    return warnings


def line_of(one: Comparison) -> list[str]:
    """A comparison as a line of the table."""
    places = digits(one.metric)
    sign = -1 if one.metric in LESS_IS_BETTER else 1
    better = sum(sign * pair.difference > 0 for pair in one.pairs) / len(one.pairs)
    worst = min(one.pairs, key=lambda pair: sign * pair.difference)
    a, b = one.means
    interval = " to ".join(f"{end:+.{places}f}" for end in one.interval or ()) or "of one, none"
    left_out = f" ({one.unpaired[0]} only in A, {one.unpaired[1]} only in B)"
    return [
        one.name,
        one.metric,
        f"{len(one.pairs)}{left_out if any(one.unpaired) else ''}",
        f"{a:.{places}f}",
        f"{b:.{places}f}",
        f"{b - a:+.{places}f}",
        interval,
        f"{better:.0%}",
        f"{worst.difference:+.{places}f} at {worst.label}"
        if sign * worst.difference < 0
        else "none",
    ]


def page_of(
    comparisons: Sequence[Comparison],
    files: Iterable[str],
    head: Sequence[str],
    warnings: Iterable[str],
) -> str:
    """The table, and every difference against motion, as a page."""
    parts = [f'<p class="soft">{escape(line)}</p>' for line in (*files, *warnings)]
    lines = (["{} to {}".format(*one.models), *line_of(one)] for one in comparisons)
    rows = ([f"<td>{escape(cell)}</td>" for cell in line] for line in lines)
    parts += [as_table(["models", *head], rows), '<div class="plots">']
    for one in comparisons:
        points = [
            ScatterPoint(
                pair.motion, pair.difference, f"{pair.label}, {pair.a:.6g} to {pair.b:.6g}"
            )
            for pair in one.pairs
            if pair.motion is not None
        ]
        if points:
            series = {f"{one.name}: {one.models[0]} to {one.models[1]}": points}
            plot = scatter(series, "motion, px", f"{one.metric}, B - A")
            parts.append(f"<div>{legend(list(series))}{plot}</div>")
    return document("Comparison of results", [*parts, "</div>"])


def csv_of(comparisons: Iterable[Comparison]) -> str:
    """Every pair as a line."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("protocol", "a", "b", "metric", "sample", "motion", "of_a", "of_b", "b-a"))
    for one in comparisons:
        for pair in one.pairs:
            numbers = (pair.motion, pair.a, pair.b, pair.difference)
            writer.writerow((one.name, *one.models, one.metric, pair.label, *numbers))
    return text.getvalue()
