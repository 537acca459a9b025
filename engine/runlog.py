"""The log of a run: log.jsonl and TensorBoard files; losses, metrics and throughput per step."""

import json
import logging
import math
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.utils.tensorboard import SummaryWriter
from torch.utils.tensorboard.summary import hparams
from tqdm import tqdm

from sgm_vfi.engine.distributed import World
from sgm_vfi.read_json import explain_structure, parse_json_object
from sgm_vfi.storage.atomic_write import write_atomically

logger = logging.getLogger(__name__)

FILE = "log.jsonl"


class RunLog:
    """Writes one JSON line per step and event, and TensorBoard files; nothing unless `active`.

    On a full disk lines stay in memory until they can be written.
    """

    def __init__(self, folder: Path, *, active: bool) -> None:
        self.path = folder / FILE
        self.active = active
        self._waiting = ""
        self._board = SummaryWriter(folder) if active else None
        self._bar: tqdm | None = None

    def start_progress(self, step: int, total: int) -> None:
        """Show the progress: a bar on a terminal, lines elsewhere."""
        if self.active:
            self._bar = tqdm(
                total=total, initial=step, unit="step", disable=None, dynamic_ncols=True
            )

    def set_total_steps(self, total: int) -> None:
        """Set the total of the progress bar."""
        if self._bar is not None:
            self._bar.total = total

    def log_steps(self, rows: Sequence[dict[str, Any]], throughput: dict[str, float]) -> None:
        """Log rows of steps, each with `step` and `loss`, and the throughput."""
        self.append_rows([*rows, {"step": rows[-1]["step"], **throughput}])
        losses = [row["loss"] for row in rows if math.isfinite(row["loss"])]
        figures = {**rows[-1], "loss": sum(losses) / max(len(losses), 1), **throughput}
        step = figures.pop("step")
        self.add_scalars(step, "train", **figures)
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
        """Log validation metrics."""
        self.append_rows([{"step": step, "epoch": epoch, **scores}])
        self.add_scalars(step, "val", **scores)
        if self.active:
            figures = ", ".join(f"{name} {value:.3f}" for name, value in scores.items())
            logger.info("Step %d, validation: %s", step, figures)

    def append_rows(self, rows: Sequence[dict[str, Any]]) -> None:
        """Append JSON lines; numbers that are not finite become null."""
        self._waiting += "".join(json.dumps(to_json_row(row)) + "\n" for row in rows)
        self._write()

    def log_recipe(self, recipe: dict[str, Any], metrics: Sequence[str]) -> None:
        """Write the recipe to TensorBoard: as text, and as hyper-parameters beside the metrics."""
        self._draw("add_text", "recipe", f"```json\n{json.dumps(recipe, indent=2)}\n```")
        values = {f"val/{name}": math.nan for name in metrics}  # the last scalar of the tag counts
        for summary in hparams(dict(flatten_values(recipe)), values):
            self._draw("add_summary", summary)

    def add_scalars(self, step: int, group: str = "", /, **values: float) -> None:
        """Write scalars to TensorBoard, in a group of its page."""
        for name, value in values.items():
            self._draw("add_scalar", f"{group}/{name}" if group else name, value, step)

    def add_image(self, step: int, name: str, samples: np.ndarray) -> None:
        """Write an image to TensorBoard, and to a file next to the log, replacing the last one.

        Shapes: (H, W, 3), uint8, RGB.
        """
        self._draw("add_image", f"val/{name}", samples, step, dataformats="HWC")
        if self.active:
            path = self.path.with_name(f"{name}.png")
            try:
                write_atomically(path, cv2.imencode(".png", samples[..., ::-1])[1].tobytes())
            except OSError as error:
                logger.warning("Could not write a picture (%s).", error)

    def position(self) -> int:
        """Return the length of the log in bytes, for `truncate`."""
        return self.path.stat().st_size if self.path.exists() else 0

    def truncate(self, position: int) -> None:
        """Remove what was logged after a checkpoint, given its `position()`."""
        if self.active and self.position() > position:
            with self.path.open("r+b") as file:
                file.truncate(position)

    def close(self) -> None:
        """Close the progress bar and the TensorBoard files."""
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
        """Call TensorBoard; stop using it once its files cannot be written."""
        if self._board is None:
            return
        try:
            board: Any = self._board.file_writer if name == "add_summary" else self._board
            getattr(board, name)(*arguments, **options)
        except OSError as error:
            logger.warning("No more TensorBoard files (%s); log.jsonl goes on.", error)
            self._board = None


