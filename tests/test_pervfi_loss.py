"""Training PerVFI: its loss, one step, and the perceptual distance."""

import itertools
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor
from torchvision.transforms import Normalize

from sgm_vfi.dataset.triplet import Triplet
from sgm_vfi.model.baselines.pervfi.network import (
    PERVFI,
    PERVFI_VB,
    PerVFI,
    PerVFIConfig,
    PerVFITrainingOutput,
)
from sgm_vfi.model.flow.estimator import FlowEstimator
from sgm_vfi.model.interpolator import time_like
from sgm_vfi.model.zoo import load_interpolator
from sgm_vfi.training import pervfi_loss as loss
from sgm_vfi.training.baseline_recipes import EXPERIMENTS
from sgm_vfi.training.baselines import BaselineTrainer
from sgm_vfi.training.perceptual import PerceptualLoss, load_perceptual
from sgm_vfi.training.pervfi_loss import pervfi_loss
from tests.fixtures.training_runs import losses, recipe, run_in
from tests.parity.zoo.check_pervfi import golden_inputs, golden_network
from tests.test_pervfi import begun, frames, network, randomize_weights

GOLDEN = Path(__file__).parent / "golden_zoo"
GOLDEN_NAMES = {"pervfi": "pervfi_v00", "pervfi_vb": "pervfi_vb"}


def output(nll: float | None, picture: Tensor, target: Tensor) -> PerVFITrainingOutput:
    return PerVFITrainingOutput(picture, target, None if nll is None else torch.tensor([nll, nll]))


@pytest.mark.parametrize("nll", [3.0, None])
def test_losses_of_both_variants(nll: float | None) -> None:
    """Of equal pictures the likelihood alone; a constant offset is seen by L1 alone."""
    target = torch.rand(1, 3, 64, 64)
    base = 0 if nll is None else nll
    assert pervfi_loss(output(nll, target, target)).item() == pytest.approx(base)
    brighter = pervfi_loss(output(nll, target + 0.25, target)).item()
    assert brighter == pytest.approx(0.25 if nll is None else nll, abs=1e-5)
    noisy = target + 0.1 * torch.randn_like(target)
    weight = 0.1 if nll is None else 0.2
    with_eyes = pervfi_loss(output(nll, noisy, target), lambda *_: torch.tensor(10.0))
    without = pervfi_loss(output(nll, noisy, target))
    assert without > base
    assert (with_eyes - without).item() == pytest.approx(10 * weight, rel=1e-4)


def test_overflowing_picture_leaves_the_likelihood_loss() -> None:
    target = torch.rand(1, 3, 64, 64)
    assert pervfi_loss(output(3.0, target * torch.nan, target)).item() == 3.0


@pytest.mark.parametrize("config", [PERVFI, PERVFI_VB])
def test_one_step_of_training_reaches_every_weight(config: PerVFIConfig) -> None:
    net = network(config).train()
    frame0, frame1 = frames(height=64, width=64)
    target = (frame0 + frame1) / 2
    pervfi_loss(net.training_forward(frame0, frame1, time_like(frame0, 0.5), target)).backward()
    without = [name for name, weight in net.named_parameters() if weight.grad is None]
    assert without == []
    assert all(weight.grad.isfinite().all() for weight in net.parameters())


@pytest.mark.usefixtures("world")
def test_training_initialises_from_data_and_its_checkpoint_loads(tmp_path: Path) -> None:
    """One step of the loop, whole; the file it leaves is found by what is in it."""
    few = {"train_scenes": 1, "val_scenes": 1}
    experiment = recipe(EXPERIMENTS["smoke-pervfi"], data=few, steps=1, batch_size=1)
    trainer = BaselineTrainer(experiment, run_in(tmp_path))
    assert begun(trainer.model) == {1}
    trainer.fit()
    loaded = load_interpolator(tmp_path / "ckpt" / "smoke-pervfi.safetensors")
    assert loaded.config == experiment.model
    ours = trainer.model.state_dict()
    assert all(torch.equal(ours[key], tensor) for key, tensor in loaded.state_dict().items())


