"""RAFT-VFI's published video pipeline, as tests/parity reproduces it."""

import itertools
import weakref
from collections.abc import Iterator

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from sgm_vfi.model.interpolator import time_like
from tests.parity.raft_vfi_pipeline import (
    is_scene_cut,
    output_steps,
    prepare_pairs,
    resample,
    with_neighbours,
)
from tests.test_raft_vfi import PixelFlow, pure_motion, texture_at


# schedule
def test_published_schedule_by_hand() -> None:
    """24 to 60 makes three of five frames; 25 to 30 one of six; half the rate none."""

    def first(advance: float, count: int) -> list[tuple[int, float]]:
        return [tuple(step) for step in itertools.islice(output_steps(advance), count)]

    assert first(24 / 60, 6) == [(0, 0), (0, 0.4), (0, 1), (1, 0.2), (1, 0.6), (1, 1)]
    made = [time for _, time in first(25 / 30, 13) if 0 < time < 1]
    assert made == [0.5, 0.5]
    assert {time for _, time in first(2.0, 9)} <= {0.0, 1.0}
    with pytest.raises(ValueError, match="more than 0 source frames, got 0"):
        next(output_steps(0))


# changes of scene
def test_scene_rule() -> None:
    """Brightness tells, and motion that contradicts itself where pictures differ."""
    frame = torch.rand(1, 3, 144, 160)
    still, away = torch.zeros(1, 2, 144, 160), torch.full((1, 2, 144, 160), 20.0)
    assert not is_scene_cut(frame, frame, still, still)
    assert is_scene_cut(frame, 0.05 * frame, still, still)
    assert is_scene_cut(frame, frame.flip(2), still, away)
    assert not is_scene_cut(frame, frame.flip(2), away, -away)
    assert not is_scene_cut(frame, frame, still, away)  # it leads to the same picture


def test_small_frames_have_brightness_only() -> None:
    """At 128 pixels and below the published rule has no grid, or fails."""
    frame = torch.rand(1, 3, 128, 90)
    still = torch.zeros(1, 2, 128, 90)
    assert not is_scene_cut(frame, frame.flip(2), still, still + 20)


# clips
def moving(count: int) -> list[Tensor]:
    return [texture_at(20 + 3 * i, 20, 40, 72) for i in range(count)]


def test_source_frames_come_as_they_are() -> None:
    """Doubled: each frame itself, and a new one between."""
    frames = moving(4)
    shown = list(resample(pure_motion(PixelFlow()), frames, 0.5))
    assert len(shown) == 7
    assert all(new is old for new, old in zip(shown[::2], frames, strict=True))
    for made, (before, after) in zip(shown[1::2], itertools.pairwise(frames), strict=True):
        assert made.shape == before.shape
        assert not torch.equal(made, before)
        assert not torch.equal(made, after)


@pytest.mark.parametrize("flow_scale", [1.0, 0.5])
def test_clip_equals_its_pairs(flow_scale: float) -> None:
    """With zeros to the right and below, and the frames around where there are some."""
    net, frames = pure_motion(), moving(4)
    ends = -np.array(frames[0].shape[-2:]) % net.size_multiple(flow_scale)
    first, second, third, fourth = (F.pad(frame, (0, ends[1], 0, ends[0])) for frame in frames)
    shown = list(resample(net, frames, 0.5, flow_scale))
    with torch.inference_mode():
        half = time_like(first, 0.5)
        alone = net.prepare(first, second, flow_scale)
        among = net.prepare(second, third, flow_scale, before=first, after=fourth)
        for made, state in ((shown[1], alone), (shown[3], among)):
            assert torch.equal(made, net.interpolate(state, half).frame[..., :40, :72])


@pytest.mark.parametrize(("count", "shown"), [(0, 0), (1, 1), (2, 3), (3, 5)])
def test_short_clips(count: int, shown: int) -> None:
    assert len(list(resample(pure_motion(PixelFlow()), moving(count), 0.5))) == shown


def test_flows_are_estimated_once_and_linear_at_ends_and_cuts() -> None:
    """Of seven gaps, with a cut in the fourth, two have frames around them that are of use."""
    net, frames = pure_motion(PixelFlow()), moving(8)
    frames[4:] = [0.1 * frame for frame in frames[4:]]
    found = list(prepare_pairs(net, frames))
    assert net.flow.calls == 2 * 7
    assert [gap is None for *_, gap in found] == [False] * 3 + [True] + [False] * 3
    followed = [gap is not None and gap.context_flows is not None for *_, gap in found]
    assert followed == [False, True, False, False, False, True, False]
    context_flows = found[1][2].context_flows
    assert context_flows[0, :, 0, 0].tolist() == [-3, 0, 3, 0]


def test_a_cut_is_never_interpolated() -> None:
    frames = [texture_at(20, 20, 40, 72), 0.1 * texture_at(23, 20, 40, 72)]
    shown = list(resample(pure_motion(PixelFlow()), frames, 0.25))
    assert [[old is new for old in frames].index(True) for new in shown] == [0, 0, 0, 0, 1]


def test_at_most_four_frames_are_in_memory() -> None:
    alive: list[weakref.ref] = []

    def frames() -> Iterator[Tensor]:
        for frame in moving(9):
            copy = frame.clone()
            alive.append(weakref.ref(copy))
            yield copy
            del copy
            assert sum(ref() is not None for ref in alive) <= 3

    for _ in resample(pure_motion(PixelFlow()), frames(), 0.5):
        pass


def test_a_clip_of_several_sizes_is_refused() -> None:
    frames = [torch.rand(1, 3, 40, 72), torch.rand(1, 3, 72, 40)]
    with pytest.raises(ValueError, match="two frames of one shape"):
        list(resample(pure_motion(PixelFlow()), frames, 0.5))
    with pytest.raises(ValueError, match=r"frames \(1, 3, H, W\), got \(2, 3, 40, 72\)"):
        list(resample(pure_motion(PixelFlow()), [torch.rand(2, 3, 40, 72)] * 2, 0.5))


def test_neighbours() -> None:
    assert list(with_neighbours([])) == []
    assert list(with_neighbours("a")) == [(None, "a", None)]
    assert list(with_neighbours("abc")) == [
        (None, "a", "b"),
        ("a", "b", "c"),
        ("b", "c", None),
    ]
