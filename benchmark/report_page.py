"""Results as Markdown tables and as one self-contained HTML page with plots and images."""

import argparse
import json
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from sgm_vfi.benchmark.evaluation import interpolate_at
from sgm_vfi.benchmark.export_rows import TIDY_SUFFIXES, write_tidy_rows
from sgm_vfi.benchmark.html_document import html_details, html_document, html_figure
from sgm_vfi.benchmark.motion_statistics import FAST_MAX_SIDE, estimate_motion
from sgm_vfi.benchmark.protocol_and_footage_samples import (
    ProtocolSample,
    find_samples,
    group_by_inputs,
    read_frame_groups,
)
from sgm_vfi.benchmark.protocols import PROTOCOLS, Protocol
from sgm_vfi.benchmark.result_summary import (
    MOTION,
    ProtocolResult,
    format_results,
    read_results,
    summarise,
)
from sgm_vfi.benchmark.row_files import utc_now
from sgm_vfi.benchmark.row_journal import ReportError, Row
from sgm_vfi.benchmark.sample_figures import (
    RowsByModel,
    SampleFigure,
    build_figure,
    describe_scores,
    select_median,
    select_worst,
)
from sgm_vfi.benchmark.svg_scatter_plot import (
    MIN_TREND_POINTS,
    ScatterPoint,
    format_legend,
    plot_scatter,
)
from sgm_vfi.benchmark.tables import (
    LOWER_IS_BETTER,
    find_best_cells,
    format_metric,
    html_table,
    metric_heading,
)
from sgm_vfi.dataset.triplet import Triplet
from sgm_vfi.model import Interpolator, load_interpolator, time_like
from sgm_vfi.model.cli_options import add_device_option
from sgm_vfi.model.fingerprint import fingerprint
from sgm_vfi.model.flow.dis import DISFlow
from sgm_vfi.storage.atomic_write import write_atomically

