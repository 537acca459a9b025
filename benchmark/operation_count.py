"""What a call has to do: its arithmetic, the bytes it must move, the tensors it keeps."""

import math
import weakref
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry, sdpa_flop_count


class Operation(NamedTuple):
    """A convolution, a product or an attention."""

    flop: int  # two per multiply-add
    bytes: int  # of what it reads and writes, once
    label: str  # the recorder's when it was done


class OperationCount(NamedTuple):
    """All that a call did which no rewriting saves; what lies between is taken to be fused."""

    operations: tuple[Operation, ...]
    peaks: dict[str, int]  # by label: most bytes of tensors held at a time, made since the start

    def part(self, label: str) -> "OperationCount":
        """What was done under a label."""
        operations = tuple(op for op in self.operations if op.label == label)
        return OperationCount(operations, {label: self.peaks.get(label, 0)})

    @property
    def peak(self) -> int:
        return max(self.peaks.values(), default=0)

    @property
    def gflop(self) -> float:
        return sum(operation.flop for operation in self.operations) / 1e9

    @property
    def gbyte(self) -> float:
        return sum(operation.bytes for operation in self.operations) / 1e9

    def floor(self, gflop_s: float, gbyte_s: float) -> float:
        """Seconds that a machine of this throughput and this memory needs at least.

        Each operation takes as long as its arithmetic or its traffic, whichever is more.
        """
        return sum(max(op.flop / gflop_s, op.bytes / gbyte_s) for op in self.operations) / 1e9


class OperationCounter(TorchDispatchMode):
    """Records the work of the calls made while it is open, through all that they call.

    `label` may be set at any time: it says what the following work is for.
    """

    def __init__(self, label: str = "") -> None:
        super().__init__()
        self.label = label
        self.operations: list[Operation] = []
        self.peaks: dict[str, int] = {}
        self.held = 0  # bytes
        self.known: set[int] = set()

    @property
    def work(self) -> OperationCount:
        return OperationCount(tuple(self.operations), self.peaks)

    def __torch_dispatch__(
        self, function: Any, types: Any, args: tuple = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        count = COUNTS.get(function._overloadpacket)
        if count is None:
            with self:  # a composite operation does its work through others
                parts = function.decompose(*args, **kwargs)
            if parts is not NotImplemented:
                return parts
        out = function(*args, **kwargs)
        written = [leaf for leaf in tree_leaves(out) if isinstance(leaf, Tensor)]
        if count is not None:
            read = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
            moved = sum(tensor.numel() * tensor.element_size() for tensor in (*read, *written))
            flop = count(*args, **kwargs, out_val=out)
            self.operations.append(Operation(flop, moved, self.label))
        for tensor in written:
            self._hold(tensor.untyped_storage())
        return out

    def _hold(self, storage: torch.UntypedStorage) -> None:
        """Count a storage until it is let go."""
        key, size = storage._cdata, storage.nbytes()
        if key in self.known or not size:
            return
        self.known.add(key)
        self.held += size
        self.peaks[self.label] = max(self.peaks.get(self.label, 0), self.held)
        weakref.finalize(storage, self._release, key, size).atexit = False

    def _release(self, key: int, size: int) -> None:
        self.known.discard(key)
        self.held -= size


def count_operations(call: Callable[[], Any]) -> OperationCount:
    """Make a call, and say what it took."""
    with OperationCounter() as recorder:
        call()
    return recorder.work


def _attention(query: Any, key: Any, value: Any, *_: Any, **__: Any) -> int:
    """PyTorch counts all of its fused attention but that of the CPU."""
    return sdpa_flop_count(query.shape, key.shape, value.shape)


def _linear(x: Tensor, weight: Tensor, *_: Any, **__: Any) -> int:
    """Two per multiply-add."""
    return 2 * x.numel() * len(weight)


def _convolution_backward(
    gradient: Tensor, x: Tensor, weight: Tensor, *options: Any, **_: Any
) -> int:
    """Each gradient takes as much as the convolution did; PyTorch counts groups as if dense."""
    transposed, wanted = options[4], options[7]
    pixels = math.prod((x if transposed else gradient).shape[2:])
    return 2 * len(x) * pixels * weight.numel() * sum(wanted[:2])


COUNTS = {
    **flop_registry,
    torch.ops.aten.convolution_backward: _convolution_backward,
    torch.ops.aten._scaled_dot_product_flash_attention_for_cpu: _attention,
    torch.ops.mkldnn._linear_pointwise: _linear,
}
