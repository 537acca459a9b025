"""Perceptual metrics that need weights or a filter of FFmpeg: LPIPS, ST-LPIPS, VMAF."""

import json
from collections.abc import Callable, Mapping
from fractions import Fraction
from pathlib import Path
from tempfile import TemporaryDirectory

import av
import torch
from av.filter import Graph
from torch import Tensor

from sgm_vfi.benchmark.metrics import Metric, MetricError, load_lpips, require_pair
from sgm_vfi.media.images import as_samples
from sgm_vfi.model.stlpips import SMALLEST, load_stlpips


def load_stlpips_metric(device: torch.device) -> Metric:
    """Load ST-LPIPS on AlexNet; 0 for equal frames, less is better.

    Raises:
        MetricError: its weights are not here; says how to fetch them.
    """
    try:
        network = load_stlpips().to(device)
    except FileNotFoundError as error:
        raise MetricError(str(error)) from error

    @torch.inference_mode()
    def stlpips(frame: Tensor, target: Tensor) -> Tensor:
        """Return the distance of each sample. Shapes: (B, 3, H, W) -> (B,)."""
        require_pair(frame, target)
        if min(frame.shape[-2:]) < SMALLEST:
            raise ValueError(
                f"ST-LPIPS takes frames of at least {SMALLEST} pixels a side, "
                f"got {tuple(frame.shape)}."
            )
        return network(frame.float(), target.float()).double()

    return stlpips


def load_vmaf(device: torch.device) -> Metric:
    """Load VMAF of single frames, by FFmpeg's filter libvmaf; 100 at most, more is better.

    Raises:
        MetricError: PyAV's FFmpeg was built without that filter.
    """
    if "libvmaf" not in av.filter.filters_available:
        raise MetricError(
            f"VMAF needs the filter libvmaf, which the FFmpeg of PyAV {av.__version__} was built "
            f"without. Build PyAV on an FFmpeg with libvmaf, or leave vmaf out."
        )

    def score(frame: Tensor, target: Tensor) -> float:
        """Return the VMAF of one frame."""
        log = compare_by_filter("libvmaf", "log_fmt=json:log_path", frame, target)
        return float(json.loads(log)["pooled_metrics"]["vmaf"]["mean"])

    def vmaf(frame: Tensor, target: Tensor) -> Tensor:
        """Return the VMAF of each sample. Shapes: (B, 3, H, W) -> (B,)."""
        require_pair(frame, target)
        pairs = zip(frame, target, strict=True)
        return torch.tensor([score(*pair) for pair in pairs], dtype=torch.float64)

    return vmaf


def compare_by_filter(name: str, option: str, frame: Tensor, target: Tensor) -> str:
    """Compare two frames by a filter of FFmpeg that takes two videos and writes a log.

    Args:
        option: of the filter, that names the log file.

    Shapes: (3, H, W) in [0, 1], twice -> the text of the log.
    """
    with TemporaryDirectory(prefix="sgm_vfi_") as folder:
        log = Path(folder, "log")
        graph = Graph()
        height, width = frame.shape[-2:]
        compare = graph.add(name, f"{option}={log}")
        sources = []
        for pad, image in enumerate((frame, target)):
            video = av.VideoFrame.from_ndarray(as_samples(image), format="rgb24")
            video = video.reformat(format="yuv420p")
            video.pts, video.time_base = 0, Fraction(1, 25)
            source = graph.add_buffer(
                width=width, height=height, format=video.format, time_base=video.time_base
            )
            source.link_to(compare, 0, pad)
            sources.append((source, video))
        compare.link_to(graph.add("buffersink"))
        graph.configure()
        for source, video in sources:
            source.push(video)
            source.push(None)
        graph.pull()
        del compare, sources, source, graph  # the filter writes its log when it is freed
        return log.read_text()


LOADABLE_METRICS: Mapping[str, Callable[[torch.device], Metric]] = {
    "lpips": load_lpips,
    "stlpips": load_stlpips_metric,
    "vmaf": load_vmaf,
}
