"""Every interpolator, present and future, keeps the contract."""

from fractions import Fraction

import pytest
import torch

from model import ZOO
from model.interpolator import time_like
from model.zoo import fresh_interpolator
from video.synthesis import Effort, Synthesis

NAMES = sorted(ZOO)


@pytest.mark.parametrize("name", NAMES)
def test_interpolator_contract(name: str) -> None:
    """Right shape, right range, no trace left in the state dict, same answer twice."""
    network = ZOO[name].build().eval()
    torch.manual_seed(0)
    side = max(network.stride, 16)
    frame0, frame1 = torch.rand(2, 1, 3, 2 * side, 3 * side)
    half = time_like(frame0, 0.5)
    names = set(network.state_dict())
    with torch.inference_mode():
        first, second = (network(frame0, frame1, half).frame for _ in range(2))
    assert first.shape == frame0.shape
    assert first.min() >= 0
    assert first.max() <= 1
    assert set(network.state_dict()) == names
    assert torch.equal(first, second)


@pytest.mark.parametrize("name", [name for name in NAMES if "base" not in name])
def test_prepared_once_asked_often(name: str) -> None:
    """`forward` is `prepare` and `at`; any scale and explanation are taken, never refused."""
    network = ZOO[name].build().eval()
    torch.manual_seed(0)
    side = network.multiple(1 / 2)
    frame0, frame1 = torch.rand(2, 1, 3, 2 * side, 2 * side)
    time = time_like(frame0, 0.25 if network.any_time else 0.5)
    with torch.inference_mode():
        state = network.prepare(frame0, frame1, 1 / 2)
        told = network.at(state, time, explain=True)
        whole = network(frame0, frame1, time, 1 / 2).frame
    assert torch.equal(told.frame, whole)
    for picture in (told.explanation or {}).values():
        assert picture.shape[-2:] == frame0.shape[-2:]


@pytest.mark.parametrize("name", [name for name in NAMES if "base" not in name])
def test_refuses_what_is_no_pair_of_frames(name: str) -> None:
    network = ZOO[name].build().eval()
    with pytest.raises(ValueError, match="two frames of one shape"):
        network.prepare(torch.rand(1, 3, 32, 32), torch.rand(1, 3, 32, 48))


@pytest.mark.parametrize("name", [name for name in NAMES if "base" not in name and "+" not in name])
def test_thirds_between_frames_of_a_video(name: str) -> None:
    """As `--multi 3` asks for them, of any size, by halving where only t = 1/2 was trained."""
    thirds = [Fraction(1, 3), Fraction(2, 3)]
    network = fresh_interpolator(name)
    synthesis = Synthesis(network, Effort(), thirds)
    frames = torch.rand(2, 1, 3, 37, 51, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        first, second = (synthesis.at((0, 1), *frames, time).frame for time in thirds)
    assert first.shape == second.shape == frames[0].shape
    lowest, highest = torch.stack((first, second)).aminmax()
    assert lowest >= 0
    assert highest <= 1
    assert bool(synthesis.precision) is not network.any_time
