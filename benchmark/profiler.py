"""Cost of a call: seconds, arithmetic, memory traffic and peak memory, by stage of a network."""

import math
import resource
import sys
import weakref
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from time import perf_counter
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry, sdpa_flop_count

from sgm_vfi.model import Interpolator
from sgm_vfi.model.precision_and_compile import HALF_DTYPES

GIB = 2**30
PROBE, LARGE_PROBE = (64, 256, 256), (256, 512, 512)  # channels, height, width: on CPUs, on GPUs
PROBE_RUNS = 10
PROBE_BYTES = 2**28  # of a copy: far beyond a processor's cache
PROCESS_STATUS, RESET_PEAK = Path("/proc/self/status"), "5"  # on Linux, for its clear_refs
REST = "rest"  # the network's own code, between its stages
DEPTH = 2  # levels of submodules that are stages


class Operation(NamedTuple):
    """A convolution, a matrix product or an attention."""

    flop: int  # two per multiply-add
    bytes: int  # read and written, once
    stage: str


class OperationCount(NamedTuple):
    """The operations of a call; everything between them is taken to be fused."""

    operations: tuple[Operation, ...]
    peaks: dict[str, int]  # by stage: most bytes of tensors alive at a time, made since the start

    def select(self, stage: str) -> "OperationCount":
        """Return the part of one stage."""
        operations = tuple(op for op in self.operations if op.stage == stage)
        return OperationCount(operations, {stage: self.peaks.get(stage, 0)})

    @property
    def peak(self) -> int:
        """Most bytes of tensors alive at a time."""
        return max(self.peaks.values(), default=0)

    @property
    def gflop(self) -> float:
        """Arithmetic in GFLOP."""
        return sum(operation.flop for operation in self.operations) / 1e9

    @property
    def gbyte(self) -> float:
        """Memory traffic in gigabytes."""
        return sum(operation.bytes for operation in self.operations) / 1e9

    def floor(self, gflop_s: float, gbyte_s: float) -> float:
        """Return the seconds that a machine of this throughput and bandwidth needs at least.

        An operation takes as long as its arithmetic or its traffic, whichever is more.
        """
        return sum(max(op.flop / gflop_s, op.bytes / gbyte_s) for op in self.operations) / 1e9


