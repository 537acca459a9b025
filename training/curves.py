"""Plots the loss and the validation metrics of training runs over steps."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from sgm_vfi.command_errors import CommandParser, report_errors
from sgm_vfi.engine.runlog import read_rows
from sgm_vfi.media.charts import Curve, plot_line_charts, write_png

NOT_PLOTTED = (
    *("step", "epoch", "loss", "gradient_norm", "learning_rate", "samples_per_second"),
    *("waiting_for_data", "skipped"),
)


def run_curves(run: Path) -> dict[str, Curve]:
    """Return the curves of a run by name: the loss and every validation metric."""
    label = (run if run.is_dir() else run.parent).name
    points: dict[str, list[tuple[float, float]]] = {}
    for row in read_rows(run):
        names = [name for name in row if name not in NOT_PLOTTED]
        for name in ["loss", *names]:
            if isinstance(row.get(name), float | int):
                points.setdefault(name, []).append((row["step"], row[name]))
    return {name: Curve(label, *np.array(values).T) for name, values in points.items()}


def group_curves(runs: Sequence[Path]) -> dict[str, list[Curve]]:
    """Group curves into one chart per metric; `psnr_blend` is the reference of `psnr`."""
    charts: dict[str, list[Curve]] = {"loss": []}
    for run in runs:
        for name, curve in run_curves(run).items():
            name, _, reference = name.partition("_")
            chart = charts.setdefault(name, [])
            if not reference:
                chart.append(curve)
            elif all(other.label != reference for other in chart):
                chart.append(curve._replace(label=reference, is_reference=True))
    return {name: curves for name, curves in charts.items() if curves}


def plot_runs(runs: Sequence[Path], output: Path) -> None:
    """Plot the loss (smoothed, on a logarithmic axis) and the metrics of runs into a PNG."""
    charts = group_curves(runs)
    if not charts:
        raise ValueError(f"Nothing to plot yet: no loss in {', '.join(map(str, runs))}.")
    write_png(output, plot_line_charts(charts, logarithmic=("loss",)))


def main(arguments: Sequence[str] | None = None) -> None:
    """Run `sgm-vfi train curves`."""
    parser = CommandParser(prog="sgm-vfi train curves", description=__doc__)
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUN", help="its folder or log.jsonl")
    parser.add_argument("--output", type=Path, default=Path("curves.png"), help="PNG file")
    args = parser.parse_args(arguments)
    with report_errors(parser.prog):
        plot_runs(args.runs, args.output)
    print(args.output)


if __name__ == "__main__":
    main()
