"""The command line of training: flags, refusals, and runs that are not overwritten."""

import ast
import json
import os
from pathlib import Path
from typing import Any

import pytest
import torch

from sgm_vfi.config_base import EXPERIMENTS, FLAGS, Experiment
from sgm_vfi.engine.distributed import World
from sgm_vfi.engine.training_command_line import launch
from sgm_vfi.storage.file_lock import FileLock

pytestmark = pytest.mark.usefixtures("world", "info_logs")


class Recorder:
    """Stands in for a trainer: what reached it is what counts."""

    last: "Recorder"

    def __init__(self, experiment: Experiment, run: Any) -> None:
        self.experiment, self.has_other_weights, self.run = experiment, run.has_other_weights, run
        Recorder.last = self

    def fit(self) -> None:
        self.run.checkpoints.save_last({"step": 1})


def command(folder: Path, *arguments: str) -> Recorder:
    launch(
        Recorder,
        EXPERIMENTS,
        FLAGS,
        arguments=[*arguments, "--output", str(folder), "--device", "cpu"],
    )
    return Recorder.last


@pytest.fixture
def _no_group(monkeypatch: pytest.MonkeyPatch, world: World) -> None:
    """The module's process group is there already."""
    from contextlib import nullcontext

    monkeypatch.setattr(
        "sgm_vfi.engine.training_command_line.process_group", lambda device: nullcontext(world)
    )


@pytest.mark.usefixtures("_no_group")
def test_flags_set_fields(tmp_path: Path) -> None:
    flags = ["--batch_size", "3", "--data_path", "/v", "--patch_size", "128", "--need_patch"]
    got = command(tmp_path, *flags, "--set", "epochs=7", "model.channels=8").experiment
    assert got.training.batch_size == 3
    assert (got.data.train_path, got.data.val_path) == ("/v", "/v")
    assert (got.data.patch_size, got.data.need_patch) == (128, True)
    assert (got.training.epochs, got.model.channels) == (7, 8)
    split = command(
        tmp_path / "x", "--train_data_path", "/t", "--val_data_path", "/w", "--synthetic"
    )
    data = split.experiment.data
    assert (data.train_path, data.val_path, data.source) == ("/t", "/w", "synthetic")
    saved = json.loads((tmp_path / "log" / got.name / "config.json").read_text())
    assert saved["recipe"]["training"]["epochs"] == 7


@pytest.mark.usefixtures("_no_group")
def test_a_run_is_not_overwritten_by_accident(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    command(tmp_path, "--config", "smoke")
    with pytest.raises(SystemExit) as stop:
        command(tmp_path, "--config", "smoke")
    assert stop.value.code == 2
    assert "--resume continues it" in caplog.text
    assert command(tmp_path, "--config", "smoke", "--resume").has_other_weights
    with pytest.raises(SystemExit):
        command(tmp_path, "--config", "smoke", "--resume", "--set", "learning_rate=1e-3")
    assert "recipe.training.learning_rate: 0.0002 was, 0.001 is asked for" in caplog.text
    changed = command(
        tmp_path, "--config", "smoke", "--resume", "--set", "learning_rate=1e-3", "--allow_changes"
    )
    assert changed.has_other_weights
    assert not command(tmp_path, "--config", "smoke", "--overwrite").has_other_weights
    assert not command(tmp_path / "new", "--config", "smoke", "--resume").has_other_weights


@pytest.mark.usefixtures("_no_group")
def test_a_field_may_be_named_by_its_end(tmp_path: Path) -> None:
    run = command(tmp_path, "--config", "smoke", "--set", "scenes.motion=0.1,0.2", "grain=0")
    scenes = run.experiment.data.scenes
    assert (scenes.motion, scenes.grain) == ((0.1, 0.2), 0)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--set", "otion=1"), "no field otion"),
        (("--set", "epochz=1"), "no field epochz"),
        (("--set", "epochs"), "FIELD=VALUE"),
        (("--config", "nothing"), "ours-local-small"),
        (("--device", "warp"), "warp"),
        pytest.param(
            ("--device", "cuda"),
            "no GPU",
            marks=pytest.mark.skipif(torch.cuda.is_available(), reason="there is one"),
        ),
    ],
)
def test_bad_arguments_are_refused(
    arguments: tuple[str, ...], words: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    with pytest.raises(SystemExit):
        launch(Recorder, EXPERIMENTS, FLAGS, arguments=[*arguments, "--output", str(tmp_path)])
    assert words in capsys.readouterr().err


def test_entry_points_do_nothing_when_imported() -> None:
    for name in ("train_base", "train_x4k"):
        tree = ast.parse((Path(__file__).parent.parent / f"{name}.py").read_text())
        kinds = {type(node) for node in tree.body}
        assert kinds <= {ast.Expr, ast.Import, ast.ImportFrom, ast.If}


@pytest.mark.usefixtures("_no_group")
def test_a_second_run_in_a_folder_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Also before the first checkpoint, and where it was to replace the first."""
    monkeypatch.setattr("sgm_vfi.storage.file_lock.PATIENCE", 0.1)
    folder = tmp_path / "log/smoke-local"
    with FileLock(folder / "run.lock", folder), pytest.raises(SystemExit):
        command(tmp_path, "--config", "smoke", "--overwrite")
    assert f"Process {os.getpid()} on " in caplog.text
    assert f"works on {folder} since" in caplog.text
    command(tmp_path, "--config", "smoke")
    assert not (folder / "run.lock").exists()
