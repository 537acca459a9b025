"""Timing one frame between two, in a process of its own."""

import multiprocessing
import resource
import sys
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from time import perf_counter
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from sgm_vfi.benchmark.operation_count import OperationCount, count_operations
from sgm_vfi.benchmark.stage_profile import seconds_by_stage, work_by_stage
from sgm_vfi.model import ZOO, time_like
from sgm_vfi.model.cli_options import accelerate
from sgm_vfi.model.inference.padding import Padded
from sgm_vfi.model.precision import HALF_DTYPES

GIB = 2**30
OUT_OF_MEMORY = "out of memory"
PROBE, LARGE_PROBE = (64, 256, 256), (256, 512, 512)  # channels, height, width: on CPUs, on GPUs
PROBE_RUNS = 10
PROBE_BYTES = 2**28  # of a copy: far beyond a processor's cache


class SpeedRun(NamedTuple):
    """One row of the table."""

    model: str
    width: int
    height: int
    flow_scale: float
    device: str
    runs: int
    precision: str = "fp32"
    compiled: bool | str = False
    stages: bool = False


class StageCost(NamedTuple):
    """What a part of the network took."""

    name: str
    seconds: float
    work: OperationCount


class FrameCost(NamedTuple):
    """What a job took; memory is what the frame needed beyond the network's weights."""

    parameters: int
    work: OperationCount
    seconds: list[float]
    gib: float
    gflop_s: float  # of a 3 x 3 convolution in the job's precision, in the same process
    gbyte_s: float  # of a copy, read and written, in the same process
    stages: tuple[StageCost, ...] = ()

    @property
    def floor(self) -> float:
        """Seconds that arithmetic and memory traffic take at least."""
        return self.work.floor(self.gflop_s, self.gbyte_s)


def measure_in_subprocess(job: SpeedRun) -> FrameCost | str:
    """Measure in a fresh process, whose peak of memory is this job's; or say why it cannot be."""
    context = multiprocessing.get_context("spawn")
    try:
        with ProcessPoolExecutor(1, mp_context=context) as pool:
            return pool.submit(measure, job).result()
    except ValueError as error:
        return " ".join(str(error).split())
    except (BrokenProcessPool, torch.OutOfMemoryError):  # killed for it, or told so by the GPU
        return OUT_OF_MEMORY
    except RuntimeError as error:
        if "can't allocate memory" not in str(error):  # how PyTorch says it of the CPU
            raise
        return OUT_OF_MEMORY


def measure(job: SpeedRun) -> FrameCost:
    """Time one frame between two, with fresh weights: speed does not depend on their values.

    Raises:
        ValueError: the network does not take this size, flow scale, precision or compilation.
    """
    where = torch.device(job.device)
    torch.manual_seed(0)
    network = ZOO[job.model].build().eval().to(where)
    accelerate(network, job.precision, job.compiled)
    frame0, frame1 = torch.rand(2, 1, 3, job.height, job.width, device=where)
    time = time_like(frame0, 0.5)
    padded = Padded(network)

    def once() -> Tensor:
        return padded(frame0, frame1, time, job.flow_scale).frame

    with torch.inference_mode():
        before = reset_peak_memory(where)
        once()
        gib = (peak(where) - before) / GIB
        gflop_s, gbyte_s = (
            measure_convolution_throughput(where, job.precision),
            measure_bandwidth(where),
        )
        seconds = [time_call(once, where) for _ in range(job.runs)]
        stages: tuple[StageCost, ...] = ()
        if job.compiled:  # what the compiler made cannot be looked into: the plain network's work
            network = ZOO[job.model].build().eval().to(where)
            padded = Padded(network)
        if job.stages:
            split = seconds_by_stage(network, once, where)
            work = work_by_stage(network, once)
            stages = tuple(StageCost(name, split[name], work.part(name)) for name in split)
        else:
            work = count_operations(once)
    parameters = sum(weight.numel() for weight in network.parameters())
    return FrameCost(parameters, work, seconds, gib, gflop_s, gbyte_s, stages)


def time_call(call: Callable[[], Any], where: torch.device) -> float:
    """Seconds of a call, until its device has done all of it."""
    start = perf_counter()
    call()
    if where.type == "cuda":
        torch.cuda.synchronize(where)
    return perf_counter() - start


def measure_convolution_throughput(where: torch.device, precision: str = "fp32") -> float:
    """GFLOP/s of a 3 x 3 convolution, channels-last: the best of a few runs."""
    channels, *size = LARGE_PROBE if where.type == "cuda" else PROBE
    layer = nn.Conv2d(channels, channels, kernel_size=3, padding=1, device=where)
    image = torch.rand(1, channels, *size, device=where)
    layer, image = (x.to(memory_format=torch.channels_last) for x in (layer, image))
    dtype = HALF_DTYPES.get(precision, torch.float32)
    layer, image = layer.to(dtype), image.to(dtype)
    switches = torch.backends.cudnn.flags(enabled=True, allow_tf32=precision == "tf32")
    with torch.inference_mode(), switches:
        best = min(time_call(lambda: layer(image), where) for _ in range(PROBE_RUNS))
    return 2 * 9 * channels**2 * image[0, 0].numel() / best / 1e9


def measure_bandwidth(where: torch.device) -> float:
    """Gigabytes a second that a copy reads and writes: the best of a few runs."""
    source = torch.zeros(PROBE_BYTES // 4, device=where)
    target = torch.empty_like(source)
    best = min(time_call(lambda: target.copy_(source), where) for _ in range(PROBE_RUNS))
    return 2 * PROBE_BYTES / best / 1e9


def reset_peak_memory(where: torch.device) -> int:
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
