"""Processes of a run: what they record, how they meet, and how they end."""

import math
import os
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.distributed import TCPStore

from sgm_vfi.engine.distributed import World
from sgm_vfi.engine.graceful_stop import StopRequest
from sgm_vfi.engine.rendezvous import Rendezvous, join_rendezvous
from sgm_vfi.engine.runlog import MetricMeans, RunLog, StepLog, Throughput, read_rows
from tests.fixtures.processes import ROOT, python
from tests.fixtures.training_runs import finish


def test_records_report_skipped_steps_and_give_up(
    world: World, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    log = RunLog(tmp_path, active=True)
    records = StepLog(world, log, max_skipped=2)
    for step, norm in enumerate((1.0, math.nan, 1.0, math.inf), start=1):
        records.add(torch.tensor(0.5), torch.tensor(norm), step=step)
    records.flush()
    rows = [row for row in read_rows(tmp_path) if "loss" in row]
    assert [row.get("skipped", False) for row in rows] == [False, True, False, True]
    assert "Step 2 skipped" in caplog.text
    records.add(torch.tensor(math.nan), torch.tensor(math.nan), step=5)
    with pytest.raises(FloatingPointError, match="2 steps in a row"):
        records.flush()
    log.close()


def test_pace_counts_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter([0.0, 1.0, 4.0, 8.0, 8.0]).__next__  # start; wait from 1 to 4; lap at 8
    monkeypatch.setattr("sgm_vfi.engine.runlog.time.perf_counter", clock)
    throughput = Throughput()
    with throughput.measure_wait():
        pass
    throughput.add_samples(16)
    assert throughput.read_and_reset() == {"samples_per_second": 2.0, "waiting_for_data": 3 / 8}


def test_means_are_over_samples_not_batches(world: World) -> None:
    means = MetricMeans(("a", "b"))
    means.add(torch.tensor([[1.0, 0.0], [2.0, 0.0], [3.0, 0.0]]))
    means.add(torch.tensor([[10.0, 4.0]]))
    assert means.compute(world) == {"a": 4.0, "b": 1.0}


def test_a_world_of_one(world: World) -> None:
    values = torch.tensor([1.0, math.nan])
    total = world.all_reduce_sum(values)
    assert total.dtype == torch.float64
    assert total[0] == 1
    assert total[1].isnan()
    assert world.any_rank(True)
    assert not world.any_rank(False)
    assert world.broadcast({"a": 1}) == {"a": 1}
    module = nn.Linear(3, 2)
    assert world.wrap(module) is module
    world.barrier()


def test_nothing_of_a_network_outlives_the_process_group() -> None:
    """Its reducer owned the group, and destroyed it where that could wait for ever."""
    code = """
from dataclasses import replace
import torch
from sgm_vfi.engine.distributed import process_group
with process_group(torch.device("cpu")) as world:
    network = replace(world, size=2).wrap(torch.nn.Linear(3, 1))
    network(torch.ones(2, 3)).sum().backward()
    assert network.reducer is not None
assert network.reducer is None
assert network.module.weight.grad is not None
"""
    finish(python("-c", code, cwd=ROOT))


def test_processes_meet_where_nobody_was_before() -> None:
    """Three attempts over one store; in the later ones, others come before the main process."""
    server = TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)

    def come(rank: int) -> Rendezvous:
        mine = TCPStore("127.0.0.1", server.port, is_master=False)
        joined = join_rendezvous(mine, rank, 3)
        assert not joined.store.check([f"address/{rank}"])  # nothing of earlier attempts
        joined.store.set(f"address/{rank}", "here")
        return joined

    places: set[str] = set()
    with ThreadPoolExecutor(3) as pool:
        for attempt, order in enumerate(((0, 1, 2), (1, 2, 0), (2, 0, 1)), start=1):
            arrivals = []
            for rank in order:
                arrivals.append(pool.submit(come, rank))
                time.sleep(0.1)
            meetings = [arrival.result(timeout=30) for arrival in arrivals]
            assert {joined.attempt for joined in meetings} == {attempt}
            places |= {joined.prefix for joined in meetings}
            assert len(places) == attempt
            assert all(meetings[0].store.check([f"address/{rank}"]) for rank in range(3))


def test_nobody_waits_for_ever_for_the_main_process() -> None:
    store = TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
    with pytest.raises(TimeoutError, match="Process 1"):
        join_rendezvous(store, 1, 2, timeout=timedelta(milliseconds=50))


def test_interrupt_notes_a_signal_and_gives_way_afterwards() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with StopRequest() as stop_request:
        assert not stop_request.is_requested
        os.kill(os.getpid(), signal.SIGTERM)
        assert stop_request.is_requested
        assert stop_request.exit_code == 128 + signal.SIGTERM
    assert signal.getsignal(signal.SIGTERM) is before


def test_a_second_ctrl_c_does_not_wait() -> None:
    with StopRequest() as stop_request:
        os.kill(os.getpid(), signal.SIGINT)
        assert stop_request.is_requested
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
