"""Predicting and measuring the frames of a protocol."""

import math
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import torch
import torch.nn.functional as F
from torch import Tensor

from sgm_vfi.benchmark.metrics import METRICS, Metric, MetricError, interpolation_error, load_lpips
from sgm_vfi.benchmark.protocol_samples import FrameGroup, ProtocolSample
from sgm_vfi.benchmark.protocols import Protocol
from sgm_vfi.benchmark.result_rows import Row
from sgm_vfi.media.images import write_frame
from sgm_vfi.model import ZOO, Interpolation, Interpolator, load_interpolator, time_like
from sgm_vfi.model.checkpoint import sha256
from sgm_vfi.model.fingerprint import fingerprint
from sgm_vfi.model.inference.bisection import support_times
from sgm_vfi.model.inference.padding import Padded
from sgm_vfi.model.inference.wrapper import map_tensors
from sgm_vfi.model.interpolator import Window
from sgm_vfi.model.zoo import find_weights, resolve_alias

MEASURES: Mapping[str, Metric] = METRICS | {"ie": interpolation_error}


@dataclass(frozen=True)
class ProtocolEvaluator:
    """What measures, and what is measured with; all of it on one device."""

    models: Mapping[str, Interpolator]
    origins: Mapping[str, Any]  # of the models' weights
    lpips: Metric | None
    not_measured: Mapping[str, str]  # metric -> why
    device: torch.device

    def metrics(self, protocol: Protocol) -> dict[str, Metric]:
        """What is measured under a protocol, by name."""
        known = {name: MEASURES[name] for name in protocol.metrics}
        return known | ({"lpips": self.lpips} if self.lpips else {})


def select_device(wanted: torch.device) -> torch.device:
    """The device of this process: its own GPU where several processes share a machine."""
    wanted = torch.device(wanted)
    if wanted.type == "cuda":
        if wanted.index is None:
            wanted = torch.device("cuda", int(os.environ.get("LOCAL_RANK", 0)))
        torch.cuda.set_device(wanted)
    return wanted


def deterministic_float32() -> AbstractContextManager[None]:
    """Inside, convolutions on a GPU are in full float32, by the same algorithms every time."""
    return torch.backends.cudnn.flags(
        enabled=True, benchmark=False, deterministic=True, allow_tf32=False
    )


def set_up(
    names: Sequence[str], num_key_points: float | None, where: torch.device
) -> ProtocolEvaluator:
    """Load the models, and LPIPS where it can be had."""
    models = {
        name: load_interpolator(name, num_key_points=num_key_points).to(where) for name in names
    }
    origins = {name: describe_weights(name, model) for name, model in models.items()}
    try:
        lpips, not_measured = load_lpips(where), {}
    except MetricError as error:
        lpips, not_measured = None, {"lpips": str(error)}
    return ProtocolEvaluator(models, origins, lpips, not_measured, where)


def describe_weights(name: str, model: Interpolator) -> dict[str, Any]:
    """The file of a model's weights, and what tells them from others."""
    entry = ZOO.get(resolve_alias(name))
    known = {"fingerprint": fingerprint(model)}
    if entry is not None and not entry.needs_weights:
        return known
    weights = find_weights(name)
    return {"weights": str(weights), "sha256": sha256(weights), **known}


@torch.inference_mode()
def measure(
    group: FrameGroup,
    protocol: Protocol,
    setup: ProtocolEvaluator,
    is_known: Callable[[Row], bool],
    predictions: Path | None = None,
) -> Iterator[Row]:
    """One row per sample and model, except for those that are known.

    Args:
        predictions: folder to keep the predicted frames in, as PNG files.
    """
    frame0, frame1 = (frame.to(setup.device) for frame in (group.frame0, group.frame1))
    for model, network in setup.models.items():
        keys = [sample_key(model, protocol, sample) for sample in group.samples]
        wanted = [index for index, key in enumerate(keys) if not is_known(key)]
        times = [group.samples[index].paths.time for index in wanted]
        frames = predict(network, protocol, frame0, frame1, times)
        for index, frame in zip(wanted, frames, strict=True):
            if frame.isnan().any():
                raise ValueError(f"{model} predicts values that are not numbers. Is it trained?")
            frame = protocol.as_measured(frame)
            if predictions is not None:
                keep(predictions / protocol.name / quote(model, safe=""), keys[index], frame[0])
            target = group.targets[index].to(setup.device)
            numbers = {
                name: metric(frame, target).item()
                for name, metric in setup.metrics(protocol).items()
            }
            yield keys[index] | numbers


def sample_key(model: str, protocol: Protocol, sample: ProtocolSample) -> Row:
    """A row without its numbers."""
    return {
        "model": model,
        "protocol": protocol.name,
        "sample": sample.name,
        "time": sample.paths.time,
    }


def predict(
    network: Interpolator,
    protocol: Protocol,
    frame0: Tensor,
    frame1: Tensor,
    times: Sequence[float],
) -> Iterator[Tensor]:
    """The frames of `interpolate`. Shapes: (1, 3, H, W), all."""
    for result in interpolate(network, protocol, frame0, frame1, times):
        yield result.frame


def interpolate(
    network: Interpolator,
    protocol: Protocol,
    frame0: Tensor,
    frame1: Tensor,
    times: Sequence[float],
    *,
    explain: bool = False,
) -> Iterator[Interpolation]:
    """Interpolate at some times between two frames, padded and scaled as the protocol says.

    Sizes that the published padding does not bring to what the network takes are padded further;
    at the published sizes there are none. Shapes: frames (1, 3, H, W) -> the same.
    """
    if not times:
        return
    height, width = frame0.shape[-2:]
    multiple = math.lcm(protocol.pad_to, network.size_multiple(protocol.flow_scale))
    depth = len(protocol.times).bit_length()
    fitted = Padded(support_times(network, protocol.times, depth), multiple)
    frame0, frame1 = (pad_to_canvas(frame, protocol.canvas) for frame in (frame0, frame1))
    state = fitted.prepare(frame0, frame1, protocol.flow_scale)
    for time in times:
        result = fitted.interpolate(state, time_like(frame0, time), explain=explain)
        yield map_tensors(Window(0, height, 0, width).crop, result)


def pad_to_canvas(frame: Tensor, canvas: tuple[int, int] | None) -> Tensor:
    """Put a frame into the upper left corner of a black canvas (height, width).

    Shapes: (1, 3, H, W) -> (1, 3, *canvas); the same where there is none.
    """
    if canvas is None:
        return frame
    below, right = (side - own for side, own in zip(canvas, frame.shape[-2:], strict=True))
    if below < 0 or right < 0:
        raise ValueError(
            f"The protocol puts frames on a canvas of {canvas[1]}x{canvas[0]}, "
            f"got {frame.shape[-1]}x{frame.shape[-2]}, which is larger."
        )
    return F.pad(frame, (0, right, 0, below))


def keep(folder: Path, key: Row, frame: Tensor) -> None:
    """Write a predicted frame. Shapes: (3, H, W)."""
    path = folder / f"{key['sample']}.png"
    path.parent.mkdir(parents=True, exist_ok=True)
    write_frame(path, frame)
