"""Whole runs in processes of their own: several of them, killed ones, stopped ones."""

import logging
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from sgm_vfi.engine.runlog import read_rows
from sgm_vfi.model import load_interpolator
from tests.fixtures.processes import ROOT, ForkedProcess
from tests.fixtures.training_runs import (
    SIDE,
    finish,
    losses,
    outcome,
    run_script,
    start,
    start_as_ranks,
    write_vimeo,
)

TRIPLETS, EPOCHS, STEPS = 8, 3, 12
PATIENCE = 120  # seconds, for a slow machine
WATCHING = """
import sys
from pathlib import Path
from sgm_vfi.config_base import EXPERIMENTS, FLAGS
from sgm_vfi.engine.training_command_line import launch
from sgm_vfi.Trainer_base import Trainer

class Watching(Trainer):
    def prepare_batch(self, batch):
        with Path(sys.argv[0]).with_name(f"rank{self.world.rank}.txt").open("a") as file:
            for target in batch.target:
                file.write(f"{self.epoch} {round(target.mean().item() * 25.5)}\\n")
        return batch

if __name__ == "__main__":
    launch(Watching, EXPERIMENTS, FLAGS)
"""


@pytest.fixture(scope="module")
def vimeo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_vimeo(tmp_path_factory.mktemp("vimeo"), TRIPLETS)


def arguments(vimeo: Path, output: Path, batch_size: int, *changes: str) -> list[str]:
    """Of a run of 12 steps over 8 triplets."""
    settings = {
        "source": "vimeo90k",
        "workers": 0,
        "epochs": EPOCHS,
        "save_every": 3,
        "log_every": 1,
        "panel_every": 1000,
        "validate_first": "false",
        "val_batch_size": 3,
    }
    return [
        *("--config", "smoke", "--device", "cpu", "--output", str(output)),
        *("--data_path", str(vimeo), "--batch_size", str(batch_size), "--patch_size", str(SIDE)),
        *("--set", *(f"{name}={value}" for name, value in settings.items()), *changes),
    ]


def run_of(output: Path) -> Path:
    return output / "log" / "smoke-local"


def weights(output: Path) -> dict[str, torch.Tensor]:
    return torch.load(run_of(output) / "ckpt" / "last.pth", weights_only=True)["model"]


def assert_same_run(one: Path, other: Path) -> None:
    """The same curve and weights, to the bit, and the same validation."""
    assert losses(run_of(one)) == losses(run_of(other))
    mine, theirs = weights(one), weights(other)
    assert all(torch.equal(mine[name], theirs[name]) for name in mine)
    scores = [[row for row in read_rows(run_of(run)) if "psnr" in row] for run in (one, other)]
    assert scores[0] == scores[1]


def wait_for_step(output: Path, step: int, process: ForkedProcess) -> None:
    """Until a running process has logged a step."""
    log, deadline = run_of(output) / "log.jsonl", time.monotonic() + PATIENCE
    while not (log.is_file() and len(losses(log)) >= step):
        assert process.poll() is None, outcome(process)
        assert time.monotonic() < deadline
        time.sleep(0.02)


def last_child(launcher: ForkedProcess) -> int:
    """The process of the highest rank that torchrun started: they begin in this order."""
    tasks = Path(f"/proc/{launcher.pid}/task").glob("*/children")
    return max(int(child) for task in tasks for child in task.read_text().split())


