"""Committed golden numbers of the other networks."""

from pathlib import Path

import numpy as np
import pytest
import torch

from tests.parity.zoo import ARCHIVES

GOLDEN = Path(__file__).parent / "golden_zoo"
NAMES = sorted(path.stem for path in GOLDEN.glob("*.npz"))


@pytest.mark.parametrize("name", NAMES)
def test_golden_numbers(name: str) -> None:
    findings = list(ARCHIVES[name](np.load(GOLDEN / f"{name}.npz"), torch.device("cpu")))
    assert findings
    assert [finding for finding in findings if not finding.ok] == []