def flatten_values(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the leaves of nested dictionaries by dotted name; what is no number becomes text."""
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from flatten_values(value, f"{prefix}{name}.")
        else:
            yield prefix + name, value if isinstance(value, bool | int | float) else str(value)


def to_json_row(row: dict[str, Any]) -> dict[str, Any]:
    """Replace numbers that JSON cannot hold by None."""
    return {
        name: None if isinstance(value, float) and not math.isfinite(value) else value
        for name, value in row.items()
    }


def read_rows(path: Path) -> list[dict[str, Any]]:
    """Read the rows of a log, given its file or folder; skip an incomplete last line."""
    path = path / FILE if path.is_dir() else path
    if not path.is_file():
        raise FileNotFoundError(f"No log at {path} (that is {path.absolute()}).")
    with explain_structure(path, "log of a training"):
        return [parse_json_object(line) for line in path.read_text().split("\n")[:-1]]


class Throughput:
    """Samples per second and the share of time spent waiting for data."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Start measuring now."""
        self._start = time.perf_counter()
        self._waited = 0.0
        self._samples = 0

    @contextmanager
    def measure_wait(self) -> Iterator[None]:
        """Count the time of the context as waiting for data."""
        start = time.perf_counter()
        yield
        self._waited += time.perf_counter() - start

    def add_samples(self, samples: int) -> None:
        """Count samples of all processes."""
        self._samples += samples

    def read_and_reset(self) -> dict[str, float]:
        """Return the figures since the last reset and reset them."""
        elapsed = max(time.perf_counter() - self._start, 1e-9)
        figures = {
            "samples_per_second": self._samples / elapsed,
            "waiting_for_data": self._waited / elapsed,
        }
        self.reset()
        return figures


class StepLog:
    """Keeps losses and gradient norms on the device until `flush` logs them.

    Args:
        max_skipped: steps in a row that may have a gradient that is not finite.
    """

    def __init__(self, world: World, log: RunLog, max_skipped: int) -> None:
        self.world, self.log, self.max_skipped = world, log, max_skipped
        self.throughput = Throughput()
        self._columns: list[dict[str, Any]] = []
        self._tensors: list[Tensor] = []
        self._skipped = 0  # in a row

    def add(self, loss: Tensor, norm: Tensor, **columns: float) -> None:
        """Add a step: the loss of this process, the common gradient norm, and further columns."""
        self._columns.append(columns)
        self._tensors.append(torch.stack((loss.detach().float(), norm.detach().float())))

    def flush(self) -> None:
        """Log the steps since the last flush, with losses averaged over the processes.

        Steps with a gradient that is not finite changed no weight; they are logged as skipped.

        Raises:
            FloatingPointError: too many steps in a row were skipped.
        """
        if not self._columns:
            return
        means = self.world.all_reduce_sum(torch.stack(self._tensors)) / self.world.size
        rows = []
        for columns, (loss, norm) in zip(self._columns, means.tolist(), strict=True):
            row = {**columns, "loss": loss, "gradient_norm": norm}
            rows.append(row if math.isfinite(norm) else row | {"skipped": True})
        self._columns, self._tensors = [], []
        self.log.log_steps(rows, self.throughput.read_and_reset())
        for row in rows:
            self._count_skipped(row)

    def _count_skipped(self, row: dict[str, Any]) -> None:
        if "skipped" not in row:
            self._skipped = 0
            return
        self._skipped += 1
        logger.warning("Step %d skipped: its gradient is not finite (%s).", row["step"], row)
        if self._skipped >= self.max_skipped:
            raise FloatingPointError(
                f"{self._skipped} steps in a row had no finite gradient; the weights are as they "
                f"were before them. Look at the data, or lower the learning rate."
            )


class MetricMeans:
    """Means of metrics over the samples of all processes."""

    def __init__(self, names: Sequence[str]) -> None:
        self.names = names
        self._sums = torch.zeros(1 + len(names), dtype=torch.float64)

    def add(self, scores: Tensor) -> None:
        """Add samples. Shapes: scores (B, len(names))."""
        self._sums[0] += len(scores)
        self._sums[1:] += scores.double().sum(dim=0).cpu()

    def compute(self, world: World) -> dict[str, float]:
        """Return the means by name."""
        count, *sums = world.all_reduce_sum(self._sums).tolist()
        return {name: value / count for name, value in zip(self.names, sums, strict=True)}
