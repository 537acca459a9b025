"""What tells one network from another: how it is set, and its weights."""

from dataclasses import is_dataclass
from zlib import crc32

import torch
from torch import nn

from sgm_vfi.model.flow.estimator import FlowEstimator
from sgm_vfi.model.interpolator import Interpolator


def describe_network(network: nn.Module) -> str:
    """What a network is made of, and how each part is set, in one line.

    Parts are interpolators and estimators of optical flow; what they are set to are their configs,
    numbers and names, where these are not what all of their class have.
    """
    parts = [x for x in network.modules() if isinstance(x, Interpolator | FlowEstimator)]
    return " > ".join(_described(part) for part in parts) or type(network).__name__


def _described(part: nn.Module) -> str:
    values = {
        name: value
        for name, value in sorted(vars(part).items())
        if isinstance(value, int | float | str) or is_dataclass(value)
        if name != "training" and not name.startswith("_")
        if value != getattr(type(part), name, None)
    }
    return f"{type(part).__name__}({', '.join(f'{k}={v}' for k, v in values.items())})"


def fingerprint(module: nn.Module) -> str:
    """Tells weights apart: crc32 over every tensor of the state dict, as eight hex digits."""
    crc = 0
    for name, tensor in sorted(module.state_dict().items()):
        crc = crc32(tensor.detach().cpu().reshape(-1).view(torch.uint8).numpy().tobytes(), crc)
        crc = crc32(name.encode(), crc)
    return f"{crc:08x}"
