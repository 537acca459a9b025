"""Training the other networks: the one loop, their own losses."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from sgm_vfi.dataset.triplet import GroundTruth, Triplet
from sgm_vfi.engine.runlog import read_rows
from sgm_vfi.model import load_interpolator, time_like
from sgm_vfi.model.flow.estimator import FlowEstimator
from sgm_vfi.model.network_from_weights import ARCHITECTURES
from sgm_vfi.training.baseline_recipes import EXPERIMENTS, ZooExperiment
from sgm_vfi.training.baselines import CRITERIA, BaselineTrainer, flow_label
from tests.fixtures.processes import ROOT
from tests.fixtures.training_runs import losses, recipe, run_in
from tests.parity import recipe as parity
from tests.parity.zoo.check_rife import SMALL, golden_network

pytestmark = pytest.mark.usefixtures("world")
CPU = torch.device("cpu")
SMOKE = EXPERIMENTS["smoke-rife"]


class Counted(nn.Module):
    """Stands where the wrapper that averages gradients does."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network, self.calls = network, 0

    def forward(self, *inputs: Tensor, **options: Any) -> Any:
        self.calls += 1
        return self.network(*inputs, **options)


@pytest.mark.parametrize(
    ("name", "time", "archive", "prefix"),
    [("rife", 0.5, "rife_base", ""), ("rife_m", 0.25, "rife_m", "t25_")],
)
def test_a_step_of_rife_has_the_published_loss(
    tmp_path: Path, name: str, time: float, archive: str, prefix: str
) -> None:
    """The loop's own step, with the published recipe, on the golden frames and weights.

    It goes through the wrapper that averages the gradients of processes.
    """
    published, smoke = EXPERIMENTS[name], EXPERIMENTS[f"smoke-{name}"]
    few = recipe(smoke, data={"train_scenes": 16}).data
    trainer = BaselineTrainer(replace(published, data=few), run_in(tmp_path))
    weights = golden_network(published.model, CPU)[0].state_dict()
    trainer.model.load_state_dict(weights)
    trainer.model.train()
    trainer.network = Counted(trainer.training_module())
    trainer.step = 1000
    frame0, frame1 = (torch.from_numpy(frame) for frame in parity.inputs(SMALL))
    target = torch.from_numpy(parity.frames(SMALL, time))
    trainer.train_step(Triplet(frame0, target, frame1, time_like(frame0, time)))
    trainer.step_log.flush()
    ((_, loss, _, rate),) = losses(tmp_path)
    golden = np.load(ROOT / "tests" / "golden_zoo" / f"{archive}.npz")
    student, teacher, distilled = (
        golden[f"{prefix}loss_{part}"] for part in ("lap", "teacher", "distill")
    )
    expected = student + teacher + published.distillation * distilled
    assert loss == pytest.approx(expected, rel=1e-5)
    assert rate == pytest.approx(3e-4 * 1000 / 2000 * 16 / 64)
    assert trainer.network.calls == 1
    after = trainer.model.state_dict()
    assert not any(torch.equal(old, after[name]) for name, old in weights.items())


def test_every_family_that_has_a_recipe_has_its_loss() -> None:
    families = {
        f.name for f in ARCHITECTURES for e in EXPERIMENTS.values() if type(e.model) is f.config
    }
    assert families == set(CRITERIA)


@pytest.mark.parametrize(  # PerVFI is large: its own tests take a step
    "name", [name for name in EXPERIMENTS if name.startswith("smoke-") and "pervfi" not in name]
)
def test_smoke(tmp_path: Path, name: str) -> None:
    """Trains, validates, draws, and leaves weights that load and predict."""
    experiment: ZooExperiment = recipe(EXPERIMENTS[name], steps=3, panel_every=2)
    BaselineTrainer(experiment, run_in(tmp_path)).fit()
    rows = read_rows(tmp_path)
    assert [row["step"] for row in rows if "loss" in row] == [1, 2, 3]
    assert [row["psnr"] > 5 for row in rows if "psnr" in row] == [True]
    network = load_interpolator(tmp_path / "ckpt" / f"{name}.safetensors")
    assert network.config == experiment.model
    frames = torch.rand(2, 1, 3, 64, 64)
    with torch.no_grad():
        out = network(*frames, time_like(frames[0], 0.5), explain=True)
    assert out.frame.isfinite().all()


def test_distillation_is_the_recipes_to_weigh(tmp_path: Path) -> None:
    told = []
    for weight in (0.0, 1.0):
        experiment = replace(recipe(SMOKE, steps=1), distillation=weight)
        BaselineTrainer(experiment, run_in(tmp_path / str(weight))).fit()
        told.append(losses(tmp_path / str(weight))[0][1])
    assert told[1] > told[0]


class Difference(FlowEstimator):
    """Says by how much the target is brighter, in both directions."""

    def forward(self, source: Tensor, target: Tensor) -> Tensor:
        return (target - source)[:, :2]


def test_labels_are_true_motion_or_estimated_from_the_target() -> None:
    grey = [torch.full((2, 3, 64, 64), value, requires_grad=True) for value in (0.1, 0.3, 0.8)]
    batch = Triplet(*grey, time_like(grey[0], 0.5))
    assert flow_label(batch, None) is None
    estimated = flow_label(batch, Difference())
    assert torch.allclose(estimated[0, :, 0, 0], torch.tensor((-0.2, -0.2, 0.5, 0.5)))
    assert not estimated.requires_grad
    flows = [torch.full((2, 2, 64, 64), float(number)) for number in range(4)]
    known = batch._replace(truth=GroundTruth(*flows, *(flow[:, :1] for flow in flows)))
    assert torch.equal(flow_label(known, Difference())[0, :, 0, 0], torch.tensor((2.0, 2, 3, 3)))


def test_scenes_made_here_need_no_estimated_labels() -> None:
    ifrnet, made = EXPERIMENTS["ifrnet"], EXPERIMENTS["smoke-ifrnet"].data
    assert replace(ifrnet, data=made).data.truth
    with pytest.raises(ValueError, match=r"liteflownet need not guess it: add .*data\.truth=true"):
        replace(ifrnet, data=replace(made, truth=False))


def test_a_recipe_shows_the_times_that_its_network_is_told() -> None:
    with pytest.raises(ValueError, match=r"model\.any_time is True, data\.any_time is False"):
        replace(EXPERIMENTS["smoke-rife_m"], data=SMOKE.data)
