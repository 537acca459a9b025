"""How much memory a network takes for a frame, and what to ask of it where that is too much."""

import os
from typing import NamedTuple

import torch

from sgm_vfi.model.interpolator import Interpolator, TileableInterpolator
from sgm_vfi.model.sgm.network import SGM
from sgm_vfi.video.memory_fallback import MemoryBudget, reduce_budget

SAFE_SHARE = 0.8  # share of the free memory that is planned with: allocators leave gaps
PIPELINE_BYTES = (
    200  # bytes per pixel of what the pipeline holds: frames in queues, and their colours
)
MATCHING_CELL = 8  # pixels per side of what is matched with all others


class MemoryNeed(NamedTuple):
    """Bytes at the peak of one pair in float32, without weights.

    The larger of two peaks counts: of synthesis, and of matching all cells with all others.
    """

    kept: float  # per pixel, whatever is done in tiles
    synthesis: float = 0.0  # per pixel of a tile with its halo; of the frame where there is none
    matching: float = 0.0  # per pair of cells of the frame that motion is estimated on
    motion: float = 0.0  # per pixel of that frame


# Measured in fresh processes on a CPU as the growth of the peak by one pair, rounded up. SGM (16
# channels; `python -m benchmark speed`): 950 bytes per pixel at 2048x1088, 675 there at flow scale
# 1/2, 460 at 4096x2176 and 1/4, up to 1140 at 1280x720; it holds no scores of all cells with all
# others. The others at 512x320, 832x480 and some at 1280x720: RAFT-VFI with frames around 480 bytes
# per pixel at scale 1/2, 1900 at scale 1; RAFT holds such scores, 5.3 bytes per pair.
NEEDS = {
    "Repeat": MemoryNeed(40),
    "Blend": MemoryNeed(40),
    "FlowBlend": MemoryNeed(150),
    "SGM": MemoryNeed(350, 250, motion=500),
    "RIFE": MemoryNeed(900),
    "IFRNet": MemoryNeed(1400),
    "PerVFI": MemoryNeed(500, 5500, 6),
    "RAFTVFI": MemoryNeed(1900, 0, 6),
}
DEFAULT_NEED = MemoryNeed(2500)
SGM_CHANNELS = 16  # for which its row holds; both peaks of pixels grow with them


def estimate_memory(network: Interpolator, budget: MemoryBudget, height: int, width: int) -> int:
    """Bytes at the peak of one pair, and of what the pipeline holds beside."""
    need = NEEDS.get(type(network).__name__, DEFAULT_NEED)
    if isinstance(network, SGM):
        width_ratio = max(network.config.channels / SGM_CHANNELS, 1)
        need = need._replace(kept=need.kept * width_ratio, synthesis=need.synthesis * width_ratio)
    pixels = height * width
    tile = pixels
    if budget.tile is not None and isinstance(network, TileableInterpolator):
        tile = min(pixels, (budget.tile + 2 * network.halo) ** 2)
    moving = pixels * budget.flow_scale**2
    peak = max(need.synthesis * tile, need.matching * (moving / MATCHING_CELL**2) ** 2)
    return int((need.kept + PIPELINE_BYTES) * pixels + need.motion * moving + peak)


def fit_budget(
    network: Interpolator, wanted: MemoryBudget, height: int, width: int, free: int | None
) -> MemoryBudget:
    """The effort that is wanted, or the largest below it that the free memory allows.

    Where nothing does, the least there is: then the attempt will tell.
    """
    budget = wanted
    while free is not None and estimate_memory(network, budget, height, width) > SAFE_SHARE * free:
        smaller = reduce_budget(budget, network)
        if smaller is None:
            break
        budget = smaller
    return budget


def measure_free_memory(device: torch.device) -> int | None:
    """Bytes to be had on a device; None where that is not known."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    if device.type == "mps":
        return torch.mps.recommended_max_memory() - torch.mps.current_allocated_memory()
    return measure_host_memory()


def measure_host_memory() -> int | None:
    """Bytes that a process can take without pushing others out; None where it is not known."""
    try:
        with open("/proc/meminfo", encoding="ascii") as file:
            lines = dict(line.split(":") for line in file)
        return int(lines["MemAvailable"].split()[0]) * 1024
    except (OSError, KeyError):
        pass
    try:  # not Linux: what there is in all
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (ValueError, OSError, AttributeError):
        return None
