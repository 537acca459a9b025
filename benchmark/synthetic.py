"""Interpolators on synthetic scenes, by how far things move: frames, flows, what is hidden."""

import argparse
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import torch
from tqdm import tqdm

from sgm_vfi.benchmark.footage import positive
from sgm_vfi.benchmark.ground_truth import FEWEST_PIXELS, METRICS, TRUTH, scores, true_motion
from sgm_vfi.benchmark.motion_bins import against_motion, draw_against_motion
from sgm_vfi.benchmark.motion_statistics import motion_of
from sgm_vfi.benchmark.protocol_evaluation import (
    describe_weights,
    deterministic_float32,
    select_device,
)
from sgm_vfi.benchmark.result_rows import ReportError, Row, provenance
from sgm_vfi.benchmark.results import MOTION, read_results
from sgm_vfi.benchmark.row_files import RankRows, Work, measure_in_parallel
from sgm_vfi.benchmark.runner import PATIENCE
from sgm_vfi.benchmark.timing import SpeedRun, measure_in_subprocess
from sgm_vfi.dataset.synthetic import SceneGenerator, SyntheticConfig
from sgm_vfi.dataset.triplet import Triplet
from sgm_vfi.engine.distributed import World, process_group
from sgm_vfi.media.charts import write_png
from sgm_vfi.media.images import write_atomically
from sgm_vfi.model import ZOO, Interpolation, Interpolator, load_interpolator
from sgm_vfi.model.cli_options import (
    accelerate,
    add_acceleration,
    add_device_option,
    argument_type,
    parse_number,
)
from sgm_vfi.model.fingerprint import fingerprint
from sgm_vfi.model.inference.padding import Padded
from sgm_vfi.model.zoo import build_interpolator, resolve_alias

PROTOCOL = "synthetic"
MODELS = f"names, weights files; {TRUTH!r}: what frames are worth along the true motion"
TEST_SCENES = 2  # first of a scene's seeds; training has 1, validation 0
NORM_SIDE = 512  # pixels: motion is told for frames of this size
SURVEY_SIDE = 64  # pixels: at which motion is looked at before a scene is chosen
SURVEY_BATCH = 16
MOST_DRAWN = 60  # times as many scenes as are wanted: rarer motion is not searched for
RULES = (
    "Scenes of dataset/synthetic that training never draws, rendered on the CPU; the middle frame "
    "is predicted at t = 1/2 and compared as it is, without rounding.",
    "Nothing curves or changes its speed, so that two frames can tell the one between.",
    f"motion: the 95th percentile of the true motion from frame 0 to frame 1, in pixels of a frame "
    f"of {NORM_SIDE}x{NORM_SIDE}. Scenes are drawn in the order of their numbers; each bin takes "
    f"the first ones that fall into it.",
    "psnr: dB, over all pixels; psnr_visible: over those whose surface is seen in both frames; "
    "psnr_occluded: over the others.",
    "epe: end-point error in pixels of the frame, of the flows from the middle frame towards both, "
    "from the true ones; epe_visible and epe_occluded: where the surface is seen in the frame that "
    "the flow leads to, or is not. Of interpolators that tell no flow there is none.",
    f"Fewer than {FEWEST_PIXELS} pixels have no mean.",
)


class TestScene(NamedTuple):
    """A scene that was chosen."""

    number: int
    motion: float  # see RULES
    bin: str


