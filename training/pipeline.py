"""Train SGM-VFI from nothing in a given time: the local branch, then sparse global matching.

  sgm-vfi weights fetch gmflow_refine                    # published features for matching
  sgm-vfi train pipeline --minutes 12 --output run       # on a GPU
  sgm-vfi train pipeline --minutes 12 --output run --config cpu --device cpu    # a rehearsal

Each stage measures which batch size suits the machine, and how often a scene must be used so that
rendering does not hold up training. It trains for its share of the time that is left, saves every
minute, and checks itself after one: if the loss does not fall, samples pass more slowly than
measured, or data is waited for, the command ends with the reason. The same command continues a run
that was stopped or killed. Trains on synthetic scenes alone, on one device.

Writes to the folder: release/ (float16 weights in files below 16 MiB), report.md, report.json,
curves.png, and log/ (the runs).
"""

import argparse
import json
import logging
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from sgm_vfi.command_errors import CommandParser, refuse, report_errors
from sgm_vfi.config_base import Experiment
from sgm_vfi.engine.config_overrides import override
from sgm_vfi.engine.distributed import select_device
from sgm_vfi.engine.training_command_line import FORMAT, RunContext, launch, parse_changes
from sgm_vfi.model.cli_options import argument_type, parse_number
from sgm_vfi.model.weight_io import read_weights
from sgm_vfi.read_json import read_json_object
from sgm_vfi.storage.atomic_write import write_atomically
from sgm_vfi.training.choose_batch_size import choose_batch_size, measure_batch_sizes
from sgm_vfi.training.pipeline_recipes import PIPELINES, Stage
from sgm_vfi.training.pipeline_report import describe_device, write_report
from sgm_vfi.training.release_weights import part_hashes, write_release
from sgm_vfi.training.start_weights import find_features
from sgm_vfi.training.stop_unhealthy_run import ProgressWatch

logger = logging.getLogger(__name__)

STATE_FILE = "pipeline.json"
RESERVE = 0.04  # share of the time for the last validations and the files
EPOCHS, VALIDATE_EVERY = 8, 2  # per stage; `scenes.growing` counts these epochs
LOG_SECONDS, SAVE_SECONDS, PANEL_SECONDS = 2, 60, 120
WARM_UP = 0.05  # largest share of the steps


class Pipeline:
    """The stages of one run in a folder, and what is known about them across restarts."""

    def __init__(self, folder: Path, args: argparse.Namespace) -> None:
        self.folder, self.name, self.minutes = folder, args.config, args.minutes
        self.device = select_device(args.device)
        changes = parse_changes(args, ())
        self.stages: list[Stage] = [
            replace(stage, experiment=override(stage.experiment, changes))
            for stage in PIPELINES[self.name]
        ]
        self.command = f"sgm-vfi train pipeline --config {self.name} --minutes {self.minutes:g}"
        self.state: dict[str, Any] = {"command": self.command, "elapsed": 0.0, "stages": {}}
        if (folder / STATE_FILE).is_file():
            self.state = read_json_object(folder / STATE_FILE, "state of a pipeline")
        if self.state["command"] != self.command:
            raise ValueError(
                f"{folder} holds a run of `{self.state['command']}`. Continue it with the same "
                f"options, or name another folder: --output."
            )
        self.start = time.monotonic() - self.state["elapsed"]

    def run(self) -> None:
        """Train all stages that are not finished, and write the files."""
        for stage in self.stages:
            if stage.experiment.features is not None:
                find_features(stage.experiment.features)  # now, not after the first stage
        for index, stage in enumerate(self.stages):
            if not self._plan(index).get("finished"):
                self._train(stage)
        files = self._release()
        self._save()
        about = {"command": self.command, "device": describe_device(self.device)}
        about |= {"minutes": round(self.state["elapsed"] / 60, 2), "torch": torch.__version__}
        runs = {self._run(name): self.state["stages"][name] for name in files}
        print(write_report(self.folder, about, runs, [*files.values()]))

    def _plan(self, index: int) -> dict[str, Any]:
        """Choose the batch size and the minutes of a stage, once."""
        stage, plans = self.stages[index], self.state["stages"]
        name = stage.experiment.name
        if name in plans:
            return plans[name]
        sizes = stage.batch_sizes
        logger.info("%s: measuring batches of %s on %s.", name, sizes, self.device)
        costs = measure_batch_sizes(stage.trainer, stage.experiment, sizes, self.device)
        shares = [one.share for one in self.stages[index:]]
        seconds = split_time(60 * self.minutes, time.monotonic() - self.start, shares)
        chosen = costs[choose_batch_size(costs, seconds, stage.min_steps)]
        plans[name] = {
            "begun": time.monotonic() - self.start,
            "minutes": round(seconds / 60, 3),
            "batch_size": chosen.size,
            "reuse": chosen.reuse,
            "samples_per_second": chosen.samples_per_second,
            "seconds_of_batches": [cost._asdict() for cost in costs.values()],
        }
        logger.info(
            "%s: %.3g minutes, batches of %d, each scene used %d times, %.3g samples/s.",
            *(name, seconds / 60, chosen.size, chosen.reuse, chosen.samples_per_second),
        )
        self._save()
        return plans[name]

    def _train(self, stage: Stage) -> None:
        """Train a stage to its end, from its last checkpoint if there is one."""
        name, plan = stage.experiment.name, self.state["stages"][stage.experiment.name]
        experiment = fit_to_machine(stage.experiment, plan)
        if stage is not self.stages[0]:
            first = self.stages[0].experiment.name
            experiment = replace(experiment, start_from=str(self._result(first)))
        seconds = stage.check_after
        expected = stage.expected.after(seconds, plan["samples_per_second"], plan["batch_size"])
        watch = ProgressWatch(self._run(name), expected, first=seconds)

        def start(experiment: Experiment, run: RunContext) -> Any:
            """Build the trainer, then start the self-check."""
            training = stage.trainer(experiment, run)
            watch.start()
            return training

        arguments = ["--resume", "--output", str(self.folder), "--device", str(self.device)]
        try:
            with watch:
                launch(start, {name: experiment}, arguments=arguments)
        except SystemExit:
            if watch.problem is None:
                raise
            refuse("sgm-vfi train pipeline", f"{name} stopped: {watch.problem}")
        except FloatingPointError as error:
            refuse("sgm-vfi train pipeline", f"{name} stopped: {error}")
        plan["finished"] = True
        # A resumed stage ran longer than this process did.
        least = plan["begun"] + 60 * plan["minutes"]
        self.start = min(self.start, time.monotonic() - least)
        self._save()

    def _release(self) -> dict[str, list[Path]]:
        """Write the weights that ship; the second stage shares the tensors that it kept."""
        folder, files = self.folder / "release", {}
        base: Path | None = None
        for stage in self.stages:
            weights = read_weights(self._result(stage.experiment.name))
            shares = base if stage.experiment.training.freeze_local_branch else None
            base = write_release(weights, stage.release, folder, shares)
            files[stage.experiment.name] = [base, *(folder / part for part in part_hashes(base))]
        return files

    def _run(self, name: str) -> Path:
        return self.folder / "log" / name

    def _result(self, name: str) -> Path:
        return self._run(name) / "ckpt" / f"{name}.safetensors"

    def _save(self) -> None:
        self.state["elapsed"] = time.monotonic() - self.start
        self.folder.mkdir(parents=True, exist_ok=True)
        text = json.dumps(self.state, indent=2)
        write_atomically(self.folder / STATE_FILE, f"{text}\n".encode())


