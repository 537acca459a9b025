"""Missing numbers in a sequence of images: which are missing, and the time that they take."""

from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import pytest
import torch

from sgm_vfi.media.images import read_frame, write_frame
from sgm_vfi.media.missing_frame_numbers import describe_missing, find_positions
from tests.fixtures.demo import receipt, run
from tests.fixtures.videos import read_timestamps

pytestmark = pytest.mark.usefixtures("workdir")


def named(*names: object, pattern: str = "shot_{:04d}.png") -> list[Path]:
    return [Path(pattern.format(name)) for name in names]


@pytest.mark.parametrize(
    ("paths", "positions"),
    [
        (named(1, 2, 3, 8, 9, 10), [0, 1, 2, 7, 8, 9]),
        (named(8, 9, 10, 12, pattern="{}_v2.png"), [0, 1, 2, 4]),
        (named(10, 20, 40, 50), [0, 1, 3, 4]),
        (named(0, 33, 67, 100), [0, 1, 2, 3]),  # milliseconds
        (named(1, 2, 900), [0, 1, 2]),  # chosen photographs
        (named("a", "b", "d", pattern="{}.png"), [0, 1, 2]),
        ([Path("a1_b1.png"), Path("a2_b2.png"), Path("a3_b9.png")], [0, 1, 2]),
    ],
)
def test_positions(paths: list[Path], positions: list[int]) -> None:
    assert find_positions(paths) == positions


def render(*numbers: int) -> None:
    """Frames that become brighter by a tenth from one number to the next."""
    Path("gaps").mkdir()
    for number in numbers:
        write_frame(f"gaps/{number:04d}.png", torch.full((3, 16, 16), number / 10), 16)


def test_a_folder_gets_the_missing_frames(capsys: pytest.CaptureFixture[str]) -> None:
    """Output frames are evenly spaced in time, as if no number were missing."""
    render(1, 2, 3, 8, 9, 10)
    run("gaps", "--model", "blend", "--output", "out")
    assert "4 numbers are missing (4 from 0003.png to 0008.png)" in capsys.readouterr().out
    levels = [read_frame(path).mean().item() for path in sorted(Path("out").glob("*.png"))]
    assert len(levels) == 19
    assert all(abs(after - before - 0.05) < 1e-3 for before, after in pairwise(levels))
    run("gaps", "--model", "blend", "--output", "near", "--no-fill_missing", "--multi", 3)
    assert len(list(Path("near").glob("*.png"))) == 16
    assert "missing" not in capsys.readouterr().out


def test_a_video_shows_them_for_their_time() -> None:
    render(1, 2, 5, 6)
    run("gaps", "--model", "blend", "--rate", 10, "--output", "out.mkv", "--lossless")
    assert read_timestamps(Path("out.mkv")) == [Fraction(k, 20) for k in range(12)]
    assert any("2 from 0002.png to 0005.png" in note for note in receipt("out.mkv")["notes"])
    run("gaps", "--model", "blend", "--rate", 10, "--output", "slow.mkv", "--slow", 2)
    assert read_timestamps(Path("slow.mkv")) == [Fraction(k, 10) for k in range(12)]
    run("gaps", "--model", "blend", "--rate", 10, "--output", "near.mkv", "--no-fill_missing")
    assert len(read_timestamps(Path("near.mkv"))) == 8


def test_nothing_is_said_where_nothing_is_missing() -> None:
    assert not describe_missing(named(1, 2), [0, 1])