class FixedFlows(FlowEstimator):
    """Returns given flows in turn."""

    def __init__(self, *flows: Tensor) -> None:
        super().__init__()
        self.flows = itertools.cycle(flows)

    def forward(self, source: Tensor, target: Tensor) -> Tensor:
        return next(self.flows)


@pytest.mark.usefixtures("world")
@pytest.mark.parametrize("name", ["pervfi", "pervfi_vb"])
def test_a_step_has_the_published_loss(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """The loop's own step, on the golden frames, flows and weights.

    Golden numbers are of evaluation, which adds no noise; and of v00 of the likelihood alone: what
    it draws for the rest is drawn at random.
    """
    few = {"train_scenes": 2, "val_scenes": 1}
    experiment = recipe(EXPERIMENTS[f"smoke-{name}"], data=few, steps=1)
    trainer = BaselineTrainer(experiment, run_in(tmp_path))
    golden, invertible = np.load(GOLDEN / f"{GOLDEN_NAMES[name]}.npz"), experiment.model.invertible
    trainer.model.load_state_dict(golden_network(invertible, torch.device("cpu"))[0].state_dict())
    arrays = {key: torch.from_numpy(array[:1]) for key, array in golden_inputs().items()}
    trainer.model.estimator = FixedFlows(arrays["ff"], arrays["bf"])
    frames = (arrays[key] for key in ("i0", "gt", "i1"))
    if invertible:
        monkeypatch.setattr(loss, "sample_distance", lambda *_: 0.0)
        expected = golden["nll"][0] + np.log2(255)  # that training has, of picture as bytes
    else:
        drawn = PerVFITrainingOutput(torch.from_numpy(golden["t50_pred"]), arrays["gt"], None)
        expected = pervfi_loss(drawn).item()
    monkeypatch.setattr(torch.Tensor, "uniform_", lambda tensor, *_: tensor.zero_())
    trainer.model.train()
    trainer.train_step(Triplet(*frames, time_like(arrays["gt"], 0.5)))
    trainer.step_log.flush()
    assert losses(tmp_path)[0][1] == pytest.approx(expected, rel=1e-5)


def test_training_leaves_the_flow_network_alone() -> None:
    net = PerVFI(replace(PERVFI_VB, estimator="gmflow")).train()
    assert net.training
    assert not net.estimator.training
    assert not any(weight.requires_grad for weight in net.estimator.parameters())


def test_the_perceptual_distance_tells_pictures_apart(tmp_path: Path) -> None:
    torch.manual_seed(0)
    whole = randomize_weights(PerceptualLoss())
    beyond = {"features.30.weight": torch.ones(1), "classifier.0.weight": torch.ones(1)}
    path = tmp_path / "vgg19.pth"
    torch.save(whole.state_dict() | beyond, path)
    distance = load_perceptual(path)
    target = torch.rand(1, 3, 32, 32)
    picture = target.clone().requires_grad_()
    assert distance(target, target) == 0
    near, far = (distance(target + by * torch.randn_like(target), target) for by in (0.05, 0.3))
    assert 0 < near < far
    distance(picture * 0.9, target).backward()
    assert picture.grad.abs().max() > 0
    first = whole.features[:2](normalised(0.9 * target)) - whole.features[:2](normalised(target))
    expected = 0.1 / 2.6 * first.abs().mean()
    for weight in distance.features[2].parameters():
        weight.data.zero_()  # nothing goes on after the first two layers
    for layer in distance.features[3:]:
        for weight in layer.parameters():
            weight.data.zero_()
    torch.testing.assert_close(distance(0.9 * target, target), expected)


def normalised(picture: Tensor) -> Tensor:
    return Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))(picture)


def test_missing_vgg_names_its_source(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"vgg19-dcbb9e9d\.pth"):
        load_perceptual(tmp_path / "vgg19.pth")
