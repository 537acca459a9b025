"""What a run leaves behind to look at: log.jsonl, TensorBoard files, and plots of them.

    python -m engine.runlog plot RUN... --output curves.png

RUN is a run's folder or its log.jsonl. Plots show the loss and the validation scores over steps.
"""

import argparse
import json
import logging
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from torch.utils.tensorboard import SummaryWriter
from tqdm import tqdm

from sgm_vfi.media.charts import Curve, plot_line_charts, write_png

logger = logging.getLogger(__name__)

FILE = "log.jsonl"
NOT_PLOTTED = (  # in charts of their own
    "step",
    "epoch",
    "loss",
    "gradient_norm",
    "learning_rate",
    "samples_per_second",
    "waiting_for_data",
    "skipped",
)


class RunLog:
    """One line of JSON per step and per event, and TensorBoard beside; silent where not `active`.

    A full disk does not end a run: lines wait in memory until they can be written.
    """

    def __init__(self, folder: Path, *, active: bool) -> None:
        self.path = folder / FILE
        self.active = active
        self._waiting = ""
        self._board = SummaryWriter(folder) if active else None
        self._bar: tqdm | None = None

    def start_progress(self, step: int, total: int) -> None:
        """Show how far training is: a bar on a terminal, lines elsewhere."""
        if self.active:
            self._bar = tqdm(
                total=total, initial=step, unit="step", disable=None, dynamic_ncols=True
            )

    def set_total_steps(self, total: int) -> int:
        """Show another number of steps as the whole of them; gives it back."""
        if self._bar is not None:
            self._bar.total = total
        return total

    def log_steps(self, rows: Sequence[dict[str, Any]], throughput: dict[str, float]) -> None:
        """Log some steps, each with `step`, `loss` and what else is known, and their throughput."""
        self.append_rows([*rows, {"step": rows[-1]["step"], **throughput}])
        losses = [row["loss"] for row in rows if math.isfinite(row["loss"])]
        figures = {**rows[-1], "loss": sum(losses) / max(len(losses), 1), **throughput}
        step = figures.pop("step")
        self.add_scalars(step, **figures)
        if self._bar is None:
            return
        self._bar.set_postfix(loss=f"{figures['loss']:.4f}", refresh=False)
        self._bar.update(len(rows))
        if self._bar.disable:
            line = "Step %d of %d: loss %.4f, %.3g samples/s, %.0f %% of it waiting for data"
            share = 100 * throughput["waiting_for_data"]
            speed = throughput["samples_per_second"]
            logger.info(line, step, self._bar.total, figures["loss"], speed, share)

    def log_metrics(self, step: int, epoch: int, scores: dict[str, float]) -> None:
        """Log the result of a validation."""
        self.append_rows([{"step": step, "epoch": epoch, **scores}])
        self.add_scalars(step, **scores)
        if self.active:
            figures = ", ".join(f"{name} {value:.3f}" for name, value in scores.items())
            logger.info("Step %d, validation: %s", step, figures)

    def append_rows(self, rows: Sequence[dict[str, Any]]) -> None:
        """Add lines; numbers that are not finite become null, which JSON can say."""
        self._waiting += "".join(json.dumps(to_json_row(row)) + "\n" for row in rows)
        self._write()

    def add_scalars(self, step: int, **values: float) -> None:
        """Draw values in TensorBoard."""
        for name, value in values.items():
            self._draw("add_scalar", name, value, step)

    def add_image(self, step: int, name: str, samples: np.ndarray) -> None:
        """Show a picture in TensorBoard, and the latest as a file beside the log.

        Shapes: (H, W, 3), uint8, RGB.
        """
        self._draw("add_image", name, samples, step, dataformats="HWC")
        if self.active:
            try:
                write_png(self.path.with_name(f"{name}.png"), samples)
            except (OSError, ValueError) as error:
                logger.warning("Could not write a picture (%s).", error)

    def position(self) -> int:
        """The length of the log in bytes, for `rewind`."""
        return self.path.stat().st_size if self.path.exists() else 0

    def truncate(self, position: int) -> None:
        """Forget what was logged after a checkpoint that a run goes on from."""
        if self.active and self.position() > position:
            with self.path.open("r+b") as file:
                file.truncate(position)

    def close(self) -> None:
        if self._bar is not None:
            self._bar.close()
        self._draw("close")

    def _write(self) -> None:
        if not self.active:
            self._waiting = ""
            return
        start = self.position()
        try:
            with self.path.open("a") as file:
                file.write(self._waiting)
        except OSError as error:
            logger.warning("Could not write %s (%s); trying again later.", self.path, error)
            self.truncate(start)
        else:
            self._waiting = ""

    def _draw(self, name: str, *arguments: Any, **options: Any) -> None:
        """Call TensorBoard, until its files cannot be written: they are not worth a run."""
        if self._board is None:
            return
        try:
            getattr(self._board, name)(*arguments, **options)
        except OSError as error:
            logger.warning("No more TensorBoard files (%s); log.jsonl goes on.", error)
            self._board = None


def to_json_row(row: dict[str, Any]) -> dict[str, Any]:
    """A row that JSON can hold."""
    return {
        name: None if isinstance(value, float) and not math.isfinite(value) else value
        for name, value in row.items()
    }


def read_rows(path: Path) -> list[dict[str, Any]]:
    """The lines of a run's log; a last line that was cut off is left out."""
    path = path / FILE if path.is_dir() else path
    if not path.is_file():
        raise FileNotFoundError(f"No log at {path} (that is {path.absolute()}).")
    lines = path.read_text().split("\n")
    return [json.loads(line) for line in lines[:-1]]


def curves_of(run: Path) -> dict[str, Curve]:
    """The curves of one run, by quantity: the loss, and every validation score."""
    label = (run if run.is_dir() else run.parent).name
    points: dict[str, list[tuple[float, float]]] = {}
    for row in read_rows(run):
        names = [name for name in row if name not in NOT_PLOTTED]
        for name in ["loss", *names]:
            if isinstance(row.get(name), float | int):
                points.setdefault(name, []).append((row["step"], row[name]))
    return {name: Curve(label, *np.array(values).T) for name, values in points.items()}


def charts_of(runs: Sequence[Path]) -> dict[str, list[Curve]]:
    """One chart per quantity; `psnr_blend` is a reference, blend, in the chart of psnr."""
    charts: dict[str, list[Curve]] = {"loss": []}
    for run in runs:
        for name, curve in curves_of(run).items():
            name, _, reference = name.partition("_")
            chart = charts.setdefault(name, [])
            if not reference:
                chart.append(curve)
            elif all(other.label != reference for other in chart):
                chart.append(curve._replace(label=reference, is_reference=True))
    return {name: curves for name, curves in charts.items() if curves}


def plot(runs: Sequence[Path], output: Path) -> None:
    """Draw the loss (logarithmic, smoothed) and the validation scores of runs into one PNG."""
    charts = charts_of(runs)
    if not charts:
        raise ValueError(f"Nothing to plot yet: no loss in {', '.join(map(str, runs))}.")
    write_png(output, plot_line_charts(charts, logarithmic=("loss",)))


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m engine.runlog",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    command = parser.add_subparsers(required=True).add_parser("plot", help="draw curves to a PNG")
    command.add_argument("runs", nargs="+", type=Path, metavar="RUN")
    command.add_argument("--output", type=Path, default=Path("curves.png"))
    args = parser.parse_args(arguments)
    try:
        plot(args.runs, args.output)
    except (OSError, ValueError) as error:
        parser.error(str(error))
    print(args.output)


if __name__ == "__main__":
    main()
