"""Interpolators under the published protocols: a row per sample and model, kept as it comes."""

import argparse
from collections.abc import Iterator, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch

from sgm_vfi.benchmark.expect import missed, read_expected
from sgm_vfi.benchmark.footage import positive
from sgm_vfi.benchmark.protocol_evaluation import (
    ProtocolEvaluator,
    deterministic_float32,
    measure,
    sample_key,
    select_device,
    set_up,
)
from sgm_vfi.benchmark.protocol_samples import (
    ProtocolSample,
    ProtocolSamples,
    find_samples,
    pairs,
    read_frame_groups,
)
from sgm_vfi.benchmark.protocols import PROTOCOLS
from sgm_vfi.benchmark.result_rows import Row, provenance
from sgm_vfi.benchmark.results import ProtocolResult, markdown_report, read_results
from sgm_vfi.benchmark.row_files import RankRows, Work, measure_in_parallel
from sgm_vfi.engine.distributed import World, process_group
from sgm_vfi.media.images import read_samples
from sgm_vfi.model.cli_options import (
    accelerate,
    add_acceleration,
    add_device_option,
    argument_type,
    parse_key_points,
)

PATIENCE = timedelta(days=7)  # that a process waits for one on a slower device


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what `run` reads."""
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument("--model", nargs="+", metavar="NAME_OR_PATH", help="names, weights files")
    which.add_argument(
        "--exp_name", dest="model", nargs="+", metavar="NAME", help="log/NAME/ckpt/NAME.pth"
    )
    add = parser.add_argument
    add("--path", type=Path, required=True, metavar="DIR", help="where the data is")
    add(
        "--num_key_points",
        type=argument_type(parse_key_points),
        metavar="SHARE",
        help="0 to 1, or -1: all",
    )
    add("--limit", type=argument_type(positive), help="samples per protocol, evenly spread")
    add("--output", type=Path, default=Path("output/benchmark"), metavar="DIR", help="of the rows")
    add("--expect", type=Path, metavar="FILE", help="means and tolerances, JSON; 1 where off")
    add("--keep_predictions", action="store_true", help="as PNG files below --output")
    add_device_option(parser)
    add_acceleration(parser)
    parser.set_defaults(shared=True)  # among the processes of torchrun


def run(args: argparse.Namespace) -> int:
    """Measure what is not measured yet, and print the tables; 1 where --expect is not met."""
    names = list(dict.fromkeys(args.model))
    expected = read_expected(args.expect, args.protocols, names) if args.expect else []
    jobs, absent = find_jobs(args)
    with process_group(torch.device("cpu"), PATIENCE) as world, deterministic_float32():
        setup = set_up(names, args.num_key_points, select_device(args.device))
        for model in setup.models.values():
            accelerate(model, args.precision, args.compile)
        args.output.mkdir(parents=True, exist_ok=True)
        files = [measure_job(job, setup, world, args) for job in jobs]
        if not world.is_main:
            return 0
    results = read_results(files)
    report(results)
    for line in absent:
        print(f"Not found: {line}")
    print(f"\nRows: {args.output}")
    problems = missed(expected, results)
    for problem in problems:
        print(f"Not as expected: {problem}")
    return int(bool(problems))


def find_jobs(args: argparse.Namespace) -> tuple[list[ProtocolSamples], list[str]]:
    """What can be measured, and which protocols have no data, with the reason.

    One protocol has to have its data; of all, those that have.
    """
    if not args.path.is_dir():
        raise FileNotFoundError(f"--path is no folder: {args.path} ({args.path.resolve()}).")
    jobs, absent = [], []
    for protocol in (PROTOCOLS[name] for name in args.protocols):
        try:
            root = (protocol.root_below if args.below else protocol.root)(args.path)
            jobs.append(find_samples(protocol, root, args.limit))
        except FileNotFoundError as error:
            if not args.below:
                raise
            absent.append(f"{protocol.name}: {error}")
    if not jobs:
        raise FileNotFoundError("There is no data for any protocol.\n" + "\n".join(absent))
    return jobs, absent


def measure_job(
    job: ProtocolSamples, setup: ProtocolEvaluator, world: World, args: argparse.Namespace
) -> Path:
    """Measure what is missing, this process its share of it; the main one writes the file."""
    predictions = args.output / "predictions" if args.keep_predictions else None

    def own_rows(parts: RankRows) -> tuple[int, Iterator[Row]]:
        own = still_to_measure(job, setup, parts)[world.rank :: world.size]
        rows = (
            row
            for group in read_frame_groups(job.protocol, own)
            for row in measure(group, job.protocol, setup, parts.holds, predictions)
        )
        return len(setup.models) * sum(map(len, own)), rows

    work = Work(
        args.output / f"{job.protocol.name}.jsonl",
        describe(job, setup, args),
        list(setup.models),
        [sample.name for sample in job.samples],
    )
    return measure_in_parallel(work, args.command, world, own_rows)


def still_to_measure(
    job: ProtocolSamples, setup: ProtocolEvaluator, parts: RankRows
) -> list[list[ProtocolSample]]:
    """The samples that some model was not measured on, by the frames they lie between."""
    missing = [
        sample
        for sample in job.samples
        if not all(parts.holds(sample_key(model, job.protocol, sample)) for model in setup.models)
    ]
    return pairs(missing)


def describe(
    job: ProtocolSamples, setup: ProtocolEvaluator, args: argparse.Namespace
) -> dict[str, Any]:
    """What is measured, by what and how: two measurements are one where this is the same."""
    protocol = job.protocol
    height, width = read_samples(job.samples[0].paths.target).shape[:2]
    return {
        "protocol": protocol.name,
        **protocol.rules(),
        "metrics": list(setup.metrics(protocol)),
        "not_measured": setup.not_measured,
        "published": {model: known.values for model, known in protocol.published.items()},
        "published_in": {model: known.where for model, known in protocol.published.items()},
        "path": str(job.root.resolve()),
        "samples": len(job.samples),
        "first_size": f"{width}x{height}",
        "limit": args.limit,
        "num_key_points": args.num_key_points,
        "precision": args.precision,
        "compiled": args.compile,
        "keep_predictions": args.keep_predictions,
        "models": setup.origins,
        **provenance(setup.device),
    }


def report(results: Sequence[ProtocolResult]) -> None:
    """Print the tables, and below each what to know before comparing it with published ones."""
    for result in results:
        about = result.about
        print(f"\n{markdown_report([result])}\n")
        for model, values in about["published"].items():
            numbers = ", ".join(f"{metric} {value:g}" for metric, value in values.items())
            print(f"Published: {model}: {numbers} ({about['published_in'][model]}).")
        for name, unit in (("samples", "samples"), ("size", "pixels, the first frame")):
            own = about["samples" if name == "samples" else "first_size"]
            published = about[f"published_{name}"]
            if published not in (None, own):
                print(f"Not as published: {own} {unit}; published: {published}.")
        for guess in about["guessed"]:
            print(f"Guessed: {guess}")
    for metric, reason in results[0].about["not_measured"].items():
        print(f"\nNot measured: {metric}. {reason}")
