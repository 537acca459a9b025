"""The list of encoders: only those that encode a frame here."""

import re

import pytest

from sgm_vfi.video.hardware_quality import find_hardware_quality
from sgm_vfi.video.working_encoders import find_reason
from tests.fixtures.demo import run


def test_encoders_are_tried_and_listed(capsys: pytest.CaptureFixture[str]) -> None:
    """Each with a reason, if it does not work."""
    run("--codec", "list")
    head, *lines = capsys.readouterr().out.splitlines()
    assert head.split() == ["encoder", "works", "here"]
    end = lines.index("not in this build of PyAV, so not tried:")
    tried = dict(line.split(maxsplit=1) for line in lines[:end])
    assert tried["libx264"] == tried["ffv1"] == "yes"
    assert all(re.fullmatch("yes|no: .*[a-z].*", says) for says in tried.values())
    named = {*tried, *" ".join(lines[end + 1 :]).replace(",", "").split()}
    assert {"h264_nvenc", "hevc_qsv", "av1_vaapi", "h264_videotoolbox"} <= named


def test_a_missing_encoder_has_a_reason() -> None:
    assert find_reason("nonsense") == "not in this build of PyAV"


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
