"""What an interpolator costs: seconds and memory for one frame, beside the arithmetic's floor."""

import argparse
import multiprocessing
import resource
import statistics
import sys
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from time import perf_counter
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode, sdpa_flop_count
from tqdm import tqdm

from benchmark.report import provenance
from model import ZOO, time_like
from model.inference.padding import Padded
from model.options import device, flow_scale, reasoned

GIB = 2**30
PROBE_CHANNELS, PROBE_SIZE = 64, (256, 256)
PROBE_RUNS = 10


class Job(NamedTuple):
    """One row of the table."""

    model: str
    width: int
    height: int
    flow_scale: float
    device: str
    runs: int


class Cost(NamedTuple):
    """What a job took; memory is what the frame needed beyond the network's weights."""

    parameters: int
    gflop: float  # convolutions and matrix products, two per multiply-add
    seconds: list[float]
    gib: float
    throughput: float  # GFLOP/s of a 3 x 3 convolution, in the same process


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what `run` reads."""
    parser.add_argument(
        "--model", nargs="+", default=["ours-small-1-2"], choices=sorted(ZOO), metavar="NAME"
    )
    parser.add_argument(
        "--size",
        nargs="+",
        default=[(448, 256)],
        type=reasoned(size),
        metavar="WxH",
        help="width x height (default: 448x256)",
    )
    parser.add_argument("--flow_scale", type=reasoned(flow_scale), default=1.0, metavar="RATIO")
    parser.add_argument("--runs", type=int, default=5, help="timed runs after one warm-up")
    parser.add_argument(
        "--device",
        type=reasoned(device),
        default="cuda" if torch.cuda.is_available() else "cpu",
        help="such as cpu, cuda or cuda:1 (default: %(default)s)",
    )


def size(text: str) -> tuple[int, int]:
    """448x256 as (448, 256)."""
    try:
        width, height = map(int, text.lower().split("x"))
    except ValueError:
        width = height = 0
    if min(width, height) < 1:
        raise ValueError(f"A size is WIDTHxHEIGHT in pixels, such as 1280x720, got {text!r}.")
    return width, height


def run(args: argparse.Namespace) -> None:
    """Print the table; every row is measured in a process of its own."""
    if args.runs < 1:
        raise ValueError(f"--runs is 1 or more, got {args.runs}.")
    jobs = [
        Job(model, *dimensions, args.flow_scale, str(args.device), args.runs)
        for model in args.model
        for dimensions in args.size
    ]
    rows = [(job, measure_apart(job)) for job in tqdm(jobs, unit="row", disable=None)]
    print("\n".join(table(rows)))
    facts = provenance(torch.device(args.device))
    print("\n" + ", ".join(f"{name} {value}" for name, value in facts.items() if value))
    print(f"threads {torch.get_num_threads()}, command: {args.command}")


def measure_apart(job: Job) -> Cost | None:
    """Measure in a fresh process, whose peak of memory is this job's; None: out of memory."""
    context = multiprocessing.get_context("spawn")
    try:
        with ProcessPoolExecutor(1, mp_context=context) as pool:
            return pool.submit(measure, job).result()
    except (BrokenProcessPool, torch.OutOfMemoryError):  # killed for it, or told so by the GPU
        return None
    except RuntimeError as error:
        if "can't allocate memory" not in str(error):  # how PyTorch says it of the CPU
            raise
        return None


def measure(job: Job) -> Cost:
    """Time one frame between two, with fresh weights: speed does not depend on their values."""
    where = torch.device(job.device)
    torch.manual_seed(0)
    network = ZOO[job.model].build().eval().to(where)
    frame0, frame1 = torch.rand(2, 1, 3, job.height, job.width, device=where)
    time = time_like(frame0, 0.5)
    throughput = convolution_throughput(where)
    padded = Padded(network)

    def once() -> Tensor:
        return padded(frame0, frame1, time, job.flow_scale).frame

    with torch.inference_mode():
        before = reset_peak(where)
        once()
        gib = (peak(where) - before) / GIB
        gflop = count_gflop(once)
        seconds = [timed(once, where) for _ in range(job.runs)]
    parameters = sum(weight.numel() for weight in network.parameters())
    return Cost(parameters, gflop, seconds, gib, throughput)


def timed(call: Callable[[], Any], where: torch.device) -> float:
    """Seconds of a call, until its device has done all of it."""
    start = perf_counter()
    call()
    if where.type == "cuda":
        torch.cuda.synchronize(where)
    return perf_counter() - start


def count_gflop(call: Callable[[], Any]) -> float:
    """Arithmetic of a call, as PyTorch counts it; its CPU attention is counted here."""

    def attention(query: Any, key: Any, value: Any, *_: Any, **__: Any) -> int:
        return sdpa_flop_count(query, key, value)

    fused = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
    with FlopCounterMode(display=False, custom_mapping={fused: attention}) as counter:
        call()
    return counter.get_total_flops() / 1e9


def convolution_throughput(where: torch.device) -> float:
    """GFLOP/s of a 3 x 3 convolution, float32 and channels-last: the best of a few runs."""
    layer = nn.Conv2d(PROBE_CHANNELS, PROBE_CHANNELS, kernel_size=3, padding=1, device=where)
    layer = layer.to(memory_format=torch.channels_last)
    image = torch.rand(1, PROBE_CHANNELS, *PROBE_SIZE, device=where)
    image = image.to(memory_format=torch.channels_last)
    with torch.inference_mode():
        best = min(timed(lambda: layer(image), where) for _ in range(PROBE_RUNS))
    return 2 * 9 * PROBE_CHANNELS**2 * image[0, 0].numel() / best / 1e9


def reset_peak(where: torch.device) -> int:
    """Bytes in use before the work."""
    if where.type == "cuda":
        torch.cuda.reset_peak_memory_stats(where)
    return peak(where)


def peak(where: torch.device) -> int:
    """Most bytes in use so far: on the device, or of the whole process."""
    if where.type == "cuda":
        return torch.cuda.max_memory_allocated(where)
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def table(rows: list[tuple[Job, Cost | None]]) -> list[str]:
    """Markdown; the floor is the arithmetic at the throughput of the machine's convolutions."""
    lines = [
        "| model | size | flow scale | parameters | GFLOP | seconds | floor | of floor | GiB |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for job, cost in rows:
        head = f"| {job.model} | {job.width}x{job.height} | {job.flow_scale:g} |"
        if cost is None:
            lines.append(f"{head} | | out of memory | | | |")
            continue
        median, floor = statistics.median(cost.seconds), "- | -"
        if cost.gflop:
            least = cost.gflop / cost.throughput
            floor = f"{least:.3g} at {cost.throughput:.0f} GFLOP/s | {least / median:.0%}"
        lines.append(
            f"{head} {cost.parameters:,} | {cost.gflop:.0f} | {median:.3g} "
            f"({min(cost.seconds):.3g} to {max(cost.seconds):.3g}) | {floor} | {cost.gib:.2f} |"
        )
    return lines
