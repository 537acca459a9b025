"""Training in a given time: its parts, its self-check, and going on after a kill."""

import json
import signal
import time
from contextlib import nullcontext
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest

from sgm_vfi.command_errors import RefusedRequest
from sgm_vfi.config_base import Experiment
from sgm_vfi.engine.distributed import World
from sgm_vfi.engine.graceful_stop import StopRequest
from sgm_vfi.model.sgm.network import SGM
from sgm_vfi.model.weight_io import read_weights, save_weights
from sgm_vfi.training import pipeline, stop_unhealthy_run
from sgm_vfi.training.choose_batch_size import BatchCost, choose_batch_size, measure_batch_sizes
from sgm_vfi.training.pipeline import fit_to_machine, split_time
from sgm_vfi.training.pipeline_recipes import PIPELINES, SMOKE_STAGES
from sgm_vfi.training.stop_unhealthy_run import Expectation, ProgressWatch, find_problem
from tests.fixtures.training_runs import LOCAL, SPARSE

EXPECTED = Expectation(samples_per_second=10.0, min_steps=8)
SPEED = {"samples_per_second": 9.0, "waiting_for_data": 0.05}
FALLING = [{"loss": 1 / step, "step": step} for step in range(1, 21)]
RISING = [{"loss": 0.1 * step, "step": step} for step in range(1, 21)]


# ---- the self-check ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rows", "reason"),
    [
        ([*FALLING, SPEED, SPEED], None),
        ([*FALLING, SPEED | {"waiting_for_data": 1.0}, SPEED, SPEED], None),  # the first steps
        ([*RISING, SPEED, SPEED], "the loss does not fall: 0.55 in the first 10 steps"),
        ([*FALLING, {"loss": None}], "1 of 21 steps have no finite loss"),
        ([*FALLING, SPEED, SPEED | {"waiting_for_data": 0.9}], "90% of the time is spent waiting"),
        ([*FALLING, SPEED, SPEED | {"samples_per_second": 2.0}], "2 samples/s, measured before"),
        (FALLING[:3], "it took 3 steps, expected 8"),
    ],
)
def test_a_log_says_what_is_wrong(rows: list[dict[str, Any]], reason: str | None) -> None:
    problem = find_problem(rows, EXPECTED)
    assert problem is None if reason is None else problem is not None and reason in problem


def test_a_slow_device_takes_few_steps() -> None:
    assert EXPECTED.after(60, 0.1, 2).min_steps == 1
    assert EXPECTED.after(60, 100, 2).min_steps == EXPECTED.min_steps
    slow = replace(EXPECTED, min_steps=2)
    assert find_problem(RISING[:6], slow) is None  # too few to tell a trend