def split_time(total: float, elapsed: float, shares: Sequence[float]) -> float:
    """Return the seconds of the next stage: its share of what is left, but for a reserve.

    Args:
        shares: of the next stage and of those after it.
    """
    left = total * (1 - RESERVE) - elapsed
    if left <= 0:
        raise ValueError(f"{elapsed:.0f} of {total:.0f} s are over: give it more --minutes.")
    return left * shares[0] / sum(shares)


def fit_to_machine(experiment: Experiment, plan: dict[str, Any]) -> Experiment:
    """Return the recipe for a batch size, a speed and a time."""
    batch, reuse, minutes = plan["batch_size"], plan["reuse"], plan["minutes"]
    steps_per_second = plan["samples_per_second"] / batch
    steps = 60 * minutes * steps_per_second
    rendered = max(round(steps / EPOCHS / reuse), 1)  # batches of an epoch

    def every(seconds: float) -> int:
        """Return how many steps take a time."""
        return max(round(seconds * steps_per_second), 1)

    training = replace(
        experiment.training,
        minutes=minutes,
        batch_size=batch,
        warmup_steps=min(experiment.training.warmup_steps, round(WARM_UP * steps)),
        save_every=every(SAVE_SECONDS),
        log_every=every(LOG_SECONDS),
        panel_every=every(PANEL_SECONDS),
        validate_every=VALIDATE_EVERY,
    )
    data = replace(experiment.data, train_scenes=rendered * batch, reuse=reuse)
    return replace(experiment, training=training, data=data)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run `sgm-vfi train pipeline`."""
    parser = CommandParser(
        prog="sgm-vfi train pipeline",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add(
        "--minutes",
        type=argument_type(parse_number),
        default=12,
        help="of the whole command (default: 12)",
    )
    add(
        "--config",
        choices=PIPELINES,
        help="recipes (default: gpu on a GPU, cpu on a CPU, which is only a rehearsal)",
    )
    add(
        "--set",
        nargs="+",
        action="extend",
        default=[],
        metavar="FIELD=VALUE",
        dest="changes",
        help="override fields of the recipes of all stages, such as compile=true",
    )
    add("--device", help="cpu, cuda, cuda:1, ... (default: a GPU if available)")
    add(
        "--output", type=Path, default=Path("output/pipeline"), help="folder (default: %(default)s)"
    )
    args = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format=FORMAT, datefmt="%H:%M:%S")
    with report_errors(parser.prog, "The same command continues."):
        args.config = args.config or ("cpu" if select_device(args.device).type == "cpu" else "gpu")
        Pipeline(args.output, args).run()


if __name__ == "__main__":
    main()
