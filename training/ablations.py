"""Compare ingredients of training the local branch of SGM-VFI, on equally many samples.

  python -m training ablations --samples 4000 --output output/ablations
  python -m training ablations --variants photometric init --seeds 0 --output output/ablations

Every run trains the same small network on the same scenes, which are rendered once before, and is
measured on the same other scenes. Runs follow each other on the CPU. A finished run is not
repeated, and a stopped one is resumed. Writes rows.csv, with the processor time of each run,
table.md and curves.png, the mean over the seeds.
"""

import argparse
import logging
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from sgm_vfi.benchmark.export_rows import format_csv
from sgm_vfi.benchmark.metrics import psnr
from sgm_vfi.command_errors import CommandParser, report_errors
from sgm_vfi.config_base import FOOTAGE_LIKE_SCENES, SHORT_TRAINING, SYNTHETIC_DATA, Experiment
from sgm_vfi.dataset.triplet import Triplet
from sgm_vfi.engine.config_overrides import override
from sgm_vfi.engine.distributed import process_group
from sgm_vfi.engine.runlog import read_rows
from sgm_vfi.engine.schedule import TimeBudget
from sgm_vfi.engine.training_command_line import FORMAT, RunContext
from sgm_vfi.media.charts import Curve, plot_line_charts, write_png
from sgm_vfi.model.cli_options import argument_type, parse_positive
from sgm_vfi.model.interpolator import Interpolation
from sgm_vfi.model.sgm.network import SGM, SGMConfig
from sgm_vfi.model.zoo import load_interpolator
from sgm_vfi.storage.atomic_write import write_atomically
from sgm_vfi.training.loss_functions import motion_error
from sgm_vfi.training.scenes_rendered_once import RenderedScenes, load_or_render
from sgm_vfi.training.sgm import LocalBranchTrainer

EPOCH = 160  # training scenes between two validations


@dataclass(frozen=True, kw_only=True)
class AblationExperiment(Experiment):
    """A recipe with the ingredients that only ablations have."""

    rendered: str = ""  # folder of the scenes
    scale: float = 1.0  # of the scenes in training and validation
    teacher: str | None = None  # interpolator whose flows are targets of the network's flows
    distillation_loss: float = 0.1  # weight of that, per pixel of error; decays as motion_loss
    growing: int = 0  # epochs of a curriculum from small to large motion


BASE = AblationExperiment(
    name="photometric",
    model=SGMConfig(channels=8, depths=(1, 1, 1, 2), keypoint_ratio=None, any_time=True),
    data=replace(
        SYNTHETIC_DATA,
        patch_size=128,
        train_scenes=800,
        val_scenes=40,
        scenes=replace(FOOTAGE_LIKE_SCENES, still=0.2, motion=(0.005, 0.2), camera=(0.005, 0.15)),
    ),
    training=replace(
        SHORT_TRAINING,
        minutes=None,
        batch_size=4,
        learning_rate=6e-4,
        final_learning_rate=1e-5,
        warmup_steps=20,
        ema_decay=0.98,
        precision="float32",
        data_dependent_init=False,
        motion_loss=0.0,
        attention_loss=0.0,
        motion_until=1.0,
        validate_first=True,
        validate_every=1,
        val_batch_size=8,
        save_every=40,
        log_every=10,
        panel_every=10**6,
    ),
)
INIT = {"training.data_dependent_init": "true"}
TRUTH = {"training.motion_loss": "0.1", "training.attention_loss": "0.3"}
TEACHER = {"teacher": "rife_v4.6"}
VARIANTS: dict[str, dict[str, str]] = {  # fields that differ from BASE
    "photometric": {},
    "init": INIT,
    "truth": TRUTH,
    "init+truth": INIT | TRUTH,
    "init+teacher": INIT | TEACHER,
    "init+truth+teacher": INIT | TRUTH | TEACHER,
    "init+truth+curriculum": INIT | TRUTH | {"growing": "2"},
}


REFERENCE = "blend"  # the average of both frames


class AblationTrainer(LocalBranchTrainer):
    """Trains on rendered scenes, and measures processor time; may learn the flows of a teacher."""

    METRICS = ("psnr", "psnr_blend", "epe")
    experiment: AblationExperiment

    def _open_data(self) -> None:
        """Load the scenes; from here on processor time counts."""
        data, config = self.experiment.data, self.config
        folder, batch = Path(self.experiment.rendered), config.batch_size
        train, val = (
            load_or_render(folder / f"{part}.pt", data, training=part == "train")
            for part in ("train", "val")
        )
        growing, scale = self.experiment.growing, self.experiment.scale
        self.loader = RenderedScenes(
            train, batch, EPOCH, seed=config.seed, growing=growing, scale=scale
        )
        self.validation = RenderedScenes(val, config.val_batch_size, len(val.time), scale=scale)
        self.samples_per_step = config.samples_per_step(self.world.size)
        self.total_steps = config.total_steps(len(self.loader))
        self.time_budget = TimeBudget(None, self.world, now=time.process_time)

    def build_network(self) -> SGM:
        """Build the network, and load the teacher if there is one."""
        name = self.experiment.teacher
        self.teacher = load_interpolator(name).to(self.device) if name else None
        return super().build_network()

    def loss(self, prediction: Interpolation, batch: Triplet) -> Tensor:
        """Return the loss plus the error from the teacher's flows. Shapes: -> ()."""
        loss = super().loss(prediction, batch)
        if self.teacher is None or prediction.explanation is None:
            return loss
        with torch.no_grad():
            maps = self.teacher(*batch.inputs(), explain=True).explanation
        assert maps is not None
        weight = self.experiment.distillation_loss
        weight *= self.config.motion_weight(self.step / self.total_steps)
        everywhere = torch.ones_like(maps["flow"])
        return loss + weight * motion_error(prediction.explanation, maps["flow"], everywhere)

    def validate(self) -> dict[str, float]:
        """Log the processor time of the run so far, and validate."""
        self.log.append_rows([{"step": self.step, "cpu_seconds": self.time_budget.elapsed()}])
        return super().validate()

    def validation_metrics(self, network: nn.Module, batch: Triplet) -> Tensor:
        """Return PSNR, that of a blend, and the end-point error over visible pixels."""
        prediction: Interpolation = network(*batch.inputs(), explain=True)
        assert prediction.explanation is not None
        true, visible = batch.target_flow()
        errors = (prediction.explanation["flow"] - true).unflatten(1, (2, 2)).norm(dim=2)
        seen = visible[:, ::2]
        epe = (errors * seen).sum(dim=(1, 2, 3)) / seen.sum(dim=(1, 2, 3)).clamp(min=1)
        blend = (batch.frame0 + batch.frame1) / 2
        return torch.stack(
            (psnr(prediction.frame, batch.target), psnr(blend, batch.target), epe), dim=1
        )


