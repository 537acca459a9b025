"""Result rows for other programs: CSV and JSON lines with numbers, one row per sample and model."""

import csv
import json
import math
from pathlib import Path

import pytest

from sgm_vfi.benchmark.__main__ import main
from sgm_vfi.benchmark.result_summary import read_results
from sgm_vfi.benchmark.row_journal import ReportError, to_json


@pytest.fixture
def results(tmp_path: Path) -> Path:
    """Rows of two protocols, one of them with a gap, a missing value and an infinite one."""
    first = [
        {"model": "a", "protocol": "one", "sample": "x, y", "psnr": math.inf, "ssim": 1.0},
        {"model": "b", "protocol": "one", "sample": "x, y", "psnr": 20.5, "ssim": 0.5},
    ]
    second = [{"model": "a", "protocol": "two", "clip": "c", "gap": 2, "psnr": 30.0, "lpips": None}]
    for name, rows in (("one", first), ("two", second)):
        lines = [{"protocol": name, "metrics": ["psnr", "ssim", "lpips"]}, *rows]
        text = "".join(f"{to_json(line)}\n" for line in lines)
        (tmp_path / f"{name}.jsonl").write_text(text)
    return tmp_path


def test_a_report_as_csv_and_json_lines(results: Path, tmp_path: Path) -> None:
    outputs = [tmp_path / "new" / f"x{suffix}" for suffix in (".csv", ".jsonl", ".json", ".html")]
    main(["report", str(results), "--output", *map(str, outputs)])
    with outputs[0].open() as file:
        rows = list(csv.DictReader(file))
    assert [row["protocol"] for row in rows] == ["one", "one", "two"]
    assert rows[0]["sample"] == "x, y"
    assert [float(row["psnr"]) for row in rows] == [math.inf, 20.5, 30.0]
    assert (rows[2]["ssim"], rows[2]["gap"], rows[0]["gap"]) == ("", "2", "")
    lines = [json.loads(line) for line in outputs[1].read_text().splitlines()]
    assert [line["psnr"] for line in lines] == [math.inf, 20.5, 30.0]  # numbers, no text
    assert len({tuple(line) for line in lines}) == 1  # the same columns in each
    assert "Infinity" not in outputs[1].read_text()
    assert [(one.name, len(one.rows)) for one in read_results([outputs[2]])] == [
        ("one", 2),
        ("two", 1),
    ]
    assert outputs[3].read_text().startswith("<!")


def test_pandas_reads_both_without_options(results: Path, tmp_path: Path) -> None:
    pandas = pytest.importorskip("pandas")
    outputs = [tmp_path / "new" / "x.csv", tmp_path / "new" / "x.jsonl"]
    main(["report", str(results), "--output", *map(str, outputs)])
    for table in (pandas.read_csv(outputs[0]), pandas.read_json(outputs[1], lines=True)):
        assert table.psnr.tolist() == [math.inf, 20.5, 30.0]
        assert table.groupby("protocol").psnr.max()["two"] == 30


def test_a_report_of_another_format_is_refused(
    results: Path, capsys: pytest.CaptureFixture
) -> None:
    with pytest.raises(SystemExit):
        main(["report", str(results), "--output", str(results / "x.md")])
    assert "written as .html, .csv, .jsonl, .json" in capsys.readouterr().err


def test_speed_is_compared_by_its_own_command(tmp_path: Path) -> None:
    row = {"model": "blend", "width": 8, "height": 8, "seconds": [0.1], "gflop": 0.0}
    path = tmp_path / "speed.json"
    path.write_text(json.dumps({"rows": [row]}))
    with pytest.raises(ReportError, match=r"sgm-vfi benchmark speed --against .*speed\.json"):
        read_results([path])
