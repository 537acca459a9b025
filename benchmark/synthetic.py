"""Measure interpolators on synthetic scenes by motion: frames, flows, occluded pixels."""

import argparse
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import torch
from tqdm import tqdm

from sgm_vfi.benchmark.evaluation import (
    add_random_weights,
    deterministic_float32,
    load_models,
    select_device,
)
from sgm_vfi.benchmark.export_rows import OUTPUT_HELP, split_output, write_tidy_rows
from sgm_vfi.benchmark.frame_cost import measure_costs
from sgm_vfi.benchmark.motion_bins import format_bin_tables, plot_bins
from sgm_vfi.benchmark.motion_statistics import flow_statistics
from sgm_vfi.benchmark.result_summary import MOTION, read_results
from sgm_vfi.benchmark.row_files import (
    RankRows,
    describe_environment,
    measure_in_parallel,
    utc_now,
)
from sgm_vfi.benchmark.row_journal import ReportError, Row
from sgm_vfi.benchmark.runner import TIMEOUT
from sgm_vfi.benchmark.synthetic_metrics import (
    GROUND_TRUTH_METRICS,
    MIN_PIXELS,
    TRUTH,
    measure_prediction,
    warp_true_motion,
)
from sgm_vfi.dataset.synthetic import SceneGenerator, SyntheticConfig
from sgm_vfi.dataset.triplet import Triplet
from sgm_vfi.engine.distributed import World, process_group
from sgm_vfi.media.charts import write_png
from sgm_vfi.model import Interpolation, Interpolator
from sgm_vfi.model.automatic_precision import resolve_precision
from sgm_vfi.model.cli_options import (
    MODELS_HELP,
    add_acceleration,
    add_device_option,
    argument_type,
    parse_number,
    parse_positive,
)
from sgm_vfi.model.inference.padding import Padded
from sgm_vfi.model.interpolator import require_finite
from sgm_vfi.storage.atomic_write import write_atomically

PROTOCOL = "synthetic"
TEST_SCENES = 2  # first of a scene's seeds; training has 1, validation 0
REFERENCE_SIDE = 512  # pixels: motion is given for frames of this size
SURVEY_SIDE = 64  # pixels: size at which the motion of candidate scenes is measured
SURVEY_BATCH = 16
MAX_DRAWN = 60  # candidates per scene that is asked for; rarer motion is not searched for
RULES = (
    "Scenes of dataset/synthetic that training never draws, rendered on the CPU; the middle frame "
    "is predicted at t = 1/2 and compared as it is, without rounding.",
    "Nothing curves or changes its speed, so that two frames can tell the one between.",
    f"motion: the 95th percentile of the true motion from frame 0 to frame 1, in pixels of a frame "
    f"of {REFERENCE_SIDE}x{REFERENCE_SIDE}. Scenes are drawn in the order of their numbers; "
    "each bin takes the first ones that fall into it.",
    "psnr: dB, over all pixels; psnr_visible: over those whose surface is seen in both frames; "
    "psnr_occluded: over the others.",
    "epe: end-point error in pixels of the frame, of the flows from the middle frame towards both, "
    "from the true ones; epe_visible and epe_occluded: where the surface is seen in the frame that "
    "the flow leads to, or is not. Of interpolators that tell no flow there is none.",
    f"Fewer than {MIN_PIXELS} pixels have no mean.",
)


class TestScene(NamedTuple):
    """A scene of the test set."""

    number: int
    motion: float  # see RULES
    bin: str

    @property
    def name(self) -> str:
        """Name of the sample."""
        return f"scene {self.number}"

    def row_keys(self, models: Iterable[str]) -> list[Row]:
        """Return one row per model without its metrics."""
        sample = {"sample": self.name, "bin": self.bin, MOTION: self.motion}
        return [{"model": model, "protocol": PROTOCOL, **sample} for model in models]