IMAGE_SIZE = (480, 640)  # largest width and height of an image, in pixels
SMALL_IMAGE_SIZE = (320, 480)  # of pages with more than MANY_IMAGES
MANY_IMAGES = 130
NUM_HARDEST = 10  # samples in the table of the hardest ones
NUM_WORST = 4  # samples shown as images
HEADING_FIELDS = ("command", "date", "device", "commit", "flow_scale", "limit")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of `sgm-vfi benchmark report`."""
    add = parser.add_argument
    add("file", type=Path, nargs="+", help="results: .json or .jsonl, or folders of them")
    add(
        "--output",
        type=Path,
        nargs="+",
        default=[Path("output/report.html")],
        help="the page (.html); all rows as .csv, .jsonl or .json (default: output/report.html)",
    )
    add(
        "--pictures",
        action="store_true",
        help="read the data of a protocol again for the motion of all samples and images of the "
        "worst ones",
    )
    add_device_option(parser)


def run(args: argparse.Namespace) -> None:
    """Print the tables and write the page."""
    for path in args.output:
        if path.suffix not in (".html", *TIDY_SUFFIXES):
            raise ReportError(
                f"A report is written as .html, {', '.join(TIDY_SUFFIXES)}, got {path}."
            )
        if path.resolve() in {file.resolve() for file in args.file}:
            raise ReportError(f"{path} is also an input. Give --output another name.")
    results, figures = read_results(args.file), []
    if args.pictures:
        extended = [add_images(result, args.device) for result in results]
        results = [result for result, _ in extended]
        figures = [figure for _, some in extended for figure in some]
    print(f"{format_results(results)}\n")
    for path in args.output:
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix == ".html":
            page = format_page("Results", results, figures)
            write_atomically(path, page.encode(errors="backslashreplace"))
            print(f"{path}: tables and plots, for a browser.")
        else:
            write_tidy_rows(path, results, command=args.command, date=utc_now())
            print(f"{path}: {sum(len(result.rows) for result in results)} rows.")


def format_page(
    title: str, results: Sequence[ProtocolResult], figures: Sequence[SampleFigure] = ()
) -> str:
    """Format the page: tables, plots and header of each result, then the figures."""
    num_images = sum(len(row) for figure in figures for row in figure.rows.values())
    size = IMAGE_SIZE if num_images <= MANY_IMAGES else SMALL_IMAGE_SIZE
    parts = []
    for result in results:
        head, lines = summarise(result)
        parts += [f"<h2>{escape(result.name)}</h2>", format_origin(result.about)]
        parts += [html_table(head, lines, find_best_cells(head, lines)), format_published(result)]
        parts += [plot_against_motion(result), format_hardest(result), format_header(result.about)]
    if figures:
        parts += ["<h2>Samples</h2>", *(html_figure(figure, size) for figure in figures)]
    return html_document(title, parts)


def format_origin(about: Mapping[str, Any]) -> str:
    """Format where the numbers come from, as one paragraph."""
    known = [(name, about[name]) for name in HEADING_FIELDS if about.get(name) not in (None, "")]
    items = (f"{escape(name)}: <code>{escape(str(value))}</code>" for name, value in known)
    return f'<p class="soft">{"<br>".join(items)}</p>' if known else ""


def format_published(result: ProtocolResult) -> str:
    """Format the published values of the protocol with their sources."""
    sources = result.about.get("published_in", {})
    lines = []
    for model, values in result.about.get("published", {}).items():
        cells = (f"{values[m]:g}" if m in values else "" for m in result.metrics)
        lines.append([model, *cells, sources.get(model, "")])
    head = ["model", *map(metric_heading, result.metrics), "where"]
    return html_details("Published values", html_table(head, lines)) if lines else ""


def plot_against_motion(result: ProtocolResult) -> str:
    """Plot each metric against motion, one colour per model; empty without motion."""
    rows = [row for row in result.rows if row.get(MOTION) is not None]
    if not rows:
        return ""
    parts = ["<h3>Against motion</h3>", format_legend(result.models), '<div class="plots">']
    for metric in result.metrics:
        series = {
            model: [
                ScatterPoint(float(row[MOTION]), float(row[metric]), describe(result, row, metric))
                for row in rows
                if row["model"] == model and row.get(metric) is not None
            ]
            for model in result.models
        }
        parts.append(plot_scatter(series, "motion, px", metric_heading(metric)))
    parts.append(
        '</div><p class="soft">One point per sample: point at it to see which. From '
        f"{MIN_TREND_POINTS} samples a line joins the medians of an eighth of them each.</p>"
    )
    return "".join(parts)


def describe(result: ProtocolResult, row: Row, metric: str) -> str:
    """Describe a sample with its value and its motion."""
    value = format_metric(metric, row[metric])
    return f"{result.sample_label(row)}: {metric} {value}, motion {float(row[MOTION]):.1f} px"


def format_hardest(result: ProtocolResult) -> str:
    """Format the samples whose best model is worst by the first metric."""
    metric = result.metrics[0]
    sign = -1 if metric in LOWER_IS_BETTER else 1
    samples = [
        {model: row for model, row in rows.items() if row.get(metric) is not None}
        for rows in result.rows_by_sample()
    ]
    samples = sorted(
        filter(None, samples),
        key=lambda rows: max(sign * float(row[metric]) for row in rows.values()),
    )
    lines = []
    for rows in samples[:NUM_HARDEST]:
        row = next(iter(rows.values()))
        motion = "" if row.get(MOTION) is None else f"{float(row[MOTION]):.1f}"
        values = (format_metric(metric, rows.get(model, {}).get(metric)) for model in result.models)
        lines.append([result.sample_label(row), motion, *values])
    heading = f"The {len(lines)} hardest of {len(samples)} samples, by {metric} of the best model"
    return html_details(heading, html_table(["sample", "motion, px", *result.models], lines))


def format_header(about: Mapping[str, Any]) -> str:
    """Format the rules, and the rest of the header of the file."""
    rules = "".join(f"<li>{escape(str(rule))}</li>" for rule in about.get("rules", ()))
    shown = ("rules", "means", "rows", *HEADING_FIELDS)
    rest = {name: value for name, value in about.items() if name not in shown}
    text = escape(json.dumps(rest, indent=1, ensure_ascii=False))
    return "".join(
        [
            html_details("How it was measured", f"<ul>{rules}</ul>") if rules else "",
            html_details("All settings", f"<pre>{text}</pre>") if rest else "",
        ]
    )


def add_images(
    result: ProtocolResult, device: torch.device
) -> tuple[ProtocolResult, list[SampleFigure]]:
    """Add the motion of every sample to the rows, and draw the worst and the median samples.

    Motion is the 95th percentile of a fast classical flow between the two inputs.

    Raises:
        ReportError: the rows are of no protocol, or of other weights than those found.
    """
    protocol = PROTOCOLS.get(result.name)
    if protocol is None or "path" not in result.about:
        raise ReportError(
            f"--pictures takes results of the protocols, got {result.name!r}. The page of footage "
            f"is written with its images when it is measured."
        )
    models = load_measured_models(result, device)
    measured = {row["sample"] for row in result.rows}
    found = find_samples(protocol, Path(result.about["path"]), result.about.get("limit")).samples
    samples = {sample.name: sample for sample in found if sample.name in measured}
    motion = measure_motion(protocol, samples)
    result = result._replace(
        rows=[
            row | {MOTION: motion[row["sample"]]} for row in result.rows if row["sample"] in motion
        ]
    )
    chosen = [("worst", rows) for rows in select_worst(result, NUM_WORST)]
    chosen += [("median", rows) for rows in select_median(result)]
    return result, [
        draw_sample(kind, rows, protocol, samples, models, device) for kind, rows in chosen
    ]


def load_measured_models(result: ProtocolResult, device: torch.device) -> dict[str, Interpolator]:
    """Load the models of a result, and check that their weights are those that were measured."""
    models = {}
    for name in result.models:
        known = result.about.get("models", {}).get(name)
        if known is None:
            raise ReportError(
                f"The rows of {name} are of several files. Name one file per protocol for pictures."
            )
        model = load_interpolator(name, num_key_points=result.about.get("num_key_points"))
        if fingerprint(model) != known["fingerprint"]:
            raise ReportError(
                f"The weights of {name} are others than those that were measured under "
                f"{result.name}: pictures would show other frames. Measure again."
            )
        models[name] = model.to(device).eval()
    return models


def measure_motion(protocol: Protocol, samples: Mapping[str, ProtocolSample]) -> dict[str, float]:
    """Measure the motion between the inputs of every sample, in pixels of the protocol's frames."""
    groups = group_by_inputs(samples.values())
    found: dict[str, float] = {}
    reading = read_frame_groups(protocol, groups)
    for group in tqdm(reading, total=len(groups), desc=f"{protocol.name}: motion", leave=False):
        motion = estimate_motion(DISFlow(), group.frame0, group.frame1, FAST_MAX_SIDE)
        found |= {sample.name: round(motion.sufficiency, 3) for sample in group.samples}
    return found


@torch.inference_mode()
def draw_sample(
    kind: str,
    rows: RowsByModel,
    protocol: Protocol,
    samples: Mapping[str, ProtocolSample],
    models: Mapping[str, Interpolator],
    device: torch.device,
) -> SampleFigure:
    """Predict one sample with every model under the protocol, and build its figure."""
    name = next(iter(rows.values()))["sample"]
    [group] = read_frame_groups(protocol, [[samples[name]]])
    time = group.samples[0].paths.time
    frames = (group.frame0.to(device), group.frame1.to(device))
    predictions = {}
    for model, network in models.items():
        [found] = interpolate_at(network, protocol, *frames, [time], explain=True)
        predictions[model] = found._replace(
            frame=protocol.round_prediction(found.frame).clamp(0, 1)
        )
    triplet = Triplet(group.frame0, group.targets[0], group.frame1, time_like(group.frame0, time))
    heading = f"{kind} of {protocol.name}: {name}"
    return build_figure(heading, describe_scores(rows), triplet, predictions)
