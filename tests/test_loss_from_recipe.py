"""The loss that a recipe names."""

from pathlib import Path

import pytest
import torch

from sgm_vfi.model.interpolator import Interpolation
from sgm_vfi.training.ifrnet_loss import reconstruction_loss
from sgm_vfi.training.loss_from_recipe import TERMS, build_frame_loss, grey_census_loss, l1_loss
from sgm_vfi.training.loss_functions import charbonnier, interpolation_loss, laplacian_loss


@pytest.fixture
def frames() -> torch.Tensor:
    return torch.rand(2, 2, 3, 64, 64, generator=torch.Generator().manual_seed(0))


def test_a_sum_is_that_of_its_terms(frames: torch.Tensor) -> None:
    loss = build_frame_loss("laplacian + 0.1*census+1e-1*l1")
    expected = laplacian_loss(*frames) + (grey_census_loss(*frames) + l1_loss(*frames)) / 10
    torch.testing.assert_close(loss(*frames), expected)
    both = charbonnier(frames[0] - frames[1]) + TERMS["census"](*frames)
    assert torch.equal(both, reconstruction_loss(*frames))


def test_the_default_is_bit_for_bit_the_published_one(frames: torch.Tensor) -> None:
    prediction = Interpolation(frames[0], merged=(frames[0] / 2,))
    expected = laplacian_loss(*frames) + 0.5 * laplacian_loss(frames[0] / 2, frames[1])
    assert torch.equal(interpolation_loss(prediction, frames[1]), expected)
    named = interpolation_loss(prediction, frames[1], build_frame_loss("laplacian"))
    assert torch.equal(named, expected)


def test_a_function_of_the_user(workdir: Path, frames: torch.Tensor) -> None:
    Path("mine.py").write_text(
        "def good(a, b): return (a - b).square().mean()\ndef bad(a, b): return (a - b).abs()\n"
    )
    loss = build_frame_loss("2*mine.py:good")(*frames)
    torch.testing.assert_close(loss, 2 * (frames[0] - frames[1]).square().mean())
    with pytest.raises(ValueError, match=r"mine.py:bad returned shape \(2, 3, 64, 64\), expected"):
        build_frame_loss("mine.py:bad")(*frames)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("laplace", "no loss 'laplace'. Did you mean laplacian"),
        ("much*l1", "'much' is no number"),
        ("", "no loss ''"),
        ("l1+", "no loss ''"),
        ("absent.py:f", "There is no file absent.py"),
    ],
)
def test_what_is_no_loss(text: str, message: str, workdir: Path) -> None:
    with pytest.raises(ValueError, match=message):
        build_frame_loss(text)


def test_the_perceptual_term_says_where_its_weights_belong(
    workdir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SGM_VFI_WEIGHTS", str(workdir))
    with pytest.raises(FileNotFoundError, match=r"vgg19-dcbb9e9d\.pth"):
        build_frame_loss("l1+0.1*perceptual")
