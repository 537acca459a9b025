"""What the forward splat costs, plain and as one kernel of a GPU, beside its memory traffic."""

import argparse
from collections.abc import Callable, Iterator
from functools import partial
from itertools import product
from typing import Any, NamedTuple

import torch
from torch import Tensor

from sgm_vfi.benchmark.protocol_evaluation import select_device
from sgm_vfi.benchmark.result_rows import provenance
from sgm_vfi.benchmark.speed import size
from sgm_vfi.benchmark.timing import measure_bandwidth, time_call
from sgm_vfi.model.cli_options import add_device_option, argument_type
from sgm_vfi.model.ops.resize import resize_to
from sgm_vfi.model.ops.splat import bilinear, runs_in_triton, splat_sum, splat_sum_pytorch

CALLS = 20  # in a row, so that the host's work overlaps with the device's
MOTION = 8.0  # pixels: standard deviation of the flow
SMOOTH = 32  # pixels between independent vectors
LEGEND = """
floor: source and flow read once, the sum written once, at the bandwidth of a copy measured in the
same run. replayed: as a CUDA graph, without the host's work. Milliseconds, the best of the runs."""


class SplatCall(NamedTuple):
    """A splat that a network makes of frames of some size."""

    name: str
    batch: int
    channels: int
    smaller: int = 1  # times than the frames of its flow, each way


# Of SGM-VFI at one time between two frames, then of PerVFI's finest features.
CALLS_OF_NETWORKS = (
    SplatCall("difference: colours and mass", 2, 4),
    SplatCall("difference: error carried back", 2, 1),
    SplatCall("matches and mass", 2, 3, 8),
    SplatCall("features", 1, 33),
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what `run` reads."""
    parser.add_argument(
        "--size",
        nargs="+",
        default=[(1024, 544)],
        type=argument_type(size),
        metavar="WxH",
        help="of the frames whose motion is estimated (default: 1024x544: 2K at flow scale 1/2)",
    )
    parser.add_argument("--runs", type=int, default=5, help=f"of {CALLS} calls in a row each")
    add_device_option(parser)


def run(args: argparse.Namespace) -> None:
    """Print the table."""
    if args.runs < 1:
        raise ValueError(f"--runs is 1 or more, got {args.runs}.")
    where = select_device(args.device)
    with torch.inference_mode():
        print("\n".join(table(args.size, where, args.runs)))
    facts = provenance(where)
    print(LEGEND + "\n\n" + ", ".join(f"{name} {value}" for name, value in facts.items() if value))
    print(f"threads {torch.get_num_threads()}, command: {args.command}")


def table(sizes: list[tuple[int, int]], where: torch.device, runs: int) -> Iterator[str]:
    """Markdown, a row for each call and size."""
    gbyte_s = measure_bandwidth(where)
    head = False
    for (width, height), call in product(sizes, CALLS_OF_NETWORKS):
        source, flow = inputs(call, width, height, where)
        floor = (2 * source.nbytes + flow.nbytes) / gbyte_s / 1e9
        taken = measured(source, flow, runs)
        if not head:
            yield f"| splat | shape | floor | {' | '.join(taken)} |"
            yield "|---" * (3 + len(taken)) + "|"
            head = True
        times = " | ".join(f"{1e3 * seconds:.3g}" for seconds in taken.values())
        shape = "x".join(map(str, source.shape))
        yield f"| {call.name} | {shape} | {1e3 * floor:.3g} | {times} |"
    yield f"\nA copy: {gbyte_s:.1f} GB/s."


def inputs(call: SplatCall, width: int, height: int, where: torch.device) -> tuple[Tensor, Tensor]:
    """Random numbers, and smooth random motion. Shapes: -> (B, C, h, w), (B, 2, h, w)."""
    shape = (max(1, height // call.smaller), max(1, width // call.smaller))
    generator = torch.Generator().manual_seed(0)
    coarse = (side // SMOOTH + 2 for side in shape)
    flow = torch.randn(call.batch, 2, *coarse, generator=generator) * MOTION / call.smaller
    source = torch.rand(call.batch, call.channels, *shape, generator=generator)
    return source.to(where), resize_to(flow, shape).to(where)


def measured(source: Tensor, flow: Tensor, runs: int) -> dict[str, float]:
    """Seconds of a splat, by the way it is made."""
    ways = {"plain": partial(splat_sum_pytorch, source, flow, kernel=bilinear, deterministic=False)}
    if runs_in_triton(source, bilinear):
        ways["kernel"] = partial(splat_sum, source, flow)
        ways["kernel, deterministic"] = partial(splat_sum, source, flow, deterministic=True)
    seconds = {name: best(way, source.device, runs) for name, way in ways.items()}
    if source.is_cuda:
        for name, way in ways.items():
            seconds[f"{name}, replayed"] = best(captured(way), source.device, runs)
    return seconds


def best(call: Callable[[], Any], where: torch.device, runs: int) -> float:
    """Seconds of one call among many, after a first one."""
    call()
    calls = CALLS if where.type == "cuda" else 1

    def many() -> None:
        for _ in range(calls):
            call()

    return min(time_call(many, where) for _ in range(runs)) / calls


def captured(call: Callable[[], Any]) -> Callable[[], None]:
    """A call as a CUDA graph, which does the same on the same tensors."""
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        call()
    return graph.replay
