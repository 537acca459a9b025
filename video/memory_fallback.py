"""Inference within limited memory: estimate the need of a network, and retry with less.

Memory is saved by smaller tiles of synthesis, then by a smaller flow scale.
"""

import logging
import os
from collections.abc import Callable, Iterable
from fractions import Fraction
from typing import Any, NamedTuple, TypeVar

import torch
from torch import Tensor

from sgm_vfi.command_errors import is_out_of_memory
from sgm_vfi.model.cli_options import LARGEST_FLOW_SCALE
from sgm_vfi.model.inference.bisection import Bisected, support_times
from sgm_vfi.model.inference.ensemble import FlipEnsemble
from sgm_vfi.model.inference.padding import Padded
from sgm_vfi.model.inference.tiling import Tiled
from sgm_vfi.model.interpolator import (
    Interpolation,
    Interpolator,
    TileableInterpolator,
    flow_scale_fraction,
    time_like,
)
from sgm_vfi.model.malloc_settings import available_memory
from sgm_vfi.model.sgm.network import SGM

logger = logging.getLogger(__name__)

T = TypeVar("T")
MIN_FLOW_SCALE = Fraction(1, 8)
MIN_TILE = 128
MAX_TIMES = 32  # distinct times that decide how often an interval is halved
SAFE_SHARE = 0.8  # of the free memory: allocators leave gaps
PIPELINE_BYTES = 200  # per pixel, for frames in queues and their conversion
MATCHING_CELL = 8  # pixels per side of what is matched with all others


class MemoryNeed(NamedTuple):
    """Peak memory of one pair in float32, in bytes, without weights.

    The larger of two peaks counts: synthesis, and all-to-all matching.
    """

    kept: float  # per pixel, independent of tiles
    synthesis: float = 0.0  # per pixel of a tile with its halo, or of the frame without tiles
    matching: float = 0.0  # per pair of cells at the flow scale
    motion: float = 0.0  # per pixel at the flow scale


# Measured in fresh processes on a CPU as the growth of the peak by one pair, rounded up. SGM (16
# channels; `python -m benchmark speed`): 950 bytes per pixel at 2048x1088, 675 there at flow scale
# 1/2, 460 at 4096x2176 and 1/4, up to 1140 at 1280x720; it keeps no all-to-all scores. The others
# at 512x320, 832x480 and some at 1280x720: RAFT-VFI with context frames 480 bytes per pixel at
# scale 1/2, 1900 at scale 1; RAFT keeps all-to-all scores, 5.3 bytes per pair.
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
SGM_CHANNELS = 16  # of the row above; the needs per pixel grow with them


class MemoryBudget(NamedTuple):
    """Inference settings that decide how much memory a network uses."""

    flow_scale: float = 1.0
    tile: int | None = None  # side of the tiles of synthesis; None: the whole frame

    def __str__(self) -> str:
        tile = f", tiles of {self.tile}" if self.tile else ""
        return f"flow scale {flow_scale_fraction(self.flow_scale, LARGEST_FLOW_SCALE)}{tile}"


