"""Compare two files of results sample by sample: paired differences, bootstrap intervals."""

import argparse
import csv
import io
import math
from collections.abc import Iterable, Sequence
from html import escape
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from sgm_vfi.benchmark.html_document import html_document
from sgm_vfi.benchmark.result_summary import MOTION, ProtocolResult, cap_psnr, read_results
from sgm_vfi.benchmark.row_journal import ReportError, Row, differing_keys, to_json
from sgm_vfi.benchmark.svg_scatter_plot import ScatterPoint, format_legend, plot_scatter
from sgm_vfi.benchmark.tables import (
    LOWER_IS_BETTER,
    format_metric,
    html_table,
    markdown_table,
    protect_cell,
)
from sgm_vfi.storage.atomic_write import write_atomically

NUM_RESAMPLES = 10_000
CHUNK = 2**22  # resampled indices in memory at a time
NOT_RULES = ("command", "date", "device", "commit", "versions", "means", "models", "not_measured")
HEAD = (
    *("protocol", "metric", "samples", "mean A", "mean B", "B - A"),
    *("interval", "B better", "largest loss of B"),
)


class PairedSample(NamedTuple):
    """One sample in both files."""

    label: str
    cluster: Any  # samples of one cluster are resampled together
    a: float
    b: float
    motion: float | None

    @property
    def difference(self) -> float:
        """Value in B minus value in A."""
        return self.b - self.a


