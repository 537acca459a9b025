"""Figures of benchmark samples: which samples are shown, and the images of each."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias

import torch
import torch.nn.functional as F
from torch import Tensor

from sgm_vfi.benchmark.result_summary import MOTION, ProtocolResult, average_by_model
from sgm_vfi.benchmark.row_journal import Row
from sgm_vfi.benchmark.tables import LOWER_IS_BETTER
from sgm_vfi.dataset.triplet import Triplet
from sgm_vfi.media.visualise import (
    Picture,
    add_caption,
    flow_to_image,
    heat_map,
    join_images,
    make_grid,
    measure_flow_range,
    visualise_explanation,
)
from sgm_vfi.model.flow.dis import DISFlow
from sgm_vfi.model.interpolator import Interpolation

CELL_WIDTH = 320  # pixels
ERROR_RANGE = 0.25  # of [0, 1]: an error of this size or more is shown brightest
CROP_SIDE = 96  # pixels: side of the enlarged crop
ENLARGEMENT = 3
CLIP_COLUMNS = ("clip", "gap")  # columns within which samples look alike
RowsByModel: TypeAlias = dict[str, Row]  # the rows of one sample


class SampleFigure(NamedTuple):
    """Images of one sample."""

    heading: str
    note: str
    rows: Mapping[str, Sequence[Picture]]  # "" for the inputs, then by model


def rank_samples(result: ProtocolResult) -> list[RowsByModel]:
    """Sort the samples that all models predicted from worst to best by the first metric.

    The value of the model with the best mean decides.
    """
    metric, models = result.metrics[0], result.models
    sign = -1 if metric in LOWER_IS_BETTER else 1
    totals = dict.fromkeys(models, 0.0)
    for row in average_by_model(result):
        totals[row["model"]] += sign * row[metric]
    best = max(totals, key=lambda model: totals[model])
    complete = (rows for rows in result.rows_by_sample() if len(rows) == len(models))
    return sorted(complete, key=lambda rows: sign * float(rows[best][metric]))


def select_worst(result: ProtocolResult, count: int) -> list[RowsByModel]:
    """Select the worst samples, at most one per clip and gap."""
    chosen: dict[tuple[Any, ...], RowsByModel] = {}
    columns = [key for key in CLIP_COLUMNS if key in result.keys]
    for rows in rank_samples(result):
        row = next(iter(rows.values()))
        values = [row[key] for key in columns] or result.sample_key(row)
        chosen.setdefault(tuple(values), rows)
    return list(chosen.values())[:count]


def select_median(result: ProtocolResult) -> list[RowsByModel]:
    """Select the median sample of each gap, or of all samples without gaps."""
    groups: dict[Any, list[RowsByModel]] = {}
    for rows in rank_samples(result):
        groups.setdefault(next(iter(rows.values())).get("gap"), []).append(rows)
    return [ranked[len(ranked) // 2] for ranked in groups.values()]


def describe_scores(rows: RowsByModel) -> str:
    """Return the PSNR of each model and the motion of a sample."""
    values = ", ".join(f"{name} {float(row['psnr']):.2f} dB" for name, row in rows.items())
    return f"PSNR: {values}. Motion: {next(iter(rows.values()))[MOTION]:.1f} px."


@torch.inference_mode()
def build_figure(
    heading: str, note: str, triplet: Triplet, predictions: Mapping[str, Interpolation]
) -> SampleFigure:
    """Collect the images of one sample.

    Shows the inputs, the truth, the difference and the flow between the inputs; then for each
    model its prediction, its error, the crop with the largest error over all models, and the
    extra tensors of the prediction (flows, difference map), if there are any.

    Args:
        triplet: one sample, floating point.
        predictions: one sample each, by model.
    """
    frame0, target, frame1 = (frame[0].float().cpu() for frame in triplet[:3])
    flow = DISFlow()(frame0[None], frame1[None])[0]
    largest = measure_flow_range(flow)
    frames = {model: result.frame[0].float().cpu() for model, result in predictions.items()}
    errors = [(frame - target).abs().mean(dim=0) for frame in frames.values()]
    corner = find_largest_error(torch.stack(errors).sum(dim=0))
    rows = {
        "": [
            Picture("frame before", frame0),
            Picture("truth", target),
            Picture("frame after", frame1),
            Picture("before against after", draw_error_map(frame0, frame1)),
            Picture("flow to the frame after (DIS)", flow_to_image(flow, largest), largest),
            Picture(f"truth, the {CROP_SIDE} px of largest error", enlarge_crop(target, corner)),
        ]
    }
    for model, frame in frames.items():
        extras = {
            name: tensor[0].float().cpu()
            for name, tensor in (predictions[model].explanation or {}).items()
            if tensor.min() < tensor.max()  # a constant image shows nothing
        }
        rows[model] = [
            Picture("prediction", frame),
            Picture(f"error, brightest from {ERROR_RANGE:g}", draw_error_map(frame, target)),
            Picture(f"prediction, the same {CROP_SIDE} px", enlarge_crop(frame, corner)),
            *visualise_explanation(extras, frame0),
        ]
    return SampleFigure(heading, note, rows)


def find_largest_error(error: Tensor) -> tuple[int, int]:
    """Return the upper left corner of the square of CROP_SIDE pixels with the largest error.

    Shapes: (H, W). The square is smaller where the frame is.
    """
    height, width = (min(CROP_SIDE, side) for side in error.shape)
    columns = F.avg_pool2d(error[None], (height, 1), stride=1)
    sums = F.avg_pool2d(columns, (1, width), stride=1)[0]
    row, column = divmod(int(sums.argmax()), sums.shape[-1])
    return row, column


def enlarge_crop(frame: Tensor, corner: tuple[int, int]) -> Tensor:
    """Crop a square and enlarge it without smoothing. Shapes: (3, H, W) -> (3, 3h, 3w)."""
    row, column = corner
    crop = frame[:, row : row + CROP_SIDE, column : column + CROP_SIDE]
    return crop.repeat_interleave(ENLARGEMENT, dim=1).repeat_interleave(ENLARGEMENT, dim=2)


def draw_error_map(frame: Tensor, other: Tensor) -> Tensor:
    """Draw the mean absolute difference over the channels. Shapes: (3, H, W) twice -> (3, H, W)."""
    return heat_map((frame - other).abs().mean(dim=0), ERROR_RANGE)


def draw_strip(heading: str, triplet: Triplet, predictions: Mapping[str, Tensor]) -> Tensor:
    """Draw one triplet: inputs and truth, every prediction, and its error below it.

    Args:
        predictions: frames (1, 3, H, W) by caption.

    Shapes: triplet of one sample -> (3, h, w).
    """
    frame0, target, frame1 = (frame[0].cpu() for frame in triplet[:3])
    above = [Picture("frame before", frame0), Picture("the real frame", target)]
    below = [
        Picture("frame after", frame1),
        Picture("before against after", draw_error_map(frame0, frame1)),
    ]
    for caption, prediction in predictions.items():
        frame = prediction[0].cpu()
        above.append(Picture(caption, frame))
        below.append(Picture("its error", draw_error_map(frame, target)))
    picture = make_grid([*above, *below], len(above), CELL_WIDTH * len(above))
    return add_caption(picture, heading, picture.shape[-1])


def stack_strips(strips: Sequence[Tensor]) -> Tensor:
    """Stack strips of one width, with lines between them. Shapes: -> (3, h, w)."""
    line = torch.full((3, 2, strips[0].shape[-1]), 0.5)
    parts = [part for strip in strips for part in (line, strip)]
    return join_images(parts[1:], -2)
