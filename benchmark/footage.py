"""Interpolators on one's own footage: frames are left out, predicted, and compared."""

import argparse
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from tqdm import tqdm

from sgm_vfi.benchmark.contact_sheet import contact_sheet, strip
from sgm_vfi.benchmark.document import SampleFigure
from sgm_vfi.benchmark.footage_samples import ClipSamples, select_targets, survey_clips
from sgm_vfi.benchmark.metrics import METRICS, Metric, MetricError, load_lpips
from sgm_vfi.benchmark.motion_statistics import QUICK_SIDE, estimate_motion
from sgm_vfi.benchmark.report_page import page
from sgm_vfi.benchmark.result_rows import (
    ReportError,
    Row,
    RowJournal,
    markdown,
    means,
    now,
    provenance,
    report_text,
)
from sgm_vfi.benchmark.results import MOTION, read_results
from sgm_vfi.benchmark.worst_samples import RowsByModel, exhibit, median, worst
from sgm_vfi.dataset.triplet import Triplet
from sgm_vfi.media.images import quantise, write_atomically, write_frame
from sgm_vfi.media.videos import VideoError, find_frame_readers
from sgm_vfi.model import DEFAULT, ZOO, Interpolation, Interpolator, load_interpolator
from sgm_vfi.model.cli_options import (
    accelerate,
    add_acceleration,
    add_device_option,
    argument_type,
    parse_flow_scale,
)
from sgm_vfi.model.fingerprint import fingerprint
from sgm_vfi.model.flow.dis import DISFlow
from sgm_vfi.model.inference.padding import Padded
from sgm_vfi.model.zoo import build_interpolator, default_interpolator

NUM_WORST = 8  # triplets on the contact sheet
NUM_SHOWN = 4  # of them on the page, and as many from the middle
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
    "(7 x 7 uniform window). lpips: LPIPS 0.1 on AlexNet, less is better.",
    "motion: pixels that the largest 5 % of the motion from the first to the last of the three "
    f"frames exceed (the 95th percentile), by OpenCV's DIS flow on frames of {QUICK_SIDE} pixels "
    "at most; it sorts the samples and is no measurement.",
    "The mean of a clip is over its triplets. The mean of all (clip: null) is the mean of the "
    "clip means, over the clips that are long enough for that gap.",
)


@dataclass(frozen=True)
class FootageEvaluator:
    """What measures, and what is measured with; all of it on one device."""

    models: Mapping[str, Interpolator]
    metrics: Mapping[str, Metric]
    device: torch.device
    flow_scale: float

    def predict(self, model: str, triplet: Triplet, bits: int) -> Tensor:
        """The frame between, rounded as the footage is. Shapes: -> (1, 3, H, W)."""
        return self.interpolate(model, triplet, bits).frame

    def interpolate(
        self, model: str, triplet: Triplet, bits: int, *, explain: bool = False
    ) -> Interpolation:
        """The rounded frame, and how it came about if that is asked for."""
        network = self.models[model]
        frames, time = (triplet.frame0, triplet.frame1), triplet.time
        result = network(*frames, time, self.flow_scale, explain=explain)
        if result.frame.isnan().any():
            raise ValueError(f"{model} predicts values that are not numbers. Is it trained?")
        return result._replace(frame=quantise(result.frame, bits))

    @torch.inference_mode()
    def measure(self, plan: ClipSamples, journal: RowJournal) -> Iterator[Row]:
        """One row per triplet and model, except for those that the journal holds."""
        for gap, frame, triplet in plan.triplets():
            keys = [
                {"model": name, "clip": plan.clip.name, "gap": gap, "frame": frame}
                for name in self.models
            ]
            missing = [key for key in keys if not journal.holds(key)]
            if missing:
                moved = estimate_motion(DISFlow(), triplet.frame0, triplet.frame1, QUICK_SIDE)
                triplet = triplet.to(self.device)
            for key in missing:
                prediction = self.predict(key["model"], triplet, plan.survey.bits)
                numbers = {
                    name: metric(prediction, triplet.target).item()
                    for name, metric in self.metrics.items()
                }
                yield key | numbers | {MOTION: round(moved.sufficiency, 3)}

    @torch.inference_mode()
    def show(self, plans: Mapping[str, ClipSamples], sample: RowsByModel) -> Tensor:
        """One triplet as every model predicts it. Shapes: -> (3, h, w)."""
        row, triplet, bits = self.look_up(plans, sample)
        predictions = {
            f"{name}: {float(own['psnr']):.2f} dB": self.predict(name, triplet, bits)
            for name, own in sample.items()
        }
        return strip(heading_of(row), triplet, predictions)

    @torch.inference_mode()
    def exhibit(
        self, kind: str, plans: Mapping[str, ClipSamples], sample: RowsByModel
    ) -> SampleFigure:
        """The same with all that the models explain, for the page."""
        row, triplet, bits = self.look_up(plans, sample)
        predictions = {name: self.interpolate(name, triplet, bits, explain=True) for name in sample}
        values = ", ".join(f"{name} {float(own['psnr']):.2f} dB" for name, own in sample.items())
        note = f"PSNR: {values}. Motion: {row[MOTION]:.1f} px."
        return exhibit(f"{kind}: {heading_of(row)}", note, triplet, predictions)

    def look_up(
        self, plans: Mapping[str, ClipSamples], sample: RowsByModel
    ) -> tuple[Row, Triplet, int]:
        """A row of a sample, and its frames with their bits per sample."""
        row = next(iter(sample.values()))
        plan = plans[row["clip"]]
        [(_, _, triplet)] = replace(plan, gaps=(row["gap"],), targets=(row["frame"],)).triplets()
        return row, triplet.to(self.device), plan.survey.bits


