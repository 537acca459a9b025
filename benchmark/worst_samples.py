"""Samples worth looking at: which they are, and the pictures of each."""

from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from sgm_vfi.benchmark.contact_sheet import ERROR_RANGE, error_map
from sgm_vfi.benchmark.document import SampleFigure
from sgm_vfi.benchmark.result_rows import Row
from sgm_vfi.benchmark.results import LESS_IS_BETTER, ProtocolResult, averages
from sgm_vfi.dataset.triplet import Triplet
from sgm_vfi.media.visualise import (
    Picture,
    flow_to_image,
    measure_flow_range,
    visualise_explanation,
)
from sgm_vfi.model.flow.dis import DISFlow
from sgm_vfi.model.interpolator import Interpolation

ZOOM = 96  # pixels: the side of the square that is shown enlarged
ENLARGED = 3  # times
SERIES = ("clip", "gap")  # columns within which samples look alike
RowsByModel = dict[str, Row]  # the rows of one sample, by model


def ranked(result: ProtocolResult) -> list[RowsByModel]:
    """The samples that all models predicted, from the worst to the best by the first metric.

    Each counts by the model whose mean is best: others fail on more than is hard.
    """
    metric, models = result.metrics[0], result.models
    sign = -1 if metric in LESS_IS_BETTER else 1
    totals = dict.fromkeys(models, 0.0)
    for row in averages(result):
        totals[row["model"]] += sign * row[metric]
    best = max(totals, key=lambda model: totals[model])
    samples: dict[tuple[Any, ...], RowsByModel] = {}
    for row in result.rows:
        samples.setdefault(result.sample(row), {})[row["model"]] = row
    whole = (sample for sample in samples.values() if len(sample) == len(models))
    return sorted(whole, key=lambda sample: sign * float(sample[best][metric]))


def worst(result: ProtocolResult, count: int) -> list[RowsByModel]:
    """The worst samples; of one clip and gap only one, or a single cut would fill the page."""
    chosen: dict[tuple[Any, ...], RowsByModel] = {}
    series = [key for key in SERIES if key in result.keys]
    for sample in ranked(result):
        row = next(iter(sample.values()))
        values = [row[key] for key in series] or result.sample(row)
        chosen.setdefault(tuple(values), sample)
    return list(chosen.values())[:count]


def median(result: ProtocolResult) -> list[RowsByModel]:
    """The sample in the middle, of every gap where there are gaps."""
    groups: dict[Any, list[RowsByModel]] = {}
    for sample in ranked(result):
        groups.setdefault(next(iter(sample.values())).get("gap"), []).append(sample)
    return [samples[len(samples) // 2] for samples in groups.values()]


@torch.inference_mode()
def exhibit(
    heading: str, note: str, triplet: Triplet, predictions: Mapping[str, Interpolation]
) -> SampleFigure:
    """Everything worth seeing of one sample.

    Inputs and truth, how far the inputs differ and the flow between them; then of each model its
    prediction, its error, the place where the models are off most, and what it explains of its
    way there (flows, difference map), if it was asked to.

    Args:
        triplet: of one sample, floating point.
        predictions: of one sample each, by model.
    """
    frame0, target, frame1 = (frame[0].float().cpu() for frame in triplet[:3])
    flow = DISFlow()(frame0[None], frame1[None])[0]
    largest = measure_flow_range(flow)
    frames = {model: result.frame[0].float().cpu() for model, result in predictions.items()}
    place = most(sum((frame - target).abs().mean(dim=0) for frame in frames.values()))
    rows = {
        "": [
            Picture("frame before", frame0),
            Picture("truth", target),
            Picture("frame after", frame1),
            Picture("before against after", error_map(frame0, frame1)),
            Picture("flow to the frame after (DIS)", flow_to_image(flow, largest), largest),
            Picture(f"truth, the {ZOOM} px of largest error", cut(target, place)),
        ]
    }
    for model, frame in frames.items():
        notes = {
            name: part[0].float().cpu()
            for name, part in (predictions[model].explanation or {}).items()
            if part.min() < part.max()  # what is the same everywhere shows nothing
        }
        rows[model] = [
            Picture("prediction", frame),
            Picture(f"error, brightest from {ERROR_RANGE:g}", error_map(frame, target)),
            Picture(f"prediction, the same {ZOOM} px", cut(frame, place)),
            *visualise_explanation(notes, frame0),
        ]
    return SampleFigure(heading, note, rows)


def most(error: Tensor) -> tuple[int, int]:
    """The upper left corner of the square of ZOOM pixels that holds the most error.

    Shapes: (H, W). The square is cut short where the frame is smaller.
    """
    height, width = (min(ZOOM, side) for side in error.shape)
    columns = F.avg_pool2d(error[None], (height, 1), stride=1)
    sums = F.avg_pool2d(columns, (1, width), stride=1)[0]
    row, column = divmod(int(sums.argmax()), sums.shape[-1])
    return row, column


def cut(frame: Tensor, corner: tuple[int, int]) -> Tensor:
    """The square at a corner, enlarged without smoothing. Shapes: (3, H, W) -> (3, 3h, 3w)."""
    row, column = corner
    part = frame[:, row : row + ZOOM, column : column + ZOOM]
    return part.repeat_interleave(ENLARGED, dim=1).repeat_interleave(ENLARGED, dim=2)
