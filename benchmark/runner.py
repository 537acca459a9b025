"""Measure interpolators under the published protocols: one row per sample and model."""

import argparse
from collections.abc import Iterator, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch

from sgm_vfi.benchmark.evaluation import (
    ProtocolEvaluator,
    add_random_weights,
    deterministic_float32,
    load_models,
    load_optional_lpips,
    sample_key,
    select_device,
)
from sgm_vfi.benchmark.export_rows import OUTPUT_HELP, split_output, write_tidy_rows
from sgm_vfi.benchmark.metrics import Metric
from sgm_vfi.benchmark.perceptual_metrics import LOADABLE_METRICS
from sgm_vfi.benchmark.protocol_and_footage_samples import (
    ProtocolSample,
    ProtocolSamples,
    find_samples,
    group_by_inputs,
    read_frame_groups,
)
from sgm_vfi.benchmark.protocols import PROTOCOLS
from sgm_vfi.benchmark.result_summary import (
    ProtocolResult,
    find_deviations,
    format_results,
    read_expected_means,
    read_results,
)
from sgm_vfi.benchmark.row_files import (
    RankRows,
    describe_environment,
    measure_in_parallel,
    utc_now,
)
from sgm_vfi.benchmark.row_journal import Row
from sgm_vfi.engine.distributed import World, process_group
from sgm_vfi.media.images import read_samples
from sgm_vfi.model.automatic_precision import resolve_precision
from sgm_vfi.model.cli_options import (
    MODELS_HELP,
    add_acceleration,
    add_device_option,
    argument_type,
    parse_key_points,
    parse_positive,
)

