"""The metrics: hand-worked cases, slower definitions, invariances."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torchvision.models import alexnet

from sgm_vfi.benchmark.metrics import METRICS, MetricError, load_lpips, psnr, ssim, ssim_uniform
from tests.parity.recipe import metric_pair

CPU = torch.device("cpu")


def pair(name: str, height: int, width: int, noise: float) -> tuple[Tensor, Tensor]:
    """An estimate and the truth, (1, 3, H, W)."""
    truth, estimate = metric_pair(name, height, width, noise)
    planes = (image.transpose(2, 0, 1)[None] for image in (estimate, truth / np.float32(255)))
    estimate, truth = (torch.from_numpy(np.ascontiguousarray(plane)) for plane in planes)
    return estimate, truth


def ssim_by_definition(x: Tensor, y: Tensor) -> Tensor:
    """The three-dimensional convolution, in float64."""
    offsets = torch.arange(-5, 6, dtype=torch.double)
    taps = torch.exp(-(offsets**2) / (2 * 1.5**2))
    taps = taps / taps.sum()
    window = torch.einsum("i,j,k->ijk", taps, taps, taps)[None, None]

    def mean(volume: Tensor) -> Tensor:
        return F.conv3d(F.pad(volume, (5,) * 6, mode="replicate"), window)

    x, y = x.double()[:, None], y.double()[:, None]
    mean_x, mean_y = mean(x), mean(y)
    variance_x, variance_y = mean(x * x) - mean_x**2, mean(y * y) - mean_y**2
    covariance = mean(x * y) - mean_x * mean_y
    above = (2 * mean_x * mean_y + 1e-4) * (2 * covariance + 9e-4)
    below = (mean_x**2 + mean_y**2 + 1e-4) * (variance_x + variance_y + 9e-4)
    return (above / below).flatten(1).mean(dim=1)


@pytest.mark.parametrize(
    ("height", "width"), [(37, 50), (64, 7), (65, 9), (139, 8), (1, 1), (3, 20)]
)
@pytest.mark.parametrize("noise", [0.0, 0.004, 0.1])
def test_ssim_is_the_three_dimensional_convolution(height: int, width: int, noise: float) -> None:
    """At every position of the bands in which it is computed, and where it cancels most."""
    frame, target = pair("ssim", height, width, noise)
    torch.testing.assert_close(
        ssim(frame, target), ssim_by_definition(frame, target), atol=1e-6, rtol=0
    )


def test_ssim_of_two_flat_frames_is_their_luminance_term() -> None:
    """Where float32 does worst: the variances are rounding errors, beside C2 of 9e-4."""
    flat = torch.ones(2, 3, 20, 30)
    expected = (2 * 0.2 * 0.6 + 1e-4) / (0.2**2 + 0.6**2 + 1e-4)
    value = ssim(0.2 * flat, 0.6 * flat)
    assert value.tolist() == pytest.approx([expected] * 2, abs=1e-4)


@pytest.mark.parametrize("name", ["ssim", "ssim_uniform"])
def test_ssim_is_symmetric_and_blind_to_the_order_of_red_and_blue(name: str) -> None:
    frame, target = pair("A", 40, 50, 0.1)
    value = METRICS[name](frame, target)
    assert 0 < value.item() < 0.99
    torch.testing.assert_close(METRICS[name](target, frame), value)
    torch.testing.assert_close(METRICS[name](frame.flip(1), target.flip(1)), value)
    assert abs(METRICS[name](frame.roll(1, 1), target.flip(1)).item() - value.item()) > 1e-3


def test_the_two_ssims_differ() -> None:
    """So that a table cannot show one under the other's name unnoticed."""
    frame, target = pair("A", 96, 128, 0.03)
    assert abs(ssim(frame, target).item() - ssim_uniform(frame, target).item()) > 0.01


