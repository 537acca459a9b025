"""Tables and a plot of results over bins of motion: which model is better where things move far."""

import numpy as np

from sgm_vfi.benchmark.paired_statistics import Comparison, compare
from sgm_vfi.benchmark.result_rows import digits
from sgm_vfi.benchmark.results import MOTION, ProtocolResult, markdown_table, mean, named
from sgm_vfi.media.charts import LEFT, RIGHT, WIDTH, Axis, Curve, plot_lines

BIN = "bin"


def against_motion(result: ProtocolResult, reference: str) -> str:
    """Markdown: a table per bin, a line per model, its PSNR also as a difference.

    Differences are means over the same scenes, with the 95 % interval of a bootstrap over scenes.
    """
    others = differences(result, reference)
    head = ["model", *map(named, result.metrics), f"psnr - that of {reference}, 95 % interval"]
    tables = []
    for name in bin_names(result):
        lines = []
        for model in result.models:
            rows = [row for row in result.rows if (row["model"], row[BIN]) == (model, name)]
            means = {metric: mean(rows, metric) for metric in result.metrics}
            cells = [
                "" if np.isnan(value) else f"{value:.{digits(metric)}f}"
                for metric, value in means.items()
            ]
            lines.append([model, *cells, in_words(others.get((model, name)))])
        tables.append(f"Motion {name}: {len(rows)} scenes\n\n{markdown_table(head, lines)}")
    return "\n\n".join(tables)


def differences(result: ProtocolResult, reference: str) -> dict[tuple[str, str], Comparison]:
    """The PSNR of each other model less the reference's, by model and bin."""
    found = {}
    for model in result.models:
        if model != reference:
            for one in compare([result], [result], (reference, model)):
                if one.metric == "psnr":
                    found[model, one.name.removeprefix(f"{result.name}, {BIN} ")] = one
    return found


def in_words(difference: Comparison | None) -> str:
    """A difference and how sure it is."""
    if difference is None:
        return ""
    before, after = difference.means
    interval = (
        "" if difference.interval is None else "{:+.2f} to {:+.2f}".format(*difference.interval)
    )
    return f"{after - before:+.2f} ({interval or 'one scene'})"


def bin_names(result: ProtocolResult) -> list[str]:
    """In the order of the rows, which is that of the motion."""
    return list(dict.fromkeys(row[BIN] for row in result.rows))


def draw_against_motion(result: ProtocolResult, reference: str) -> np.ndarray:
    """Mean PSNR of each bin, and below it the difference from one model with its interval.

    A bin is drawn at the geometric mean of its motions. Shapes: -> (H, W, 3), uint8, RGB.
    """
    places = {}
    for name in bin_names(result):
        motions = [max(row[MOTION], 0.1) for row in result.rows if row[BIN] == name]
        places[name] = float(np.exp(np.mean(np.log(motions))))
    x = Axis(min(places.values()) / 1.3, max(places.values()) * 1.3, LEFT, WIDTH - RIGHT, True)
    levels = []
    for model in result.models:
        by_bin = {
            place: mean([r for r in result.rows if (r["model"], r[BIN]) == (model, name)], "psnr")
            for name, place in places.items()
        }
        levels.append(Curve(model, *as_columns(by_bin), is_reference=model == reference))
    others, gains = differences(result, reference), []
    for model in result.models:
        own = {places[n]: others[model, n] for n in places if (model, n) in others}
        gaps = {place: one.means[1] - one.means[0] for place, one in own.items()}
        bars = [one.interval or (gaps[place], gaps[place]) for place, one in own.items()]
        gains.append(Curve(model, *as_columns(gaps), interval=np.array(bars).reshape(-1, 2).T))
    ends = {x.low: 0.0, x.high: 0.0}
    gains[result.models.index(reference)] = Curve(reference, *as_columns(ends), is_reference=True)
    x_name = "95th percentile of the true motion, px at 512x512"
    return np.concatenate(
        [
            plot_lines("PSNR, dB", levels, x, x_name=x_name),
            plot_lines("Difference, dB", gains, x, x_name=x_name),
        ]
    )


def as_columns(values: dict[float, float]) -> tuple[np.ndarray, np.ndarray]:
    """Points from left to right: their places, their heights."""
    return np.array([*values]), np.array([*values.values()])
