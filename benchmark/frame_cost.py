"""Cost of one interpolated frame, measured in a process of its own."""

import argparse
import multiprocessing
from collections.abc import Callable, Iterable
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor
from tqdm import tqdm

from sgm_vfi.benchmark.profiler import (
    GIB,
    OperationCount,
    count_operations,
    count_stage_operations,
    measure_stage_seconds,
    peak_memory,
    reset_peak_memory,
    time_call,
)
from sgm_vfi.model import Interpolator, load_interpolator, time_like
from sgm_vfi.model.cli_options import accelerate
from sgm_vfi.model.import_by_name import PythonReferenceError, import_reference, is_reference
from sgm_vfi.model.inference.padding import Padded
from sgm_vfi.model.zoo import (
    ZOO,
    find_builder,
    find_weights,
    has_weights,
    needs_weights,
    resolve_alias,
)

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
    beside: str | None = None  # file.py:function, timed in turn with the network


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
    weights: str  # name of their file, or what takes their place
    stages: tuple[StageCost, ...] = ()
    beside: tuple[float, ...] = ()  # seconds of `SpeedConfig.beside`


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
    """Measure one interpolated frame of a network.

    Raises:
        ValueError: the network does not take this size, flow scale, precision or compilation, or
            what is timed beside it cannot be called.
    """
    device = torch.device(config.device)
    torch.manual_seed(0)
    network, weights = load_or_build(config.model)
    accelerate(network.to(device), config.precision, config.compiled)
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
        other = import_callable(config.beside, frame0, frame1) if config.beside else None
        seconds, beside = [], []
        for _ in range(config.runs):
            seconds.append(time_call(predict, device))
            if other is not None:
                beside.append(time_call(other, device))
        stages: tuple[StageCost, ...] = ()
        if config.compiled:  # compiled code cannot be counted: take the eager network
            network = load_or_build(config.model)[0].to(device)
            padded = Padded(network)
        if config.stages:
            split = measure_stage_seconds(network, predict, device)
            count = count_stage_operations(network, predict)
            stages = tuple(StageCost(name, split[name], count.select(name)) for name in split)
        else:
            count = count_operations(predict)
    parameters = sum(weight.numel() for weight in network.parameters())
    return FrameCost(parameters, count, seconds, gib, weights, stages, tuple(beside))


def load_or_build(name: str) -> tuple[Interpolator, str]:
    """Load a network if its weights are found, else build it; return it and what weights it has."""
    if Path(name).is_file() or has_weights(name):
        return load_interpolator(name), find_weights(name).name
    return find_builder(name)().eval(), "random" if needs_weights(name) else "none"


def import_callable(reference: str, frame0: Tensor, frame1: Tensor) -> Callable[[], Any]:
    """Import `file.py:function`, call it once on two frames, and return the call.

    Shapes: frames (1, 3, H, W), RGB in [0, 1].

    Raises:
        PythonReferenceError: there is no such function, or it fails on these frames.
    """
    function = import_reference(reference)
    try:
        function(frame0, frame1, 0.5)
    except Exception as error:
        raise PythonReferenceError(
            f"{reference} raised {type(error).__name__}: {error}. It is called as "
            f"function(frame0, frame1, time), with RGB frames (1, 3, H, W) in [0, 1]."
        ) from error
    return lambda: function(frame0, frame1, 0.5)


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
