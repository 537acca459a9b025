"""A protocol's data, looked at again for its page: what moves, and what went wrong."""

from collections.abc import Mapping
from pathlib import Path

import torch
from tqdm import tqdm

from sgm_vfi.benchmark.document import SampleFigure
from sgm_vfi.benchmark.motion_statistics import QUICK_SIDE, estimate_motion
from sgm_vfi.benchmark.protocol_evaluation import interpolate
from sgm_vfi.benchmark.protocol_samples import (
    FrameGroup,
    ProtocolSample,
    find_samples,
    pairs,
    read_frame_groups,
)
from sgm_vfi.benchmark.protocols import PROTOCOLS, Protocol
from sgm_vfi.benchmark.result_rows import ReportError
from sgm_vfi.benchmark.results import MOTION, ProtocolResult
from sgm_vfi.benchmark.worst_samples import RowsByModel, exhibit, median, worst
from sgm_vfi.dataset.triplet import Triplet
from sgm_vfi.model import Interpolator, load_interpolator, time_like
from sgm_vfi.model.fingerprint import fingerprint
from sgm_vfi.model.flow.dis import DISFlow

NUM_WORST = 4  # samples on the page


def revisited(
    result: ProtocolResult, device: torch.device
) -> tuple[ProtocolResult, list[SampleFigure]]:
    """The rows with the motion of their samples, and the worst and the median one as pictures.

    Motion is the 95th percentile of a quick classical flow between the two inputs.

    Raises:
        ReportError: the rows are of no protocol, or of other weights than those in place.
    """
    protocol = PROTOCOLS.get(result.name)
    if protocol is None or "path" not in result.about:
        raise ReportError(
            f"--pictures takes results of the protocols, got {result.name!r}. Footage leaves its "
            f"page, pictures and all, when it is measured."
        )
    models = load_models(result, device)
    measured = {row["sample"] for row in result.rows}
    every = find_samples(protocol, Path(result.about["path"]), result.about.get("limit")).samples
    samples = {sample.name: sample for sample in every if sample.name in measured}
    moved = motions(protocol, samples)
    rows = [row | {MOTION: moved[row["sample"]]} for row in result.rows if row["sample"] in moved]
    result = result._replace(rows=rows)
    chosen = [("worst", rows) for rows in worst(result, NUM_WORST)]
    chosen += [("median", rows) for rows in median(result)]
    shown = [show(kind, rows, protocol, samples, models, device) for kind, rows in chosen]
    return result, shown


def load_models(result: ProtocolResult, device: torch.device) -> dict[str, Interpolator]:
    """The models that were measured, with the same weights."""
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


def motions(protocol: Protocol, samples: Mapping[str, ProtocolSample]) -> dict[str, float]:
    """How much moves between the two inputs of every sample, in pixels of the protocol's view."""
    groups = pairs(samples.values())
    found = {}
    reading = read_frame_groups(protocol, groups)
    for group in tqdm(reading, total=len(groups), desc=f"{protocol.name}: motion", leave=False):
        motion = estimate_motion(DISFlow(), group.frame0, group.frame1, QUICK_SIDE)
        found |= {sample.name: round(motion.sufficiency, 3) for sample in group.samples}
    return found


@torch.inference_mode()
def show(
    kind: str,
    rows: RowsByModel,
    protocol: Protocol,
    samples: Mapping[str, ProtocolSample],
    models: Mapping[str, Interpolator],
    device: torch.device,
) -> SampleFigure:
    """One sample as every model predicts it under the protocol."""
    row = next(iter(rows.values()))
    [group] = read_frame_groups(protocol, [[samples[row["sample"]]]])
    time = group.samples[0].paths.time
    frames = (group.frame0.to(device), group.frame1.to(device))
    predictions = {}
    for name, model in models.items():
        [found] = interpolate(model, protocol, *frames, [time], explain=True)
        predictions[name] = found._replace(frame=protocol.as_measured(found.frame).clamp(0, 1))
    values = ", ".join(f"{name} {float(own['psnr']):.2f} dB" for name, own in rows.items())
    return exhibit(
        f"{kind} of {protocol.name}: {row['sample']}",
        f"PSNR: {values}. Motion: {row[MOTION]:.1f} px.",
        triplet_of(group),
        predictions,
    )


def triplet_of(group: FrameGroup) -> Triplet:
    """The frames of a group of one sample."""
    time = time_like(group.frame0, group.samples[0].paths.time)
    return Triplet(group.frame0, group.targets[0], group.frame1, time)
