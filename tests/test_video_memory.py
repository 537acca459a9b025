"""Less memory than a network would like: smaller tiles, a smaller flow scale, and it is said."""

from fractions import Fraction

import pytest
import torch
from torch import Tensor

from sgm_vfi.command_errors import is_out_of_memory
from sgm_vfi.model.baselines.repeat_and_blend import Blend
from sgm_vfi.model.sgm.network import SGM
from sgm_vfi.model.zoo import ZOO, load_interpolator
from sgm_vfi.video.memory_fallback import (
    MemoryAwareInterpolator,
    MemoryBudget,
    estimate_memory,
    find_distinct_times,
    fit_budget,
    measure_free_memory,
    reduce_budget,
)

UHD = (2160, 3840)


def test_more_pixels_and_larger_tiles_need_more(tiny: SGM) -> None:
    whole = estimate_memory(tiny, MemoryBudget(), 720, 1280)
    assert estimate_memory(tiny, MemoryBudget(), *UHD) == pytest.approx(
        9 * whole
    )  # no scores of all with all
    compared = ZOO["raft_vfi"].build()  # every cell with every other
    assert estimate_memory(compared, MemoryBudget(), *UHD) > 20 * estimate_memory(
        compared, MemoryBudget(), 720, 1280
    )
    assert estimate_memory(tiny, MemoryBudget(0.5), *UHD) < estimate_memory(
        tiny, MemoryBudget(), *UHD
    )
    assert estimate_memory(tiny, MemoryBudget(0.125, 256), *UHD) < estimate_memory(
        tiny, MemoryBudget(0.125, 512), *UHD
    )
    assert estimate_memory(tiny, MemoryBudget(1, 9984), 64, 64) == estimate_memory(
        tiny, MemoryBudget(), 64, 64
    )


def test_effort_fits_the_free_memory(tiny: SGM) -> None:
    """As much as there is room for, the least where there is none, all where nothing is known."""
    assert fit_budget(tiny, MemoryBudget(), *UHD, None) == MemoryBudget()
    assert fit_budget(tiny, MemoryBudget(), *UHD, 10**13) == MemoryBudget()
    for free in (5 * 10**9, 8 * 10**9, 10**10):
        budget = fit_budget(tiny, MemoryBudget(), *UHD, free)
        assert estimate_memory(tiny, budget, *UHD) < free
        assert budget != MemoryBudget()
    least = fit_budget(tiny, MemoryBudget(), *UHD, 1)
    assert reduce_budget(least, tiny) is None
    assert fit_budget(Blend(), MemoryBudget(), 64, 64, 1) == MemoryBudget(0.125)  # no tiles there


def test_every_network_can_be_asked_about() -> None:
    for name in ("repeat", "blend", "classical"):
        assert estimate_memory(load_interpolator(name), MemoryBudget(), 720, 1280) < 10**9
    assert 10**7 < measure_free_memory(torch.device("cpu")) < 10**14


class Hungry(Blend):
    """Fails as a full device does, unless motion is estimated on frames of a quarter."""

    def __init__(self, error: RuntimeError) -> None:
        super().__init__()
        self.error = error
        self.attempts: list[float] = []

    def prepare(self, frame0: Tensor, frame1: Tensor, flow_scale: float = 1.0) -> object:
        self.attempts.append(flow_scale)
        if flow_scale > 0.25:
            raise self.error
        return super().prepare(frame0, frame1, flow_scale)


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory."),
        RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried ..."),
    ],
)
def test_out_of_memory_is_caught_halved_and_said(
    error: RuntimeError, caplog: pytest.LogCaptureFixture
) -> None:
    network = Hungry(error)
    interpolator = MemoryAwareInterpolator(network, MemoryBudget())
    frame0, frame1 = torch.zeros(1, 3, 8, 8), torch.ones(1, 3, 8, 8)
    made = interpolator.interpolate((0, 1), frame0, frame1, Fraction(1, 4)).frame
    torch.testing.assert_close(made, torch.full_like(made, 0.25))
    assert network.attempts == [1, 0.5, 0.25]
    assert interpolator.budget == MemoryBudget(0.25)
    assert [r.getMessage() for r in caplog.records] == interpolator.reductions
    assert interpolator.reductions[0] == (
        "out of memory with flow scale 1: going on with flow scale 1/2"
    )
    interpolator.interpolate((1, 2), frame1, frame0, Fraction(1, 4))
    assert network.attempts[3:] == [0.25]  # it does not try what failed before