class OperationCounter(TorchDispatchMode):
    """Counts the operations and the memory of all calls made while it is active.

    `stage` may be set at any time and applies to the operations that follow.
    """

    def __init__(self, stage: str = "") -> None:
        super().__init__()
        self.stage = stage
        self.operations: list[Operation] = []
        self.peaks: dict[str, int] = {}
        self.alive_bytes = 0
        self.storages: set[int] = set()

    @property
    def count(self) -> OperationCount:
        """The operations so far."""
        return OperationCount(tuple(self.operations), self.peaks)

    def __torch_dispatch__(
        self, function: Any, types: Any, args: tuple = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        formula = FORMULAS.get(function._overloadpacket)
        if formula is None:
            with self:  # a composite operation is counted by its parts
                parts = function.decompose(*args, **kwargs)
            if parts is not NotImplemented:
                return parts
        out = function(*args, **kwargs)
        written = [leaf for leaf in tree_leaves(out) if isinstance(leaf, Tensor)]
        if formula is not None:
            read = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
            moved = sum(tensor.numel() * tensor.element_size() for tensor in (*read, *written))
            flop = formula(*args, **kwargs, out_val=out)
            self.operations.append(Operation(flop, moved, self.stage))
        for tensor in written:
            self._track(tensor.untyped_storage())
        return out

    def _track(self, storage: torch.UntypedStorage) -> None:
        """Count a storage until it is freed."""
        key, size = storage._cdata, storage.nbytes()
        if key in self.storages or not size:
            return
        self.storages.add(key)
        self.alive_bytes += size
        self.peaks[self.stage] = max(self.peaks.get(self.stage, 0), self.alive_bytes)
        weakref.finalize(storage, self._release, key, size).atexit = False

    def _release(self, key: int, size: int) -> None:
        self.storages.discard(key)
        self.alive_bytes -= size


def _attention_flop(query: Any, key: Any, value: Any, *_: Any, **__: Any) -> int:
    return sdpa_flop_count(query.shape, key.shape, value.shape)


def _linear_flop(x: Tensor, weight: Tensor, *_: Any, **__: Any) -> int:
    return 2 * x.numel() * len(weight)


def _convolution_flop(x: Tensor, weight: Tensor, *_: Any, out_val: Tensor, **__: Any) -> int:
    return 2 * out_val.numel() * weight[0].numel()


def _convolution_backward_flop(
    gradient: Tensor, x: Tensor, weight: Tensor, *options: Any, **_: Any
) -> int:
    """Count each gradient as the convolution itself; PyTorch counts groups as if dense."""
    transposed, output_mask = options[4], options[7]
    pixels = math.prod((x if transposed else gradient).shape[2:])
    return 2 * len(x) * pixels * weight.numel() * sum(output_mask[:2])


FORMULAS = {
    **flop_registry,
    torch.ops.aten.convolution_backward: _convolution_backward_flop,
    torch.ops.aten._scaled_dot_product_flash_attention_for_cpu: _attention_flop,
    torch.ops.mkldnn._linear_pointwise: _linear_flop,
    torch.ops.mkldnn._convolution_pointwise: _convolution_flop,
}


def count_operations(call: Callable[[], Any]) -> OperationCount:
    """Count the operations of a call."""
    with OperationCounter() as counter:
        call()
    return counter.count


@contextmanager
def track_stages(network: nn.Module, change: Callable[[str, str], None]) -> Iterator[None]:
    """Call `change(left, entered)` when a call of the network passes from stage to stage.

    A stage is a submodule of the first DEPTH levels, without the stages inside it.
    """
    stack = [REST]

    def enter(name: str) -> None:
        """Begin a stage inside the current one."""
        change(stack[-1], name)
        stack.append(name)

    def leave() -> None:
        """Return to the stage around the current one."""
        left = stack.pop()
        change(left, stack[-1])

    with ExitStack() as hooks:
        for name, module in network.named_modules():
            if name and name.count(".") < DEPTH:
                before = module.register_forward_pre_hook(lambda *_, name=name: enter(name))
                after = module.register_forward_hook(lambda *_: leave())
                hooks.callback(before.remove)
                hooks.callback(after.remove)
        yield
        change(REST, REST)


def measure_stage_seconds(
    network: Interpolator, call: Callable[[], Any], device: torch.device
) -> dict[str, float]:
    """Return the seconds of a call by stage, in the order in which stages are first left."""
    seconds: dict[str, float] = defaultdict(float)
    last = perf_counter()

    def change(left: str, entered: str) -> None:
        """Add the time since the last change to the stage that was left."""
        nonlocal last
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        now = perf_counter()
        seconds[left] += now - last
        last = now

    with track_stages(network, change):
        call()
    return dict(seconds)


def count_stage_operations(network: Interpolator, call: Callable[[], Any]) -> OperationCount:
    """Count the operations of a call by stage."""
    counter = OperationCounter(REST)

    def change(left: str, entered: str) -> None:
        """Count what follows for the stage that is entered."""
        counter.stage = entered

    with track_stages(network, change), counter:
        call()
    return counter.count


def time_call(call: Callable[[], Any], device: torch.device) -> float:
    """Return the seconds of a call until its device has finished."""
    start = perf_counter()
    call()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return perf_counter() - start


def measure_convolution_throughput(device: torch.device, precision: str = "fp32") -> float:
    """Measure the GFLOP/s of a 3 x 3 convolution, channels-last: the best of a few runs."""
    channels, *size = LARGE_PROBE if device.type == "cuda" else PROBE
    dtype = HALF_DTYPES.get(precision, torch.float32)
    layer = nn.Conv2d(channels, channels, kernel_size=3, padding=1, device=device).to(dtype)
    image = torch.rand(1, channels, *size, device=device).to(dtype)
    layer.weight.data = layer.weight.data.contiguous(memory_format=torch.channels_last)
    image = image.to(memory_format=torch.channels_last)
    switches = torch.backends.cudnn.flags(enabled=True, allow_tf32=precision == "tf32")
    with torch.inference_mode(), switches:
        best = min(time_call(lambda: layer(image), device) for _ in range(PROBE_RUNS))
    return 2 * 9 * channels**2 * image[0, 0].numel() / best / 1e9


def measure_bandwidth(device: torch.device) -> float:
    """Measure the GB/s that a copy reads and writes: the best of a few runs."""
    source = torch.zeros(PROBE_BYTES // 4, device=device)
    target = torch.empty_like(source)
    best = min(time_call(lambda: target.copy_(source), device) for _ in range(PROBE_RUNS))
    return 2 * PROBE_BYTES / best / 1e9


class MachineLimits(NamedTuple):
    """What a device reaches in one run."""

    gflop_s: float  # of a 3 x 3 convolution
    gbyte_s: float  # of a copy, read and written


def measure_limits(device: torch.device, precision: str = "fp32") -> MachineLimits:
    """Measure the limits of a device in a precision."""
    return MachineLimits(
        measure_convolution_throughput(device, precision), measure_bandwidth(device)
    )


def reset_peak_memory(device: torch.device) -> int:
    """Reset the peak, on a GPU or on Linux; return the bytes in use."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    elif PROCESS_STATUS.is_file():
        (PROCESS_STATUS.parent / "clear_refs").write_text(RESET_PEAK)
    return peak_memory(device)


def peak_memory(device: torch.device) -> int:
    """Return the most bytes in use so far: on the GPU, or of the whole process."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    if PROCESS_STATUS.is_file():  # getrusage would include the peak of the process that started us
        [line] = (x for x in PROCESS_STATUS.read_text().splitlines() if x.startswith("VmHWM:"))
        return int(line.split()[1]) * 1024
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
