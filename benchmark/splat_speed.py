"""Measure the forward splat, in PyTorch and as a GPU kernel, beside its memory traffic."""

import argparse
from collections.abc import Callable
from functools import partial
from itertools import product
from typing import Any, NamedTuple

import torch
from torch import Tensor

from sgm_vfi.benchmark.evaluation import select_device
from sgm_vfi.benchmark.profiler import measure_bandwidth, time_call
from sgm_vfi.benchmark.row_files import describe_environment
from sgm_vfi.benchmark.tables import markdown_table
from sgm_vfi.media.images import parse_size
from sgm_vfi.model.cli_options import add_device_option, argument_type, parse_positive
from sgm_vfi.model.ops.resize import resize_to
from sgm_vfi.model.ops.splat import bilinear, runs_in_triton, splat_sum, splat_sum_pytorch

NUM_CALLS = 20  # in a row, so that the host's work overlaps with the device's
MOTION = 8.0  # pixels: standard deviation of the flow
SMOOTHNESS = 32  # pixels between independent vectors
LEGEND = """
floor: source and flow read once, the sum written once, at the bandwidth of a copy measured in the
same run. replayed: as a CUDA graph, without the host's work. Milliseconds, the best of the runs."""


class SplatShape(NamedTuple):
    """A splat that a network makes of frames of some size."""

    name: str
    batch: int
    channels: int
    downscale: int = 1  # of the splat, relative to the frames


SPLAT_SHAPES = (  # of SGM-VFI at one time between two frames, then of PerVFI's finest features
    SplatShape("difference: colours and mass", 2, 4),
    SplatShape("difference: error carried back", 2, 1),
    SplatShape("matches and mass", 2, 3, 8),
    SplatShape("features", 1, 33),
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of `sgm-vfi benchmark splat`."""
    parser.add_argument(
        "--size",
        nargs="+",
        default=[(544, 1024)],
        type=argument_type(parse_size),
        metavar="WIDTHxHEIGHT",
        help="of the frames whose motion is estimated (default: 1024x544: 2K at flow scale 1/2)",
    )
    parser.add_argument(
        "--runs",
        type=argument_type(parse_positive),
        default=5,
        help=f"of {NUM_CALLS} calls in a row each (default: %(default)s)",
    )
    add_device_option(parser)


def run(args: argparse.Namespace) -> None:
    """Print the table."""
    device = select_device(args.device)
    with torch.inference_mode():
        print(format_table(args.size, device, args.runs))
    facts = describe_environment(device)
    print(LEGEND + "\n\n" + ", ".join(f"{name} {value}" for name, value in facts.items() if value))
    print(f"threads {torch.get_num_threads()}, command: {args.command}")


def format_table(sizes: list[tuple[int, int]], device: torch.device, runs: int) -> str:
    """Measure, and format a Markdown table with a row for each shape and size."""
    gbyte_s = measure_bandwidth(device)
    head, rows = [], []
    for (height, width), shape in product(sizes, SPLAT_SHAPES):
        source, flow = draw_inputs(shape, width, height, device)
        floor = (2 * source.nbytes + flow.nbytes) / gbyte_s / 1e9
        seconds = measure_splat(source, flow, runs)
        head = ["splat", "shape", "floor", *seconds]
        times = (f"{1e3 * value:.3g}" for value in (floor, *seconds.values()))
        rows.append([shape.name, "x".join(map(str, source.shape)), *times])
    return f"{markdown_table(head, rows)}\n\nA copy: {gbyte_s:.1f} GB/s."


def draw_inputs(
    shape: SplatShape, width: int, height: int, device: torch.device
) -> tuple[Tensor, Tensor]:
    """Draw a random source and a smooth random flow. Shapes: -> (B, C, h, w), (B, 2, h, w)."""
    size = (max(1, height // shape.downscale), max(1, width // shape.downscale))
    generator = torch.Generator().manual_seed(0)
    coarse = (side // SMOOTHNESS + 2 for side in size)
    flow = torch.randn(shape.batch, 2, *coarse, generator=generator) * MOTION / shape.downscale
    source = torch.rand(shape.batch, shape.channels, *size, generator=generator)
    return source.to(device), resize_to(flow, size).to(device)


def measure_splat(source: Tensor, flow: Tensor, runs: int) -> dict[str, float]:
    """Return the seconds of a splat by implementation."""
    calls: dict[str, Callable[[], Any]] = {
        "plain": partial(splat_sum_pytorch, source, flow, kernel=bilinear, deterministic=False)
    }
    if runs_in_triton(source, bilinear):
        calls["kernel"] = partial(splat_sum, source, flow)
        calls["kernel, deterministic"] = partial(splat_sum, source, flow, deterministic=True)
    seconds = {name: measure_best(call, source.device, runs) for name, call in calls.items()}
    if source.is_cuda:
        for name, call in calls.items():
            replay = capture_graph(call)
            seconds[f"{name}, replayed"] = measure_best(replay, source.device, runs)
    return seconds


def measure_best(call: Callable[[], Any], device: torch.device, runs: int) -> float:
    """Return the seconds of one call: the best run of many calls in a row, after a warm-up."""
    call()
    count = NUM_CALLS if device.type == "cuda" else 1

    def repeat() -> None:
        """Call several times, for short calls on a GPU."""
        for _ in range(count):
            call()

    return min(time_call(repeat, device) for _ in range(runs)) / count


def capture_graph(call: Callable[[], Any]) -> Callable[[], None]:
    """Capture a call as a CUDA graph; return the function that replays it."""
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        call()
    return graph.replay
