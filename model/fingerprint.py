"""Identification of networks: a description of their settings and a checksum of weights."""

from dataclasses import is_dataclass
from zlib import crc32

import torch
from torch import nn

from sgm_vfi.model.flow.estimator import FlowEstimator
from sgm_vfi.model.interpolator import Interpolator


def describe_network(network: nn.Module) -> str:
    """Describe the parts of a network and their settings in one line.

    Parts are interpolators and flow estimators; settings are configs, numbers and names that differ
    from the defaults of the class.
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
    """Return the CRC-32 of all tensors of the state dict, as eight hexadecimal digits."""
    crc = 0
    for name, tensor in sorted(module.state_dict().items()):
        crc = crc32(tensor.detach().cpu().reshape(-1).view(torch.uint8).numpy().tobytes(), crc)
        crc = crc32(name.encode(), crc)
    return f"{crc:08x}"