TIMEOUT = timedelta(days=7)  # that a process waits for one on a slower device


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of a protocol command."""
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument("--model", nargs="+", metavar="NAME_OR_PATH", help=MODELS_HELP)
    which.add_argument(
        "--exp_name", dest="model", nargs="+", metavar="NAME", help="log/NAME/ckpt/NAME.pth"
    )
    add = parser.add_argument
    add_random_weights(parser)
    add("--path", type=Path, required=True, metavar="DIR", help="folder of the data")
    add(
        "--num_key_points",
        type=argument_type(parse_key_points),
        metavar="SHARE",
        help="share of key points to match globally, 0 to 1, or -1 for all (default: as trained)",
    )
    add(
        "--limit",
        type=argument_type(parse_positive),
        help="samples per protocol, evenly spread (default: all)",
    )
    add(
        "--output",
        type=Path,
        default=Path("output/benchmark"),
        metavar="PATH",
        help=OUTPUT_HELP,
    )
    add(
        "--expect",
        type=Path,
        metavar="FILE",
        help="JSON file of means and tolerances; exit with 1 if one is missed (default: none)",
    )
    add(
        "--metrics",
        nargs="+",
        choices=tuple(LOADABLE_METRICS),
        help="besides the protocol's (default: lpips if its weights are found)",
    )
    add("--keep_predictions", action="store_true", help="write PNG files below --output")
    add_device_option(parser)
    add_acceleration(parser)
    parser.set_defaults(is_distributed=True)


def run(args: argparse.Namespace) -> int:
    """Measure what is missing and print the tables; return 1 if --expect is not met."""
    args.output, tidy_file = split_output(args.output)
    names = list(dict.fromkeys(args.model))
    expected = read_expected_means(args.expect, args.protocols, names) if args.expect else []
    found, absent = find_protocol_data(args)
    with process_group(torch.device("cpu"), TIMEOUT) as world, deterministic_float32():
        device = select_device(args.device)
        args.precision = world.broadcast(resolve_precision(args.precision, device))
        models, origins = load_models(names, device, args, args.num_key_points)
        perceptual = load_perceptual_metrics(args.metrics, device)
        evaluator = ProtocolEvaluator(models, origins, *perceptual, device)
        args.output.mkdir(parents=True, exist_ok=True)
        files = [measure_protocol(samples, evaluator, world, args) for samples in found]
        if not world.is_main:
            return 0
    results = read_results(files)
    print_results(results)
    for line in absent:
        print(f"Not found: {line}")
    print(f"\nRows: {args.output}")
    if tidy_file is not None:
        write_tidy_rows(tidy_file, results, command=args.command, date=utc_now())
        print(f"All rows in one file: {tidy_file}")
    if args.random_weights:
        print("Random weights: these scores say nothing of the networks.")
    problems = find_deviations(expected, results)
    for problem in problems:
        print(f"Not as expected: {problem}")
    return int(bool(problems))


def load_perceptual_metrics(
    names: Sequence[str] | None, device: torch.device
) -> tuple[dict[str, Metric], dict[str, str]]:
    """Load perceptual metrics by name; None loads LPIPS if it is available.

    Returns:
        The metrics, and the reason for each default one that is not available.

    Raises:
        MetricError: a metric that is named is not available; says what to do.
    """
    if names is not None:
        return {name: LOADABLE_METRICS[name](device) for name in names}, {}
    lpips, not_measured = load_optional_lpips(device)
    return ({} if lpips is None else {"lpips": lpips}), not_measured


def find_protocol_data(args: argparse.Namespace) -> tuple[list[ProtocolSamples], list[str]]:
    """Return the samples of each protocol, and which protocols have no data with the reason.

    A protocol that is named must have its data.
    """
    if not args.path.is_dir():
        raise FileNotFoundError(f"--path is no folder: {args.path} ({args.path.resolve()}).")
    found, absent = [], []
    for protocol in (PROTOCOLS[name] for name in args.protocols):
        try:
            find_root = protocol.find_root_below if args.is_parent_folder else protocol.find_root
            found.append(find_samples(protocol, find_root(args.path), args.limit))
        except FileNotFoundError as error:
            if not args.is_parent_folder:
                raise
            absent.append(f"{protocol.name}: {error}")
    if not found:
        raise FileNotFoundError("There is no data for any protocol.\n" + "\n".join(absent))
    return found, absent


def measure_protocol(
    found: ProtocolSamples, evaluator: ProtocolEvaluator, world: World, args: argparse.Namespace
) -> Path:
    """Measure the missing rows of one protocol, each process its share; return the file."""
    protocol = found.protocol
    folder = args.output / "predictions" if args.keep_predictions else None

    def measure_rows(known: RankRows) -> tuple[int, Iterator[Row]]:
        """Return the number of missing samples of this rank, and their rows."""
        own = find_missing(found, evaluator, known)[world.rank :: world.size]
        rows = (
            row
            for group in read_frame_groups(protocol, own)
            for row in evaluator.measure(group, protocol, known.holds, folder)
        )
        return len(evaluator.models) * sum(map(len, own)), rows

    return measure_in_parallel(
        args.output / f"{protocol.name}.jsonl",
        describe_measurement(found, evaluator, args),
        list(evaluator.models),
        [sample.name for sample in found.samples],
        args.command,
        world,
        measure_rows,
    )


def find_missing(
    found: ProtocolSamples, evaluator: ProtocolEvaluator, known: RankRows
) -> list[list[ProtocolSample]]:
    """Return the samples without a row of every model, grouped by their input frames."""
    return group_by_inputs(
        sample
        for sample in found.samples
        if not all(
            known.holds(sample_key(model, found.protocol, sample)) for model in evaluator.models
        )
    )


def describe_measurement(
    found: ProtocolSamples, evaluator: ProtocolEvaluator, args: argparse.Namespace
) -> dict[str, Any]:
    """Return the header of the rows; measurements with equal headers are the same."""
    protocol = found.protocol
    height, width = read_samples(found.samples[0].paths.target).shape[:2]
    return {
        "protocol": protocol.name,
        **protocol.rules(),
        "metrics": list(evaluator.metrics(protocol)),
        "not_measured": evaluator.not_measured,
        "published": {model: known.values for model, known in protocol.published.items()},
        "published_in": {model: known.where for model, known in protocol.published.items()},
        "path": str(found.root.resolve()),
        "samples": len(found.samples),
        "first_size": f"{width}x{height}",
        "limit": args.limit,
        "num_key_points": args.num_key_points,
        "random_weights": args.random_weights,
        "precision": args.precision,
        "compiled": args.compile,
        "keep_predictions": args.keep_predictions,
        "models": evaluator.origins,
        **describe_environment(evaluator.device),
    }


def print_results(results: Sequence[ProtocolResult]) -> None:
    """Print each table, and below it how the measurement differs from the published one."""
    for result in results:
        about = result.about
        print(f"\n{format_results([result])}\n")
        for model, values in about["published"].items():
            numbers = ", ".join(f"{metric} {value:g}" for metric, value in values.items())
            print(f"Published: {model}: {numbers} ({about['published_in'][model]}).")
        for name, own, unit in (
            ("samples", about["samples"], "samples"),
            ("size", about["first_size"], "pixels, the first frame"),
        ):
            published = about[f"published_{name}"]
            if published not in (None, own):
                print(f"Not as published: {own} {unit}; published: {published}.")
        for guess in about["guessed"]:
            print(f"Guessed: {guess}")
    for metric, reason in results[0].about["not_measured"].items():
        print(f"\nNot measured: {metric}. {reason}")
