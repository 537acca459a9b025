"""Interpolators made of interpolators keep the contract of the one inside."""

import math
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from typing import NamedTuple

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from sgm_vfi.model.baselines.repeat_and_blend import Blend
from sgm_vfi.model.inference.bisection import Bisected, support_times
from sgm_vfi.model.inference.ensemble import FlipEnsemble, rotate_180
from sgm_vfi.model.inference.padding import Padded
from sgm_vfi.model.inference.tiling import Tiled, split_windows
from sgm_vfi.model.interpolator import (
    Interpolation,
    Interpolator,
    TileableInterpolator,
    Window,
    require_frames,
    time_like,
)
from sgm_vfi.model.sgm.network import SGM
from tests.conftest import TINY, randomize_weights

FILTER = torch.arange(9.0).view(1, 1, 3, 3).expand(3, 1, 3, 3) / 36  # no symmetry at all


class State(NamedTuple):
    frame0: Tensor
    frame1: Tensor
    flow_scale: float


class Mixing(Interpolator):
    """Cross-fades after a change of the frames, wants a stride, and keeps what it was given."""

    any_time = False

    def __init__(self, change: Callable[[Tensor], Tensor] = lambda x: x, stride: int = 16) -> None:
        super().__init__()
        self.change = change
        self.stride = stride
        self.prepared: list[State] = []
        self.times: list[Tensor] = []

    def prepare(self, frame0: Tensor, frame1: Tensor, flow_scale: float = 1.0) -> State:
        require_frames(frame0, frame1, self)
        self.prepared.append(State(frame0, frame1, flow_scale))
        return self.prepared[-1]

    def interpolate(self, state: State, time: Tensor, *, explain: bool = False) -> Interpolation:
        self.times.append(time)
        frame = self.change(torch.lerp(state.frame0, state.frame1, time))
        notes = {"flow": frame.repeat(1, 2, 1, 1)[:, :4]} if explain else None
        return Interpolation(frame, (1 - frame, frame / 2) if self.training else (), notes)


class Filtering(TileableInterpolator):
    """Motion from the whole frame (its mean); synthesis by one 3 x 3 filter."""

    stride = 4
    halo = 4

    def __init__(self) -> None:
        super().__init__()
        self.windows: list[Window] = []

    def prepare(self, frame0: Tensor, frame1: Tensor, flow_scale: float = 1.0) -> State:
        require_frames(frame0, frame1, self)
        return State(frame0, frame1, flow_scale)

    def estimate(self, state: State, time: Tensor, *, explain: bool = False) -> dict[str, Tensor]:
        mixed = torch.lerp(state.frame0, state.frame1, time)
        motion = {"mixed": mixed, "mean": mixed.mean(dim=(2, 3), keepdim=True)}
        return motion | ({"flow": mixed.repeat(1, 2, 1, 1)[:, :4]} if explain else {})

    def synthesise(
        self, state: State, motion: dict[str, Tensor], window: Window | None = None
    ) -> Interpolation:
        height, width = state.frame0.shape[-2:]
        window = window or Window(0, height, 0, width)
        self.windows.append(window)
        frame = F.conv2d(motion["mixed"], FILTER, padding=1, groups=3) + motion["mean"] / 8
        frame = window.crop(frame)
        notes = {"flow": window.crop(motion["flow"])} if "flow" in motion else None
        return Interpolation(frame, (1 - frame,) if self.training else (), notes)


def pair(height: int, width: int, batch: int = 1) -> tuple[Tensor, Tensor]:
    frames = torch.rand(2, batch, 3, height, width, generator=torch.Generator().manual_seed(0))
    return frames[0], frames[1]


def half(batch: int = 1) -> Tensor:
    return torch.full((batch, 1, 1, 1), 0.5)


WRAPPERS = (Padded, FlipEnsemble, Bisected, lambda inner: Padded(FlipEnsemble(inner)))


@pytest.mark.parametrize("wrap", WRAPPERS)
def test_wrapper_keeps_the_contract(wrap: Callable[[Interpolator], Interpolator]) -> None:
    """flow_scale, explanations and merged blends pass; a pair prepared once serves as forward."""
    inner = Mixing()
    wrapped = wrap(inner)
    frames = pair(16, 32, batch=2)
    result = wrapped(*frames, half(2), 0.5, explain=True)
    assert {state.flow_scale for state in inner.prepared} == {0.5}
    assert result.explanation["flow"].shape == (2, 4, 16, 32)
    assert [stage.shape for stage in result.merged] == [frames[0].shape] * 2
    again = wrapped.eval().interpolate(wrapped.prepare(*frames, 0.5), half(2))
    torch.testing.assert_close(again.frame, result.frame)
    assert again.merged == ()
    assert again.explanation is None


@pytest.mark.parametrize("wrap", [FlipEnsemble, Tiled])
def test_wrapper_asks_what_the_inner_one_asks(
    wrap: Callable[[Interpolator], Interpolator],
) -> None:
    inner = Filtering() if wrap is Tiled else Mixing()
    wrapped = wrap(inner)
    assert (wrapped.stride, wrapped.any_time) == (inner.stride, inner.any_time)
    assert wrapped.size_multiple(0.5) == 2 * inner.stride
    with pytest.raises(ValueError, match=r"Wrap it: Padded"):
        wrapped(*pair(inner.stride, inner.stride + 1), half())


