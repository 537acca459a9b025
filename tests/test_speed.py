"""What an interpolator costs is counted and measured right."""

import dataclasses
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from sgm_vfi.benchmark.__main__ import main
from sgm_vfi.benchmark.compare_speed_with_earlier_run import format_comparison
from sgm_vfi.benchmark.frame_cost import (
    OUT_OF_MEMORY,
    FrameCost,
    SpeedConfig,
    measure_frame,
    measure_in_subprocess,
)
from sgm_vfi.benchmark.profiler import (
    REST,
    MachineLimits,
    Operation,
    OperationCount,
    count_operations,
    count_stage_operations,
    measure_bandwidth,
    measure_convolution_throughput,
    measure_stage_seconds,
)
from sgm_vfi.benchmark.speed import as_row, format_costs
from sgm_vfi.media import images
from sgm_vfi.model import cli_options, time_like
from sgm_vfi.model.sgm.network import SGM
from sgm_vfi.model.weight_io import save_weights
from tests.fixtures.processes import start_quickly
from tests.fixtures.training_runs import quick_probes

CPU = torch.device("cpu")


def test_arithmetic_is_counted_as_by_hand() -> None:
    """Two per multiply-add, in a product, in a convolution and in both products of attention."""
    a = torch.rand(300, 200)
    assert count_operations(lambda: a @ a.T).gflop == pytest.approx(2 * 300 * 300 * 200 / 1e9)
    tokens = torch.rand(1, 1, 640, 32)
    with torch.inference_mode():
        attention = count_operations(lambda: F.scaled_dot_product_attention(tokens, tokens, tokens))
        layer = nn.Conv2d(3, 5, kernel_size=3, padding=1)
        convolution = count_operations(lambda: layer(torch.rand(1, 3, 20, 30)))
    assert attention.gflop == pytest.approx(4 * 640 * 640 * 32 / 1e9)
    assert convolution.gflop == pytest.approx(2 * 9 * 3 * 5 * 20 * 30 / 1e9)
    read, weights, written = 3 * 20 * 30, 5 * (3 * 9 + 1), 5 * 20 * 30
    assert convolution.operations[0].bytes == 4 * (read + weights + written)


@pytest.mark.parametrize("groups", [1, 4])
@pytest.mark.parametrize("kind", [nn.Conv2d, nn.ConvTranspose2d])
@pytest.mark.parametrize("learns", [True, False])
def test_gradients_of_convolutions_cost_what_convolutions_do(
    kind: type[nn.Module], groups: int, learns: bool
) -> None:
    layer = kind(8, 12, kernel_size=3, stride=2, groups=groups).requires_grad_(learns)
    x = torch.rand(2, 8, 9, 11, requires_grad=True)
    once = count_operations(lambda: layer(x)).gflop
    pixels = 9 * 11 if kind is nn.ConvTranspose2d else 4 * 5
    assert once == pytest.approx(2 * 2 * pixels * layer.weight.numel() / 1e9)
    step = count_operations(lambda: layer(x).sum().backward())
    assert step.gflop == pytest.approx((3 if learns else 2) * once)


def test_floor_is_the_larger_of_arithmetic_and_traffic_in_each_operation() -> None:
    busy, idle = Operation(8 * 10**9, 10**9, "a"), Operation(10**9, 6 * 10**9, "b")
    work = OperationCount((busy, idle), {"a": 5, "b": 7})
    assert work.floor(gflop_s=4, gbyte_s=3) == pytest.approx(8 / 4 + 6 / 3)
    assert work.select("b") == OperationCount((idle,), {"b": 7})
    assert work.peak == 7


def test_tensors_count_while_they_are_held() -> None:
    """Three of 4 kB one after the other, of which two are alive at a time."""

    def call() -> None:
        a = torch.zeros(1000)
        b = a + 1
        del a
        assert (b * 2).sum() == 2000

    assert 8000 <= count_operations(call).peak < 12000


def test_throughput_and_bandwidth_are_positive() -> None:
    assert 0 < measure_convolution_throughput(CPU) < 1e6
    assert 0 < measure_bandwidth(CPU) < 1e5


