"""From a command line to a run: which recipe, with which changes, on which device, in which folder.

The same for plain `python` and for `torchrun`, on one machine or many.
"""

import argparse
import dataclasses
import json
import logging
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple, Protocol

import torch
from tqdm.contrib.logging import logging_redirect_tqdm

from sgm_vfi.engine.checkpoints import CheckpointStore
from sgm_vfi.engine.distributed import World, process_group, select_device
from sgm_vfi.engine.settings import describe_differences, override

logger = logging.getLogger(__name__)

RECIPE = "config.json"
FORMAT = "%(asctime)s %(message)s"


class RecipeFlag(NamedTuple):
    """A command-line flag that stands for fields of the recipe."""

    name: str
    fields: tuple[str, ...]
    help: str
    value: str | None = None  # what the flag alone means; None: it takes a value


@dataclass(frozen=True)
class RunContext:
    """Where and by whom a recipe is carried out."""

    folder: Path  # log/<experiment>
    world: World
    device: torch.device
    resume: bool = False  # from the folder's last checkpoint, if there is one
    is_profiling: bool = False  # only speed counts: any weights do

    @property
    def checkpoints(self) -> CheckpointStore:
        return CheckpointStore(self.folder / "ckpt", active=self.world.is_main)

    @property
    def has_other_weights(self) -> bool:
        """Whether no weights to start from are needed: a checkpoint has others, or any do.

        All processes ask together: the checkpoint may lie on the main one's disk alone.
        """
        return self.is_profiling or (
            self.resume and self.world.broadcast(self.checkpoints.exists())
        )


class TrainerLike(Protocol):
    """What `launch` needs of a trainer."""

    def fit(self) -> None: ...

    def profile_steps(self, steps: int) -> None: ...


def launch(
    trainer: Callable[[Any, RunContext], TrainerLike],
    experiments: Mapping[str, Any],
    flags: Sequence[Sequence[Any]] = (),
    description: str | None = None,
    arguments: Sequence[str] | None = None,
) -> None:
    """Train one of `experiments`, frozen dataclasses with a `name`, as the command line says.

    Args:
        flags: rows of `RecipeFlag`.
    """
    flags = [RecipeFlag(*row) for row in flags]
    parser = build_parser(experiments, flags, description)
    args = parser.parse_args(arguments)
    try:
        experiment = override(experiments[args.config], parse_changes(args, flags))
        device = select_device(args.device)
    except (ValueError, RuntimeError) as error:
        parser.error(str(error))
    with process_group(device) as world:
        level = logging.INFO if world.is_main else logging.WARNING
        logging.basicConfig(level=level, format=FORMAT, datefmt="%H:%M:%S")
        if args.measure is not None:
            profile_training(trainer, experiment, args.measure, world, device)
            return
        folder = args.output / "log" / experiment.name
        run = RunContext(folder, world, device, resume=args.resume or world.is_restarted)
        try:
            prepare_run_folder(run, experiment, args)
            training = trainer(experiment, run)
        except (ValueError, OSError) as error:
            logger.error("%s", error)
            sys.exit(2)
        with logging_redirect_tqdm():
            training.fit()


def profile_training(
    trainer: Callable[[Any, RunContext], TrainerLike],
    experiment: Any,
    steps: int,
    world: World,
    device: torch.device,
) -> None:
    """Measure a recipe's speed, with fresh weights; nothing is left behind."""
    with TemporaryDirectory() as folder:
        try:
            training = trainer(
                experiment, RunContext(Path(folder), world, device, is_profiling=True)
            )
            training.profile_steps(steps)
        except (ValueError, OSError) as error:
            logger.error("%s", error)
            sys.exit(2)


