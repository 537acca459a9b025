"""Tables and a chart of results over bins of motion."""

import numpy as np

from sgm_vfi.benchmark.compare_results import Comparison, compare_results
from sgm_vfi.benchmark.result_summary import MOTION, ProtocolResult, average
from sgm_vfi.benchmark.tables import format_metric, markdown_table, metric_heading
from sgm_vfi.media.charts import LEFT, RIGHT, WIDTH, Axis, Curve, plot_lines

BIN = "bin"
X_TITLE = "95th percentile of the true motion, px at 512x512"


def format_bin_tables(result: ProtocolResult, reference: str) -> str:
    """Format a Markdown table per bin: a row per model, its PSNR also as a difference.

    Differences are means over the same scenes, with the 95 % interval of a bootstrap over scenes.
    """
    differences = compare_with(result, reference)
    head = ["model", *map(metric_heading, result.metrics)]
    head.append(f"psnr - that of {reference}, 95 % interval")
    tables = []
    for name in bin_names(result):
        lines = []
        for model in result.models:
            rows = [row for row in result.rows if (row["model"], row[BIN]) == (model, name)]
            means = {metric: average(rows, metric) for metric in result.metrics}
            cells = [format_metric(m, None if np.isnan(v) else v) for m, v in means.items()]
            lines.append([model, *cells, format_difference(differences.get((model, name)))])
        tables.append(f"Motion {name}: {len(rows)} scenes\n\n{markdown_table(head, lines)}")
    return "\n\n".join(tables)


def compare_with(result: ProtocolResult, reference: str) -> dict[tuple[str, str], Comparison]:
    """Compare the PSNR of every other model with the reference, by model and bin."""
    return {
        (model, one.name.removeprefix(f"{result.name}, {BIN} ")): one
        for model in result.models
        if model != reference
        for one in compare_results([result], [result], (reference, model))
        if one.metric == "psnr"
    }


def format_difference(difference: Comparison | None) -> str:
    """Format a mean difference and its interval."""
    if difference is None:
        return ""
    before, after = difference.means
    interval = difference.interval
    text = "one scene" if interval is None else "{:+.2f} to {:+.2f}".format(*interval)
    return f"{after - before:+.2f} ({text})"


def bin_names(result: ProtocolResult) -> list[str]:
    """Return the bins in the order of the rows, which is that of the motion."""
    return list(dict.fromkeys(row[BIN] for row in result.rows))


def plot_bins(result: ProtocolResult, reference: str) -> np.ndarray:
    """Plot the mean PSNR of each bin, and below it the difference from the reference.

    A bin is placed at the geometric mean of its motions. Shapes: -> (H, W, 3), uint8, RGB.
    """
    places = {}
    for name in bin_names(result):
        motions = [max(row[MOTION], 0.1) for row in result.rows if row[BIN] == name]
        places[name] = float(np.exp(np.mean(np.log(motions))))
    x = Axis(min(places.values()) / 1.3, max(places.values()) * 1.3, LEFT, WIDTH - RIGHT, True)
    others = compare_with(result, reference)
    levels, gains = [], []
    for model in result.models:
        is_reference = model == reference
        means = {
            place: average(
                [r for r in result.rows if (r["model"], r[BIN]) == (model, name)], "psnr"
            )
            for name, place in places.items()
        }
        levels.append(Curve(model, *split_points(means), is_reference=is_reference))
        own = {places[n]: others[model, n] for n in places if (model, n) in others}
        gaps = {place: one.means[1] - one.means[0] for place, one in own.items()}
        bars = [one.interval or (gaps[place], gaps[place]) for place, one in own.items()]
        interval = None if is_reference else np.array(bars).reshape(-1, 2).T
        if is_reference:
            gaps = {x.low: 0.0, x.high: 0.0}
        gains.append(Curve(model, *split_points(gaps), is_reference, interval))
    return np.concatenate(
        [
            plot_lines("PSNR, dB", levels, x, x_name=X_TITLE),
            plot_lines("Difference, dB", gains, x, x_name=X_TITLE),
        ]
    )


def split_points(values: dict[float, float]) -> tuple[np.ndarray, np.ndarray]:
    """Return the x and the y coordinates of points."""
    return np.array([*values]), np.array([*values.values()])
