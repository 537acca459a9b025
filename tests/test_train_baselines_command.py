"""Training the other networks by the command, and going on from where another run ended."""

import logging
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from sgm_vfi.engine.distributed import process_group
from sgm_vfi.model.baselines.rife.network import RIFE
from sgm_vfi.model.weight_io import CheckpointError, load_weights, read_weights
from sgm_vfi.training.__main__ import main
from sgm_vfi.training.baseline_recipes import EXPERIMENTS
from sgm_vfi.training.baselines import BaselineTrainer
from tests.fixtures.training_runs import recipe, run_in

CPU = torch.device("cpu")
SMOKE = EXPERIMENTS["smoke-rife"]


def test_the_script_runs_and_another_run_starts_from_its_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """As from a shell. Weights for other frames are refused before anything is lost."""
    caplog.set_level(logging.INFO)
    few = ("data.train_scenes=4", "val_scenes=2", "training.panel_every=100", "epochs=1")
    common = ("--config", "smoke-rife", "--device", "cpu", "--output", tmp_path, "--set", *few)
    main(["zoo", *map(str, common)])
    result = tmp_path / "log" / "smoke-rife" / "ckpt" / "smoke-rife.safetensors"
    assert f"Done: {result}" in caplog.text

    with process_group(CPU):
        experiment = replace(recipe(SMOKE, steps=1), start_from=str(result), name="next")
        trainer = BaselineTrainer(experiment, run_in(tmp_path / "next"))
        before = RIFE(SMOKE.model)
        load_weights(before, read_weights(result))
        both = zip(before.state_dict().values(), trainer.model.state_dict().values(), strict=True)
        assert all(torch.equal(a, b) for a, b in both)
        other = replace(experiment, model=replace(SMOKE.model, colour_order="bgr"))
        with pytest.raises(CheckpointError, match=r"colour_order='bgr'"):
            BaselineTrainer(other, run_in(tmp_path / "other"))
