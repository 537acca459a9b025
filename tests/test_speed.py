"""What an interpolator costs is counted and measured right."""

import pytest
import torch
import torch.nn.functional as F

from benchmark.__main__ import main
from benchmark.speed import Job, convolution_throughput, count_gflop, measure_apart, size


def test_arithmetic_is_counted_as_by_hand() -> None:
    """Two per multiply-add, in a product and in both products of fused attention."""
    a = torch.rand(300, 200)
    assert count_gflop(lambda: a @ a.T) == pytest.approx(2 * 300 * 300 * 200 / 1e9)
    tokens = torch.rand(1, 1, 640, 32)
    attention = count_gflop(lambda: F.scaled_dot_product_attention(tokens, tokens, tokens))
    assert attention == pytest.approx(4 * 640 * 640 * 32 / 1e9)


def test_throughput_is_positive() -> None:
    assert 0 < convolution_throughput(torch.device("cpu")) < 1e6


def test_out_of_memory_is_a_result() -> None:
    """A frame of 1.2 TB."""
    assert measure_apart(Job("blend", 400_000, 250_000, 1.0, "cpu", 1)) is None


def test_table_has_a_row_for_each_model_and_size(capsys: pytest.CaptureFixture) -> None:
    main(["speed", "--model", "blend", "repeat", "--size", "64x32", "33x17", "--runs", "1"])
    lines = capsys.readouterr().out.splitlines()
    rows = [line.split("|")[1:3] for line in lines if line.startswith(("| blend", "| repeat"))]
    assert [(model.strip(), text.strip()) for model, text in rows] == [
        ("blend", "64x32"),
        ("blend", "33x17"),
        ("repeat", "64x32"),
        ("repeat", "33x17"),
    ]


def test_sizes_are_width_by_height() -> None:
    assert size("1280x720") == (1280, 720)
    for wrong in ("720", "0x5", "axb", "1x2x3"):
        with pytest.raises(ValueError, match="WIDTHxHEIGHT"):
            size(wrong)
