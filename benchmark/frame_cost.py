"""Cost of one interpolated frame, measured in a process of its own."""

import argparse
import multiprocessing
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import NamedTuple

import torch
from torch import Tensor
from tqdm import tqdm

from sgm_vfi.benchmark.profiler import (
    GIB,
    OperationCount,
    count_operations,
    count_stage_operations,
    measure_bandwidth,
    measure_convolution_throughput,
    measure_stage_seconds,
    peak_memory,
    reset_peak_memory,
    time_call,
)
from sgm_vfi.model import time_like
from sgm_vfi.model.cli_options import accelerate
from sgm_vfi.model.import_by_name import is_reference
from sgm_vfi.model.inference.padding import Padded
from sgm_vfi.model.zoo import ZOO, find_builder, resolve_alias

OUT_OF_MEMORY = "out of memory"


class SpeedConfig(NamedTuple):
    """What is measured in one row of the speed table."""

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
    """Cost of one stage of a network."""

    name: str
    seconds: float
    operations: OperationCount


class FrameCost(NamedTuple):
    """Cost of one frame; memory is beyond the network's weights."""

    parameters: int
    operations: OperationCount
    seconds: list[float]
    gib: float
    gflop_s: float  # of a 3 x 3 convolution in the same precision and process
    gbyte_s: float  # of a copy, read and written, in the same process
    stages: tuple[StageCost, ...] = ()

    @property
    def floor(self) -> float:
        """Seconds that arithmetic and memory traffic take at least."""
        return self.operations.floor(self.gflop_s, self.gbyte_s)


def measure_in_subprocess(config: SpeedConfig) -> FrameCost | str:
    """Measure in a new process, whose peak memory is that of this frame; or return the reason."""
    context = multiprocessing.get_context("spawn")
    try:
        with ProcessPoolExecutor(1, mp_context=context) as pool:
            return pool.submit(measure_frame, config).result()
    except ValueError as error:
        return " ".join(str(error).split())
    except (BrokenProcessPool, torch.OutOfMemoryError):  # killed by the system, or a full GPU
        return OUT_OF_MEMORY
    except RuntimeError as error:
        if "can't allocate memory" not in str(error):  # PyTorch's message for a CPU
            raise
        return OUT_OF_MEMORY


def measure_frame(config: SpeedConfig) -> FrameCost:
    """Measure one interpolated frame of a network with random weights.

    Raises:
        ValueError: the network does not take this size, flow scale, precision or compilation.
    """
    device = torch.device(config.device)
    torch.manual_seed(0)
    network = find_builder(config.model)().eval().to(device)
    accelerate(network, config.precision, config.compiled)
    frame0, frame1 = torch.rand(2, 1, 3, config.height, config.width, device=device)
    time = time_like(frame0, 0.5)
    padded = Padded(network)

    def predict() -> Tensor:
        """Interpolate one frame."""
        return padded(frame0, frame1, time, config.flow_scale).frame

    with torch.inference_mode():
        before = reset_peak_memory(device)
        predict()
        gib = (peak_memory(device) - before) / GIB
        gflop_s = measure_convolution_throughput(device, config.precision)
        gbyte_s = measure_bandwidth(device)
        seconds = [time_call(predict, device) for _ in range(config.runs)]
        stages: tuple[StageCost, ...] = ()
        if config.compiled:  # compiled code cannot be counted: take the eager network
            network = find_builder(config.model)().eval().to(device)
            padded = Padded(network)
        if config.stages:
            split = measure_stage_seconds(network, predict, device)
            count = count_stage_operations(network, predict)
            stages = tuple(StageCost(name, split[name], count.select(name)) for name in split)
        else:
            count = count_operations(predict)
    parameters = sum(weight.numel() for weight in network.parameters())
    return FrameCost(parameters, count, seconds, gib, gflop_s, gbyte_s, stages)


def measure_costs(names: Iterable[str], args: argparse.Namespace) -> dict[str, str]:
    """Measure one frame of each network of the zoo or of the user; return seconds and memory.

    Args:
        args: `size` (side of the frame), `runs`, `device`, `precision`, `compile`.
    """
    costs = {}
    known = [name for name in names if resolve_alias(name) in ZOO or is_reference(name)]
    for name in tqdm(known if args.runs else [], "timing", leave=False):
        config = SpeedConfig(
            *(resolve_alias(name), args.size, args.size, 1.0, str(args.device), args.runs),
            precision=args.precision,
            compiled=args.compile,
        )
        cost = measure_in_subprocess(config)
        costs[name] = (
            cost if isinstance(cost, str) else f"{min(cost.seconds):.3g} s, {cost.gib:.2f} GiB"
        )
    return costs
