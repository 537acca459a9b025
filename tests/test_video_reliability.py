"""Reliability of interpolated frames, and the views to judge a result by."""

from fractions import Fraction

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from sgm_vfi.model import Interpolation, load_interpolator, time_like
from sgm_vfi.video.comparison_views import ExplainView, compare
from sgm_vfi.video.produce_output_frames import MAX_LISTED, SegmentStats
from sgm_vfi.video.reliability import THRESHOLD, make_fallback, measure_reliability
from tests.video_scenes import SIZE, draw_scenes, draw_texture, pan_camera


@pytest.fixture(scope="module")
def scenes() -> list[list[Tensor]]:
    return draw_scenes()


def told(frame: Tensor, **notes: Tensor) -> Interpolation:
    return Interpolation(frame, explanation=notes)


def flow_of(u: float) -> Tensor:
    """A motion by u to the right between the frames, seen from half-way."""
    flow = torch.zeros(1, 4, *SIZE)
    flow[:, 0], flow[:, 2] = -u / 2, u / 2
    return flow


def test_the_true_motion_is_reliable_and_the_less_true_the_less() -> None:
    picture = draw_texture(96, 160)
    frame0, frame1 = picture[..., 8:136], picture[..., :128]  # moves by 8 to the right
    scores = [
        measure_reliability(frame0, frame1, told(frame0, flow=flow_of(u))) for u in (8, 6, 4, 0)
    ]
    assert scores[0] > 0.7  # what enters and leaves the frame remains
    assert scores == sorted(scores, reverse=True)
    assert scores[-1] < 0.3


def test_where_one_frame_alone_is_shown_nothing_is_held_against_it() -> None:
    frame0, frame1 = draw_texture(*SIZE), draw_texture(*SIZE).flip(-1)
    blends = {share: torch.full((1, 1, *SIZE), share) for share in (0.5, 0.9, 1.0)}
    scores = [
        measure_reliability(frame0, frame1, told(frame0, flow=flow_of(0), blend=blend))
        for blend in blends.values()
    ]
    assert scores[0] == measure_reliability(frame0, frame1, told(frame0, flow=flow_of(0)))
    assert scores[0] < scores[1] < scores[2] == 1


def test_a_bad_tenth_of_the_frame_is_as_bad_as_all_of_it() -> None:
    frame0, frame1 = torch.zeros(1, 3, 80, 80), torch.zeros(1, 3, 80, 80)
    frame1[..., :8] = 1
    still = told(frame0, flow=torch.zeros(1, 4, 80, 80))
    assert measure_reliability(frame0, frame1, still) == pytest.approx(
        1 - 1 / (1 + 0.08**2), abs=1e-6
    )
    assert measure_reliability(frame0, frame0, still) == 1


def test_without_a_flow_there_is_no_score() -> None:
    frame = torch.zeros(1, 3, *SIZE)
    assert measure_reliability(frame, frame, Interpolation(frame)) is None
    assert (
        measure_reliability(frame, frame, told(frame, difference=torch.zeros(1, 2, *SIZE))) is None
    )


def test_a_network_is_reliable_in_a_pan_and_not_across_a_cut(scenes: list[list[Tensor]]) -> None:
    network = load_interpolator("classical")
    first, second = pan_camera(draw_texture(96, 256), [3] * 2, width=128)
    pairs = {"pan": (first, second), "cut": (scenes[1][0], scenes[6][0])}
    scores = {}
    for name, (frame0, frame1) in pairs.items():
        result = network(frame0, frame1, time_like(frame0, 0.5), explain=True)
        scores[name] = measure_reliability(frame0, frame1, result)
    assert scores["pan"] > 0.8
    assert scores["cut"] < THRESHOLD


@given(st.lists(st.tuples(st.floats(0, 1), st.integers(0, 99))))
def test_the_worst_are_the_first_of_all_in_order(frames: list[tuple]) -> None:
    stats = SegmentStats()
    for score, number in frames:
        stats.add_score(score, Fraction(number, 24))
    assert stats.least_reliable == sorted((s, Fraction(n, 24)) for s, n in frames)[:MAX_LISTED]


