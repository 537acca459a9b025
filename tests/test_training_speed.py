"""What a step of training costs, and how that is found out."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from sgm_vfi.model.layers.prelu import PReLU
from sgm_vfi.Trainer_x4k import X4KTrainer
from sgm_vfi.training.__main__ import main
from sgm_vfi.training.loss_functions import laplacian_pyramid
from sgm_vfi.training.step_cost import (
    SECTIONS,
    WARM_UP,
    StepSections,
    format_step_profile,
    profile_training_step,
)
from tests.fixtures.processes import ROOT
from tests.fixtures.training_runs import (
    SIDE,
    outcome,
    quick_probes,
    recipe_global,
    run_in,
    run_script,
    start_as_ranks,
)

CPU = torch.device("cpu")
WITH_QUICK_PROBES = """
import runpy
from sgm_vfi.benchmark import profiler
profiler.PROBE, profiler.PROBE_BYTES = (4, 16, 16), 2**16
runpy.run_path({script!r}, run_name="__main__")
"""


def test_a_step_is_counted_and_split() -> None:
    class Learner:
        def __init__(self) -> None:
            self.layer, self.steps = nn.Linear(8, 4), 0

        def step(self) -> None:
            self.steps += 1
            with section("forward"):
                out = self.forward()
            with section("backward"):
                out.sum().backward()

        def forward(self) -> torch.Tensor:
            return self.layer(torch.ones(2, 8))

    section, learner = StepSections(CPU), Learner()
    cost = profile_training_step(learner.step, 3, section)
    assert len(cost.seconds) == 3
    assert learner.steps == WARM_UP + 3 + 1 + 3  # once more to count its work
    assert list(cost.sections) == [*SECTIONS, "other"]
    taken = {name for name, seconds in cost.sections.items() if seconds > 0}
    assert taken == {"forward", "backward", "other"}
    products = 2  # forward, and the gradient of the weights; none goes to the input
    assert cost.work.gflop == pytest.approx(products * 2 * 2 * 8 * 4 / 1e9)
    table = "\n".join(format_step_profile(cost, 2))
    assert "samples/s" in table
    assert "| forward |" in table


def test_measuring_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="1 step or more, got 0"):
        profile_training_step(lambda: None, 0, StepSections(CPU))


def measuring(config: str, folder: Path, *changes: str) -> list[str]:
    """The arguments of a script that is to measure a step of one sample, of few scenes."""
    options = ["--config", config, "--measure", "1", "--output", str(folder), "--device", "cpu"]
    few = (
        "data.train_scenes=4",
        "data.val_scenes=2",
        "training.batch_size=1",
        "data.patch_size=64",
    )
    return [*options, "--set", *few, *changes]


@pytest.mark.parametrize(
    ("script", "processes"), [("train_base.py", 2), ("train_x4k.py", 1), ("zoo", 1)]
)
def test_the_command_measures_and_leaves_nothing(
    tmp_path: Path,
    script: str,
    processes: int,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """In real processes where there are several, or else here."""
    arguments = measuring("smoke-rife" if "zoo" in script else "smoke", tmp_path)
    if processes > 1:
        code = WITH_QUICK_PROBES.format(script=str(ROOT / script))
        ranks = start_as_ranks("-c", code, *arguments, processes=processes)
        ended = [outcome(process) for process in ranks]
        assert [code for code, _ in ended] == [0] * processes, ended
        said = "".join(text for _, text in ended)
    else:
        quick_probes(monkeypatch)
        if script == "zoo":
            main(["zoo", *arguments])
        else:
            run_script(monkeypatch, ROOT / script, *arguments)
        said = capsys.readouterr().out
    assert said.count("samples/s") == 1  # one process speaks
    for part in ("waiting for data", "forward", "loss", "backward", "optimiser", "other"):
        assert f"| {part} |" in said
    assert not list(tmp_path.iterdir())


@pytest.mark.usefixtures("world")
def test_of_the_sizes_that_a_recipe_draws_the_largest_is_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Measured(Exception):
        pass

    def run_once(step: Callable[[], None], *_: object) -> None:
        step()
        raise Measured

    sides: list[int] = []
    monkeypatch.setattr("sgm_vfi.training.trainer.profile_training_step", run_once)
    for probabilities in ((1.0, 0.0), (0.0, 1.0)):
        scales = {"scales": (1.0, 0.5), "scale_probabilities": probabilities}
        trainer = X4KTrainer(recipe_global(batch_size=1, **scales), run_in(tmp_path))
        trainer.train_step = lambda batch: sides.append(batch.frame0.shape[-1])
        with pytest.raises(Measured):
            trainer.profile_steps(1)
    assert sides == [SIDE, SIDE]


@pytest.mark.parametrize("slopes", [1, 5])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("moves", [True, False])
def test_quick_prelu_is_prelu(slopes: int, layout: torch.memory_format, moves: bool) -> None:
    torch.manual_seed(0)
    layer = PReLU(slopes).double()
    layer.weight.data.uniform_(-1, 1)
    layer.weight.requires_grad_(moves)
    x = torch.randn(2, 5, 6, 7, dtype=torch.float64).to(memory_format=layout).requires_grad_()
    x.data[0, 0, 0, 0] = 0  # the kink belongs to the slope, there too
    wanted = [x, layer.weight] if moves else [x]
    ours, theirs = layer(x), F.prelu(x, layer.weight)
    assert torch.equal(ours, theirs)
    weights = torch.randn_like(ours)
    both = [torch.autograd.grad((y * weights).sum(), wanted) for y in (ours, theirs)]
    torch.testing.assert_close(*both)


def test_a_flat_image_has_no_bands() -> None:
    assert all(band.abs().max() < 1e-6 for band in laplacian_pyramid(torch.ones(1, 1, 64, 64)))
