"""Two networks beside each other, on one video."""

from pathlib import Path

import numpy as np
import pytest

from sgm_vfi.model import load_interpolator
from sgm_vfi.video import Target, VideoOptions, interpolate_file
from tests.fixtures.demo import receipt, run
from tests.fixtures.videos import decode_pictures, decode_samples, moving_frames, write_clip

pytestmark = pytest.mark.usefixtures("workdir")


def split_luma(path: str, number: int) -> list[np.ndarray]:
    """The left and the right half of a frame, below the labels."""
    shown = decode_pictures(Path(path))[number].to_ndarray(format="gray").astype(int)
    return np.split(shown[24:], 2, axis=1)


def test_each_half_is_of_one_network(capsys: pytest.CaptureFixture[str]) -> None:
    """The result is that of the first network alone; the second changes the comparison only."""
    source = write_clip(Path("in.mkv"), moving_frames(3, 64, 96, step=16), codec="ffv1")
    run(source, "--model", "blend", "--lossless", "--no-cuts", "--output", "alone.mkv")
    run(source, "--model", "repeat", "--lossless", "--no-cuts", "--output", "other.mkv")
    options = ("--lossless", "--no-cuts", "--compare_model", "repeat", "--output", "out.mkv")
    run(source, "--model", "blend", *options)
    assert decode_samples(Path("out.mkv")) == decode_samples(Path("alone.mkv"))
    said = capsys.readouterr().out
    assert "out_compare.mkv, beside the frames of repeat" in said
    assert "beside  repeat (needs no weights)" in said
    assert "its weights" in receipt("out.mkv")["settings"]
    left, right = split_luma("out_compare.mkv", 1)
    for half, name in ((left, "other.mkv"), (right, "alone.mkv")):
        alone = decode_pictures(Path(name))[1].to_ndarray(format="gray")[24:]
        assert abs(half - alone).mean() < 3
    assert abs(left - right).mean() > 6
    with pytest.raises(SystemExit, match="Did you mean blend"):
        run(source, "--model", "repeat", "--compare_model", "blnd", "--output", "x.mkv")


def test_from_python_the_second_network_is_given_by_its_name() -> None:
    source = write_clip(Path("in.mp4"), moving_frames(3))
    options = VideoOptions(target=Target(multi=2), compare_model="repeat", compare="split")
    interpolate_file(source, "out.mp4", options, network=load_interpolator("blend"))
    assert decode_pictures(Path("out_compare.mp4"))[0].width == 64
