"""Interpolation of sequences."""

import weakref
from collections.abc import Callable, Iterator

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from sgm_vfi.model.baselines.flow_blend import FlowBlend
from sgm_vfi.model.flow import sift_dis as sparse
from sgm_vfi.model.flow.sift_dis import SIFTDISFlow
from sgm_vfi.model.inference.ensemble import FlipEnsemble
from sgm_vfi.model.inference.padding import Padded
from sgm_vfi.model.inference.sequence import interpolate_loop, interpolate_sequence
from sgm_vfi.model.inference.tiling import Tiled
from sgm_vfi.model.interpolator import (
    Interpolator,
    time_like,
)
from sgm_vfi.model.sgm.network import SGM
from tests.conftest import TINY
from tests.test_inference import Filtering, Mixing


def test_dense_stream_by_hand() -> None:
    """Given frames are the very same tensors; a pair is prepared once for all its times."""
    inner = Mixing(stride=1).eval()
    given = [torch.full((1, 3, 1, 1), value) for value in (0.0, 0.4, 0.0)]
    dense = list(interpolate_sequence(inner, given, [0.25, 0.5], flow_scale=0.5))
    values = [frame.mean().item() for frame in dense]
    assert values == pytest.approx([0, 0.1, 0.2, 0.4, 0.3, 0.2, 0])
    assert all(dense[3 * number] is frame for number, frame in enumerate(given))
    assert [state.flow_scale for state in inner.prepared] == [0.5, 0.5]
    assert list(interpolate_sequence(inner, given[:1], [0.5])) == given[:1]


def test_dense_stream_holds_few_frames() -> None:
    """However long it gets: the two around the gap, and no network state of an earlier one."""
    alive: weakref.WeakSet[Tensor] = weakref.WeakSet()

    def frames() -> Iterator[Tensor]:
        for number in range(30):
            frame = torch.full((1, 3, 4, 4), number / 30)
            alive.add(frame)
            yield frame
            del frame

    most = 0
    for _ in interpolate_sequence(Filtering(), frames(), [0.25, 0.5, 0.75]):
        most = max(most, len(alive))
    assert most == 2


@pytest.mark.parametrize(
    "wrap",
    [lambda net: net, Padded, FlipEnsemble, lambda net: Padded(Tiled(net, 64))],
    ids=["plain", "padded", "both ways up", "tiled"],
)
def test_a_sequence_looks_at_each_frame_once(wrap: Callable[[SGM], Interpolator]) -> None:
    """And gives what pairs alone give. Weights are fresh: nothing hangs on a last bit."""
    torch.manual_seed(0)
    net = SGM(TINY).eval()
    looked: list[int] = []
    net.encoder.look.register_forward_pre_hook(lambda _, inputs: looked.append(len(inputs[0])))
    smooth = F.interpolate(torch.rand(4, 3, 8, 12), scale_factor=8, mode="bilinear")
    chain, frames = wrap(net), list(smooth[:, None])
    dense = list(interpolate_sequence(chain, frames, [0.5], flow_scale=1.0))
    assert sum(looked) == (8 if isinstance(chain, FlipEnsemble) else 4)
    for number in range(3):
        with torch.inference_mode():
            alone = chain(frames[number], frames[number + 1], time_like(frames[0], 0.5)).frame
        torch.testing.assert_close(dense[2 * number + 1], alone, atol=1e-4, rtol=0)


def test_a_sequence_searches_each_frame_for_key_points_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """And gives what pairs alone give, whatever the size at which motion is looked for."""
    counted: list[int] = []
    find = sparse.find_keypoints
    monkeypatch.setattr(sparse, "find_keypoints", lambda grey: (counted.append(1), find(grey))[1])
    frames = F.interpolate(torch.rand(4, 3, 12, 16), scale_factor=8, mode="bicubic").clamp(0, 1)
    frames, net = list(frames[:, None]), FlowBlend(SIFTDISFlow()).eval()
    for scale in (1.0, 0.5):
        counted.clear()
        dense = list(interpolate_sequence(Padded(net), frames, [0.5], flow_scale=scale))
        assert len(counted) == 4
        for number in range(3):
            alone = net(frames[number], frames[number + 1], time_like(frames[0], 0.5), scale).frame
            assert torch.equal(dense[2 * number + 1], alone)
    state = net.prepare(*frames[:2], 1.0)
    fresh, again = net.prepare(*frames[1:3], 0.5), net.advance(state, *frames[1:3], 0.5)
    assert torch.equal(fresh.flows.flow_01, again.flows.flow_01)


def test_what_does_not_follow_is_prepared_anew() -> None:
    torch.manual_seed(0)
    net = SGM(TINY).eval()
    first, second, third = torch.rand(3, 1, 3, 64, 96)
    with torch.inference_mode():
        state = net.prepare(first, second)
        for scale in (1.0, 0.5):
            got = net.advance(state, second, third, scale)
            wanted = net.prepare(second, third, scale)
            torch.testing.assert_close(got.coarse, wanted.coarse, atol=1e-5, rtol=0)
            assert got.flow_scale == scale


def test_there_and_back_closes_the_circle() -> None:
    frames = torch.zeros(1, 3, 1, 1), torch.ones(1, 3, 1, 1)
    cycle = interpolate_loop(Mixing(stride=1).eval(), *frames, [0.25, 0.75])
    assert [frame.mean().item() for frame in cycle] == [0, 0.25, 0.75, 1, 0.75, 0.25]
