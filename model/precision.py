"""Training faster where it does no harm: in bfloat16, and compiled."""

from collections.abc import Iterable, Iterator
from functools import wraps
from typing import Any

import torch
from torch import Tensor, nn

from model.sgm.network import SGM

MOST_VERSIONS = 256  # parts x sizes x modes


def trunks(network: SGM) -> Iterator[nn.Module]:
    """The convolutions and attention that most of the time goes into.

    What comes out of a flow head is in pixels of 1/8 or 1/4 size, where bfloat16 errs by whole
    pixels of the frame (specification 6.5): so heads count without their last layer, and flows,
    warps, splats, matching and the choice of key points are not among these parts.
    """
    yield from (network.encoder, network.synthesis.context, network.synthesis.unet)
    heads = list(network.local_flow)
    if network.matching is not None:
        yield network.gmflow
        yield network.matching.merge.logits
        heads.append(network.matching.refine)
    for head in heads:
        yield from (head.head, head.residual)


def compile_each(parts: Iterable[nn.Module]) -> None:
    """Compile parts one by one.

    Warps, splats and matching between them stay as they are: they gain little, and would cut a
    compiled network into pieces anyway. Parts share code, which the compiler's limit of versions
    does not expect; past it, it would silently stop compiling.
    """
    torch._dynamo.config.recompile_limit = MOST_VERSIONS
    for part in parts:
        part.compile()


def train_in_bfloat16(parts: Iterable[nn.Module]) -> None:
    """Let parts compute in bfloat16 in training mode, and take and give float32.

    Their weights stay float32, and in evaluation mode nothing changes.
    """
    for part in parts:
        part.forward = _mixed(part)


def _mixed(part: nn.Module) -> Any:
    exact = part.forward

    @wraps(exact)
    def forward(*inputs: Any) -> Any:
        if not part.training:
            return exact(*inputs)
        kind = next(part.parameters()).device.type
        with torch.autocast(kind, dtype=torch.bfloat16):
            return _as_float32(exact(*inputs))

    return forward


def _as_float32(output: Any) -> Any:
    """Cast tensors, also those in lists and tuples."""
    if isinstance(output, Tensor):
        return output.float()
    return type(output)(_as_float32(part) for part in output)