def test_fall_backs_hold_or_blend() -> None:
    frame0, frame1 = torch.zeros(1, 3, 2, 2), torch.ones(1, 3, 2, 2)
    assert torch.equal(make_fallback(frame0, frame1, 0.75, "hold"), frame0)
    assert torch.equal(make_fallback(frame0, frame1, 0.75, "blend"), 0.75 * frame1)
    with pytest.raises(ValueError, match="one of hold, blend, got 'warp'"):
        make_fallback(frame0, frame1, 0.5, "warp")


def test_both_sides_of_a_comparison_are_the_frames_and_are_labelled() -> None:
    before, after = torch.full((1, 3, 91, 127), 0.2), torch.full((1, 3, 91, 127), 0.6)
    side = compare(before, after)
    assert side.shape == (1, 3, 92, 254)
    torch.testing.assert_close(side[..., 40:91, :127], before[..., 40:, :])
    torch.testing.assert_close(side[..., 40:91, 127:], after[..., 40:, :])
    split = compare(before, after, ("a", "b"), layout="split")
    assert split.shape == (1, 3, 92, 128)
    torch.testing.assert_close(split[..., 50, :62], before[..., 50, :62])
    assert split[..., 50, 62:64].min() == 1
    torch.testing.assert_close(split[..., 50, 64:127], after[..., 50, 64:])
    for label in (side[..., :16, :60], split[..., :16, :10], split[..., :16, -12:]):
        assert label.max() > 0.9  # light letters
        assert label.min() < 0.2  # on a dark ground
    with pytest.raises(ValueError, match="side, split, got 'above'"):
        compare(before, after, layout="above")


NAMES = ("flow", "difference", "keypoints", "blend")


def notes_of(u: float, size: tuple[int, int] = SIZE) -> dict[str, Tensor]:
    channels = {"flow": 4, "difference": 2, "keypoints": 2, "blend": 1}
    notes = {name: torch.zeros(1, count, *size) for name, count in channels.items()}
    notes["flow"][:, 0] = u
    return notes


def test_panels_are_of_one_size_and_keep_the_last_steps() -> None:
    frame = draw_texture(*SIZE)
    view = ExplainView(NAMES, width=803)
    empty = view.panel(frame, frame, frame, "source frame")
    made = view.panel(frame, frame, frame, "t = 0.5", notes_of(5))
    again = view.panel(frame, frame, frame, "t = 0.5")
    assert empty.shape == made.shape
    assert not any(side % 2 for side in made.shape[2:])
    assert not torch.equal(empty, made)
    assert torch.equal(again, made)
    other = view.panel(frame, frame, frame, "source frame")
    assert torch.equal(other[..., other.shape[2] // 2 :, :], made[..., made.shape[2] // 2 :, :])


def test_the_scale_of_flows_rises_at_once_and_fades_slowly() -> None:
    """To the right is red: the less green, the longer it is next to the scale."""
    frame = draw_texture(*SIZE)
    view = ExplainView(("flow",), width=640)

    def green(u: float) -> float:
        panel = view.panel(frame, frame, frame, "t = 0.5", {"flow": notes_of(u)["flow"]})
        return panel[0, 1, -60, 20].item()

    assert green(10) == pytest.approx(0, abs=0.01)
    assert green(5) == pytest.approx(1 - 5 / 9.5, abs=0.01)
    assert green(20) == pytest.approx(0, abs=0.01)


def test_reduced_panels_keep_key_points_and_lengths_of_flows() -> None:
    """Of frames four times as large as a cell, a lone point and flows in their own pixels."""
    size = (384, 512)
    frame, notes = torch.zeros(1, 3, *size), notes_of(6, size)
    notes["keypoints"][:, 0, 200, 300] = 1
    panel = ExplainView(NAMES, width=536).panel(frame, frame, frame, "t = 0.5", notes)
    yellow = (panel[:, 0] > 0.9) & (panel[:, 2] < 0.1) & (panel[:, 1] > 0.7) & (panel[:, 1] < 0.9)
    assert yellow.sum() == 1


def test_unknown_explanations_are_refused() -> None:
    with pytest.raises(ValueError, match="got magic"):
        ExplainView(("flow", "magic"))
