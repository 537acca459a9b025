"""The list of encoders: only those that encode a frame here."""

import pytest

from sgm_vfi.video.hardware_quality import find_hardware_quality
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


@pytest.mark.parametrize(
    ("encoder", "crf", "options"),
    [
        ("h264_nvenc", 18, {"rc": "vbr", "cq": "18", "b": "0"}),
        ("hevc_qsv", None, {"global_quality": "20"}),
        ("av1_vaapi", 30, {"rc_mode": "CQP", "qp": "30"}),
        ("h264_amf", 0, {"rc": "cqp", "qp_i": "0", "qp_p": "0"}),
        ("h264_videotoolbox", None, {}),
        ("prores_ks", None, {}),
    ],
)
def test_hardware_encoders_name_quality_differently(
    encoder: str, crf: int | None, options: dict[str, str]
) -> None:
    assert find_hardware_quality(encoder, crf) == options
    if options:
        with pytest.raises(ValueError, match=f"{encoder} takes a --crf from 0 to 51, got 52"):
            find_hardware_quality(encoder, 52)
