"""The command line of training: recipe, changes, device and run folder; for python and torchrun."""

import argparse
import dataclasses
import json
import logging
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple, Protocol

import torch
from tqdm.contrib.logging import logging_redirect_tqdm

from sgm_vfi.command_errors import CommandParser, describe_error
from sgm_vfi.engine.checkpoints import CheckpointStore
from sgm_vfi.engine.config_overrides import describe_differences, override
from sgm_vfi.engine.distributed import World, process_group, select_device
from sgm_vfi.read_json import read_json_object
from sgm_vfi.storage.atomic_write import remove_temporaries, write_atomically
from sgm_vfi.storage.file_lock import FileLock

logger = logging.getLogger(__name__)

CONFIG_FILE = "config.json"
PARTS = ("model", "training")  # of a checkpoint that a run can resume from
LOCK_FILE = "run.lock"  # exists while a process trains in the folder
FORMAT = "%(asctime)s %(message)s"


class RecipeFlag(NamedTuple):
    """A command-line flag that stands for fields of the recipe."""

    name: str
    fields: tuple[str, ...]
    help: str
    value: str | None = None  # the flag stands for; None: it takes a value


@dataclass(frozen=True)
class RunContext:
    """Folder, processes and device of a run."""

    folder: Path  # log/<experiment>
    world: World
    device: torch.device
    resume: bool = False  # from the last checkpoint in the folder, if there is one
    is_profiling: bool = False  # fresh weights serve

    @property
    def checkpoints(self) -> CheckpointStore:
        """The checkpoints in the folder; only rank 0 reads and writes them."""
        return CheckpointStore(self.folder / "ckpt", active=self.world.is_main, parts=PARTS)

    @property
    def has_other_weights(self) -> bool:
        """Whether a checkpoint replaces the start weights, or any weights serve; collective."""
        return self.is_profiling or (
            self.resume and self.world.broadcast(self.checkpoints.exists())
        )


class TrainerLike(Protocol):
    """The methods of a trainer that `launch` calls."""

    def fit(self) -> None:
        """Train."""

    def profile_steps(self, steps: int) -> None:
        """Measure some steps."""


def launch(
    trainer: Callable[[Any, RunContext], TrainerLike],
    experiments: Mapping[str, Any],
    flags: Sequence[Sequence[Any]] = (),
    description: str | None = None,
    arguments: Sequence[str] | None = None,
) -> None:
    """Train one of `experiments`, frozen dataclasses with a `name`, by command-line arguments.

    Args:
        flags: rows of `RecipeFlag`.
    """
    recipe_flags = [RecipeFlag(*row) for row in flags]
    parser = build_parser(experiments, recipe_flags, description)
    args = parser.parse_args(arguments)
    try:
        experiment = override(experiments[args.config], parse_changes(args, recipe_flags))
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
        with ExitStack() as stack:
            try:
                stack.enter_context(world.hold_lock(FileLock(folder / LOCK_FILE, folder)))
                prepare_run_folder(run, experiment, args)
                training = trainer(experiment, run)
            except (ValueError, OSError) as error:
                logger.error("%s", describe_error(error))
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
    """Measure the speed of a recipe on fresh weights in a temporary folder."""
    with TemporaryDirectory() as folder:
        try:
            training = trainer(
                experiment, RunContext(Path(folder), world, device, is_profiling=True)
            )
            training.profile_steps(steps)
        except (ValueError, OSError) as error:
            logger.error("%s", describe_error(error))
            sys.exit(2)


def build_parser(
    experiments: Mapping[str, Any], flags: Sequence[RecipeFlag], description: str | None
) -> CommandParser:
    """Build the parser of a training command."""
    parser = CommandParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--config",
        choices=list(experiments),
        default=next(iter(experiments)),
        help="name of the recipe (default: %(default)s)",
    )
    parser.add_argument(
        "--set",
        nargs="+",
        action="extend",
        default=[],
        metavar="FIELD=VALUE",
        dest="changes",
        help="override fields of the recipe: training.batch_size=4, or batch_size=4",
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
        help="continue from the last checkpoint of the run, if there is one",
    )
    parser.add_argument(
        "--allow_changes", action="store_true", help="resume with a recipe that differs"
    )
    parser.add_argument("--overwrite", action="store_true", help="replace the run in the folder")
    parser.add_argument(
        "--measure",
        type=int,
        metavar="STEPS",
        help="only measure the cost of this many steps, on fresh weights",
    )
    parser.add_argument("--device", help="cpu, cuda, cuda:1, ... (default: a GPU if available)")
    parser.add_argument(
        "--output", type=Path, default=Path("."), help="parent of log/<experiment> (default: .)"
    )
    return parser


def parse_changes(args: argparse.Namespace, flags: Sequence[RecipeFlag]) -> dict[str, str]:
    """Return the fields that flags and `--set` change; `--set` has precedence."""
    changes: dict[str, str] = {}
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
    """Prepare the folder in rank 0 and raise its error in all processes."""
    problem = None
    if run.world.is_main:
        try:
            write_run_folder(run, experiment, args)
        except (ValueError, OSError) as error:
            problem = describe_error(error)
    problem = run.world.broadcast(problem)
    if problem is not None:
        raise ValueError(problem)


def write_run_folder(run: RunContext, experiment: Any, args: argparse.Namespace) -> None:
    """Create the folder and write the recipe; refuse to overwrite another run."""
    recipe = to_json_values({"recipe": dataclasses.asdict(experiment), "processes": run.world.size})
    if run.resume:
        require_same_recipe(run.folder, recipe, allow_changes=args.allow_changes)
    elif run.checkpoints.exists() and not args.overwrite:
        raise ValueError(
            f"{run.folder} holds a run already. --resume continues it, --overwrite replaces it, "
            f"--set name=... gives this run another name."
        )
    else:
        remove_previous_run(run.folder)
    run.folder.mkdir(parents=True, exist_ok=True)
    remove_temporaries(run.folder, run.checkpoints.folder)
    write_atomically(run.folder / CONFIG_FILE, f"{json.dumps(recipe, indent=2)}\n".encode())


def require_same_recipe(folder: Path, recipe: dict[str, Any], *, allow_changes: bool) -> None:
    """Refuse to resume with a recipe that differs, unless changes are allowed."""
    path = folder / CONFIG_FILE
    if not path.is_file():
        return
    changed = describe_differences(read_json_object(path, "recipe of a run"), recipe)
    if changed and not allow_changes:
        raise ValueError(
            f"{folder} was started with another recipe:\n  "
            + "\n  ".join(changed)
            + "\nUse the same recipe, or --allow_changes to continue with the new one."
        )
    for line in changed:
        logger.warning("Resuming with a changed recipe. %s", line)


def remove_previous_run(folder: Path) -> None:
    """Remove the files of an earlier run from a folder."""
    patterns = (
        "ckpt/*.pth",
        "ckpt/*.safetensors",
        "log.jsonl",
        "events.out.tfevents.*",
        CONFIG_FILE,
    )
    for pattern in patterns:
        for file in folder.glob(pattern):
            file.unlink()


def to_json_values(values: Any) -> Any:
    """Convert values as a JSON file returns them: tuples become lists."""
    return json.loads(json.dumps(values))