def heading_of(row: Row) -> str:
    """Which frame a row is about."""
    frame, gap = row["frame"], row["gap"]
    return f"{row['clip']}, gap {gap}, frame {frame} from {frame - gap} and {frame + gap}"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe `python -m benchmark footage`."""
    add = parser.add_argument
    add("--path", type=Path, nargs="+", required=True, help="videos, folders of frames, or both")
    add(
        "--model",
        nargs="+",
        default=list(dict.fromkeys((DEFAULT, default_interpolator()))),
        metavar="NAME_OR_PATH",
        help="names, files of weights, or all: every name (default: %(default)s)",
    )
    add(
        "--random_weights",
        action="store_true",
        help="take fresh weights, as a trial of networks whose trained ones are not in place",
    )
    add(
        "--gap", type=argument_type(positive), nargs="+", default=[1], help="frames to either input"
    )
    add("--limit", type=argument_type(positive), help="triplets per clip and gap (default: all)")
    add("--output", type=Path, default=Path("output/footage.json"), help="the report, JSON")
    add(
        "--flow_scale",
        type=argument_type(parse_flow_scale),
        default=1.0,
        help="such as 1/2 for 2K footage",
    )
    add(
        "--metrics",
        nargs="+",
        choices=(*METRICS, "lpips"),
        default=["psnr", "ssim", "lpips"],
        help="psnr is always measured, lpips where its weights are in place",
    )
    add_device_option(parser)
    add_acceleration(parser)


def positive(text: str) -> int:
    """Read a number of frames or triplets."""
    if not text.isdecimal() or not int(text):
        raise ValueError(f"a whole number from 1 up is wanted, got {text!r}")
    return int(text)


def run(args: argparse.Namespace) -> None:
    """Measure, keep every row as it comes, and leave a report, a contact sheet and a table."""
    if args.output.suffix != ".json":
        raise ReportError(f"The report is JSON: --output ends in .json, got {args.output}.")
    gaps = sorted(set(args.gap))
    names = dict.fromkeys(ZOO if "all" in args.model else args.model)
    metrics, unavailable = load_metrics(args.metrics, args.device)
    for reason in unavailable.values():
        print(reason)
    load = build_interpolator if args.random_weights else load_interpolator
    models = {name: load(name).to(args.device).eval() for name in names}
    for model in models.values():
        accelerate(model, args.precision, args.compile)
    models = {name: Padded(model) for name, model in models.items()}
    setup = FootageEvaluator(models, metrics, args.device, args.flow_scale)
    clips = find_frame_readers(args.path)
    surveys = survey_clips(clips)
    every = [select_targets(*one, gaps, args.limit) for one in zip(clips, surveys, strict=True)]
    plans = {plan.clip.name: plan for plan in every if plan.num_triplets}
    if not plans:
        raise VideoError(
            f"Gap {gaps[0]} takes clips of {2 * gaps[0] + 1} frames or more; the longest here has "
            f"{max(survey.num_frames for survey in surveys)}."
        )
    header = describe(setup, every, gaps, args.limit) | {"not_measured": unavailable}
    header["random_weights"] = args.random_weights
    header |= {"precision": args.precision, "compiled": args.compile}
    args.output.parent.mkdir(parents=True, exist_ok=True)
    journal = RowJournal(args.output.with_suffix(".jsonl"), header)
    fill(journal, setup, plans)
    finish(args, header, journal, setup, plans)


def load_metrics(
    names: Iterable[str], device: torch.device
) -> tuple[dict[str, Metric], dict[str, str]]:
    """The metrics by name, psnr first, and those that cannot be had here with the reason."""
    metrics, unavailable = {"psnr": METRICS["psnr"]}, {}
    for name in names:
        try:
            metrics[name] = load_lpips(device) if name == "lpips" else METRICS[name]
        except MetricError as error:
            unavailable[name] = str(error)
    return metrics, unavailable


def describe(
    setup: FootageEvaluator, plans: Sequence[ClipSamples], gaps: Sequence[int], limit: int | None
) -> dict[str, Any]:
    """What is measured, by what and how: two measurements are one where this is the same."""
    return {
        "protocol": "footage",
        "rules": RULES,
        "gaps": gaps,
        "limit": limit,
        "flow_scale": setup.flow_scale,
        "metrics": list(setup.metrics),
        "models": {name: fingerprint(model) for name, model in setup.models.items()},
        "clips": {
            plan.clip.name: {
                "path": str(plan.clip.path),
                **plan.survey._asdict(),
                "triplets_per_gap": len(plan.targets),
            }
            for plan in plans
        },
        "left_out": [
            f"{plan.clip.name} at gap {gap}: {plan.survey.num_frames} frames, needs {2 * gap + 1}"
            for plan in plans
            for gap in gaps
            if gap not in plan.gaps
        ],
        **provenance(setup.device),
    }


def fill(journal: RowJournal, setup: FootageEvaluator, plans: Mapping[str, ClipSamples]) -> None:
    """Measure every row that the journal does not hold yet."""
    total = sum(plan.num_triplets for plan in plans.values()) * len(setup.models)
    if journal.rows:
        print(f"{len(journal.rows)} of {total} predictions were measured before ({journal.path}).")
    with journal, tqdm(total=total, initial=len(journal.rows), unit="frame") as progress:
        for name, plan in plans.items():
            progress.set_description(name)
            for row in setup.measure(plan, journal):
                journal.append(row)
                progress.update()


def finish(
    args: argparse.Namespace,
    header: dict[str, Any],
    journal: RowJournal,
    setup: FootageEvaluator,
    plans: Mapping[str, ClipSamples],
) -> None:
    """Write the contact sheet and the report, print the table, and let the journal go."""
    averages = means(journal.rows, list(setup.metrics))
    sheet = args.output.with_suffix(".png")
    report = {"command": args.command, "date": now(), **header, "means": averages}
    write_atomically(args.output, report_text(report | {"rows": journal.rows}).encode())
    [result] = read_results([args.output])
    bad = worst(result, NUM_WORST)
    write_frame(sheet, contact_sheet([setup.show(plans, sample) for sample in bad]))
    exhibits = [
        setup.exhibit(kind, plans, sample)
        for kind, samples in (("worst", bad), ("median", median(result)))
        for sample in samples[:NUM_SHOWN]
    ]
    title = "Frames left out of footage and predicted"
    write_atomically(args.output.with_suffix(".html"), page(title, [result], exhibits).encode())
    journal.path.unlink()
    print(markdown(averages, list(setup.metrics)))
    if args.random_weights:
        print("Random weights: these scores say nothing of the networks.")
    for line in header["left_out"]:
        print(f"Left out: {line}.")
    print(f"\n{args.output}: {len(journal.rows)} rows. {sheet}: the {len(bad)} worst triplets.")
    print(f"{args.output.with_suffix('.html')}: plots and pictures, for a browser.")
