"""How much memory a network takes for a frame, and what to ask of it where that is too much."""

import os
from typing import NamedTuple

import torch

from sgm_vfi.model.interpolator import Interpolator, TileableInterpolator
from sgm_vfi.model.sgm.network import SGM
from sgm_vfi.video.memory_fallback import Effort, reduced

SAFETY = 0.8  # share of the free memory that is planned with: allocators leave gaps
HELD = 200  # bytes per pixel of what the pipeline holds: frames in queues, and their colours
CELL = 8  # pixels per side of what is matched with all others


class Need(NamedTuple):
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
    "Repeat": Need(40),
    "Blend": Need(40),
    "FlowBlend": Need(150),
    "SGM": Need(350, 250, motion=500),
    "RIFE": Need(900),
    "IFRNet": Need(1400),
    "PerVFI": Need(500, 5500, 6),
    "RAFTVFI": Need(1900, 0, 6),
}
UNKNOWN = Need(2500)
SGM_CHANNELS = 16  # for which its row holds; both peaks of pixels grow with them


def needed(network: Interpolator, effort: Effort, height: int, width: int) -> int:
    """Bytes at the peak of one pair, and of what the pipeline holds beside."""
    need = NEEDS.get(type(network).__name__, UNKNOWN)
    if isinstance(network, SGM):
        width_ratio = max(network.config.channels / SGM_CHANNELS, 1)
        need = need._replace(kept=need.kept * width_ratio, synthesis=need.synthesis * width_ratio)
    pixels = height * width
    tile = pixels
    if effort.tile is not None and isinstance(network, TileableInterpolator):
        tile = min(pixels, (effort.tile + 2 * network.halo) ** 2)
    moving = pixels * effort.flow_scale**2
    peak = max(need.synthesis * tile, need.matching * (moving / CELL**2) ** 2)
    return int((need.kept + HELD) * pixels + need.motion * moving + peak)


def affordable(
    network: Interpolator, wanted: Effort, height: int, width: int, free: int | None
) -> Effort:
    """The effort that is wanted, or the largest below it that the free memory allows.

    Where nothing does, the least there is: then the attempt will tell.
    """
    effort = wanted
    while free is not None and needed(network, effort, height, width) > SAFETY * free:
        smaller = reduced(effort, network)
        if smaller is None:
            break
        effort = smaller
    return effort


def free_memory(device: torch.device) -> int | None:
    """Bytes to be had on a device; None where that is not known."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    if device.type == "mps":
        return torch.mps.recommended_max_memory() - torch.mps.current_allocated_memory()
    return available_memory()


def available_memory() -> int | None:
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