def run_variant(name: str, seed: int, samples: int, side: int, folder: Path) -> Path:
    """Train a variant unless it is finished; return the folder of the run."""
    changes = VARIANTS[name] | {
        "name": f"{name}-{seed}",
        "rendered": str(folder),
        "scale": str(side / BASE.data.patch_size),
        "training.steps": str(samples // BASE.training.batch_size),
        "training.seed": str(seed),
    }
    experiment = override(BASE, changes)
    run = folder / experiment.name
    if not (run / "ckpt" / f"{experiment.name}.safetensors").is_file():
        device = torch.device("cpu")
        with process_group(device) as world:
            AblationTrainer(experiment, RunContext(run, world, device, resume=True)).fit()
    return run


def read_validations(run: Path) -> list[dict[str, Any]]:
    """Return tidy rows of the validations of a run, with the processor time before each."""
    variant, _, seed = run.name.rpartition("-")
    rows = [row for row in read_rows(run) if "epe" in row]
    seconds = [row["cpu_seconds"] for row in read_rows(run) if "cpu_seconds" in row]
    return [
        {
            "variant": variant,
            "seed": int(seed),
            "samples": BASE.training.batch_size * row["step"],
            "cpu_seconds": round(spent, 1),
            **{metric: round(row[metric], 3) for metric in AblationTrainer.METRICS},
        }
        for row, spent in zip(rows, seconds, strict=True)
    ]


def group_curves(rows: Sequence[dict[str, Any]]) -> dict[str, list[Curve]]:
    """Return the mean over the seeds of each metric and variant, by metric."""
    charts: dict[str, list[Curve]] = {"psnr": [], "epe": []}
    for metric, curves in charts.items():
        for variant in dict.fromkeys(row["variant"] for row in rows):
            points: dict[int, list[float]] = {}
            for row in rows:
                if row["variant"] == variant:
                    points.setdefault(row["samples"], []).append(row[metric])
            means = {x: statistics.fmean(values) for x, values in points.items()}
            curves.append(Curve(variant, np.array([*means]), np.array([*means.values()])))
    ends = np.array([0, max(row["samples"] for row in rows)])
    blend = np.full(2, rows[0]["psnr_blend"])
    charts["psnr"].append(Curve(REFERENCE, ends, blend, is_reference=True))
    return charts


def format_table(rows: Sequence[dict[str, Any]]) -> str:
    """Format the last validation of each variant as Markdown, one value per seed."""
    last = {(row["variant"], row["seed"]): row for row in rows}
    lines = [
        "| variant | PSNR, dB | end-point error, px | CPU seconds a sample |",
        "|---|---|---|---|",
    ]
    for variant in dict.fromkeys(row["variant"] for row in rows):
        runs = [row for (name, _), row in last.items() if name == variant]
        psnrs, errors = (", ".join(f"{row[key]:.2f}" for row in runs) for key in ("psnr", "epe"))
        cost = statistics.fmean(row["cpu_seconds"] / row["samples"] for row in runs)
        lines.append(f"| {variant} | {psnrs} | {errors} | {cost:.3f} |")
    lines.append(f"| {REFERENCE} | {rows[0]['psnr_blend']:.2f} | | |")
    return "\n".join(lines)


def write_results(rows: Sequence[dict[str, Any]], folder: Path) -> None:
    """Write rows, table and curves, and print the table."""
    write_atomically(folder / "rows.csv", format_csv(rows).encode())
    table = format_table(rows)
    write_atomically(folder / "table.md", f"{table}\n".encode())
    write_png(folder / "curves.png", plot_line_charts(group_curves(rows), x_name="samples"))
    print(table)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run `sgm-vfi train ablations`."""
    parser = CommandParser(
        prog="sgm-vfi train ablations",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add, positive = parser.add_argument, argument_type(parse_positive)
    add("--samples", type=positive, default=4000, help="of each run (default: %(default)s)")
    add("--side", type=positive, default=128, help="of the scenes, 64 or more (default: 128)")
    add("--variants", nargs="+", choices=VARIANTS, default=[*VARIANTS], help="default: all")
    add("--seeds", type=int, nargs="+", default=[0, 1], help="of weights and order (default: 0 1)")
    add(
        "--output",
        type=Path,
        default=Path("output/ablations"),
        help="folder (default: %(default)s)",
    )
    args = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format=FORMAT, datefmt="%H:%M:%S")
    rows = []
    with report_errors(parser.prog, "The same command continues."):
        for seed in args.seeds:
            for variant in args.variants:
                run = run_variant(variant, seed, args.samples, args.side, args.output)
                rows += read_validations(run)
                write_results(rows, args.output)


if __name__ == "__main__":
    main()