@dataclass(frozen=True)
class SyntheticEvaluator:
    """What is measured, and on what."""

    models: Mapping[str, Callable[[Triplet], Interpolation]]
    origins: Mapping[str, Any]
    maker: SceneGenerator
    seed: int
    device: torch.device

    @torch.inference_mode()
    def measure(self, scenes: Sequence[TestScene], parts: RankRows) -> Iterator[Row]:
        """One row per scene and model that no process has yet."""
        for scene in scenes:
            missing = [k for k in keys_of(scene, self.models) if not parts.holds(k)]
            if missing:
                seeds = seeds_of(self.seed, scene.number)
                triplet = self.maker.draw([seeds]).triplet(truth=True).to(self.device)
            for key in missing:
                out = self.models[key["model"]](triplet)
                if out.frame.isnan().any():
                    raise ValueError(f"{key['model']} predicts values that are not numbers.")
                yield key | scores(out, triplet)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe `python -m benchmark synthetic`."""
    add = parser.add_argument
    add("--model", nargs="+", required=True, metavar="NAME_OR_PATH", help=MODELS)
    add("--random_weights", action="store_true", help="fresh weights, as a trial")
    add("--scenes", type=argument_type(positive), default=24, help="per bin (default: %(default)s)")
    add(
        "--bins",
        type=argument_type(parse_number),
        nargs="+",
        default=[15.0, 30.0, 60.0, 120.0],
        metavar="PIXELS",
        help=f"motion between two bins, at {NORM_SIDE}x{NORM_SIDE} (default: 15 30 60 120)",
    )
    add("--size", type=argument_type(positive), default=NORM_SIDE, help="of the frames, in pixels")
    add("--seed", type=int, default=0, help="of the scenes")
    add("--reference", metavar="MODEL", help="that differences are from (default: the first)")
    add("--runs", type=int, default=3, help="timed runs of each named network; 0: none")
    add("--output", type=Path, default=Path("output/synthetic"), metavar="DIR")
    add_device_option(parser)
    add_acceleration(parser)
    parser.set_defaults(shared=True)  # among the processes of torchrun


def run(args: argparse.Namespace) -> None:
    """Measure what is not measured yet; leave rows, a table and a plot, and print the table."""
    names = list(dict.fromkeys(args.model))
    reference = args.reference or names[0]
    if reference not in names:
        raise ReportError(f"--reference is one of the models, got {reference}.")
    bins = bins_of(args.bins)
    where = select_device(args.device)
    with process_group(torch.device("cpu"), PATIENCE) as world, deterministic_float32():
        setup = set_up(names, args, where)
        scenes = world.broadcast(choose(setup.maker, bins, args, world))
        args.output.mkdir(parents=True, exist_ok=True)

        def own_rows(parts: RankRows) -> tuple[int, Iterator[Row]]:
            own = scenes[world.rank :: world.size]
            known = sum(parts.holds(key) for scene in own for key in keys_of(scene, names))
            return len(own) * len(names) - known, setup.measure(own, parts)

        path = args.output / f"{PROTOCOL}.jsonl"
        samples = [name_of(scene) for scene in scenes]
        work = Work(path, describe(setup, scenes, args), names, samples)
        measure_in_parallel(work, args.command, world, own_rows)
    if world.is_main:
        report(path, reference, costs(names, args), args)


def bins_of(edges: Sequence[float]) -> dict[str, tuple[float, float]]:
    """Ranges of motion by name."""
    if list(edges) != sorted(set(edges)) or edges[0] <= 0:
        raise ReportError(f"--bins are increasing numbers above 0, got {list(edges)}.")
    inner = {f"{low:g} to {high:g} px": (low, high) for low, high in pairwise(edges)}
    first, last = {f"below {edges[0]:g} px": (0.0, edges[0])}, (edges[-1], float("inf"))
    return first | inner | {f"{edges[-1]:g} px and more": last}


def set_up(
    names: Sequence[str], args: argparse.Namespace, where: torch.device
) -> SyntheticEvaluator:
    """Load the models, and make textures and shapes."""
    load = build_interpolator if args.random_weights else load_interpolator
    models = {name: load(name).to(where).eval() for name in names if name != TRUTH}
    origins = {
        name: {"fingerprint": fingerprint(model)}
        if args.random_weights
        else describe_weights(name, model)
        for name, model in models.items()
    }
    for model in models.values():
        accelerate(model, args.precision, args.compile)
    maker = SceneGenerator(SyntheticConfig(size=(args.size, args.size)))
    ways = {name: partial(interpolate, Padded(model)) for name, model in models.items()}
    ways[TRUTH] = true_motion
    return SyntheticEvaluator(
        {name: ways[name] for name in names}, origins, maker, args.seed, where
    )


def interpolate(model: Interpolator, triplet: Triplet) -> Interpolation:
    """The frame between, and the flows towards both frames, if the model tells any."""
    return model(*triplet.inputs(), explain=True)


def choose(
    maker: SceneGenerator,
    bins: Mapping[str, tuple[float, float]],
    args: argparse.Namespace,
    world: World,
) -> list[TestScene]:
    """The first scenes of each bin; looked for by the main process alone."""
    if not world.is_main:
        return []
    small = maker.with_size((SURVEY_SIDE, SURVEY_SIDE))
    chosen: dict[str, list[TestScene]] = {name: [] for name in bins}
    wanted = args.scenes * len(bins)
    with tqdm(total=wanted, unit="scene", desc="choosing", leave=False) as progress:
        for start in range(0, MOST_DRAWN * wanted, SURVEY_BATCH):
            numbers = range(start, start + SURVEY_BATCH)
            truth = small.draw([seeds_of(args.seed, number) for number in numbers]).truth()
            for number, flow in zip(numbers, truth.flow_01, strict=True):
                moved = round(motion_of(flow).sufficiency * NORM_SIDE / SURVEY_SIDE, 3)
                name = next(n for n, (low, high) in bins.items() if low <= moved < high)
                if len(chosen[name]) < args.scenes:
                    chosen[name].append(TestScene(number, moved, name))
                    progress.update()
            if all(len(found) == args.scenes for found in chosen.values()):
                break
    return [scene for found in chosen.values() for scene in found]


def seeds_of(seed: int, number: int) -> tuple[int, int, int, int]:
    """What a test scene is drawn from."""
    return TEST_SCENES, seed, 0, number


def name_of(scene: TestScene) -> str:
    return f"scene {scene.number}"


def keys_of(scene: TestScene, models: Mapping[str, Any] | Sequence[str]) -> list[Row]:
    """The rows of a scene without their numbers."""
    told = {"sample": name_of(scene), "bin": scene.bin, MOTION: scene.motion}
    return [{"model": model, "protocol": PROTOCOL, **told} for model in models]


def describe(
    setup: SyntheticEvaluator, scenes: Sequence[TestScene], args: argparse.Namespace
) -> dict[str, Any]:
    """What is measured, by what and how: two measurements are one where this is the same."""
    return {
        "protocol": PROTOCOL,
        "rules": RULES,
        "metrics": METRICS,
        "generator": asdict(setup.maker.config),
        "seed": args.seed,
        "scenes": scenes,
        "precision": args.precision,
        "compiled": args.compile,
        "random_weights": args.random_weights,
        "models": setup.origins,
        **provenance(setup.device),
    }


def costs(names: Sequence[str], args: argparse.Namespace) -> dict[str, str]:
    """Seconds and memory of one frame, each network in a process of its own."""
    told = {}
    for name in tqdm(names if args.runs else (), "timing", leave=False):
        if resolve_alias(name) in ZOO:
            job = SpeedRun(
                resolve_alias(name), args.size, args.size, 1.0, str(args.device), args.runs
            )
            cost = measure_in_subprocess(
                job._replace(precision=args.precision, compiled=args.compile)
            )
            told[name] = (
                cost if isinstance(cost, str) else f"{min(cost.seconds):.3g} s, {cost.gib:.2f} GiB"
            )
    return told


def report(path: Path, reference: str, told: Mapping[str, str], args: argparse.Namespace) -> None:
    """Print the tables; write them and the plot beside the rows."""
    [result] = read_results([path])
    text = against_motion(result, reference)
    if told:
        size = f"{args.size}x{args.size}"
        text += f"\n\nOne frame at {size}, best of {args.runs} runs, memory beyond weights:\n\n"
        text += "\n".join(f"- {name}: {cost}" for name, cost in told.items())
    if args.random_weights:
        text += "\n\nRandom weights: these scores say nothing of the networks."
    plot = path.with_suffix(".png")
    write_png(plot, draw_against_motion(result, reference))
    about = {key: result.about[key] for key in ("command", "date", "commit", "device")}
    origin = "\n".join(f"{name}: {value}" for name, value in about.items())
    write_atomically(path.with_suffix(".md"), f"{text}\n\n{origin}\n".encode())
    print(
        f"\n{text}\n\n{path}: {len(result.rows)} rows. Beside it {plot.name} and the tables, .md."
    )