def test_psnr_by_hand() -> None:
    """A tenth off everywhere is 20 dB; off in one channel of three is 10 log10(3) more."""
    target = torch.zeros(2, 3, 4, 5)
    frame = target.clone()
    frame[0] = 0.1
    frame[1, 1] = 0.1
    expected = torch.tensor([20, 20 + 10 * math.log10(3)], dtype=torch.double)
    torch.testing.assert_close(psnr(frame, target), expected, atol=1e-5, rtol=0)


def test_psnr_of_equal_frames_is_infinite_and_of_no_number_is_none() -> None:
    frame = torch.rand(1, 3, 4, 5)
    assert psnr(frame, frame.clone()).item() == math.inf
    assert psnr(frame * math.nan, frame).isnan()


@settings(max_examples=25, deadline=None)
@given(level=st.integers(0, 254), step=st.integers(1, 60))
def test_psnr_depends_on_the_difference_alone(level: int, step: int) -> None:
    step = min(step, 255 - level)
    one = torch.full((1, 3, 2, 2), level / 255)
    other = torch.full((1, 3, 2, 2), (level + step) / 255)
    assert psnr(one, other).item() == pytest.approx(-20 * math.log10(step / 255), abs=1e-3)


@pytest.mark.parametrize("name", METRICS)
def test_each_sample_of_a_batch_counts_for_itself(name: str) -> None:
    (frame_a, target_a), (frame_b, target_b) = pair("A", 32, 40, 0.1), pair("B", 32, 40, 0.02)
    metric = METRICS[name]
    together = metric(torch.cat((frame_a, frame_b)), torch.cat((target_a, target_b)))
    apart = torch.cat((metric(frame_a, target_a), metric(frame_b, target_b)))
    assert together.dtype == torch.double
    assert (apart[0] - apart[1]).abs() > 1e-3
    torch.testing.assert_close(together, apart)


@pytest.mark.parametrize("name", METRICS)
def test_less_noise_scores_better(name: str) -> None:
    values = [METRICS[name](*pair("A", 48, 64, noise)).item() for noise in (0.2, 0.05, 0.01)]
    assert values == sorted(values)
    assert values[0] < values[-1]


@pytest.mark.parametrize("name", METRICS)
def test_what_cannot_be_compared_is_refused(name: str) -> None:
    frame = torch.rand(1, 3, 16, 16)
    with pytest.raises(ValueError, match=r"one shape, got \(1, 3, 16, 16\) and \(1, 3, 16, 15\)"):
        METRICS[name](frame, frame[..., :15])
    with pytest.raises(ValueError, match="uint8"):
        METRICS[name](frame, (frame * 255).byte())
    with pytest.raises(ValueError, match=r"\(3, 16, 16\)"):
        METRICS[name](frame[0], frame[0])


def test_lpips_without_its_weights_says_where_they_belong(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    with pytest.raises(MetricError, match=r"not at .*checkpoints/alexnet-owt-7be5be79\.pth"):
        load_lpips(CPU)
    assert not list(tmp_path.rglob("*"))


def test_lpips_with_weights_in_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Random features rank as trained ones do: nothing for equal frames, more for more noise."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    torch.manual_seed(0)
    state = alexnet().state_dict()
    for name, tensor in state.items():
        if name.startswith("classifier"):  # 220 of 230 MB, and LPIPS does not look at them
            state[name] = torch.zeros(1).expand(tensor.shape)
    (tmp_path / "hub" / "checkpoints").mkdir(parents=True)
    torch.save(state, tmp_path / "hub" / "checkpoints" / "alexnet-owt-7be5be79.pth")
    lpips = load_lpips(CPU)
    frame, target = pair("A", 64, 64, 0.05)
    noisier, _ = pair("A", 64, 64, 0.3)
    values = lpips(torch.cat((target, frame, noisier)), target.expand(3, -1, -1, -1))
    assert values.shape == (3,)
    assert values[0] == 0
    assert 0 < values[1] < values[2]
    assert not values.requires_grad
    with pytest.raises(ValueError, match="at least 31 pixels"):
        lpips(frame[..., :30], target[..., :30])
    lpips(frame[..., :31, :31], target[..., :31, :31])