def build_parser(
    experiments: Mapping[str, Any], flags: Sequence[RecipeFlag], description: str | None
) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--config", choices=list(experiments), default=next(iter(experiments)), help="the recipe"
    )
    parser.add_argument(
        "--set",
        nargs="+",
        action="extend",
        default=[],
        metavar="FIELD=VALUE",
        dest="changes",
        help="change fields of the recipe: training.batch_size=4, or batch_size=4 for short",
    )
    for flag in flags:
        names = " and ".join(flag.fields)
        text = f"{flag.help} (sets {names})"
        if flag.value is None:
            parser.add_argument(flag.name, help=text, metavar="VALUE")
        else:
            parser.add_argument(flag.name, help=text, action="store_const", const=flag.value)
    parser.add_argument(
        "--resume",
        action="store_true",
        help="go on from the run's last checkpoint; begin where there is none yet",
    )
    parser.add_argument(
        "--allow_changes", action="store_true", help="resume although the recipe differs"
    )
    parser.add_argument(
        "--overwrite", action="store_true", help="begin anew in a folder that holds a run"
    )
    parser.add_argument(
        "--measure",
        type=int,
        metavar="STEPS",
        help="only say what this many steps cost, on fresh weights, and keep nothing",
    )
    parser.add_argument("--device", help="cpu, cuda, cuda:1, ...; default: a GPU if there is one")
    parser.add_argument(
        "--output", type=Path, default=Path("."), help="where log/<experiment> is put; default here"
    )
    return parser


def parse_changes(args: argparse.Namespace, flags: Sequence[RecipeFlag]) -> dict[str, str]:
    """Fields and their new values, as text; `--set` has the last word."""
    changes = {}
    for flag in flags:
        value = getattr(args, flag.name.removeprefix("--"))
        if value is not None:
            changes |= dict.fromkeys(flag.fields, value)
    for change in args.changes:
        name, sign, value = change.partition("=")
        if not sign:
            raise ValueError(f"--set takes FIELD=VALUE, got {change!r}.")
        changes[name] = value
    return changes


def prepare_run_folder(run: RunContext, experiment: Any, args: argparse.Namespace) -> None:
    """See that nobody's work is lost, and save the recipe with the run."""
    problem = None
    if run.world.is_main:
        try:
            write_run_folder(run, experiment, args)
        except (ValueError, OSError) as error:
            problem = str(error)
    problem = run.world.broadcast(problem)
    if problem is not None:
        raise ValueError(problem)


def write_run_folder(run: RunContext, experiment: Any, args: argparse.Namespace) -> None:
    """Make the run's folder, and write its recipe."""
    recipe = to_json_values({"recipe": dataclasses.asdict(experiment), "processes": run.world.size})
    if run.resume:
        require_same_recipe(run.folder, recipe, allow_changes=args.allow_changes)
    elif run.checkpoints.exists() and not args.overwrite:
        raise ValueError(
            f"{run.folder} holds a run already. --resume goes on with it, --overwrite begins "
            f"anew in its place, --set name=... gives this run another name."
        )
    else:
        remove_previous_run(run.folder)
    run.folder.mkdir(parents=True, exist_ok=True)
    (run.folder / RECIPE).write_text(json.dumps(recipe, indent=2) + "\n")


def require_same_recipe(folder: Path, recipe: dict[str, Any], *, allow_changes: bool) -> None:
    """Refuse to go on with another recipe than a run was begun with, unless told to."""
    path = folder / RECIPE
    if not path.is_file():
        return
    changed = describe_differences(json.loads(path.read_text()), recipe)
    if changed and not allow_changes:
        raise ValueError(
            f"{folder} was begun with another recipe:\n  "
            + "\n  ".join(changed)
            + "\nGive the same again, or --allow_changes to go on with the new one."
        )
    for line in changed:
        logger.warning("Going on with a changed recipe. %s", line)


def remove_previous_run(folder: Path) -> None:
    """Remove what an earlier run left in a folder, and nothing else."""
    patterns = ("ckpt/*.pth", "ckpt/*.safetensors", "log.jsonl", "events.out.tfevents.*", RECIPE)
    for pattern in patterns:
        for file in folder.glob(pattern):
            file.unlink()


def to_json_values(values: Any) -> Any:
    """Values as they come back from a JSON file: tuples as lists."""
    return json.loads(json.dumps(values))