# Padding


@pytest.mark.parametrize("shape", [(2,), (3, 1, 1, 1), (2, 1)])
def test_a_time_for_every_sample(shape: tuple[int, ...]) -> None:
    frames = torch.rand(2, 2, 3, 16, 16)
    with pytest.raises(ValueError, match=r"\(2, 1, 1, 1\), got"):
        Blend()(*frames, torch.full(shape, 0.5))


def test_padding_by_hand() -> None:
    """One pixel too few: none before, one after. Three: one before, two after."""
    inner = Mixing(stride=4)
    row = torch.tensor([1.0, 2, 3, 4, 5])
    frame = (row[:, None] + row[None, :3] / 10).expand(1, 3, 5, 3)
    result = Padded(inner)(frame, frame, half()).frame
    seen = inner.prepared[0].frame0[0, 0]
    assert seen[:, 0].tolist() == pytest.approx([1.1, 1.1, 2.1, 3.1, 4.1, 5.1, 5.1, 5.1])
    assert seen[0].tolist() == pytest.approx([1.1, 1.2, 1.3, 1.3])
    assert torch.equal(result, frame)


@given(
    height=st.integers(1, 40),
    width=st.integers(1, 40),
    scale=st.sampled_from([1, 0.5, 0.8]),
    multiple=st.sampled_from([None, 240]),
)
@settings(deadline=None, max_examples=40)
def test_padded_takes_any_size(height: int, width: int, scale: float, multiple: int | None) -> None:
    """What works pixel by pixel does not notice the padding, from one pixel upwards."""
    inner = Mixing()
    frame0, frame1 = pair(height, width)
    result = Padded(inner, multiple)(frame0, frame1, half(), scale, explain=True)
    assert torch.equal(result.frame, torch.lerp(frame0, frame1, half()))
    assert torch.equal(result.explanation["flow"][:, :3], result.frame)
    assert torch.equal(result.merged[1], result.frame / 2)
    wanted = multiple or 16 * Fraction(scale).limit_denominator(8).denominator
    sides = inner.prepared[0].frame0.shape[-2:]
    assert sides == (math.ceil(height / wanted) * wanted, math.ceil(width / wanted) * wanted)


def test_padded_refuses_what_is_no_pair() -> None:
    with pytest.raises(ValueError, match=r"one shape.*\(1, 3, 5, 7\) and \(1, 3, 5, 8\)"):
        Padded(Mixing())(torch.rand(1, 3, 5, 7), torch.rand(1, 3, 5, 8), half())
    with pytest.raises(ValueError, match="multiple of 1 or more, got 0"):
        Padded(Mixing(), 0)


# Ensemble


def test_ensemble_averages_clamped_predictions() -> None:
    """By hand: a prediction that depends on the row turns round with it, and is clamped first."""
    ramp = torch.tensor([0.0, 0.25, 0.5, 2.0])[:, None].expand(1, 3, 4, 1)
    inner = Mixing(change=lambda frame: frame + ramp, stride=1).eval()
    dark = torch.zeros(1, 3, 4, 1)
    column = FlipEnsemble(inner)(dark, dark, half()).frame[0, 0, :, 0]
    assert column.tolist() == [0.5, 0.375, 0.375, 0.5]  # (0 + 1) / 2, (0.25 + 0.5) / 2, ...


def test_ensemble_does_not_care_which_way_is_up() -> None:
    """Turned frames give the turned prediction, whatever the network; samples stay apart."""
    inner = Mixing(change=lambda x: F.conv2d(x, FILTER, padding=1, groups=3), stride=1).eval()
    ensemble = FlipEnsemble(inner)
    frame0, frame1 = pair(6, 8, batch=3)
    times = torch.tensor([0.25, 0.5, 0.75]).view(3, 1, 1, 1)
    frame = ensemble(frame0, frame1, times).frame
    torch.testing.assert_close(
        ensemble(rotate_180(frame0), rotate_180(frame1), times).frame, rotate_180(frame)
    )
    alone = ensemble(frame0[2:], frame1[2:], times[2:]).frame
    torch.testing.assert_close(frame[2:], alone)
    assert (inner(frame0, frame1, times).frame - frame).abs().max() > 0.1


# Tiles


@given(rows=st.integers(1, 6), columns=st.integers(1, 6), tile=st.sampled_from([4, 8, 12, 64]))
@settings(deadline=None, max_examples=30)
def test_windows_cover_the_frame_once(rows: int, columns: int, tile: int) -> None:
    count = torch.zeros(1, 1, 4 * rows, 4 * columns)
    for window in split_windows(4 * rows, 4 * columns, tile):
        window.crop(count).add_(1)
        assert all(side % 4 == 0 for side in window)
        assert max(window.bottom - window.top, window.right - window.left) <= tile
    assert (count == 1).all()


