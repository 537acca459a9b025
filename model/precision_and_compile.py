"""Half precision and compilation of the compute modules of a network."""

import logging
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial, wraps
from typing import Any

import torch
from torch import Tensor, nn

from sgm_vfi.model.interpolator import Interpolator
from sgm_vfi.model.ops.onednn_linear import onednn_supports

logger = logging.getLogger(__name__)
MOST_VERSIONS = 256  # parts x sizes x modes
HALF_DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16}
PRECISIONS = ("fp32", "tf32", *HALF_DTYPES)


def compile_modules(parts: Iterable[nn.Module], *, graphs: bool = False) -> None:
    """Compile modules one by one; warps, splats and matching stay eager.

    Raises the compiler's limit of versions, because modules share code. Set the precision
    afterwards: compiled code cannot switch tf32 on.

    Args:
        graphs: also record each module as a CUDA graph per size, for inference. Outputs are
            copied, because a graph overwrites them.
    """
    torch._dynamo.config.recompile_limit = MOST_VERSIONS
    for part in parts:
        if graphs:
            part.forward = _copied(torch.compile(part.forward, mode="reduce-overhead"))
        else:
            part.forward = torch.compile(part.forward)


def use_bfloat16_in_training(parts: Iterable[nn.Module]) -> None:
    """Run modules in bfloat16 in training mode; weights, inputs and outputs stay float32."""
    for part in parts:
        part.forward = _within(part, _autocast(part, torch.bfloat16), in_training=True)


def set_inference_precision(network: Interpolator, precision: str) -> None:
    """Run a network's compute modules in `precision` in evaluation mode; the rest stays float32.

    "fp32" is exact; "tf32" rounds factors to 10 bits, on NVIDIA GPUs only; "bf16" and "fp16" use
    autocast. Weights, flows, warps, splats and matches stay float32.

    Raises:
        ValueError: the network has no compute modules, or the precision is not for its device.
    """
    if precision not in PRECISIONS:
        raise ValueError(f"A precision is one of {', '.join(PRECISIONS)}, got {precision!r}.")
    if precision == "fp32":
        return
    name, compute_modules = type(network).__name__, list(network.compute_modules())
    if not compute_modules:
        raise ValueError(f"{name} has no compute modules for {precision}; it runs in fp32.")
    kind = next(compute_modules[0].parameters()).device.type
    if precision == "tf32" and kind != "cuda":
        raise ValueError(f"tf32 is a mode of NVIDIA GPUs, the network is on {kind}; take bf16.")
    if kind == "cpu" and not onednn_supports(precision):
        logger.warning(
            "This processor has no arithmetic for %s: expect many times the time of fp32.",
            precision,
        )
    for part in compute_modules:
        context = _tf32 if precision == "tf32" else _autocast(part, HALF_DTYPES[precision])
        part.forward = _within(part, context, in_training=False)
    network.precision = precision


def _copied(replayed: Callable[..., Any]) -> Callable[..., Any]:
    """Copy the outputs of a CUDA graph."""

    @wraps(replayed)
    def forward(*inputs: Any) -> Any:
        """Run the graph and copy its output."""
        torch.compiler.cudagraph_mark_step_begin()  # nothing of the last call is needed any more
        return _each_tensor(torch.clone, replayed(*inputs))

    return forward


Context = Callable[[], AbstractContextManager[None]]


def _within(part: nn.Module, context: Context, *, in_training: bool) -> Callable[..., Any]:
    """Return a forward that runs inside a context, in training or in evaluation mode."""
    exact = part.forward

    @wraps(exact)
    def forward(*inputs: Any) -> Any:
        """Run the module, in the context where its mode asks for it."""
        if part.training is not in_training:
            return exact(*inputs)
        with context():
            return _each_tensor(Tensor.float, exact(*inputs))

    return forward


def _autocast(part: nn.Module, dtype: torch.dtype) -> Context:
    return partial(torch.autocast, next(part.parameters()).device.type, dtype=dtype)


@contextmanager
def _tf32() -> Iterator[None]:
    switches: tuple[Any, ...] = (torch.backends.cuda.matmul, torch.backends.cudnn)
    before = [switch.allow_tf32 for switch in switches]
    for switch in switches:
        switch.allow_tf32 = True
    try:
        yield
    finally:
        for switch, allowed in zip(switches, before, strict=True):
            switch.allow_tf32 = allowed


def _each_tensor(change: Callable[[Tensor], Tensor], output: Any) -> Any:
    """Map a function over tensors in lists and tuples; None stays None."""
    if isinstance(output, Tensor):
        return change(output)
    if output is None:
        return None
    return type(output)(_each_tensor(change, part) for part in output)
