"""A figure of the same crop of all models."""

from pathlib import Path

import pytest
import torch

from sgm_vfi.benchmark.__main__ import main
from sgm_vfi.benchmark.crop_figure import CELL_WIDTH, parse_crop
from sgm_vfi.media.images import read_frame, write_frame
from sgm_vfi.media.visualise import GAP, fit_to_box
from tests.fixtures.videos import moving_frames

COMMON = ("figure", "--path", "0.png", "2.png")


@pytest.fixture
def frames(workdir: Path) -> list[torch.Tensor]:
    frames = moving_frames(3, 90, 120, step=4)
    for number, frame in enumerate(frames):
        write_frame(f"{number}.png", frame[0])
    return frames


def test_the_figure_has_the_crop_of_every_model(
    frames: list[torch.Tensor], capsys: pytest.CaptureFixture
) -> None:
    options = ("--model", "blend", "dis", "--crop", "10,20,30,30", "--device", "cpu")
    assert main([*COMMON, *options, "--output", "new/without.png"]) == 0
    assert main([*COMMON, "1.png", *options, "--output", "with.png"]) == 0
    assert "crop 10,20,30,30" in capsys.readouterr().out
    without, with_truth = read_frame("new/without.png"), read_frame("with.png")
    assert abs(with_truth.shape[-1] - 4 / 3 * without.shape[-1]) < 20  # one column more
    cell = (4 * CELL_WIDTH - 3 * GAP) // 4
    crop = read_frame("1.png")[:, 20:50, 10:40]
    truth = fit_to_box(crop, cell, cell)  # in the second column
    column = with_truth[:, :, cell + GAP : 2 * cell + GAP]
    places = range(column.shape[1] - cell + 1)
    assert any((column[:, y : y + cell] - truth).abs().max() < 0.01 for y in places)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--crop", "100,0,30,30"), "leaves the frame, which is 120x90"),
        (("--crop", "1,2,3"), "expected X,Y,W,H in pixels"),
        (("--output", "x.pdf"), ".pdf"),
    ],
)
def test_what_cannot_be_drawn_is_said(
    frames: list[torch.Tensor],
    arguments: tuple[str, ...],
    message: str,
    capsys: pytest.CaptureFixture,
) -> None:
    with pytest.raises(SystemExit):
        main([*COMMON, "--model", "blend", *arguments])
    assert message in capsys.readouterr().err


def test_frames_of_two_sizes_are_refused(
    frames: list[torch.Tensor], capsys: pytest.CaptureFixture
) -> None:
    write_frame("2.png", torch.rand(3, 20, 30))
    with pytest.raises(SystemExit):
        main([*COMMON, "--model", "blend"])
    assert "0.png is 120x90, 2.png is 30x20" in capsys.readouterr().err


def test_a_crop_is_left_top_width_height() -> None:
    assert parse_crop("1,2,30,40") == (2, 42, 1, 31)
