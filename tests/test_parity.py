"""Committed golden numbers of SGM-VFI, and the command that compares them."""

import json
import shutil
from pathlib import Path

import pytest
import torch

from tests.parity.__main__ import checks, main
from tests.parity.finding import Finding

GOLDEN = Path(__file__).parent / "golden"
CASES, _ = checks(GOLDEN, torch.device("cpu"))


@pytest.mark.parametrize("case", CASES)
def test_golden_numbers(case: str) -> None:
    findings = list(CASES[case]())
    assert findings
    assert [finding for finding in findings if not finding.ok] == []


def folder_of(tmp_path: Path, change: float) -> Path:
    """A folder with one case, whose tolerances are multiplied."""
    cases = json.loads((GOLDEN / "cases.json").read_text())
    case = cases["unit_position"]
    for array in case["arrays"].values():
        array["atol"] *= change
    foreign = {"call": "forward", "variant": "rife_base", "file": "rife.npz", "arrays": {}}
    quirky = case | {"quirk": "the published code is wrong here"}
    (tmp_path / "cases.json").write_text(
        json.dumps({"unit_position": case, "rife": foreign, "quirky": quirky})
    )
    shutil.copy(GOLDEN / case["file"], tmp_path)
    return tmp_path


def test_runner_reports_and_counts(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    assert main([str(folder_of(tmp_path, 1))]) == 0
    printed = capsys.readouterr().out.splitlines()
    assert printed[-1] == "1 cases checked, 0 out, 2 not covered"
    assert any("not reproduced on purpose: the published code is wrong here" in s for s in printed)
    assert any(line.split()[:2] == ["-", "rife"] for line in printed)


def test_runner_fails_when_a_number_is_out(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    assert main([str(folder_of(tmp_path, 1e-6))]) == 1
    assert "1 cases checked, 1 out, 2 not covered" in capsys.readouterr().out


def test_not_a_number_is_out() -> None:
    assert not Finding("case", "quantity", float("nan"), 1.0).ok
