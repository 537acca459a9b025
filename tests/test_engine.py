"""The engine: settings, checkpoints, logs, plots, guards; nothing of images or networks."""

import json
import math
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Literal

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.distributed import TCPStore

from engine import runlog
from engine.chart import Axis, Curve, draw_chart, draw_charts, logarithmic_ticks, smooth
from engine.distributed import World, process_group
from engine.interrupt import Interrupt
from engine.meeting import Meeting, meet
from engine.optimiser import GuardedAdamW, WeightAverage
from engine.records import MeanScores, Pace, StepRecords
from engine.runlog import RunLog, read_rows
from engine.schedule import one_cycle, warmup_cosine
from engine.settings import differences, override, parse
from engine.store import CheckpointStore, StoreError

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    with process_group(torch.device("cpu")) as alone:
        yield alone


# ---- settings ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Inner:
    rate: float = 0.1
    sizes: tuple[int, ...] = (1, 2)
    pair: tuple[float, float] = (0.9, 0.999)
    limit: float | None = None

    def __post_init__(self) -> None:
        if self.limit is not None and self.limit < self.rate:
            raise ValueError("limit below rate")


@dataclass(frozen=True)
class Outer:
    name: str = "run"
    kind: Literal["a", "b"] = "a"
    steps: int = 10
    fast: bool = False
    inner: Inner = field(default_factory=Inner)
    other: Inner = field(default_factory=Inner)


def test_override_changes_only_what_it_names() -> None:
    changes = {"steps": "3", "inner.sizes": "4,5,6", "fast": "true", "kind": "b"}
    assert override(Outer(), changes) == Outer(
        steps=3, fast=True, kind="b", inner=Inner(sizes=(4, 5, 6))
    )
    assert override(Outer(), {}) == Outer()


def test_override_checks_fields_together() -> None:
    """Neither order of two changes would do, one after the other: limit 0.3 and rate 0.2."""
    changed = override(
        Outer(inner=Inner(0.5, limit=0.6)), {"inner.limit": "0.3", "inner.rate": ".2"}
    )
    assert (changed.inner.limit, changed.inner.rate) == (0.3, 0.2)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"stepz": "3"}, ("stepz", "Known fields", "inner.rate")),
        ({"rate": "3"}, ("inner.rate or other.rate",)),
        ({"steps": "3.5"}, ("steps", "int", "'3.5'")),
        ({"fast": "maybe"}, ("fast", "bool")),
        ({"kind": "c"}, ("kind", "'a', 'b'")),
        ({"inner.pair": "1"}, ("inner.pair", "2 values")),
        ({"inner.limit": "0.05"}, ("limit below rate",)),
    ],
)
def test_override_says_what_is_wrong(changes: dict[str, str], words: tuple[str, ...]) -> None:
    with pytest.raises(ValueError) as error:  # noqa: PT011 - the words follow
        override(Outer(), changes)
    assert all(word in str(error.value) for word in words)


@pytest.mark.parametrize(
    ("text", "kind", "value"),
    [
        ("1/4", float, 0.25),
        ("2e-4", float, 2e-4),
        ("none", float | None, None),
        ("1/8", float | None, 0.125),
        ("no", bool, False),
        ("(0.9, 0.99)", tuple[float, float], (0.9, 0.99)),
        ("none", str, "none"),
    ],
)
def test_parse_by_type(text: str, kind: object, value: object) -> None:
    assert parse(text, kind, "field") == value


def test_differences_name_the_field_and_both_values() -> None:
    old, new = {"a": 1, "b": {"c": [1, 2]}}, {"a": 1, "b": {"c": [1, 3], "d": None}}
    assert differences(old, old) == []
    assert differences(old, new) == ["b.c: [1, 2] was, [1, 3] is asked for"]


# ---- the rate ------------------------------------------------------------------------------------


def test_rate_at_the_specified_steps() -> None:
    """Specification 3.4, second stage."""
    rates = [warmup_cosine(step, 13_700, 1000) for step in (0, 500, 1000, 7350, 13_699)]
    assert rates == pytest.approx([0, 1e-4, 2e-4, 1.1e-4, 2e-5], rel=1e-4)


