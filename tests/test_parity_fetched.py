"""Networks with fetched weights give the golden numbers; skipped where no weights are."""

import json
from pathlib import Path

import pytest
import torch

from sgm_vfi.model import weight_search as weight_files
from tests.parity import check_fetched
from tests.parity.__main__ import main

GOLDEN = Path(__file__).parent / "golden_real"
CASES = json.loads((GOLDEN / "cases.json").read_text())


@pytest.mark.parametrize("name", CASES)
def test_golden_numbers(name: str) -> None:
    if reason := check_fetched.missing_weights(CASES[name]):
        pytest.skip(reason)
    findings = list(check_fetched.findings(name, CASES[name], GOLDEN, torch.device("cpu")))
    assert {finding.quantity for finding in findings} == set(CASES[name]["arrays"])
    assert [finding for finding in findings if not finding.ok] == []


def test_without_weights_the_command_to_fetch_them_is_printed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(weight_files, "ROOT", tmp_path)
    monkeypatch.setenv("SGM_VFI_WEIGHTS", str(tmp_path))
    assert main([str(GOLDEN)]) == 0
    printed = capsys.readouterr().out
    for network in ("rife_v4.6", "gmflow_refine", "stlpips"):
        assert f"sgm-vfi weights fetch {network}" in printed
    assert printed.splitlines()[-1] == "0 cases checked, 0 out, 5 not covered"