class MemoryAwareInterpolator:
    """Interpolates between two frames; retries with a smaller budget when memory runs out.

    A pair of frames is prepared once for consecutive calls. Each reduction is logged and kept in
    `reductions`.

    Args:
        network: an unwrapped network, on its device.
        times: times that will be requested, for networks that only support the middle.
    """

    def __init__(
        self,
        network: Interpolator,
        budget: MemoryBudget,
        times: Iterable[Fraction] = (),
        *,
        flip_ensemble: bool = False,
    ) -> None:
        self.network = network
        self.budget = budget
        self.times = [float(time) for time in times]
        self.flip_ensemble = flip_ensemble
        self.reductions: list[str] = []
        self.pair: tuple[int, int] | None = None
        self.state: Any = None
        self.wrapped = self._wrap()

    @property
    def uses_context_frames(self) -> bool:
        """Whether the network uses the frames before and after a pair."""
        return self.wrapped.uses_context_frames

    @property
    def time_precision(self) -> str:
        """The error of the times in words; empty if they are exact."""
        if isinstance(self.wrapped, Bisected):
            return f"times to within 1/{2 ** (self.wrapped.depth + 1)} of a gap, by halving"
        return ""

    def interpolate(
        self,
        pair: tuple[int, int],
        frame0: Tensor,
        frame1: Tensor,
        time: Fraction,
        *,
        explain: bool = False,
        **context: Tensor | None,
    ) -> Interpolation:
        """Interpolate one frame.

        Args:
            pair: indices of the frames; calls with the same pair share its preparation.
            context: the frames `before` and `after`, for a network that uses context frames.

        Shapes: frames (1, 3, H, W).
        """
        context = context if self.uses_context_frames else {}

        def attempt() -> Interpolation:
            """Interpolate with the present budget."""
            if pair != self.pair:
                self.state = self._prepare_pair(pair, frame0, frame1, context)
                self.pair = pair
            return self.wrapped.interpolate(
                self.state, time_like(frame0, float(time)), explain=explain
            )

        return self._within_memory(attempt)

    def reset(self) -> None:
        """Drop the prepared pair, so that the next frame does not depend on earlier ones."""
        self.pair = self.state = None

    def _prepare_pair(
        self,
        pair: tuple[int, int],
        frame0: Tensor,
        frame1: Tensor,
        context: dict[str, Tensor | None],
    ) -> Any:
        """Prepare a pair; reuse the features of its first frame if it follows the last pair."""
        follows, state = self.pair is not None and self.pair[1] == pair[0], self.state
        self.reset()
        if follows:
            return self.wrapped.advance(state, frame0, frame1, self.budget.flow_scale, **context)
        del state
        return self.wrapped.prepare(frame0, frame1, self.budget.flow_scale, **context)

    def _within_memory(self, attempt: Callable[[], T]) -> T:
        while True:
            try:
                return attempt()
            except (torch.OutOfMemoryError, RuntimeError) as error:
                if not is_out_of_memory(error):
                    raise
                smaller = reduce_budget(self.budget, self.network)
                if smaller is None:
                    raise
            self.reset()
            if torch.cuda.is_available():
                torch.cuda.empty_cache()
            message = f"out of memory with {self.budget}: going on with {smaller}"
            logger.warning(message)
            self.reductions.append(message)
            self.budget = smaller
            self.wrapped = self._wrap()

    def _wrap(self) -> Interpolator:
        network = self.network
        if self.budget.tile is not None:
            network = Tiled(network, self.budget.tile)
        if self.flip_ensemble:
            network = FlipEnsemble(network)
        return support_times(Padded(network), self.times)


def reduce_budget(budget: MemoryBudget, network: Interpolator) -> MemoryBudget | None:
    """Return the next smaller budget, or None if there is none."""
    if isinstance(network, TileableInterpolator) and (
        budget.tile is None or budget.tile // 2 >= MIN_TILE
    ):
        tile = 512 if budget.tile is None else budget.tile // 2
        return budget._replace(tile=tile - tile % network.stride)
    scale = flow_scale_fraction(budget.flow_scale, LARGEST_FLOW_SCALE) / 2
    return None if scale < MIN_FLOW_SCALE else budget._replace(flow_scale=float(scale))


def find_distinct_times(times: Iterable[Fraction]) -> list[Fraction]:
    """Return the first few distinct times between two frames, sorted."""
    found: dict[Fraction, None] = {}
    for time in times:
        if time:
            found[time] = None
        if len(found) == MAX_TIMES:
            break
    return sorted(found)


def estimate_memory(network: Interpolator, budget: MemoryBudget, height: int, width: int) -> int:
    """Estimate the peak of one pair and of the pipeline, in bytes."""
    need = NEEDS.get(type(network).__name__, DEFAULT_NEED)
    if isinstance(network, SGM):
        ratio = max(network.config.channels / SGM_CHANNELS, 1)
        need = need._replace(kept=need.kept * ratio, synthesis=need.synthesis * ratio)
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
    """Return the wanted budget, or the largest smaller one that fits the free memory.

    If none fits, return the smallest: the attempt will show.
    """
    budget = wanted
    while free is not None and estimate_memory(network, budget, height, width) > SAFE_SHARE * free:
        smaller = reduce_budget(budget, network)
        if smaller is None:
            break
        budget = smaller
    return budget


def measure_free_memory(device: torch.device) -> int | None:
    """Return the free bytes of a device, or None if unknown."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    if device.type == "mps":
        return torch.mps.recommended_max_memory() - torch.mps.current_allocated_memory()
    try:
        return available_memory()
    except OSError:
        pass
    try:  # not Linux: the total
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (ValueError, OSError, AttributeError):
        return None
