"""One step of each stage: the published numbers, what moves, and faster arithmetic."""

import inspect
import json
import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from sgm_vfi.config import EXPERIMENTS as GLOBAL
from sgm_vfi.config_base import EXPERIMENTS, Experiment
from sgm_vfi.model.precision_and_compile import use_bfloat16_in_training
from sgm_vfi.model.sgm.network import SGM, SGMConfig
from sgm_vfi.Trainer_base import Trainer
from sgm_vfi.Trainer_x4k import X4KTrainer
from sgm_vfi.training.baselines import BaselineTrainer
from sgm_vfi.training.loss_functions import interpolation_loss
from sgm_vfi.training.matching_features import GMFlowTrainer
from sgm_vfi.training.trainer import Trainer as AbstractTrainer
from tests.fixtures.training_runs import (
    LOCAL,
    SPARSE,
    losses,
    recipe,
    recipe_global,
    run_in,
    some_batch,
    weights_of,
)
from tests.parity.check_sgm import build, config_of
from tests.parity.check_sgm_training import published_optimiser

pytestmark = pytest.mark.usefixtures("world", "info_logs")
GOLDEN = Path(__file__).parent / "golden"
CPU = torch.device("cpu")


# ---- one step of each stage ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "trainer_class", "published"),
    [
        ("train_local", Trainer, EXPERIMENTS["ours-local-small"]),
        ("train_global", X4KTrainer, GLOBAL["ours-small-1-2"]),
    ],
)
def test_a_step_is_the_plain_one(
    tmp_path: Path, name: str, trainer_class: type[Trainer], published: Experiment
) -> None:
    """The loop's own step, with the published recipe; golden numbers are of the plain step."""
    case = json.loads((GOLDEN / "cases.json").read_text())[name]
    config = replace(config_of(case), dense_up_to=4)  # cells: matched sparsely
    experiment = replace(
        published, model=config, data=recipe().data, start_from=None, allow_random_features=True
    )
    trainer, plain = trainer_class(experiment, run_in(tmp_path)), build(config, CPU).train()
    trainer.model.load_state_dict(plain.state_dict())
    trainer.model.train()
    trainer.step = case["step"]

    norms: dict[str, float] = {}
    move = trainer.optimizer.step

    def spy(rate: float) -> Tensor:
        norms.update(gradient_norms(trainer.model))
        return move(rate)

    trainer.optimizer.step = spy
    batch = some_batch()
    trainer.train_step(batch)
    trainer.step_log.flush()

    optimiser, expected_rate = published_optimiser(plain, case)
    expected_loss = interpolation_loss(plain(batch.frame0, batch.frame1, batch.time), batch.target)
    expected_loss.backward()
    expected_norms = gradient_norms(plain)
    optimiser.step()
    ((_, loss, norm, rate),) = losses(tmp_path)
    assert loss == pytest.approx(expected_loss.item(), abs=1e-5)
    assert norm == pytest.approx(math.hypot(*expected_norms.values()), rel=2e-3)
    assert rate == pytest.approx(expected_rate, abs=1e-12)
    assert norms == pytest.approx(expected_norms, rel=2e-3)
    expected = plain.state_dict()
    for key, weight in trainer.model.state_dict().items():
        assert weight.norm().item() == pytest.approx(expected[key].norm().item(), rel=1e-4), key


def gradient_norms(network: SGM) -> dict[str, float]:
    """Return the norm of the gradient of each weight that has one."""
    named = network.named_parameters()
    return {key: w.grad.norm().item() for key, w in named if w.grad is not None}


@pytest.mark.parametrize("freeze_local_branch", [True, False])
def test_second_stage_moves_what_it_is_to_move(freeze_local_branch: bool, tmp_path: Path) -> None:
    """Matching and the context network, as published; or all but the features."""
    experiment = recipe_global(steps=2, warmup_steps=1, freeze_local_branch=freeze_local_branch)
    trainer = X4KTrainer(experiment, run_in(tmp_path))
    before = weights_of(trainer.model)
    trainer.fit()
    after = trainer.model.state_dict()
    moved = {name for name, tensor in before.items() if not torch.equal(tensor, after[name])}
    published = {n for n in before if n.startswith(("matching.", "synthesis.context."))}
    expected = (
        published if freeze_local_branch else {n for n in before if not n.startswith("gmflow.")}
    )
    assert moved == expected


def test_second_stage_changes_hooks_only() -> None:
    """The two trainers stay one loop: everything X4KTrainer defines is a hook."""
    own = {name for name, value in vars(X4KTrainer).items() if inspect.isfunction(value)}
    assert own <= {"prepare_batch", "trainable_parameters"}


def test_every_stage_changes_hooks_only() -> None:
    """A hook says so in the base class."""
    hooks = {
        name
        for name, value in vars(AbstractTrainer).items()
        if inspect.isfunction(value) and (value.__doc__ or "").startswith("Hook:")
    }
    for stage in (Trainer, X4KTrainer, GMFlowTrainer, BaselineTrainer):
        own = {name for name, value in vars(stage).items() if inspect.isfunction(value)}
        assert own <= hooks


# ---- faster arithmetic ---------------------------------------------------------------------------


@pytest.mark.parametrize("config", [LOCAL, SPARSE], ids=["local", "sparse"])
def test_bfloat16_is_close_and_leaves_flows_alone(config: SGMConfig) -> None:
    torch.manual_seed(0)
    exact = SGM(config).train()
    mixed = SGM(config).train()
    mixed.load_state_dict(exact.state_dict())
    use_bfloat16_in_training(mixed.compute_modules())
    batch = some_batch()
    seen = []
    for part in (mixed.encoder.look.block1, mixed.local_flow[0].output):
        part.register_forward_hook(lambda _, inputs, output: seen.append(output.dtype))
    results = []
    for network in (exact, mixed):
        out = network(batch.frame0, batch.frame1, batch.time)
        loss = (out.frame - batch.target).abs().mean()
        loss.backward()
        assert all(picture.dtype == torch.float32 for picture in (out.frame, *out.merged))
        norms = [w.grad.norm() for w in network.parameters() if w.grad is not None]
        results.append((loss.item(), torch.stack(norms).norm().item()))
    assert results[1] == pytest.approx(results[0], rel=0.02)
    assert results[1][0] != results[0][0]
    assert seen == [torch.bfloat16, torch.float32]


def test_bfloat16_ends_where_training_ends() -> None:
    """In evaluation mode nothing differs, to the bit."""
    exact, mixed = SGM(SPARSE).eval(), SGM(SPARSE).eval()
    mixed.load_state_dict(exact.state_dict())
    use_bfloat16_in_training(mixed.compute_modules())
    batch = some_batch()
    frames = [net(batch.frame0, batch.frame1, batch.time).frame for net in (exact, mixed)]
    assert torch.equal(*frames)


def test_options_train_to_about_the_same_loss(tmp_path: Path) -> None:
    curves = {}
    for name, options in {
        "plain": {},
        "bfloat16": {"precision": "bfloat16"},
        "channels_last": {"channels_last": True},
    }.items():
        Trainer(recipe(steps=2, **options), run_in(tmp_path / name)).fit()
        curves[name] = [row[1] for row in losses(tmp_path / name)]
    assert curves["channels_last"] == pytest.approx(curves["plain"], rel=1e-3)
    assert curves["bfloat16"] == pytest.approx(curves["plain"], rel=0.05)
