"""Tiled synthesis, for frames that do not fit in memory as a whole."""

from collections.abc import Iterator
from typing import Any, NamedTuple

from torch import Tensor

from sgm_vfi.model.inference.wrapper_base import Wrapper, map_tensors
from sgm_vfi.model.interpolator import Interpolation, Interpolator, TileableInterpolator, Window


class TiledState(NamedTuple):
    """State of the network, and the size of the frames."""

    inner: Any
    height: int
    width: int


class Tiled(Wrapper):
    """Estimates motion on the whole frame and synthesises tile by tile, with equal results.

    Attention and global matching see the whole frame: only local synthesis is tiled.

    Args:
        tile: height and width of a tile in pixels, a multiple of the interpolator's stride.
    """

    inner: TileableInterpolator

    def __init__(self, inner: Interpolator, tile: int = 512) -> None:
        name = type(inner).__name__
        if isinstance(inner, Wrapper):
            raise TypeError(
                f"Tiled takes the network itself, got {name}(...). Tile first, then wrap: "
                f"{name}(Tiled(network))."
            )
        if not isinstance(inner, TileableInterpolator):
            raise TypeError(
                f"{name} cannot be tiled: it does not say which part of its work is local, and "
                f"motion that is estimated in windows is wrong. Use a smaller flow_scale instead."
            )
        if tile < 1 or tile % inner.stride:
            raise ValueError(
                f"Windows of {name} are multiples of {inner.stride} pixels, got {tile}."
            )
        super().__init__(inner)
        self.tile = tile

    def prepare(self, frame0: Tensor, frame1: Tensor, flow_scale: float = 1.0) -> TiledState:
        """Prepare the whole frames."""
        height, width = frame0.shape[-2:]
        return TiledState(self.inner.prepare(frame0, frame1, flow_scale), height, width)

    def advance(  # type: ignore[override]
        self, state: TiledState, frame1: Tensor, frame2: Tensor, flow_scale: float = 1.0
    ) -> TiledState:
        """Advance with the whole frames."""
        height, width = frame2.shape[-2:]
        inner = self.inner.advance(state.inner, frame1, frame2, flow_scale)
        return TiledState(inner, height, width)

    def interpolate(
        self, state: TiledState, time: Tensor, *, explain: bool = False
    ) -> Interpolation:
        """Estimate the motion once, and synthesise tile by tile."""
        motion = self.inner.estimate(state.inner, time, explain=explain)
        whole: Interpolation | None = None
        for window in split_windows(state.height, state.width, self.tile):
            part = self.inner.synthesise(state.inner, motion, window)
            whole = whole or empty_result(part, state.height, state.width)
            paste_window(part, whole, window)
        assert whole is not None
        return whole


def split_windows(height: int, width: int, tile: int) -> Iterator[Window]:
    """Yield square windows row by row; those at the right and bottom edge may be smaller."""
    for top in range(0, height, tile):
        for left in range(0, width, tile):
            yield Window(top, min(top + tile, height), left, min(left + tile, width))


def empty_result(part: Interpolation, height: int, width: int) -> Interpolation:
    """Allocate a result of full size for parts like this one."""
    return map_tensors(lambda tensor: tensor.new_empty(*tensor.shape[:2], height, width), part)


def paste_window(part: Interpolation, whole: Interpolation, window: Window) -> None:
    """Copy the result of a window into the whole result."""
    map_tensors(lambda large, small: window.crop(large).copy_(small), whole, part)