def write_log(folder: Path, rows: list[dict[str, Any]]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "log.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    return folder


def test_a_failing_run_is_stopped_with_a_reason(tmp_path: Path) -> None:
    """By the signal that saves it."""
    folder = write_log(tmp_path, RISING)
    with StopRequest() as stop, ProgressWatch(folder, EXPECTED, first=0.01, last=0.02) as watch:
        watch.start()
        deadline = time.monotonic() + 10
        while not stop.is_requested and time.monotonic() < deadline:
            time.sleep(0.01)
        assert stop.signal == signal.SIGTERM
    assert watch.problem is not None
    assert "does not fall" in watch.problem


def test_a_run_that_hangs_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ended: list[int] = []
    monkeypatch.setattr(stop_unhealthy_run, "GRACE", 0.01)
    monkeypatch.setattr(stop_unhealthy_run.os, "_exit", ended.append)
    with (
        StopRequest(),
        ProgressWatch(tmp_path / "no log", EXPECTED, first=0.01, last=0.02) as watch,
    ):
        watch.start()
        deadline = time.monotonic() + 10
        while not ended and time.monotonic() < deadline:
            time.sleep(0.01)
    assert ended == [2]
    assert watch.problem == "it took 0 steps, expected 8 or more."


def test_a_healthy_run_goes_on(tmp_path: Path) -> None:
    folder, passed = write_log(tmp_path, [*FALLING, SPEED]), []
    with ProgressWatch(folder, EXPECTED, lambda: passed.append(1), first=0.01) as watch:
        watch.start()
        deadline = time.monotonic() + 10
        while not passed and time.monotonic() < deadline:
            time.sleep(0.01)
    assert passed == [1]
    assert watch.problem is None


# ---- time, batch size, reuse ---------------------------------------------------------------------


def test_stages_share_the_time_that_is_left() -> None:
    assert split_time(720, 0, (0.6, 0.4)) == pytest.approx(0.96 * 720 * 0.6)
    assert split_time(720, 500, (0.4,)) == pytest.approx(0.96 * 720 - 500)
    with pytest.raises(ValueError, match="more --minutes"):
        split_time(60, 59, (1.0,))


def test_loading_that_takes_long_reuses_scenes() -> None:
    slow, fast = BatchCost(8, loading=1.0, training=1.0), BatchCost(8, loading=0.1, training=1.0)
    assert (slow.reuse, fast.reuse) == (4, 1)
    assert slow.samples_per_second == pytest.approx(8 / 1.25)


def test_the_fastest_batch_with_enough_steps_is_chosen() -> None:
    costs = {
        size: BatchCost(size, 0.0, size / speed) for size, speed in ((2, 10), (4, 16), (8, 16.5))
    }
    assert choose_batch_size(costs, seconds=60, min_steps=10) == 4
    assert choose_batch_size(costs, seconds=60, min_steps=250) == 2
    assert choose_batch_size(costs, seconds=1, min_steps=1000) == 2


def test_batches_that_do_not_fit_are_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    def measure(trainer: Any, experiment: Any, size: int, device: Any) -> BatchCost:
        if size > limit:
            raise MemoryError
        return BatchCost(size, 0.0, 1.0)

    monkeypatch.setattr(f"{choose_batch_size.__module__}.measure_batch", measure)
    device, limit = pipeline.select_device("cpu"), 4
    sizes = measure_batch_sizes(None, None, (2, 4, 8), device)  # type: ignore[arg-type]
    assert list(sizes) == [2, 4]
    limit = 1
    with pytest.raises(MemoryError, match="A batch of 2 does not fit the memory of cpu"):
        measure_batch_sizes(None, None, (2, 4, 8), device)  # type: ignore[arg-type]


def test_recipes_fit_the_machine() -> None:
    for stages in PIPELINES.values():
        for stage in stages:
            plan = {"batch_size": 4, "reuse": 2, "minutes": 5.0, "samples_per_second": 8.0}
            recipe = fit_to_machine(stage.experiment, plan)
            assert recipe.training.save_every == 120  # a minute
            assert recipe.training.log_every == 4
            assert recipe.data.reuse * recipe.data.train_scenes == 4 * 76
            assert recipe.training.warmup_steps <= 30


# ---- the whole, with trainers that do nothing ----------------------------------------------------


class StandIn:
    """Leaves what a trainer leaves; the first second stage is killed after its checkpoint."""

    calls: list[str]
    rows: list[dict[str, Any]]

    def __init__(self, experiment: Experiment, run: Any) -> None:
        self.experiment, self.run = experiment, run
        StandIn.calls.append(f"{experiment.name} {run.checkpoints.exists()}")

    def fit(self) -> None:
        name = self.experiment.name
        write_log(self.run.folder, StandIn.rows)
        self.run.checkpoints.save_last({"model": {}, "training": {}})
        if StandIn.calls == ["pipeline-local False", "pipeline-matching False"]:
            raise KeyboardInterrupt  # as good as a kill: nothing more is written
        network = SGM(LOCAL if name == "pipeline-local" else SPARSE)
        path = self.run.folder / "ckpt" / f"{name}.safetensors"
        save_weights(network, path, {"config": asdict(network.config)})


@pytest.fixture
def _stand_in(monkeypatch: pytest.MonkeyPatch, world: World) -> None:
    stages = tuple(
        replace(
            stage,
            trainer=StandIn,
            experiment=replace(
                stage.experiment,
                training=replace(stage.experiment.training, freeze_local_branch=False),
            ),
        )
        for stage in SMOKE_STAGES
    )
    StandIn.calls = []
    score = {"step": 20, "psnr": 20.0, "psnr_blend": 25.0}
    StandIn.rows = [*FALLING, SPEED | {"step": 20}, score]
    monkeypatch.setitem(PIPELINES, "smoke", stages)
    group = "sgm_vfi.engine.training_command_line.process_group"
    monkeypatch.setattr(group, lambda device: nullcontext(world))
    measured = {2: BatchCost(2, 0.1, 0.1)}
    monkeypatch.setattr(pipeline, "measure_batch_sizes", lambda *_: measured)


def run(folder: Path, *options: str) -> None:
    arguments = ["--config", "smoke", "--device", "cpu", "--output", str(folder), *options]
    pipeline.main(arguments)


@pytest.mark.usefixtures("_stand_in")
def test_a_killed_run_goes_on_where_it_was(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(SystemExit):
        run(tmp_path)
    monkeypatch.setattr(pipeline, "measure_batch_sizes", None)  # it is not measured again
    run(tmp_path)
    assert StandIn.calls[2:] == ["pipeline-matching True"]
    report = json.loads((tmp_path / "report.json").read_text())
    assert [stage["steps"] for stage in report["stages"]] == [20, 20]
    assert "20.00 | 25.00" in capsys.readouterr().out
    shipped = tmp_path / "release" / "ours-small.json"
    assert read_weights(shipped).state.keys() == SGM(SPARSE).state_dict().keys()
    assert max(file.stat().st_size for file in shipped.parent.iterdir()) < 2**24
    with pytest.raises(RefusedRequest, match="holds a run of"):
        run(tmp_path, "--minutes", "5")


@pytest.mark.usefixtures("_stand_in")
def test_minutes_that_are_over_are_refused(tmp_path: Path) -> None:
    with pytest.raises(RefusedRequest, match="more --minutes"):
        run(tmp_path, "--minutes", "0")


@pytest.mark.usefixtures("_stand_in")
def test_a_loss_that_is_not_finite_stops_it_with_a_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: StandIn) -> None:
        raise FloatingPointError("20 steps in a row had no finite gradient")

    monkeypatch.setattr(StandIn, "fit", fail)
    with pytest.raises(RefusedRequest, match="pipeline-local stopped: 20 steps in a row"):
        run(tmp_path)
