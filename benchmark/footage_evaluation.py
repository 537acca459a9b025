"""Predict and measure frames left out of footage; means over triplets and over clips."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from time import perf_counter
from typing import Any

import torch
from torch import Tensor

from sgm_vfi.benchmark.metrics import Metric
from sgm_vfi.benchmark.motion_statistics import FAST_MAX_SIDE, estimate_motion
from sgm_vfi.benchmark.protocol_and_footage_samples import ClipSamples
from sgm_vfi.benchmark.result_summary import MOTION, average
from sgm_vfi.benchmark.row_journal import Row, RowJournal
from sgm_vfi.benchmark.sample_figures import (
    RowsByModel,
    SampleFigure,
    build_figure,
    describe_scores,
    draw_strip,
)
from sgm_vfi.benchmark.tables import format_metric, markdown_table
from sgm_vfi.dataset.triplet import Triplet
from sgm_vfi.media.images import quantise
from sgm_vfi.model import Interpolation, Interpolator
from sgm_vfi.model.flow.dis import DISFlow
from sgm_vfi.model.interpolator import require_finite

SECONDS = "seconds"  # of a prediction, measured like a metric
OVER_CLIPS = "**mean of the clips**"


@dataclass(frozen=True)
class FootageEvaluator:
    """Models and metrics, all on one device."""

    models: Mapping[str, Interpolator]
    metrics: Mapping[str, Metric | None]  # None: the time of the prediction
    device: torch.device
    flow_scale: float

    def predict(
        self, model: str, triplet: Triplet, bits: int, where: str, *, explain: bool = False
    ) -> Interpolation:
        """Predict the middle frame, rounded to the bits of the footage.

        Args:
            where: which frame it is, for an error.

        Shapes: -> frame (1, 3, H, W).
        """
        inputs = (triplet.frame0, triplet.frame1, triplet.time)
        result = self.models[model](*inputs, self.flow_scale, explain=explain)
        require_finite(result.frame, model, where)
        return result._replace(frame=quantise(result.frame, bits))

    @torch.inference_mode()
    def measure(self, clip: ClipSamples, journal: RowJournal) -> Iterator[Row]:
        """Yield one row per triplet and model that the journal does not hold."""
        for gap, frame, triplet in clip.read_triplets():
            keys: list[Row] = [
                {"model": name, "clip": clip.clip.name, "gap": gap, "frame": frame}
                for name in self.models
            ]
            missing = [key for key in keys if not journal.holds(key)]
            if not missing:
                continue
            motion = estimate_motion(DISFlow(), triplet.frame0, triplet.frame1, FAST_MAX_SIDE)
            triplet = triplet.to(self.device)
            for key in missing:
                start = perf_counter()
                where = f"for frame {frame} of {clip.clip.name} at gap {gap}"
                prediction = self.predict(key["model"], triplet, clip.info.bits, where).frame
                elapsed = perf_counter() - start  # `predict` waits for the device
                numbers = {
                    name: metric(prediction, triplet.target).item() if metric else elapsed
                    for name, metric in self.metrics.items()
                }
                yield key | numbers | {MOTION: round(motion.sufficiency, 3)}

    @torch.inference_mode()
    def draw_strip(self, clips: Mapping[str, ClipSamples], rows: RowsByModel) -> Tensor:
        """Draw one triplet with the prediction of every model. Shapes: -> (3, h, w)."""
        heading, triplet, bits = self._read(clips, rows)
        predictions = {
            f"{name}: {float(own['psnr']):.2f} dB": self.predict(name, triplet, bits, heading).frame
            for name, own in rows.items()
        }
        return draw_strip(heading, triplet, predictions)

    @torch.inference_mode()
    def build_figure(
        self, kind: str, clips: Mapping[str, ClipSamples], rows: RowsByModel
    ) -> SampleFigure:
        """Build the figure of one triplet for the page."""
        heading, triplet, bits = self._read(clips, rows)
        predictions = {
            name: self.predict(name, triplet, bits, heading, explain=True) for name in rows
        }
        return build_figure(f"{kind}: {heading}", describe_scores(rows), triplet, predictions)

    def _read(
        self, clips: Mapping[str, ClipSamples], rows: RowsByModel
    ) -> tuple[str, Triplet, int]:
        """Read the frames of a sample; return its heading, the frames, their bits per sample."""
        row = next(iter(rows.values()))
        gap, frame = row["gap"], row["frame"]
        clip = replace(clips[row["clip"]], gaps=(gap,), targets=(frame,))
        [(_, _, triplet)] = clip.read_triplets()
        heading = f"{row['clip']}, gap {gap}, frame {frame} from {frame - gap} and {frame + gap}"
        return heading, triplet.to(self.device), clip.info.bits


def average_clips(rows: Iterable[Row], metrics: Sequence[str]) -> list[Row]:
    """Average per model, clip and gap; then per model and gap over the clips (clip: None).

    `triplets` is their number. PSNR is limited to its ceiling.
    """
    per_clip = _average_groups(rows, metrics, lambda row: (row["model"], row["clip"], row["gap"]))
    return per_clip + _average_groups(
        per_clip, metrics, lambda row: (row["model"], None, row["gap"])
    )


def _average_groups(
    rows: Iterable[Row], metrics: Sequence[str], key: Callable[[Row], tuple[Any, ...]]
) -> list[Row]:
    groups: dict[tuple[Any, ...], list[Row]] = {}
    for row in rows:
        groups.setdefault(key(row), []).append(row)
    return [
        {
            "model": model,
            "clip": clip,
            "gap": gap,
            "triplets": sum(row.get("triplets", 1) for row in group),
            **{name: average(group, name) for name in metrics},
        }
        for (model, clip, gap), group in groups.items()
    ]


def format_clip_tables(means: Sequence[Row], metrics: Sequence[str]) -> str:
    """Format one Markdown table per gap: a row per clip, a column per model."""
    models = list(dict.fromkeys(row["model"] for row in means))
    tables = []
    for gap in dict.fromkeys(row["gap"] for row in means):
        cells = {(row["clip"], row["model"]): row for row in means if row["gap"] == gap}
        lines = []
        for clip in dict.fromkeys(clip for clip, _ in cells):
            rows = [cells[clip, model] for model in models]
            values = (" / ".join(format_metric(m, row[m]) for m in metrics) for row in rows)
            lines.append([OVER_CLIPS if clip is None else clip, str(rows[0]["triplets"]), *values])
        table = markdown_table(["clip", "triplets", *models], lines)
        tables.append(f"Gap {gap}: {' / '.join(metrics)}\n\n{table}")
    return "\n\n".join(tables)
