"""Choice of the precision of inference by device: `--precision auto`."""

import logging
import time
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import nn

from sgm_vfi.model.layers.linear_layer import Linear
from sgm_vfi.model.layers.memory_layout import set_memory_layout
from sgm_vfi.model.ops.onednn_linear import onednn_supports

logger = logging.getLogger(__name__)
AUTO = "auto"
LEAST_GAIN = 1.1  # speed of bf16 relative to fp32 on a CPU; below, exactness is worth more
PROBE_RUNS = 7  # of each precision, about 0.3 s on two cores
CHANNELS, SIDES = 64, (96, 160)  # of the probe: layers and maps such as those of SGM-VFI
HALF_CAPABILITY = (7, 0)  # of NVIDIA GPUs, from which on fp16 is faster than fp32


class PrecisionChoice(NamedTuple):
    """A precision of inference and the reason for it."""

    precision: str
    reason: str


def resolve_precision(precision: str, device: torch.device) -> str:
    """Return the precision itself, or what to take for "auto", and log that with its reason."""
    if precision != AUTO:
        return precision
    choice = choose_precision(device)
    logger.warning("precision: %s (%s)", *choice)
    return choice.precision


def choose_precision(
    device: torch.device, measure_gain: Callable[[], float] | None = None
) -> PrecisionChoice:
    """Choose the fastest precision that keeps the quality of the frames.

    Args:
        measure_gain: returns the speed of bf16 relative to fp32 on the CPU; None: measure it here.
    """
    if device.type == "cuda":
        return _choose_for_gpu(device)
    if device.type != "cpu":
        return PrecisionChoice("fp32", f"exact; bf16 is not measured on {device.type}")
    if not has_bfloat16_arithmetic():
        return PrecisionChoice("fp32", "this processor has no AVX512-BF16 and no AMX")
    gain = (measure_gain or measure_bfloat16_gain)()
    reason = f"bf16 is {gain:.2f} times as fast as fp32 here, asked for: {LEAST_GAIN:g}"
    return PrecisionChoice("bf16" if gain >= LEAST_GAIN else "fp32", reason)


def has_bfloat16_arithmetic() -> bool:
    """Return whether the processor computes products in bfloat16: AVX512-BF16 or AMX."""
    names = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
    asks = [getattr(torch.cpu, name, None) for name in names]
    return onednn_supports("bf16") and any(ask is not None and ask() for ask in asks)


def measure_bfloat16_gain() -> float:
    """Measure the speed of bf16 relative to fp32 of a convolution and a linear layer, in turn."""
    conv, linear = nn.Conv2d(CHANNELS, CHANNELS, 3, padding=1), Linear(CHANNELS, 4 * CHANNELS)
    set_memory_layout(conv, torch.channels_last)
    image = torch.rand(1, CHANNELS, *SIDES).contiguous(memory_format=torch.channels_last)
    seconds: dict[bool, list[float]] = {False: [], True: []}
    with torch.inference_mode():
        for run in range(2 * (PROBE_RUNS + 1)):
            is_half = bool(run % 2)
            with torch.autocast("cpu", dtype=torch.bfloat16, enabled=is_half):
                start = time.perf_counter()
                linear(conv(image).permute(0, 2, 3, 1))
                seconds[is_half].append(time.perf_counter() - start)
    return min(seconds[False][1:]) / min(seconds[True][1:])  # without the warm-up


def _choose_for_gpu(device: torch.device) -> PrecisionChoice:
    name = torch.cuda.get_device_name(device)
    with torch.cuda.device(device):
        has_bfloat16 = torch.cuda.is_bf16_supported(including_emulation=False)
    if has_bfloat16:
        return PrecisionChoice("bf16", f"{name} has arithmetic for it")
    if torch.cuda.get_device_capability(device) >= HALF_CAPABILITY:
        return PrecisionChoice("fp16", f"{name} has arithmetic for it, and none for bf16")
    return PrecisionChoice("fp32", f"{name} is not faster in half precision")