@pytest.mark.parametrize("total", [2, 7, 1000])
def test_one_cycle_is_pytorch_s(total: int) -> None:
    weight = torch.nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([weight], lr=1.0)
    theirs = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, max_lr=5e-4, total_steps=total, cycle_momentum=False
    )
    for step in range(total):
        (expected,) = theirs.get_last_lr()
        assert one_cycle(step, total, 5e-4) == pytest.approx(expected, rel=1e-9)
        if step < total - 1:
            optimizer.step()
            theirs.step()


# ---- checkpoints ---------------------------------------------------------------------------------


@contextmanager
def full_disk(room: int) -> Iterator[None]:
    """No file may grow beyond `room` bytes; really refused by the system."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (room, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)


def some_state(step: int) -> dict[str, object]:
    return {"step": step, "weights": torch.full((50_000,), float(step))}


def test_store_keeps_the_last_and_the_one_before(tmp_path: Path) -> None:
    store = CheckpointStore(tmp_path / "ckpt")
    assert store.load() is None
    assert not store.exists()
    for step in (1, 2, 3):
        assert store.save_last(some_state(step))
    assert store.load()["step"] == 3
    previous = torch.load(tmp_path / "ckpt" / "previous.pth", weights_only=True)
    assert previous["step"] == 2
    assert sorted(p.name for p in (tmp_path / "ckpt").iterdir()) == ["last.pth", "previous.pth"]


@pytest.mark.parametrize("damage", ["truncated", "zeros", "gone", "empty"])
def test_store_falls_back_from_a_damaged_last(
    tmp_path: Path, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    store = CheckpointStore(tmp_path)
    for step in (1, 2):
        store.save_last(some_state(step))
    last = tmp_path / "last.pth"
    size = last.stat().st_size
    if damage == "gone":  # killed between the two renames
        last.unlink()
    else:
        kept = {"truncated": size // 2, "zeros": size, "empty": 0}[damage]
        data = last.read_bytes()[:kept]
        last.write_bytes(bytes(size) if damage == "zeros" else data)
    assert store.load()["step"] == 1
    assert ("last.pth" in caplog.text) == (damage != "gone")


def test_store_refuses_to_begin_anew_in_silence(tmp_path: Path) -> None:
    store = CheckpointStore(tmp_path)
    store.save_last(some_state(1))
    (tmp_path / "last.pth").write_bytes(b"nothing")
    with pytest.raises(StoreError, match=r"last\.pth \(7 bytes.*--overwrite"):
        store.load()


def test_store_survives_a_full_disk(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    store = CheckpointStore(tmp_path)
    store.save_last(some_state(1))
    with full_disk(100_000):
        assert not store.save_last(some_state(2))
        assert not store.save_best(some_state(2))
    assert "Is the disk full?" in caplog.text
    assert [p.name for p in tmp_path.iterdir()] == ["last.pth"]
    assert store.load()["step"] == 1
    assert store.save_last(some_state(3))
    assert store.load()["step"] == 3


# ---- logs and plots ------------------------------------------------------------------------------


def test_log_rows_come_back_and_can_be_rewound(tmp_path: Path) -> None:
    log = RunLog(tmp_path, active=True)
    log.rows([{"step": 1, "loss": 0.5}, {"step": 2, "loss": math.nan}])
    position = log.position()
    log.rows([{"step": 3, "loss": 0.25}])
    assert [row["loss"] for row in read_rows(tmp_path)] == [0.5, None, 0.25]
    log.rewind(position)
    log.rows([{"step": 3, "loss": 0.125}])
    assert [row["loss"] for row in read_rows(tmp_path)] == [0.5, None, 0.125]
    log.close()


def test_log_is_silent_on_other_processes(tmp_path: Path) -> None:
    log = RunLog(tmp_path, active=False)
    log.begin(0, 10)
    log.rows([{"step": 1}])
    log.scalars(1, loss=1.0)
    log.picture(1, "panel", np.zeros((8, 8, 3), np.uint8))
    log.close()
    assert list(tmp_path.iterdir()) == []


def test_log_waits_for_room_on_the_disk(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    log = RunLog(tmp_path, active=True)
    log.rows([{"step": 1, "text": "x" * 400}])
    with full_disk(500):
        log.rows([{"step": 2, "text": "x" * 400}])
    assert "Could not write" in caplog.text
    assert len(read_rows(tmp_path)) == 1
    log.rows([{"step": 3}])
    assert [row["step"] for row in read_rows(tmp_path)] == [1, 2, 3]
    log.close()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_tensorboard_without_room_does_not_end_a_run(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Its own thread fails, and says so only later, if at all."""
    log = RunLog(tmp_path, active=True)
    with full_disk(1000):
        for step in range(200):
            log.scalars(step, loss=1.0)
            time.sleep(0.001)
        log.picture(1, "panel", np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8))
    assert caplog.text.count("No more TensorBoard files") == 1
    assert "Could not write a picture" in caplog.text
    log.rows([{"step": 1}])
    log.close()
    assert len(read_rows(tmp_path)) == 1


