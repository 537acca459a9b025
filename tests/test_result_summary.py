"""Results read from files, their means and tables."""

import json
import math
from pathlib import Path

import pytest

from sgm_vfi.benchmark.result_summary import (
    average_by_model,
    format_results,
    read_results,
    summarise,
)
from sgm_vfi.benchmark.row_journal import ReportError
from sgm_vfi.benchmark.tables import find_best_cells
from tests.fixtures.result_rows import result_of, row, save


# results read back
def test_json_lines_and_their_cut_off_end(tmp_path: Path) -> None:
    path = save(tmp_path / "x.jsonl", [row("m", "a", math.inf), row("m", "b", 20.0)], pad_to=32)
    with path.open("a") as file:
        file.write('{"model": "m", "psn')
    [result] = read_results([path])
    assert (result.name, result.metrics, result.keys) == ("xtest", ["psnr"], ["protocol", "sample"])
    assert result.about["pad_to"] == 32
    assert [result.sample_label(one) for one in result.rows] == ["a", "b"]
    assert average_by_model(result)[0]["psnr"] == 60.0  # equal frames count as 100 dB


def test_columns_of_any_name(tmp_path: Path) -> None:
    """What is no metric tells samples apart; a file may name metrics that nobody else knows."""
    rows = [
        {"model": "m", "clip": "a.mp4", "gap": 2, "frame": 7, "psnr": 1.0, "vmaf": 3.0, "motion": 5}
    ]
    path = tmp_path / "x.json"
    path.write_text(json.dumps({"protocol": "own", "metrics": ["psnr", "vmaf"], "rows": rows}))
    [result] = read_results([path])
    assert (result.metrics, result.keys) == (["psnr", "vmaf"], ["clip", "gap", "frame"])
    assert result.sample_label(rows[0]) == "a.mp4, gap 2, frame 7"


def test_files_of_one_protocol_come_together(tmp_path: Path) -> None:
    """A folder is all its files; one name in two files is two models."""
    (tmp_path / "deep").mkdir()
    save(tmp_path / "a.jsonl", [row("m", "a", 1.0), row("n", "a", 2.0)])
    save(tmp_path / "deep" / "b.jsonl", [row("m", "a", 3.0)])
    save(tmp_path / "c.jsonl", [row("m", "a", 4.0) | {"protocol": "davis"}])
    xtest, davis = read_results([tmp_path])
    assert (xtest.name, davis.name) == ("xtest", "davis")
    assert davis.models == ["m"]
    first, second, third = xtest.models
    assert first.startswith("m (")
    assert "a.jsonl" in first
    assert second == "n"
    assert "b.jsonl" in third
    assert [one["psnr"] for one in average_by_model(xtest)] == [1.0, 2.0, 3.0]


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("x.txt", "", r"\.json or \.jsonl files, got .*x\.txt"),
        ("x.json", "{", "is no file of results"),
        ("x.json", "[1]", "no file of results|There are no rows"),
        ("x.json", '{"rows": [1]}', "rows without a model"),
        ("x.jsonl", '{"a": 1}\n', "There are no rows"),
        ("x.jsonl", '{"model": "m", "sample": "a"}\n', "hold no metric: model, sample"),
    ],
)
def test_other_files_are_refused(tmp_path: Path, name: str, text: str, message: str) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(ReportError, match=message):
        read_results([tmp_path / name])


def test_missing_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"no file of results at .*x\.json"):
        read_results([tmp_path / "x.json"])
    with pytest.raises(ReportError, match="holds no results"):
        read_results([tmp_path])


# tables
def test_published_values_stand_beside_ours() -> None:
    rows = [row("m", "a", 30.0, lpips=0.02), row("m", "b", 31.0, lpips=0.04)]
    published = {"m": {"psnr": 30.75}, "other": {"psnr": 40.0}}
    head, [line] = summarise(result_of(rows, published=published))
    assert head == ["model", "samples", "psnr dB ↑", "published", "difference", "lpips ↓"]
    assert line == ["m", "2", "30.50", "30.75", "-0.25", "0.0300"]
    assert "| m | 2 | 30.50 | 30.75 | -0.25 | 0.0300 |" in format_results(
        [result_of(rows, published=published)]
    )


def test_the_means_of_the_file_itself_are_shown() -> None:
    """Footage counts clips equally; the plain mean over its rows would be another number."""
    rows = [row("m", "a", 1.0, gap=1)]
    means = [
        {"model": "m", "clip": "a", "gap": 1, "triplets": 1, "psnr": 5.0},
        {"model": "m", "clip": None, "gap": 1, "triplets": 9, "psnr": 7.0},
    ]
    head, lines = summarise(result_of(rows, means=means))
    assert head == ["model", "gap", "samples", "psnr dB ↑"]
    assert lines == [["m", "1", "9", "7.00"]]


def test_the_best_of_each_group() -> None:
    head = ["model", "gap", "samples", "psnr dB ↑", "lpips ↓"]
    lines = [
        ["m", "1", "9", "30.00", "0.1"],
        ["n", "1", "9", "31.00", "0.2"],
        ["m", "2", "9", "20.00", ""],
        ["n", "2", "9", "20.00", "0.1"],
        ["m", "3", "9", "10.00", "0.9"],
    ]
    assert find_best_cells(head, lines) == {(1, 3), (0, 4), (2, 3), (3, 3)}


def test_a_row_that_stands_twice_counts_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = save(
        tmp_path / "x.jsonl", [row("m", "a", 10.0), row("m", "b", 20.0), row("m", "a", 30.0)]
    )
    [result] = read_results([path])
    assert average_by_model(result)[0]["psnr"] == 25.0
    assert average_by_model(result)[0]["samples"] == 2
    assert "holds 1 rows twice; the last of each counts" in caplog.text