def test_stages_share_out_all_of_the_work(
    tiny: SGM, pair: tuple[torch.Tensor, torch.Tensor]
) -> None:
    time = time_like(pair[0], 0.5)

    def once() -> torch.Tensor:
        return tiny(*pair, time).frame

    with torch.inference_mode():
        plain = once()
        whole, split = count_operations(once), count_stage_operations(tiny, once)
        seconds = measure_stage_seconds(tiny, once, CPU)
        assert torch.equal(once(), plain)
    assert split.gflop == pytest.approx(whole.gflop)
    stages = {operation.stage for operation in split.operations}
    assert {"gmflow.transformer", "encoder.relate", "synthesis.unet", REST} <= stages
    assert sum(split.select(name).gflop for name in stages) == pytest.approx(whole.gflop)
    assert stages <= seconds.keys()
    assert all(value >= 0 for value in seconds.values())


def test_memory_is_that_of_a_process_since_the_reset() -> None:
    """In a process of its own: in this one, memory that earlier tests freed may be kept."""
    code = """
import torch
from sgm_vfi.benchmark.profiler import peak_memory, reset_peak_memory
here = torch.device("cpu")
torch.ones(2**26)  # 256 MiB, freed at once
most, before = peak_memory(here), reset_peak_memory(here)
torch.ones(2**25)
print(most - before, peak_memory(here) - before)
"""
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    freed, grown = map(int, shown.stdout.split())
    assert freed > 2**27
    assert abs(grown - 2**27) < 2**24


def test_a_job_is_measured_in_a_process_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its peak of memory is not this process's, and what it found comes back whole."""
    start_quickly(monkeypatch)
    cost = measure_in_subprocess(SpeedConfig("blend", 64, 32, 1.0, "cpu", 2))
    assert isinstance(cost, FrameCost)
    assert len(cost.seconds) == 2
    assert cost.weights == "none"


def test_out_of_memory_is_a_result(monkeypatch: pytest.MonkeyPatch) -> None:
    """A frame of 1.2 TB."""
    start_quickly(monkeypatch)
    assert (
        measure_in_subprocess(SpeedConfig("blend", 400_000, 250_000, 1.0, "cpu", 1))
        == OUT_OF_MEMORY
    )


def test_what_a_network_refuses_is_a_row_that_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    start_quickly(monkeypatch)
    job = SpeedConfig("blend", 32, 32, 1.0, "cpu", 1, precision="bf16")
    problem = measure_in_subprocess(job)
    assert problem == "Blend has no compute modules for bf16; it runs in fp32."
    limits = MachineLimits(1.0, 1.0)
    assert problem in format_costs([as_row(job, problem, limits)], limits).splitlines()[2]