def test_a_line_cut_off_by_a_crash_is_left_out(tmp_path: Path) -> None:
    (tmp_path / "log.jsonl").write_text('{"step": 1}\n{"step": 2, "lo')
    assert read_rows(tmp_path) == [{"step": 1}]


def write_run(folder: Path, steps: int, level: float) -> Path:
    folder.mkdir()
    rows = [{"step": n, "loss": level / n, "learning_rate": 1e-4} for n in range(1, steps + 1)]
    rows += [{"step": n, "psnr": 20 + level, "psnr_blend": 19.0} for n in (1, steps)]
    (folder / "log.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


def test_plot_command_draws_every_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    runs = [write_run(tmp_path / name, 400, level) for name, level in (("one", 1), ("two", 3))]
    output = tmp_path / "curves.png"
    runlog.main(["plot", *map(str, runs), "--output", str(output)])
    assert capsys.readouterr().out.strip() == str(output)
    picture = cv2.imread(str(output))[..., ::-1]
    for colour in ((0, 114, 178), (213, 94, 0)):
        assert (picture == colour).all(axis=-1).sum() > 200  # both curves, in both charts
    assert picture.shape[0] == 2 * 420  # loss, and psnr with its reference inside


def test_plot_command_says_what_is_missing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        runlog.main(["plot", str(tmp_path / "nothing")])
    assert "No log at" in capsys.readouterr().err


def test_curve_goes_through_its_points() -> None:
    """A rising line: its pixels lie on the straight line between its ends."""
    x = Axis(0, 100, 84, 1076)
    line = draw_chart("line", [Curve("a", np.array([1e-9, 100.0]), np.array([0.0, 1.0]))], x)
    blue = (line == (0, 114, 178)).all(axis=-1)
    blue[:44] = False  # the legend
    rows, columns = blue.nonzero()
    y = Axis(-0.06, 1.06, 420 - 46, 44)
    expected = y.place((columns - 84) / (1076 - 84))
    assert np.abs(rows - expected).max() < 5  # the marks at the ends are wider than the line
    assert len(rows) > 900


def test_the_untrained_network_does_not_flatten_the_chart() -> None:
    """A first score of 3 among 28 and 29: these two lie far apart, the line comes from below."""
    x = Axis(0, 2, 84, 1076)
    drawn = draw_chart("psnr", [Curve("a", np.arange(3.0), np.array([3.0, 28.0, 29.0]))], x)
    blue = (drawn == (0, 114, 178)).all(axis=-1)
    assert blue[420 - 46 - 2, 100:580].any()
    rows = [blue[44:, column].nonzero()[0].mean() for column in (590, 1070)]
    assert rows[0] - rows[1] > 250


def test_charts_of_one_point_or_constant_values_or_nothing() -> None:
    one = Curve("a", np.array([5.0]), np.array([2.0]))
    reference = one._replace(label="b", is_reference=True)
    for curve in (one, reference):  # one point is no line, and yet seen, beside the grid's lines
        drawn = draw_chart("x", [curve], Axis(4, 6, 84, 1076))
        assert (drawn[209 - 2, 580 + 2] < 200).any()
    assert draw_charts({"x": [one]}, logarithmic=("x",)).shape == (420, 1100, 3)
    assert draw_charts({"x": [one._replace(y=np.array([np.nan]))]}).shape == (420, 1100, 3)


@given(st.floats(1e-8, 1e6), st.floats(1.01, 1e5))
def test_ticks_lie_inside_and_are_few(low: float, ratio: float) -> None:
    for ticks in (Axis(low, low * ratio, 0, 1).ticks(), logarithmic_ticks(low, low * ratio)):
        assert len(ticks) <= 14
        assert all(low * (1 - 1e-6) <= tick <= low * ratio * (1 + 1e-6) for tick in ticks)


def test_smoothing_keeps_straight_lines_and_means() -> None:
    line = np.arange(500.0)
    assert np.allclose(smooth(line)[20:-20], line[20:-20])
    noise = np.random.default_rng(0).normal(size=500)
    assert smooth(noise).std() < 0.5 * noise.std()


# ---- moving weights ------------------------------------------------------------------------------


def network() -> nn.Linear:
    torch.manual_seed(0)
    return nn.Linear(3, 2)


def set_gradients(model: nn.Module, value: float) -> None:
    for weight in model.parameters():
        weight.grad = torch.full_like(weight, value)


def test_optimiser_is_adamw() -> None:
    ours, theirs = network(), network()
    guarded = GuardedAdamW(ours, list(ours.parameters()), weight_decay=1e-2)
    plain = torch.optim.AdamW(theirs.parameters(), lr=0.1, weight_decay=1e-2)
    for value in (0.5, -1.0, 2.0):
        set_gradients(ours, value)
        set_gradients(theirs, value)
        assert guarded.step(0.1).item() == pytest.approx(abs(value) * 8**0.5)
        plain.step()
    for a, b in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(a, b)


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_step_that_is_not_finite_leaves_no_trace(bad: float) -> None:
    """Weights, memory and step count are those of a run without that step, to the bit."""
    runs = []
    for values in ((1.0, 0.5), (1.0, bad, 0.5)):
        model = network()
        optimiser = GuardedAdamW(model, list(model.parameters()), weight_decay=1e-2)
        for value in values:
            set_gradients(model, value)
            optimiser.step(0.1)
        runs.append((list(model.parameters()), optimiser.state_dict()["adamw"]["state"]))
    (weights, state), (others, other_state) = runs
    assert all(torch.equal(a, b) for a, b in zip(weights, others, strict=True))
    for number, memory in state.items():
        assert all(torch.equal(memory[name], other_state[number][name]) for name in memory)


def test_clipping_bounds_the_gradient_but_not_its_report() -> None:
    moved = []
    for value in (1.0, 1000.0):
        model = network()
        before = model.weight.detach().clone()
        optimiser = GuardedAdamW(model, list(model.parameters()), weight_decay=0.0, clip_norm=0.1)
        set_gradients(model, value)
        assert optimiser.step(0.1).item() == pytest.approx(value * 8**0.5)
        moved.append(model.weight.detach() - before)
        memory = optimiser.adamw.state[model.weight]["exp_avg"]
        assert memory.norm() < 0.1
    torch.testing.assert_close(moved[0], moved[1])


def test_average_follows_by_hand_and_leaves_frozen_weights() -> None:
    model = network()
    model.bias.requires_grad_(False)
    average = WeightAverage(model, 0.25)
    start = model.weight.detach().clone()
    expected = start.clone()
    for n in (1, 2, 3):
        model.weight.data += 1
        model.bias.data += 1
        average.update()
        kept = min(0.25, (1 + n) / (10 + n))
        expected = kept * expected + (1 - kept) * (start + n)
    torch.testing.assert_close(average.model.weight, nn.Parameter(expected))
    assert torch.equal(average.model.bias + 3, model.bias)


def test_optimiser_goes_on_from_its_state() -> None:
    """With an average, so that the weights that move and those that are measured differ."""

    def fresh() -> tuple[nn.Linear, GuardedAdamW]:
        model = network()
        return model, GuardedAdamW(
            model, list(model.parameters()), weight_decay=0.1, average_decay=0.9
        )

    (first, one), (second, two) = fresh(), fresh()
    for value in (1.0, -2.0):
        set_gradients(first, value)
        one.step(0.1)
    second.weight.data.zero_()
    measured = {name: tensor.clone() for name, tensor in one.measured.state_dict().items()}
    two.load_state_dict(deepcopy(one.state_dict()), measured)
    for model, optimiser in ((first, one), (second, two)):
        set_gradients(model, 0.5)
        optimiser.step(0.05)
    assert torch.equal(first.weight, second.weight)
    assert torch.equal(one.measured.weight, two.measured.weight)
    assert not torch.equal(one.measured.weight, first.weight)


# ---- records and processes -----------------------------------------------------------------------


def test_records_report_skipped_steps_and_give_up(
    world: World, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    log = RunLog(tmp_path, active=True)
    records = StepRecords(world, log, max_skipped=2)
    for step, norm in enumerate((1.0, math.nan, 1.0, math.inf), start=1):
        records.add(torch.tensor(0.5), torch.tensor(norm), step=step)
    records.report()
    rows = [row for row in read_rows(tmp_path) if "loss" in row]
    assert [row.get("skipped", False) for row in rows] == [False, True, False, True]
    assert "Step 2 skipped" in caplog.text
    records.add(torch.tensor(math.nan), torch.tensor(math.nan), step=5)
    with pytest.raises(FloatingPointError, match="2 steps in a row"):
        records.report()
    log.close()


def test_pace_counts_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter([0.0, 1.0, 4.0, 8.0, 8.0]).__next__  # start; wait from 1 to 4; lap at 8
    monkeypatch.setattr("engine.records.time.perf_counter", clock)
    pace = Pace()
    with pace.waiting():
        pass
    pace.count(16)
    assert pace.lap() == {"samples_per_second": 2.0, "waiting_for_data": 3 / 8}


def test_means_are_over_samples_not_batches(world: World) -> None:
    means = MeanScores(("a", "b"))
    means.add(torch.tensor([[1.0, 0.0], [2.0, 0.0], [3.0, 0.0]]))
    means.add(torch.tensor([[10.0, 4.0]]))
    assert means.means(world) == {"a": 4.0, "b": 1.0}


def test_a_world_of_one(world: World) -> None:
    values = torch.tensor([1.0, math.nan])
    total = world.total(values)
    assert total.dtype == torch.float64
    assert total[0] == 1
    assert total[1].isnan()
    assert world.any(True)
    assert not world.any(False)
    assert world.share({"a": 1}) == {"a": 1}
    module = network()
    assert world.wrap(module) is module
    world.barrier()


def test_nothing_of_a_network_outlives_the_process_group() -> None:
    """Its reducer owned the group, and destroyed it where that could wait for ever."""
    code = """
from dataclasses import replace
import torch
from engine.distributed import process_group
with process_group(torch.device("cpu")) as world:
    network = replace(world, size=2).wrap(torch.nn.Linear(3, 1))
    network(torch.ones(2, 3)).sum().backward()
    assert network.reducer is not None
assert network.reducer is None
assert network.module.weight.grad is not None
"""
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, timeout=60)


def test_processes_meet_where_nobody_was_before() -> None:
    """Three attempts over one store; in the later ones, others come before the main process."""
    server = TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)

    def come(rank: int) -> Meeting:
        mine = TCPStore("127.0.0.1", server.port, is_master=False)
        meeting = meet(mine, rank, 3)
        assert not meeting.store.check([f"address/{rank}"])  # nothing of earlier attempts
        meeting.store.set(f"address/{rank}", "here")
        return meeting

    places: set[str] = set()
    with ThreadPoolExecutor(3) as pool:
        for attempt, order in enumerate(((0, 1, 2), (1, 2, 0), (2, 0, 1)), start=1):
            arrivals = []
            for rank in order:
                arrivals.append(pool.submit(come, rank))
                time.sleep(0.1)
            meetings = [arrival.result(timeout=30) for arrival in arrivals]
            assert {meeting.attempt for meeting in meetings} == {attempt}
            places |= {meeting.place for meeting in meetings}
            assert len(places) == attempt
            assert all(meetings[0].store.check([f"address/{rank}"]) for rank in range(3))


def test_nobody_waits_for_ever_for_the_main_process() -> None:
    store = TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
    with pytest.raises(TimeoutError, match="Process 1"):
        meet(store, 1, 2, patience=timedelta(milliseconds=50))


def test_interrupt_notes_a_signal_and_gives_way_afterwards() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with Interrupt() as interrupt:
        assert not interrupt.requested
        os.kill(os.getpid(), signal.SIGTERM)
        assert interrupt.requested
        assert interrupt.exit_code == 128 + signal.SIGTERM
    assert signal.getsignal(signal.SIGTERM) is before


def test_a_second_ctrl_c_does_not_wait() -> None:
    with Interrupt() as interrupt:
        os.kill(os.getpid(), signal.SIGINT)
        assert interrupt.requested
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