def test_motion_on_enlarged_frames_falls_back_too() -> None:
    """RIFE takes scales above 1; all that speaks of effort does."""
    assert str(MemoryBudget(4)) == "flow scale 4"
    assert reduce_budget(MemoryBudget(4), Blend()) == MemoryBudget(2)


def test_other_errors_are_not_hidden() -> None:
    interpolator = MemoryAwareInterpolator(Hungry(RuntimeError("shapes differ")), MemoryBudget())
    frame = torch.zeros(1, 3, 8, 8)
    with pytest.raises(RuntimeError, match="shapes differ"):
        interpolator.interpolate((0, 1), frame, frame, Fraction(1, 2))
    assert not is_out_of_memory(RuntimeError("shapes differ"))


def test_a_pair_is_prepared_once_for_all_its_times() -> None:
    network = Hungry(RuntimeError())
    interpolator = MemoryAwareInterpolator(network, MemoryBudget(0.25))
    frame = torch.zeros(1, 3, 8, 8)
    for time in (1, 2, 3):
        interpolator.interpolate((0, 1), frame, frame, Fraction(time, 4))
    interpolator.interpolate((1, 2), frame, frame, Fraction(1, 2))
    assert len(network.attempts) == 2


def test_tiles_shrink_before_motion_does(tiny: SGM) -> None:
    efforts = [MemoryBudget()]
    while (smaller := reduce_budget(efforts[-1], tiny)) is not None:
        efforts.append(smaller)
    first = [(1, None), (1, 512), (1, 256), (1, 128), (0.5, 128)]
    assert efforts[:5] == [MemoryBudget(*budget) for budget in first]
    assert efforts[-1] == MemoryBudget(0.125, 128)


def test_the_middle_only_is_halved_to_other_times() -> None:
    """A network made for t = 1/2 is asked for no other, and the bound of its times is said."""
    network = Hungry(RuntimeError())
    network.any_time = False
    thirds = find_distinct_times([Fraction(0), Fraction(1, 3), Fraction(2, 3), Fraction(1, 3)])
    assert thirds == [Fraction(1, 3), Fraction(2, 3)]
    interpolator = MemoryAwareInterpolator(network, MemoryBudget(0.25), thirds)
    frame0, frame1 = torch.zeros(1, 3, 8, 8), torch.ones(1, 3, 8, 8)
    made = interpolator.interpolate((0, 1), frame0, frame1, Fraction(1, 3)).frame
    assert made[0, 0, 0, 0] == pytest.approx(1 / 3, abs=1 / 64)
    assert interpolator.time_precision == "times to within 1/64 of a gap, by halving"
    assert (
        MemoryAwareInterpolator(network, MemoryBudget(0.25), [Fraction(1, 2)]).time_precision == ""
    )


def test_frames_are_looked_at_once_until_it_is_told_to_forget(tiny: SGM) -> None:
    looked: list[int] = []
    tiny.encoder.look.register_forward_pre_hook(lambda _, inputs: looked.append(len(inputs[0])))
    interpolator, frames = (
        MemoryAwareInterpolator(tiny, MemoryBudget()),
        torch.rand(4, 1, 3, 48, 64),
    )
    half = Fraction(1, 2)
    with torch.inference_mode():
        for number in (0, 0, 1):
            interpolator.interpolate((number, number + 1), *frames[number : number + 2], half)
        assert looked == [2, 1]
        interpolator.reset()
        anew = interpolator.interpolate((2, 3), *frames[2:], half).frame
        assert looked == [2, 1, 2]
        alone = (
            MemoryAwareInterpolator(tiny, MemoryBudget())
            .interpolate((2, 3), *frames[2:], half)
            .frame
        )
    assert torch.equal(anew, alone)
