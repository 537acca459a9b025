"""Load interpolators, predict the frames of a protocol, and measure them."""

import argparse
import math
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import torch
import torch.nn.functional as F
from torch import Tensor

from sgm_vfi.benchmark.metrics import METRICS, Metric, MetricError, interpolation_error, load_lpips
from sgm_vfi.benchmark.protocol_and_footage_samples import FrameGroup, ProtocolSample
from sgm_vfi.benchmark.protocols import Protocol
from sgm_vfi.benchmark.row_journal import Row
from sgm_vfi.media.images import write_frame
from sgm_vfi.model import Interpolation, Interpolator, load_interpolator, time_like
from sgm_vfi.model.cli_options import accelerate
from sgm_vfi.model.fingerprint import fingerprint
from sgm_vfi.model.import_by_name import is_reference
from sgm_vfi.model.inference.bisection import support_times
from sgm_vfi.model.inference.padding import Padded
from sgm_vfi.model.inference.wrapper_base import map_tensors
from sgm_vfi.model.interpolator import Window, require_finite
from sgm_vfi.model.zoo import build_interpolator, find_weights, needs_weights
from sgm_vfi.storage.file_identity import sha256

NUM_THREADS = 4  # of every process on every machine, so that all measure the same
PROTOCOL_METRICS: Mapping[str, Metric] = METRICS | {"ie": interpolation_error}


@dataclass(frozen=True)
class ProtocolEvaluator:
    """Models and metrics, all on one device."""

    models: Mapping[str, Interpolator]
    origins: Mapping[str, Any]  # of the models' weights
    perceptual: Mapping[str, Metric]  # measured besides the protocol's metrics
    not_measured: Mapping[str, str]  # metric -> reason
    device: torch.device

    def metrics(self, protocol: Protocol) -> dict[str, Metric]:
        """Return the metrics of a protocol by name."""
        known = {name: PROTOCOL_METRICS[name] for name in protocol.metrics}
        return known | dict(self.perceptual)

    @torch.inference_mode()
    def measure(
        self,
        group: FrameGroup,
        protocol: Protocol,
        is_known: Callable[[Row], bool],
        folder: Path | None = None,
    ) -> Iterator[Row]:
        """Yield one row per sample and model that is not known yet.

        Args:
            folder: where the predicted frames are written as PNG files.
        """
        frame0, frame1 = (frame.to(self.device) for frame in (group.frame0, group.frame1))
        for model, network in self.models.items():
            keys = [sample_key(model, protocol, sample) for sample in group.samples]
            missing = [index for index, key in enumerate(keys) if not is_known(key)]
            times = [group.samples[index].paths.time for index in missing]
            results = interpolate_at(network, protocol, frame0, frame1, times)
            for index, result in zip(missing, results, strict=True):
                require_finite(result.frame, model, f"for {keys[index]['sample']}")
                frame = protocol.round_prediction(result.frame)
                if folder is not None:
                    name = f"{quote(model, safe='')}/{keys[index]['sample']}.png"
                    path = folder / protocol.name / name
                    path.parent.mkdir(parents=True, exist_ok=True)
                    write_frame(path, frame[0])
                target = group.targets[index].to(self.device)
                yield keys[index] | {
                    name: metric(frame, target).item()
                    for name, metric in self.metrics(protocol).items()
                }


def add_random_weights(parser: argparse.ArgumentParser) -> None:
    """Add `--random_weights`."""
    parser.add_argument(
        "--random_weights",
        action="store_true",
        help="build networks with random weights, to try what has no trained weights here",
    )


def select_device(device: torch.device) -> torch.device:
    """Return the device of this process: its own GPU if several processes share a machine."""
    device = torch.device(device)
    if device.type == "cuda":
        if device.index is None:
            device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", 0)))
        torch.cuda.set_device(device)
    return device


@contextmanager
def deterministic_float32() -> Iterator[None]:
    """Compute with `NUM_THREADS` threads; on GPUs, with deterministic float32 convolutions.

    The number of threads decides how sums are split, and so the last bits of a convolution.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(NUM_THREADS)
    try:
        with torch.backends.cudnn.flags(
            enabled=True, benchmark=False, deterministic=True, allow_tf32=False
        ):
            yield
    finally:
        torch.set_num_threads(before)


def load_models(
    names: Sequence[str],
    device: torch.device,
    args: argparse.Namespace,
    num_key_points: float | None = None,
) -> tuple[dict[str, Interpolator], dict[str, dict[str, Any]]]:
    """Load and accelerate models as the options say; return them and the origins of their weights.

    Args:
        args: `precision`, `compile` and `random_weights`.
    """
    models, origins = {}, {}
    for name in names:
        if args.random_weights:
            model = build_interpolator(name)
            origins[name] = {"fingerprint": fingerprint(model)}
        else:
            model = load_interpolator(name, num_key_points=num_key_points)
            origins[name] = describe_weights(name, model)
        models[name] = model.to(device).eval()
        accelerate(models[name], args.precision, args.compile)
    return models, origins


def describe_weights(name: str, model: Interpolator) -> dict[str, Any]:
    """Return the file of a model's weights, its checksum and the fingerprint of the model.

    A class of the user is described by the checksum of its source file instead of one of weights.
    """
    known = {"fingerprint": fingerprint(model)}
    if is_reference(name):
        return known | {"source_code": model.source_code}
    if not needs_weights(name):
        return known
    weights = find_weights(name)
    return {"weights": str(weights), "sha256": sha256(weights), **known}


def load_optional_lpips(device: torch.device) -> tuple[Metric | None, dict[str, str]]:
    """Load LPIPS, or return why it cannot be measured."""
    try:
        return load_lpips(device), {}
    except MetricError as error:
        return None, {"lpips": f"Left out: {error}"}


def sample_key(model: str, protocol: Protocol, sample: ProtocolSample) -> Row:
    """Return a row without its metrics."""
    return {
        "model": model,
        "protocol": protocol.name,
        "sample": sample.name,
        "time": sample.paths.time,
    }


def interpolate_at(
    network: Interpolator,
    protocol: Protocol,
    frame0: Tensor,
    frame1: Tensor,
    times: Sequence[float],
    *,
    explain: bool = False,
) -> Iterator[Interpolation]:
    """Interpolate at several times, padded and scaled as the protocol says.

    A size that the published padding does not bring to a multiple that the network takes is padded
    further; published sizes need none. Shapes: frames (1, 3, H, W) -> the same.
    """
    if not times:
        return
    height, width = frame0.shape[-2:]
    multiple = math.lcm(protocol.pad_to, network.size_multiple(protocol.flow_scale))
    depth = len(protocol.times).bit_length()
    padded = Padded(support_times(network, protocol.times, depth), multiple)
    frame0, frame1 = (pad_to_canvas(frame, protocol.canvas) for frame in (frame0, frame1))
    state = padded.prepare(frame0, frame1, protocol.flow_scale)
    for time in times:
        result = padded.interpolate(state, time_like(frame0, time), explain=explain)
        yield map_tensors(Window(0, height, 0, width).crop, result)


def pad_to_canvas(frame: Tensor, canvas: tuple[int, int] | None) -> Tensor:
    """Pad a frame with zeros to the right and below up to a canvas (height, width).

    Shapes: (1, 3, H, W) -> (1, 3, *canvas); unchanged without a canvas.
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
