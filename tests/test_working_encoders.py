"""The list of encoders: only those that encode a frame here."""

import pytest

from sgm_vfi.video.working_encoders import can_encode
from tests.fixtures.demo import run


def test_working_encoders_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    run("--codec", "list")
    software, hardware = capsys.readouterr().out.splitlines()
    assert software.startswith("software  ")
    assert {"libx264", "ffv1"} <= set(software.removeprefix("software  ").split(", "))
    assert hardware.startswith("hardware  ")


def test_missing_encoders_do_not_work() -> None:
    assert not can_encode("nonsense")