@dataclass(frozen=True)
class SyntheticEvaluator:
    """Models and the generator of the scenes."""

    models: Mapping[str, Callable[[Triplet], Interpolation]]
    origins: Mapping[str, Any]
    generator: SceneGenerator
    seed: int
    device: torch.device

    @torch.inference_mode()
    def measure(self, scenes: Sequence[TestScene], known: RankRows) -> Iterator[Row]:
        """Yield one row per scene and model that no process has measured."""
        for scene in scenes:
            missing = [key for key in scene.row_keys(self.models) if not known.holds(key)]
            if not missing:
                continue
            seeds = scene_seeds(self.seed, scene.number)
            triplet = self.generator.draw([seeds]).triplet(truth=True).to(self.device)
            for key in missing:
                out = self.models[key["model"]](triplet)
                require_finite(out.frame, key["model"], f"in scene {scene.number}")
                yield key | measure_prediction(out, triplet)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of `sgm-vfi benchmark synthetic`."""
    add, positive = parser.add_argument, argument_type(parse_positive)
    add(
        "--model",
        nargs="+",
        required=True,
        metavar="NAME_OR_PATH",
        help=f"{MODELS_HELP}; {TRUTH!r} warps along the true motion",
    )
    add_random_weights(parser)
    add("--scenes", type=positive, default=24, help="per bin (default: %(default)s)")
    add(
        "--bins",
        type=argument_type(parse_number),
        nargs="+",
        default=[15.0, 30.0, 60.0, 120.0],
        metavar="PIXELS",
        help=f"edges between bins of motion, for frames of {REFERENCE_SIDE}x{REFERENCE_SIDE} "
        "(default: 15 30 60 120)",
    )
    add(
        "--size",
        type=positive,
        default=REFERENCE_SIDE,
        help="side of the frames, in pixels (default: %(default)s)",
    )
    add("--seed", type=int, default=0, help="of the scenes (default: %(default)s)")
    add("--reference", metavar="MODEL", help="model that others are compared with (default: first)")
    add("--runs", type=int, default=3, help="timed runs per network, 0 for none (default: 3)")
    add(
        "--output",
        type=Path,
        default=Path("output/synthetic"),
        metavar="PATH",
        help=OUTPUT_HELP,
    )
    add_device_option(parser)
    add_acceleration(parser)
    parser.set_defaults(is_distributed=True)


def run(args: argparse.Namespace) -> None:
    """Measure what is missing; write rows, tables and a chart, and print the tables."""
    names = list(dict.fromkeys(args.model))
    reference = args.reference or names[0]
    if reference not in names:
        raise ReportError(f"--reference is one of the models, got {reference}.")
    bins = name_bins(args.bins)
    args.output, tidy_file = split_output(args.output)
    with process_group(torch.device("cpu"), TIMEOUT) as world, deterministic_float32():
        args.precision = world.broadcast(resolve_precision(args.precision, args.device))
        evaluator = load_evaluator(names, args)
        scenes = world.broadcast(select_scenes(evaluator.generator, bins, args, world))
        args.output.mkdir(parents=True, exist_ok=True)

        def measure_rows(known: RankRows) -> tuple[int, Iterator[Row]]:
            """Return the number of missing rows of this rank, and the rows."""
            own = scenes[world.rank :: world.size]
            missing = sum(not known.holds(key) for one in own for key in one.row_keys(names))
            return missing, evaluator.measure(own, known)

        path = measure_in_parallel(
            args.output / f"{PROTOCOL}.jsonl",
            describe_measurement(evaluator, scenes, args),
            names,
            [scene.name for scene in scenes],
            args.command,
            world,
            measure_rows,
        )
    if world.is_main:
        write_tables(path, reference, measure_costs(names, args), args)
        if tidy_file is not None:
            write_tidy_rows(tidy_file, read_results([path]), command=args.command, date=utc_now())
            print(f"{tidy_file}: the rows.")


def name_bins(edges: Sequence[float]) -> dict[str, tuple[float, float]]:
    """Return ranges of motion by name."""
    if list(edges) != sorted(set(edges)) or edges[0] <= 0:
        raise ReportError(f"--bins are increasing numbers above 0, got {list(edges)}.")
    inner = {f"{low:g} to {high:g} px": (low, high) for low, high in pairwise(edges)}
    first, last = {f"below {edges[0]:g} px": (0.0, edges[0])}, (edges[-1], float("inf"))
    return first | inner | {f"{edges[-1]:g} px and more": last}


def load_evaluator(names: Sequence[str], args: argparse.Namespace) -> SyntheticEvaluator:
    """Load the models, and build the generator of the scenes."""
    device = select_device(args.device)
    models, origins = load_models([name for name in names if name != TRUTH], device, args)
    predictors: dict[str, Callable[[Triplet], Interpolation]] = {
        name: warp_true_motion if name == TRUTH else partial(predict, Padded(models[name]))
        for name in names
    }
    generator = SceneGenerator(SyntheticConfig(size=(args.size, args.size)))
    return SyntheticEvaluator(predictors, origins, generator, args.seed, device)


def predict(model: Interpolator, triplet: Triplet) -> Interpolation:
    """Predict the middle frame, and the flows to both frames if the model has any."""
    return model(*triplet.inputs(), explain=True)


def select_scenes(
    generator: SceneGenerator,
    bins: Mapping[str, tuple[float, float]],
    args: argparse.Namespace,
    world: World,
) -> list[TestScene]:
    """Select the first scenes of each bin, in the main process only."""
    if not world.is_main:
        return []
    small = generator.with_size((SURVEY_SIDE, SURVEY_SIDE))
    chosen: dict[str, list[TestScene]] = {name: [] for name in bins}
    total = args.scenes * len(bins)
    with tqdm(total=total, unit="scene", desc="choosing", leave=False) as progress:
        for start in range(0, MAX_DRAWN * total, SURVEY_BATCH):
            numbers = range(start, start + SURVEY_BATCH)
            truth = small.draw([scene_seeds(args.seed, number) for number in numbers]).truth()
            for number, flow in zip(numbers, truth.flow_01, strict=True):
                sufficiency = flow_statistics(flow).sufficiency
                motion = round(sufficiency * REFERENCE_SIDE / SURVEY_SIDE, 3)
                name = next(n for n, (low, high) in bins.items() if low <= motion < high)
                if len(chosen[name]) < args.scenes:
                    chosen[name].append(TestScene(number, motion, name))
                    progress.update()
            if all(len(scenes) == args.scenes for scenes in chosen.values()):
                break
    return [scene for scenes in chosen.values() for scene in scenes]


def scene_seeds(seed: int, number: int) -> tuple[int, int, int, int]:
    """Return the seeds of a test scene."""
    return TEST_SCENES, seed, 0, number


def describe_measurement(
    evaluator: SyntheticEvaluator, scenes: Sequence[TestScene], args: argparse.Namespace
) -> dict[str, Any]:
    """Return the header of the rows; measurements with equal headers are the same."""
    return {
        "protocol": PROTOCOL,
        "rules": RULES,
        "metrics": GROUND_TRUTH_METRICS,
        "generator": asdict(evaluator.generator.config),
        "seed": args.seed,
        "scenes": scenes,
        "precision": args.precision,
        "compiled": args.compile,
        "random_weights": args.random_weights,
        "models": evaluator.origins,
        **describe_environment(evaluator.device),
    }


def write_tables(
    path: Path, reference: str, costs: Mapping[str, str], args: argparse.Namespace
) -> None:
    """Print the tables; write them and the chart beside the rows."""
    [result] = read_results([path])
    text = format_bin_tables(result, reference)
    if costs:
        size = f"{args.size}x{args.size}"
        text += f"\n\nOne frame at {size}, best of {args.runs} runs, memory beyond weights:\n\n"
        text += "\n".join(f"- {name}: {cost}" for name, cost in costs.items())
    if args.random_weights:
        text += "\n\nRandom weights: these scores say nothing of the networks."
    chart = path.with_suffix(".png")
    write_png(chart, plot_bins(result, reference))
    names = ("command", "date", "commit", "device")
    origin = "\n".join(f"{name}: {result.about[name]}" for name in names)
    write_atomically(path.with_suffix(".md"), f"{text}\n\n{origin}\n".encode())
    print(
        f"\n{text}\n\n{path}: {len(result.rows)} rows. Beside it {chart.name} and the tables, .md."
    )
