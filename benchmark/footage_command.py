"""Measure interpolators on your own footage: frames are left out, predicted, and compared."""

import argparse
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from sgm_vfi.benchmark.evaluation import (
    add_random_weights,
    deterministic_float32,
    load_models,
    load_optional_lpips,
)
from sgm_vfi.benchmark.footage_evaluation import (
    SECONDS,
    FootageEvaluator,
    average_clips,
    format_clip_tables,
)
from sgm_vfi.benchmark.metrics import METRICS, Metric
from sgm_vfi.benchmark.motion_statistics import FAST_MAX_SIDE
from sgm_vfi.benchmark.perceptual_metrics import LOADABLE_METRICS
from sgm_vfi.benchmark.protocol_and_footage_samples import ClipSamples, probe_clips, select_targets
from sgm_vfi.benchmark.report_page import format_page
from sgm_vfi.benchmark.result_summary import read_results
from sgm_vfi.benchmark.row_files import describe_environment, format_report, utc_now
from sgm_vfi.benchmark.row_journal import ReportError, RowJournal, differing_keys, to_json
from sgm_vfi.benchmark.sample_figures import (
    select_median,
    select_worst,
    stack_strips,
)
from sgm_vfi.media.frame_readers import find_frame_readers
from sgm_vfi.media.images import write_frame
from sgm_vfi.media.open_local_media import VideoError
from sgm_vfi.model import DEFAULT, ZOO
from sgm_vfi.model.automatic_precision import resolve_precision
from sgm_vfi.model.cli_options import (
    MODELS_HELP,
    add_acceleration,
    add_device_option,
    add_flow_scale,
    argument_type,
    format_default,
    parse_positive,
)
from sgm_vfi.model.fingerprint import fingerprint
from sgm_vfi.model.inference.padding import Padded
from sgm_vfi.model.zoo import default_interpolator, describe_default
from sgm_vfi.storage.atomic_write import remove_temporaries, write_atomically
from sgm_vfi.storage.file_lock import FileLock

NUM_WORST = 8  # triplets on the contact sheet
NUM_SHOWN = 4  # of them on the page, and as many median ones
RULES = (
    "At gap g, frame n is predicted at t = 1/2 from frames n - g and n + g; frames count from 0.",
    "Within a clip, all models and gaps predict the same frames: those that have enough "
    "neighbours for the largest gap that fits the clip; with a limit, that many of them, evenly "
    "spread.",
    "A prediction is rounded to the bits per sample of the footage (8, or 16 for deeper footage) "
    "before it is measured; nothing else is changed. Hard cuts are not left out.",
    "psnr: dB, over all pixels and channels of RGB; equal frames have inf, which counts as 100 dB "
    "in a mean, as does everything above.",
    "ssim: the field's ssim_matlab (11 x 11 x 11 Gaussian window). ssim_uniform: scikit-image's "
    "(7 x 7 uniform window). lpips: LPIPS 0.1 on AlexNet, stlpips: ST-LPIPS on AlexNet, "
    "less is better. vmaf: of single frames. seconds: from the frames to the prediction.",
    "motion: pixels that the largest 5 % of the motion from the first to the last of the three "
    f"frames exceed (the 95th percentile), by OpenCV's DIS flow on frames of {FAST_MAX_SIDE} "
    "pixels at most; it sorts the samples and is no measurement.",
    "The mean of a clip is over its triplets. The mean of all (clip: null) is the mean of the "
    "clip means, over the clips that are long enough for that gap.",
)