def test_tiles_equal_the_whole() -> None:
    inner = Filtering()
    frames = pair(12, 20, batch=2)
    whole = inner(*frames, half(2), explain=True)
    tiled = Tiled(inner, tile=8)(*frames, half(2), explain=True)
    assert torch.equal(tiled.frame, whole.frame)
    assert torch.equal(tiled.merged[0], whole.merged[0])
    assert torch.equal(tiled.explanation["flow"], whole.explanation["flow"])
    assert inner.windows[-1] == Window(8, 12, 16, 20)


def test_tiles_of_the_network_equal_the_whole() -> None:
    """What SGM promises of its windows holds where one does not even reach a border."""
    network = randomize_weights(SGM(replace(TINY, keypoint_ratio=None))).eval()
    frames = pair(320, 336)
    with torch.inference_mode():
        state = network.prepare(*frames, 0.5)
        whole = network.interpolate(state, half())
        tiled = Tiled(network, tile=112)
        part = tiled.interpolate(tiled.prepare(*frames, 0.5), half())
    torch.testing.assert_close(part.frame, whole.frame, atol=1e-5, rtol=0)


def test_tiled_says_what_it_cannot_tile() -> None:
    with pytest.raises(TypeError, match="Mixing cannot be tiled"):
        Tiled(Mixing())
    with pytest.raises(TypeError, match=r"Padded\(Tiled\(network\)\)"):
        Tiled(Padded(Filtering()))
    with pytest.raises(ValueError, match="multiples of 4 pixels, got 10"):
        Tiled(Filtering(), tile=10)


# Bisection


def test_bisection_halves_down_to_the_time() -> None:
    """A cross-fade that only ever mixes halves gives every eighth exactly."""
    inner = Mixing().eval()
    bisected = Bisected(inner, depth=3)
    assert bisected.any_time
    assert not inner.any_time
    frame0, frame1 = pair(16, 16)
    state = bisected.prepare(frame0, frame1, 0.5)
    for eighths in (5, 2, 4, 7, 1, 3, 6):
        time = time_like(frame0, eighths / 8)
        frame = bisected.interpolate(state, time).frame
        torch.testing.assert_close(frame, torch.lerp(frame0, frame1, time))
    assert len(inner.times) == 7  # every midpoint once
    assert all((time == 0.5).all() for time in inner.times)
    assert {state.flow_scale for state in inner.prepared} == {0.5}


@pytest.mark.parametrize(
    ("time", "reached"), [(1 / 3, 1.5 / 4), (0.3, 1 / 4), (0.01, 1 / 8), (0.999, 7 / 8)]
)
def test_bisection_takes_the_nearest_time_between_the_frames(time: float, reached: float) -> None:
    black, white = torch.zeros(1, 3, 16, 16), torch.ones(1, 3, 16, 16)
    frame = Bisected(Mixing().eval(), depth=3)(black, white, time_like(black, time)).frame
    assert frame.unique().tolist() == [reached]


def test_bisection_takes_each_sample_to_its_own_time() -> None:
    frame0, frame1 = pair(16, 16, batch=3)
    times = torch.tensor([0.25, 0.875, 0.25]).view(3, 1, 1, 1)
    inner = Mixing().eval()
    bisected = Bisected(inner)
    state = bisected.prepare(frame0, frame1)
    torch.testing.assert_close(
        bisected.interpolate(state, times).frame, torch.lerp(frame0, frame1, times)
    )
    assert len(inner.times) == 4  # 1/2, 1/4, 3/4, 7/8


def test_bisection_explains_a_frame_it_remembers() -> None:
    inner = Mixing().eval()
    bisected = Bisected(inner)
    frame0, frame1 = pair(16, 16)
    state = bisected.prepare(frame0, frame1)
    plain = bisected.interpolate(state, half())
    explained = bisected.interpolate(state, half(), explain=True)
    assert torch.equal(explained.frame, plain.frame)
    assert torch.equal(explained.explanation["flow"][:, :3], plain.frame)
    assert bisected.interpolate(state, half()).explanation is None
    assert all(midpoint.explanation is None for midpoint in state.midpoints.values())


def test_bisection_fails_before_the_work() -> None:
    with pytest.raises(ValueError, match="Padded"):
        Bisected(Mixing()).prepare(*pair(16, 17))
    with pytest.raises(ValueError, match="flow_scale is a ratio"):
        Bisected(Mixing()).prepare(*pair(16, 16), 0.123)
    with pytest.raises(ValueError, match="got depth 0"):
        Bisected(Mixing(), depth=0)


def test_reaching_halves_only_where_it_must() -> None:
    """Thirty-two times as many frames are told apart by 5 halvings, thirty-three by 6."""
    fixed, free = Mixing(), Filtering()
    assert support_times(fixed, [0.5]) is fixed
    assert support_times(free, [0.1, 0.2]) is free
    assert support_times(fixed, [0.3]).depth == 5
    assert support_times(fixed, [k / 32 for k in range(1, 32)]).depth == 5
    assert support_times(fixed, [k / 33 for k in range(1, 33)]).depth == 6