class Comparison(NamedTuple):
    """One metric over all paired samples of one protocol (and gap)."""

    name: str
    models: tuple[str, str]
    metric: str
    pairs: list[PairedSample]
    interval: tuple[float, float] | None  # of the mean difference; None for a single cluster
    unpaired: tuple[int, int]  # samples only in A, only in B

    @property
    def means(self) -> tuple[float, float]:
        """Means of A and B over the pairs."""
        count = len(self.pairs)
        return (
            math.fsum(pair.a for pair in self.pairs) / count,
            math.fsum(pair.b for pair in self.pairs) / count,
        )


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of `sgm-vfi benchmark compare`."""
    add = parser.add_argument
    add("a", type=Path, metavar="A", help="results: .json or .jsonl, or a folder of them")
    add("b", type=Path, metavar="B", help="results to compare with A")
    add("--models", nargs=2, metavar=("OF_A", "OF_B"), help="default: models of the same name")
    add("--by", metavar="COLUMN", help="keep rows of equal value together (default: no rows)")
    add("--confidence", type=float, default=0.95, help="of the interval (default: %(default)s)")
    add("--seed", type=int, default=0, help="of the bootstrap (default: %(default)s)")
    add("--output", type=Path, nargs="+", default=[], help=".html, .csv (default: none)")


def run(args: argparse.Namespace) -> None:
    """Print a table, and write the files of `--output`."""
    for path in args.output:
        if path.suffix not in (".html", ".csv"):
            raise ReportError(f"A comparison is written as .html and .csv, got {path}.")
    if not 0 < args.confidence < 1:
        raise ReportError(f"A confidence lies between 0 and 1, got {args.confidence}.")
    a, b = (read_results([path]) for path in (args.a, args.b))
    comparisons = compare_results(a, b, args.models, args.by, args.confidence, args.seed)
    head = [f"{args.confidence:.0%} {name}" if name == "interval" else name for name in HEAD]
    warnings = find_different_rules(a, b)
    for line in warnings:
        print(f"{line}\n")
    for models in dict.fromkeys(one.models for one in comparisons):
        chosen = [one for one in comparisons if one.models == models]
        print(f"A: {models[0]} of {args.a}\nB: {models[1]} of {args.b}\n")
        print(markdown_table(head, map(format_row, chosen)) + "\n")
    for path in args.output:
        path.parent.mkdir(parents=True, exist_ok=True)
        notes = (f"A: {args.a}", f"B: {args.b}", *warnings)
        is_page = path.suffix == ".html"
        text = format_page(comparisons, head, notes) if is_page else format_csv(comparisons)
        write_atomically(path, text.encode(errors="backslashreplace"))


def compare_results(
    a: Sequence[ProtocolResult],
    b: Sequence[ProtocolResult],
    models: Sequence[str] | None = None,
    by: str | None = None,
    confidence: float = 0.95,
    seed: int = 0,
) -> list[Comparison]:
    """Compare every metric of every protocol that both hold, per gap where there are gaps.

    Args:
        models: one of A and one of B; None takes models of the same name, or single ones.
        by: column whose samples are resampled together in the bootstrap.
    """
    others = {result.name: result for result in b}
    found = []
    for one in (one for one in a if one.name in others):
        for pair in match_models(one, others[one.name], models):
            found += compare_models(one, others[one.name], pair, by, confidence, seed)
    if not found:
        contents = (
            "; ".join(f"{one.name} by {', '.join(one.models)}" for one in some) for some in (a, b)
        )
        raise ReportError(
            f"The files share nothing that could be compared: {' against '.join(contents)}. "
            f"Name a model of each with --models."
        )
    return found


def match_models(
    a: ProtocolResult, b: ProtocolResult, names: Sequence[str] | None
) -> list[tuple[str, str]]:
    """Return which model of A is compared with which of B."""
    if names is not None:
        for result, name in zip((a, b), names, strict=True):
            if name not in result.models:
                raise ReportError(f"{result.name} holds {', '.join(result.models)}, not {name!r}.")
        return [(names[0], names[1])]
    if len(a.models) == len(b.models) == 1:
        return [(a.models[0], b.models[0])]
    return [(name, name) for name in a.models if name in b.models]


def compare_models(
    a: ProtocolResult,
    b: ProtocolResult,
    models: tuple[str, str],
    by: str | None,
    confidence: float,
    seed: int,
) -> list[Comparison]:
    """Compare each metric of one protocol, per gap."""
    if by is not None and by not in a.keys:
        raise ReportError(f"--by names a column of the samples: {', '.join(a.keys)}; got {by!r}.")
    if set(a.keys) != set(b.keys):
        raise ReportError(
            f"The samples of {a.name} are told apart by {', '.join(a.keys)} in A and by "
            f"{', '.join(b.keys)} in B: these are no results of one measurement."
        )
    rows_a, rows_b = (
        {tuple(row.get(key) for key in a.keys): row for row in result.rows if row["model"] == model}
        for result, model in zip((a, b), models, strict=True)
    )
    groups: dict[str, list[tuple[Any, ...]]] = {}
    for sample, row in (rows_a | rows_b).items():
        values = (f"{k} {row[k]}" for k in a.group_columns if row.get(k) is not None)
        groups.setdefault(", ".join([a.name, *values]), []).append(sample)
    found = []
    for name, samples in groups.items():
        both = [sample for sample in samples if sample in rows_a and sample in rows_b]
        unpaired = (
            sum(sample not in rows_b for sample in samples),
            sum(sample not in rows_a for sample in samples),
        )
        for metric in (m for m in a.metrics if m in b.metrics):
            pairs = [
                pair_rows(a, rows_a[sample], rows_b[sample], metric, by)
                for sample in both
                if None not in (rows_a[sample].get(metric), rows_b[sample].get(metric))
            ]
            if pairs:
                interval = bootstrap_interval(pairs, confidence, seed)
                found.append(Comparison(name, models, metric, pairs, interval, unpaired))
    return found


def pair_rows(result: ProtocolResult, a: Row, b: Row, metric: str, by: str | None) -> PairedSample:
    """Pair two rows of one sample; infinite PSNR counts as it does in a mean."""
    cluster = result.sample_key(a) if by is None else a.get(by)
    value_a, value_b = (cap_psnr(metric, row[metric]) for row in (a, b))
    return PairedSample(
        result.sample_label(a), cluster, value_a, value_b, a.get(MOTION, b.get(MOTION))
    )


def bootstrap_interval(
    pairs: Sequence[PairedSample], confidence: float, seed: int
) -> tuple[float, float] | None:
    """Return the percentile interval of the mean difference over resampled clusters.

    A single cluster has no interval: None.
    """
    clusters: dict[Any, list[float]] = {}
    for pair in pairs:
        clusters.setdefault(pair.cluster, []).append(pair.difference)
    if len(clusters) < 2:
        return None
    sums = np.array([math.fsum(values) for values in clusters.values()])
    counts = np.array([len(values) for values in clusters.values()])
    generator = np.random.default_rng(seed)
    size = len(sums)
    step = max(1, CHUNK // size)
    means = []
    for start in range(0, NUM_RESAMPLES, step):
        drawn = generator.integers(0, size, (min(step, NUM_RESAMPLES - start), size))
        means.append(sums[drawn].sum(axis=1) / counts[drawn].sum(axis=1))
    tail = (1 - confidence) / 2
    low, high = np.quantile(np.concatenate(means), (tail, 1 - tail))
    return float(low), float(high)


def find_different_rules(a: Sequence[ProtocolResult], b: Sequence[ProtocolResult]) -> list[str]:
    """Return a warning for every protocol that was measured under different rules."""
    others = {result.name: result for result in b}
    warnings = []
    for one in (one for one in a if one.name in others):
        rules_a, rules_b = (
            {k: v for k, v in result.about.items() if k not in NOT_RULES}
            for result in (one, others[one.name])
        )
        if to_json(rules_a) != to_json(rules_b):
            names = differing_keys(rules_a, rules_b)
            warnings.append(f"Not measured alike: {one.name} differs in {names}.")
    return warnings


def format_row(one: Comparison) -> list[str]:
    """Format a comparison as a row of the table."""
    sign = -1 if one.metric in LOWER_IS_BETTER else 1
    share = sum(sign * pair.difference > 0 for pair in one.pairs) / len(one.pairs)
    worst = min(one.pairs, key=lambda pair: sign * pair.difference)
    a, b = one.means
    ends = (format_metric(one.metric, end, "+") for end in one.interval or ())
    unpaired = f" ({one.unpaired[0]} only in A, {one.unpaired[1]} only in B)"
    loss = f"{format_metric(one.metric, worst.difference, '+')} at {worst.label}"
    return [
        one.name,
        one.metric,
        f"{len(one.pairs)}{unpaired if any(one.unpaired) else ''}",
        format_metric(one.metric, a),
        format_metric(one.metric, b),
        format_metric(one.metric, b - a, "+"),
        " to ".join(ends) or "of one, none",
        f"{share:.0%}",
        loss if sign * worst.difference < 0 else "none",
    ]


def format_page(
    comparisons: Sequence[Comparison], head: Sequence[str], notes: Iterable[str]
) -> str:
    """Format a page with the table, and a plot of every difference against motion."""
    parts = [f'<p class="soft">{escape(line)}</p>' for line in notes]
    lines = (["{} to {}".format(*one.models), *format_row(one)] for one in comparisons)
    parts += [html_table(["models", *head], lines), '<div class="plots">']
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
            plot = plot_scatter(series, "motion, px", f"{one.metric}, B - A")
            parts.append(f"<div>{format_legend(list(series))}{plot}</div>")
    return html_document("Comparison of results", [*parts, "</div>"])


def format_csv(comparisons: Iterable[Comparison]) -> str:
    """Format every pair as a line of CSV."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("protocol", "a", "b", "metric", "sample", "motion", "of_a", "of_b", "b-a"))
    for one in comparisons:
        for pair in one.pairs:
            numbers = (pair.motion, pair.a, pair.b, pair.difference)
            cells = (one.name, *one.models, one.metric, pair.label, *numbers)
            writer.writerow(map(protect_cell, cells))
    return text.getvalue()