def default_models() -> list[str]:
    """Return the networks that are measured if none is named."""
    return list(dict.fromkeys((DEFAULT, default_interpolator())))


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of `sgm-vfi benchmark footage`."""
    add = parser.add_argument
    add("--path", type=Path, nargs="+", required=True, help="videos, folders of frames, or both")
    add(
        "--model",
        nargs="+",
        default=default_models(),
        metavar="NAME_OR_PATH",
        help=f"{MODELS_HELP}; all for every name (default: {format_default(default_models())})",
    )
    add_random_weights(parser)
    positive = argument_type(parse_positive)
    add("--gap", type=positive, nargs="+", default=[1], help="frames to either input (default: 1)")
    add("--limit", type=positive, help="triplets per clip and gap (default: all)")
    add(
        "--output",
        type=Path,
        default=Path("output/footage.json"),
        help="the report, JSON (default: %(default)s)",
    )
    add("--overwrite", action="store_true", help="replace an existing report")
    add_flow_scale(parser)
    add(
        "--metrics",
        nargs="+",
        choices=(*METRICS, *LOADABLE_METRICS, SECONDS),
        help="besides psnr (default: ssim, and lpips if its weights are found)",
    )
    add_device_option(parser)
    add_acceleration(parser)


@deterministic_float32()
def run(args: argparse.Namespace) -> None:
    """Measure, and write a report, a page and a contact sheet; print a table."""
    if args.output.suffix != ".json":
        raise ReportError(f"The report is JSON: --output ends in .json, got {args.output}.")
    gaps = sorted(set(args.gap))
    metrics, not_measured = load_metrics(args.metrics, args.device)
    for reason in not_measured.values():
        print(reason)
    if args.model == default_models():
        print(describe_default())
    names = list(dict.fromkeys(ZOO if "all" in args.model else args.model))
    args.precision = resolve_precision(args.precision, args.device)
    models, _ = load_models(names, args.device, args)
    padded = {name: Padded(model) for name, model in models.items()}
    evaluator = FootageEvaluator(padded, metrics, args.device, args.flow_scale)
    readers = find_frame_readers(args.path)
    infos = probe_clips(readers)
    every = [select_targets(*one, gaps, args.limit) for one in zip(readers, infos, strict=True)]
    clips = {one.clip.name: one for one in every if one.num_triplets}
    if not clips:
        raise VideoError(
            f"Gap {gaps[0]} takes clips of {2 * gaps[0] + 1} frames or more; the longest here has "
            f"{max(info.num_frames for info in infos)}."
        )
    header = describe_measurement(evaluator, every, gaps, args) | {"not_measured": not_measured}
    args.output.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(args.output.with_suffix(".lock"), args.output):
        beside = (args.output.with_suffix(suffix) for suffix in (".json", ".png", ".html"))
        remove_temporaries(*beside)
        rows = args.output.with_suffix(".jsonl")  # until the report and all beside it are written
        if args.output.exists() and not args.overwrite and not rows.exists():
            print_finished_report(args.output, header)
            return
        journal = RowJournal(rows, header)
        measure_clips(journal, evaluator, clips)
        write_report(args, header, journal, evaluator, clips)


def print_finished_report(path: Path, header: dict[str, Any]) -> None:
    """Print the tables of a report of the same measurement.

    Raises:
        ReportError: it is damaged, or the report of another measurement.
    """
    instead = "Name another --output, or give --overwrite."
    try:
        report = json.loads(path.read_text(encoding="utf-8"))
        found = {name: report[name] for name in header}
        tables = format_clip_tables(report["means"], header["metrics"])
    except (ValueError, TypeError, LookupError) as error:
        raise ReportError(f"{path} is no finished report. {instead}") from error
    expected = json.loads(to_json(header))
    if found != expected:
        raise ReportError(
            f"{path} is the finished report of another measurement, which differs in "
            f"{differing_keys(found, expected)}. {instead}"
        )
    print(f"{tables}\n\n{path} was finished before. --overwrite measures it again.")


def load_metrics(
    names: Sequence[str] | None, device: torch.device
) -> tuple[dict[str, Metric | None], dict[str, str]]:
    """Load metrics by name, psnr first; None loads the default ones.

    Returns:
        The metrics (None: the seconds of a prediction), and the reason for each default one that
        is not available.

    Raises:
        MetricError: a metric that is named is not available; says what to do.
    """
    metrics: dict[str, Metric | None] = {"psnr": METRICS["psnr"]}
    if names is not None:
        for name in names:
            load = LOADABLE_METRICS.get(name)
            metrics[name] = METRICS.get(name) if load is None else load(device)
        return metrics, {}
    lpips, not_measured = load_optional_lpips(device)
    metrics["ssim"] = METRICS["ssim"]
    if lpips is not None:
        metrics["lpips"] = lpips
    return metrics, not_measured


def describe_measurement(
    evaluator: FootageEvaluator,
    clips: Sequence[ClipSamples],
    gaps: Sequence[int],
    args: argparse.Namespace,
) -> dict[str, Any]:
    """Return the header of the rows; measurements with equal headers are the same."""
    return {
        "protocol": "footage",
        "rules": RULES,
        "gaps": gaps,
        "limit": args.limit,
        "flow_scale": evaluator.flow_scale,
        "metrics": list(evaluator.metrics),
        "models": {name: fingerprint(model) for name, model in evaluator.models.items()},
        "clips": {
            one.clip.name: {
                "path": str(one.clip.path),
                **one.info._asdict(),
                "triplets_per_gap": len(one.targets),
            }
            for one in clips
        },
        "left_out": [
            f"{one.clip.name} at gap {gap}: {one.info.num_frames} frames, needs {2 * gap + 1}"
            for one in clips
            for gap in gaps
            if gap not in one.gaps
        ],
        "random_weights": args.random_weights,
        "precision": args.precision,
        "compiled": args.compile,
        **describe_environment(evaluator.device),
    }


def measure_clips(
    journal: RowJournal, evaluator: FootageEvaluator, clips: Mapping[str, ClipSamples]
) -> None:
    """Measure every row that the journal does not hold."""
    total = sum(clip.num_triplets for clip in clips.values()) * len(evaluator.models)
    if journal.rows:
        print(f"{len(journal.rows)} of {total} predictions were measured before ({journal.path}).")
    rows = (row for clip in clips.values() for row in evaluator.measure(clip, journal))
    journal.extend(rows, total, initial=len(journal.rows))


def write_report(
    args: argparse.Namespace,
    header: dict[str, Any],
    journal: RowJournal,
    evaluator: FootageEvaluator,
    clips: Mapping[str, ClipSamples],
) -> None:
    """Write the report, the page and the contact sheet, print the table, remove the journal."""
    metrics = list(evaluator.metrics)
    means = average_clips(journal.rows, metrics)
    report = {"command": args.command, "date": utc_now(), **header, "means": means}
    write_atomically(args.output, format_report(report | {"rows": journal.rows}).encode())
    [result] = read_results([args.output])
    worst = select_worst(result, NUM_WORST)
    sheet, page = (args.output.with_suffix(suffix) for suffix in (".png", ".html"))
    write_frame(sheet, stack_strips([evaluator.draw_strip(clips, rows) for rows in worst]))
    figures = [
        evaluator.build_figure(kind, clips, rows)
        for kind, samples in (("worst", worst), ("median", select_median(result)))
        for rows in samples[:NUM_SHOWN]
    ]
    title = "Frames left out of footage and predicted"
    write_atomically(page, format_page(title, [result], figures).encode(errors="backslashreplace"))
    journal.path.unlink()
    print(format_clip_tables(means, metrics))
    if args.random_weights:
        print("Random weights: these scores say nothing of the networks.")
    for line in header["left_out"]:
        print(f"Left out: {line}.")
    print(f"\n{args.output}: {len(journal.rows)} rows. {sheet}: the {len(worst)} worst triplets.")
    print(f"{page}: plots and pictures, for a browser.")