def test_table_has_a_row_for_each_model_and_size_and_is_compared_with(
    tmp_path: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Measured here: that each job has a process of its own is tested by itself."""
    quick_probes(monkeypatch)
    monkeypatch.setattr("sgm_vfi.benchmark.speed.measure_in_subprocess", measure_frame)
    kept = str(tmp_path / "kept.json")
    both = ["--model", "blend", "repeat", "--size", "64x32", "33x17"]
    main(["speed", *both, "--runs", "1", "--output", kept])
    lines = capsys.readouterr().out.splitlines()
    rows = [line.split("|")[1:3] for line in lines if line.startswith(("| blend", "| repeat"))]
    assert [(model.strip(), text.strip()) for model, text in rows] == [
        ("blend", "64x32"),
        ("blend", "33x17"),
        ("repeat", "64x32"),
        ("repeat", "33x17"),
    ]
    assert len(json.loads(Path(kept).read_text())["rows"]) == 4
    main(["speed", "--model", "blend", "--size", "64x32", "8x8", "--runs", "1", "--against", kept])
    out = capsys.readouterr().out
    assert "| blend | blend | 64x32 |" in out
    assert "| blend | not in both | 8x8 |" in out
    report = json.loads(Path(kept).read_text())
    report["machine"]["threads"] += 1
    Path(kept).write_text(json.dumps(report))
    with pytest.raises(SystemExit):
        main(["speed", "--model", "blend", "--against", kept])
    said = capsys.readouterr().err
    assert "kept.json was measured on cpu" in said
    assert "Their times cannot be compared" in said


def test_weights_are_loaded_and_a_function_is_timed_beside_them(
    tiny: SGM, tmp_path: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    quick_probes(monkeypatch)
    monkeypatch.setattr("sgm_vfi.benchmark.speed.measure_in_subprocess", measure_frame)
    weights, published = tmp_path / "mine.safetensors", tmp_path / "published.py"
    save_weights(tiny, weights, {"config": dataclasses.asdict(tiny.config)})
    published.write_text("def mean(a, b, time): return a + (b - a) * time\ndef wrong(a): pass\n")
    size = ["--size", "32x32", "--runs", "1"]
    main(["speed", "--model", str(weights), *size, "--beside", f"{published}:mean"])
    out = capsys.readouterr().out
    assert f"| {weights} | 32x32 | 1 | mine.safetensors |" in out
    row = next(line for line in out.splitlines() if line.endswith("published.py:mean |"))
    own, other, ratio = (float(cell) for cell in row.split("|")[3:6])
    assert ratio == pytest.approx(other / own, abs=0.01, rel=0.02)
    for wrong, reason in (
        (["--beside", "mean"], "expected file.py:function"),
        (["--model", "none.safetensors"], "there is no file of weights none.safetensors"),
    ):
        with pytest.raises(SystemExit):
            main(["speed", *size, *wrong])
        assert reason in capsys.readouterr().err
    with pytest.raises(ValueError, match=r"wrong raised TypeError.*function\(frame0, frame1, time"):
        measure_frame(SpeedConfig("blend", 8, 8, 1.0, "cpu", 1, beside=f"{published}:wrong"))


def test_comparison_is_in_times() -> None:
    job = {"model": "m", "width": 8, "height": 8, "flow_scale": 1.0, "precision": "bf16"}
    row = job | {"compiled": False, "seconds": [1.0, 2.0, 9.0], "gib": 1.0}
    old = row | {"precision": "fp32", "seconds": [3.0], "gib": 4.0}
    now, then = ({"rows": [one], "limits": {"gflop_s": g}} for one, g in ((row, 3), (old, 2)))
    table, machine = "\n".join(format_comparison(now, then)).split("\n\n")
    assert table.splitlines()[-1] == "| m, bf16 | m | 8x8 | 3 | 2 | 1.50 | 0.25 |"
    assert "1.50 times as fast" in machine


@pytest.mark.parametrize("content", ["", "[]", '{"rows": [{"model": "m"}]}'])
def test_figures_of_something_else_are_refused(
    tmp_path: Path, content: str, capsys: pytest.CaptureFixture
) -> None:
    file = tmp_path / "other.json"
    file.write_text(content)
    with pytest.raises(SystemExit):
        main(["speed", "--model", "blend", "--against", str(file)])
    assert "other.json" in capsys.readouterr().err


@pytest.mark.parametrize("parse_size", [cli_options.parse_size, images.parse_size])
def test_sizes_are_width_by_height_in_every_command(parse_size: Any) -> None:
    assert parse_size("1280x720") == (720, 1280)
    for wrong in ("720", "0x5", "axb", "1x2x3", "-1x3", "720*1280"):
        with pytest.raises(ValueError, match="WIDTHxHEIGHT"):
            parse_size(wrong)


def test_splat_has_a_row_for_each_call_of_a_network(capsys: pytest.CaptureFixture) -> None:
    main(["splat", "--size", "64x32", "7x5", "--runs", "1", "--device", "cpu"])
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "| splat | shape | floor | plain |"
    rows = [[cell.strip() for cell in line.split("|")] for line in lines[2:10]]
    assert [row[2] for row in rows[::4]] == ["2x4x32x64", "2x4x5x7"]
    assert all(0 < float(row[3]) < float(row[4]) for row in rows)
