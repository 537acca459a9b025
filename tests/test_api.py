"""The interface for other programs."""

import doctest
import subprocess
import sys
from fractions import Fraction

import numpy as np
import pytest
import torch

import sgm_vfi
from sgm_vfi.model import api
from sgm_vfi.model.baselines.flow_blend import FlowBlend
from sgm_vfi.model.flow.dis import DISFlow
from sgm_vfi.model.sgm.network import SGM


def test_examples_in_docstrings_are_true() -> None:
    results = doctest.testmod(api)
    assert results.attempted > 5
    assert not results.failed


def test_importing_the_package_does_not_import_pytorch() -> None:
    code = "import sgm_vfi, sys; sgm_vfi.__all__.index('load'); assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
    with pytest.raises(AttributeError, match="no attribute 'lode'"):
        _ = sgm_vfi.lode


TIMES = (
    *(0.5, Fraction(1, 2), [0.5], torch.full((1, 1, 1, 1), 0.5), torch.tensor(0.5)),
    *(np.float32(0.5), np.array(0.5), np.full((1, 1, 1, 1), 0.5)),
)


@pytest.mark.parametrize("time", TIMES)
def test_every_form_of_frames_and_times_gives_the_same(time: object, tiny: SGM) -> None:
    """Sizes that are no multiple of the stride, too."""
    interpolate = api.FrameInterpolator(tiny)
    arrays = np.random.default_rng(0).integers(0, 256, (2, 30, 50, 3), dtype=np.uint8)
    tensors = torch.from_numpy(arrays).movedim(-1, 1).float() / 255
    expected = interpolate(tensors[0], tensors[1])
    assert expected.shape == (3, 30, 50)
    results = (
        interpolate(tensors[0], tensors[1], time),
        interpolate(tensors[:1], tensors[1:], time),
        interpolate(arrays[0], arrays[1], time),
    )
    single, batch, array = (r[0] if isinstance(time, list) else r for r in results)
    torch.testing.assert_close(single, expected)
    torch.testing.assert_close(batch, expected[None])
    assert array.dtype == np.uint8
    levels = (expected * 255).round().byte().movedim(0, -1).numpy()
    assert np.abs(array.astype(int) - levels).max() <= 1


def test_a_network_for_the_middle_gives_other_times(tiny: SGM) -> None:
    assert not tiny.any_time
    frames = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    quarter, half = api.FrameInterpolator(tiny)(frames[0], frames[1], [0.25, 0.5])
    assert not torch.equal(quarter, half)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_motion_is_computed_in_float32(dtype: torch.dtype) -> None:
    """So that frames of half precision cost no more than their rounding."""
    interpolate = api.FrameInterpolator(FlowBlend(DISFlow()))
    frames = torch.rand(2, 3, 40, 60, generator=torch.Generator().manual_seed(0)).to(dtype)
    result = interpolate(frames[0], frames[1])
    assert result.dtype == dtype
    exact = interpolate(frames[0].float(), frames[1].float())
    assert torch.equal(result, exact.to(dtype))


FRAME = torch.full((3, 8, 8), 0.5)
ARRAY = np.zeros((8, 8, 3), np.uint8)
ONE_BAD = FRAME.clone()
ONE_BAD[1, 2, 5] = torch.inf


@pytest.mark.parametrize(
    ("frame0", "frame1", "time", "message"),
    [
        (FRAME, FRAME.half(), 0.5, "of one type, got Tensor torch.float32 and Tensor torch.float"),
        (FRAME, ARRAY, 0.5, "of one type, got Tensor torch.float32 and ndarray uint8"),
        (FRAME, FRAME[:, 1:], 0.5, r"of one shape, got \(3, 8, 8\) and \(3, 7, 8\)"),
        (FRAME.byte(), FRAME.byte(), 0.5, "got torch.uint8; divide bytes by 255"),
        (255 * FRAME, 255 * FRAME, 0.5, r"values in \[0, 1\], got 127.5 to 127.5"),
        (FRAME * torch.nan, FRAME, 0.5, "frame0 holds 192 values that are not numbers"),
        (FRAME, ONE_BAD, 0.5, "frame1 holds 1 values .* in row 2, column 5, channel 1"),
        ("a.png", "b.png", 0.5, "frames as tensors or arrays, got str"),
        (FRAME[None][:0], FRAME[None][:0], 0.5, r"not empty, got \(0, 3, 8, 8\)"),
        (FRAME[:1], FRAME[:1], 0.5, r"\(3, H, W\) or \(B, 3, H, W\)"),
        (ARRAY.astype(float), ARRAY.astype(float), 0.5, r"\(H, W, 3\) of uint8"),
        (FRAME, FRAME, 1.0, r"lies in \(0, 1\), got 1.0"),
        (FRAME, FRAME, [], "one time or more"),
        (FRAME, FRAME, None, "Expected a time .* got None"),
        (FRAME, FRAME, "half", "Expected a time .* got 'half'"),
        (FRAME, FRAME, np.float32("nan"), r"lies in \(0, 1\), got nan"),
        (FRAME, FRAME, torch.full((2, 1, 1, 1), 0.5), r"shape \(1, 1, 1, 1\)"),
        (FRAME, FRAME, torch.full((1, 1, 1, 1), 2.0), r"in \(0, 1\), got \[2.0\]"),
    ],
)
def test_what_is_refused_is_said_in_one_sentence(
    frame0: object, frame1: object, time: object, message: str
) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        sgm_vfi.load("blend")(frame0, frame1, time)
    assert "\n" not in str(caught.value)


def test_a_network_that_gives_no_numbers_is_named(tiny: SGM) -> None:
    for weight in tiny.parameters():
        weight.data.fill_(torch.nan)
    with pytest.raises(ValueError, match=r"SGM predicts values that are not numbers .* at time"):
        api.FrameInterpolator(tiny)(FRAME, FRAME)
