"""The first new frame, made for a plan to see how long that takes and what is explained."""

from fractions import Fraction
from pathlib import Path

import pytest
import torch
from torch import Tensor

from sgm_vfi.model.baselines.repeat_and_blend import Blend
from sgm_vfi.model.interpolator import Interpolation
from sgm_vfi.video import time_estimate as estimate
from sgm_vfi.video.job import interpolate_file
from sgm_vfi.video.job_plan import VideoPlan, plan_video
from sgm_vfi.video.memory_fallback import MemoryAwareInterpolator, MemoryBudget
from sgm_vfi.video.options import VideoOptions
from sgm_vfi.video.output_timestamps import Target
from sgm_vfi.video.time_estimate import estimate_seconds_per_frame, find_explanation_names
from tests.fixtures.videos import moving_frames, write_clip

CPU = torch.device("cpu")
COLD, PAIR, FRAME = 0.6, 0.06, 0.02  # seconds


class Slow(Blend):
    """Takes long for the first pair, and some time for each pair and each frame after."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[Tensor] = []
        self.asked = 0
        self.clock = 0.0
        self.delays: dict[int, float] = {}  # of some frames, counted from 1

    def prepare(self, frame0: Tensor, frame1: Tensor, flow_scale: float = 1.0) -> object:
        self.clock += PAIR if self.seen else COLD
        self.seen += [frame0, frame1]
        return super().prepare(frame0, frame1, flow_scale)

    def interpolate(self, state: object, time: Tensor, *, explain: bool = False) -> Interpolation:
        self.clock += FRAME
        self.asked += 1
        self.clock += self.delays.get(self.asked, 0.0)
        return super().interpolate(state, time, explain=explain)


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch) -> Slow:
    """Time is its own, and nobody waits."""
    network = Slow()
    monkeypatch.setattr(estimate, "perf_counter", lambda: network.clock)
    return network


def planned(folder: Path, count: int = 5, **options: object) -> VideoPlan:
    frames = moving_frames(count)
    frames[-1] = 1 - frames[-1].flip(-2)  # another scene
    source = write_clip(folder / "in.mkv", frames, codec="ffv1", pix_fmt="yuv444p")
    return plan_video(source, folder / "out.mkv", VideoOptions(**options))


@pytest.mark.parametrize(("options", "each"), [
    ({"target": Target(multi=4)}, PAIR / 3 + FRAME),
    ({"target": Target(multi=2)}, PAIR + FRAME),
    ({"target": Target(multi=2), "protect_static": True}, PAIR + FRAME),
])  # fmt: skip
def test_the_time_of_new_frames_is_foretold(
    tmp_path: Path, slow: Slow, options: dict[str, object], each: float
) -> None:
    """Warmed up, on the frames of the video, and what is done once for a pair counts once."""
    plan = planned(tmp_path, **options)
    assert estimate_seconds_per_frame(
        plan, MemoryAwareInterpolator(slow, MemoryBudget()), CPU
    ) == pytest.approx(each)
    for seen, frame in zip(slow.seen, 2 * moving_frames(5)[:2], strict=True):
        assert (seen - frame).abs().max() < 0.02
    assert sum(map(plan.is_new, plan.output_frames())) == 3 * (plan.options.target.multi - 1)


def test_a_slow_frame_is_not_made_twice(tmp_path: Path, slow: Slow) -> None:
    slow.delays = {1: 7.0}
    seconds = estimate_seconds_per_frame(
        planned(tmp_path, 8), MemoryAwareInterpolator(slow, MemoryBudget()), CPU
    )
    assert seconds == pytest.approx(7.0 + COLD + FRAME)
    assert slow.asked == 1


def test_no_gap_takes_no_time(tmp_path: Path, slow: Slow) -> None:
    interpolator = MemoryAwareInterpolator(slow, MemoryBudget())
    assert estimate_seconds_per_frame(planned(tmp_path, 2), interpolator, CPU) == 0
    assert slow.asked == 0


def test_a_job_makes_every_new_frame_once(tmp_path: Path, slow: Slow) -> None:
    """No frame is made to find out how long frames take."""
    source = write_clip(tmp_path / "in.mkv", moving_frames(20), codec="ffv1")
    interpolate_file(source, tmp_path / "out.mkv", network=slow)
    assert slow.asked == 19


def test_explanations_are_known_before_work(tmp_path: Path) -> None:
    interpolator, plan = (
        MemoryAwareInterpolator(Blend(), MemoryBudget()),
        planned(tmp_path, explain=True),
    )
    assert find_explanation_names(plan, interpolator, CPU) == ("blend", "flow")
    assert interpolator.pair is None
    assert isinstance(interpolator.interpolate((0, 1), *torch.rand(2, 1, 3, 8, 8), Fraction(1, 2)),
                      Interpolation)  # fmt: skip
