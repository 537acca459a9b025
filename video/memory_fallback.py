"""New frames from a network that may have to do with less memory than it would like."""

import logging
from collections.abc import Callable, Iterable
from fractions import Fraction
from typing import Any, NamedTuple, TypeVar

import torch
from torch import Tensor

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

logger = logging.getLogger(__name__)

T = TypeVar("T")
MIN_FLOW_SCALE = Fraction(1, 8)
MIN_TILE = 128
MAX_TIMES = 32  # that are looked at to know how finely a gap is divided


class MemoryBudget(NamedTuple):
    """How much memory a network may use."""

    flow_scale: float = 1.0
    tile: int | None = None  # side of the windows of synthesis; None: the whole frame

    def __str__(self) -> str:
        tile = f", tiles of {self.tile}" if self.tile else ""
        return f"flow scale {flow_scale_fraction(self.flow_scale, LARGEST_FLOW_SCALE)}{tile}"


class MemoryAwareInterpolator:
    """Makes frames between two, which are prepared once for all times that are asked for in a row.

    Out of memory, it takes smaller tiles where the network can be tiled, else a smaller flow scale,
    says so, and tries again.

    Args:
        network: as it was loaded, on its device; it is wrapped here.
        times: some of those that will be asked for, for networks made for the middle only.
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
        """Whether the network makes use of the frames on either side of a pair."""
        return self.wrapped.uses_context_frames

    @property
    def time_precision(self) -> str:
        """How exactly times are met, in words; nothing where they are."""
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
        **around: Tensor | None,
    ) -> Interpolation:
        """The frame between two.

        Shapes: frames (1, 3, H, W).

        Args:
            pair: which frames these are: those that follow with the same are prepared already.
            around: for a network that looks around, the frames `before` and `after` the pair.
        """

        def attempt() -> Interpolation:
            if pair != self.pair:
                self.state = self._prepared(pair, frame0, frame1, around)
                self.pair = pair
            return self.wrapped.interpolate(
                self.state, time_like(frame0, float(time)), explain=explain
            )

        return self._within_memory(attempt)

    def reset(self) -> None:
        """Let go of the prepared pair: the next frame does not depend on what was made before."""
        self.pair = self.state = None

    def _prepared(
        self,
        pair: tuple[int, int],
        frame0: Tensor,
        frame1: Tensor,
        around: dict[str, Tensor | None],
    ) -> Any:
        """What serves all times of a pair; what is known of its first frame is used again."""
        follows, known = self.pair is not None and self.pair[1] == pair[0], self.state
        self.reset()
        if follows:
            return self.wrapped.advance(known, frame0, frame1, self.budget.flow_scale, **around)
        del known
        return self.wrapped.prepare(frame0, frame1, self.budget.flow_scale, **around)

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


def is_out_of_memory(error: RuntimeError) -> bool:
    """Whether an error of PyTorch says so; on a CPU it has no class of its own."""
    return isinstance(error, torch.OutOfMemoryError) or "allocate memory" in str(error)


def reduce_budget(budget: MemoryBudget, network: Interpolator) -> MemoryBudget | None:
    """The next smaller effort; None where there is none."""
    if isinstance(network, TileableInterpolator) and (
        budget.tile is None or budget.tile // 2 >= MIN_TILE
    ):
        tile = 512 if budget.tile is None else budget.tile // 2
        return budget._replace(tile=tile - tile % network.stride)
    scale = flow_scale_fraction(budget.flow_scale, LARGEST_FLOW_SCALE) / 2
    return None if scale < MIN_FLOW_SCALE else budget._replace(flow_scale=float(scale))


def find_distinct_times(times: Iterable[Fraction]) -> list[Fraction]:
    """The first few different times between two frames."""
    found: dict[Fraction, None] = {}
    for time in times:
        if time:
            found[time] = None
        if len(found) == MAX_TIMES:
            break
    return sorted(found)