@pytest.fixture(scope="module")
def two(vimeo: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An undisturbed run of two processes, which noted what they saw; as torchrun starts them."""
    folder = tmp_path_factory.mktemp("two")
    script = folder / "watching.py"
    script.write_text(WATCHING)
    for process in start_as_ranks(script, *arguments(vimeo, folder, 1), processes=2):
        finish(process)
    return folder


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> Iterator[None]:
    """As the other processes have, so that bits can be compared."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def one(vimeo: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An undisturbed run of one process, of this one, with twice the batch."""
    folder = tmp_path_factory.mktemp("one")
    with pytest.MonkeyPatch.context() as patch:
        run_script(patch, ROOT / "train_base.py", *arguments(vimeo, folder, 2))
    return folder


def test_every_process_sees_a_fresh_disjoint_shard_every_epoch(two: Path) -> None:
    shards: list[list[set[str]]] = []
    for epoch in range(EPOCHS):
        seen = []
        for rank in range(2):
            lines = (two / f"rank{rank}.txt").read_text().splitlines()
            mine = [line.split()[1] for line in lines if line.split()[0] == str(epoch)]
            assert len(mine) == len(set(mine)) == TRIPLETS // 2
            seen.append(set(mine))
        assert seen[0] | seen[1] == {str(number) for number in range(1, TRIPLETS + 1)}
        shards.append(seen)
    assert shards[0] != shards[1] or shards[1] != shards[2]


def test_two_processes_equal_one_with_twice_the_batch(two: Path, one: Path) -> None:
    """Sums are added up in another order, so not to the bit.

    Over the first epoch, to rounding. Later on, single signs in the gradient of the Laplacian loss
    come out otherwise, which its norm shows more than the loss does.
    """
    mine, theirs = losses(run_of(one)), losses(run_of(two))
    assert len(mine) == STEPS
    first = STEPS // EPOCHS
    for here, there in zip(mine[:first], theirs[:first], strict=True):
        assert here == pytest.approx(there, rel=1e-5)
    for (*here, my_norm, my_rate), (*there, norm, rate) in zip(mine, theirs, strict=True):
        assert (*here, my_rate) == pytest.approx((*there, rate), rel=1e-3)
        assert my_norm == pytest.approx(norm, rel=0.05)
    scores = [[row for row in read_rows(run_of(run)) if "psnr" in row] for run in (one, two)]
    for mine, theirs in zip(*scores, strict=True):
        assert mine["psnr"] == pytest.approx(theirs["psnr"], abs=0.02)
        assert mine["psnr_blend"] == pytest.approx(theirs["psnr_blend"], abs=1e-6)


def test_a_killed_process_is_restarted_and_nothing_is_lost(
    vimeo: Path, two: Path, tmp_path: Path
) -> None:
    """kill -9 of one of two; torchrun starts both again, and they go on by themselves."""
    process = start(ROOT / "train_base.py", *arguments(vimeo, tmp_path, 1), processes=2, restarts=1)
    wait_for_step(tmp_path, 5, process)
    os.kill(last_child(process), signal.SIGKILL)
    output = finish(process)
    assert "Going on after step" in output
    assert_same_run(two, tmp_path)


def test_a_stopped_run_leaves_a_checkpoint_and_goes_on(
    vimeo: Path,
    one: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Stopped where it has a process of its own; it goes on here."""
    caplog.set_level(logging.INFO)
    process = start(ROOT / "train_base.py", *arguments(vimeo, tmp_path, 2))
    wait_for_step(tmp_path, 4, process)
    process.send_signal(signal.SIGTERM)
    code, output = outcome(process)
    assert code == 128 + signal.SIGTERM, output
    assert "continue with --resume" in output
    steps = len(losses(run_of(tmp_path)))
    assert 4 <= steps < STEPS
    assert load_interpolator(run_of(tmp_path) / "ckpt" / "last.pth").config.channels == 4

    run_script(monkeypatch, ROOT / "train_base.py", *arguments(vimeo, tmp_path, 2), "--resume")
    assert f"Going on after step {steps}" in caplog.text
    assert_same_run(one, tmp_path)


def test_the_commands_name_what_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """No traceback for what a user can put right."""
    with pytest.raises(SystemExit) as ended:
        run_script(monkeypatch, ROOT / "train_base.py", "--device", "cpu", "--output", tmp_path)
    assert ended.value.code == 2
    assert "The path of vimeo90k is missing" in caplog.text
    assert "--synthetic" in caplog.text
    assert "Traceback" not in caplog.text
