"""Animated images as input: videos whose frames last differently long."""

from itertools import pairwise
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from sgm_vfi.media.open_local_media import open_input
from tests.fixtures.demo import receipt, run
from tests.fixtures.videos import read_timestamps

pytestmark = pytest.mark.usefixtures("workdir")

DELAYS = [40, 40, 100, 40, 40, 200]  # milliseconds; the last frame is looked at for longer


def write_animation(name: str, *, has_alpha: bool = False) -> Path:
    """Six colours of 65x49 pixels."""
    colours = [(20 * k, 100, 200 - 20 * k, 128 if has_alpha else 255) for k in range(6)]
    first, *others = [Image.new("RGBA" if has_alpha else "RGB", (65, 49), c) for c in colours]
    first.save(name, save_all=True, append_images=others, duration=DELAYS, loop=0)
    return Path(name)


@pytest.mark.parametrize(
    ("name", "output"),
    [("in.gif", "out.mp4"), ("in.gif", "out.mkv"), ("in.png", "out.mp4"), ("in.png", "out.mkv"),
     ("in.webp", "out.mkv"), ("in.avif", "out.mp4")],
)  # fmt: skip
def test_every_frame_lasts_as_long_as_before(name: str, output: str) -> None:
    """Also the last one, and the job ends well: the output is checked against the plan."""
    run(write_animation(name), "--model", "blend", "--output", output)
    times = [float(time) for time in read_timestamps(Path(output))]
    starts = [0, 0.04, 0.08, 0.18, 0.22, 0.26, 0.46]
    expected = [x for a, b in pairwise(starts) for x in (a, (a + b) / 2)]
    assert times == pytest.approx(expected, abs=0.001)
    assert receipt(output)["duration"] == 0.46


def test_an_animation_becomes_one_of_its_kind() -> None:
    """And what is lost is said."""
    run(write_animation("in.png", has_alpha=True), "--model", "blend")
    with Image.open("output/in_2x_blend.apng") as animation:
        assert animation.n_frames == 12
    assert "its transparency" in receipt("output/in_2x_blend.apng")["lost"]


def read_pictures(name: str) -> list[av.VideoFrame]:
    """Read all pictures as jobs do."""
    with open_input(Path(name)) as container:
        return list(container.decode(video=0))


def test_an_animation_that_was_written_here_is_read_again(capsys: pytest.CaptureFixture) -> None:
    """Its frames, and how long they last; and a damaged one is refused in a sentence."""
    run(write_animation("in.png", has_alpha=True), "--model", "blend", "--output", "a.webp")
    run("a.webp", "--model", "blend", "--dry_run")
    assert "a.webp: 12 frames" in capsys.readouterr().out
    expected = [picture.to_ndarray(format="rgb24") for picture in read_pictures("in.png")]
    found = [picture.to_ndarray(format="rgb24") for picture in read_pictures("a.webp")]
    for a, b in zip(expected, found[::2], strict=True):
        assert np.abs(a.astype(int) - b).mean() <= 3  # WebP is lossy
    Path("cut.webp").write_bytes(Path("a.webp").read_bytes()[:200])
    with pytest.raises(SystemExit, match=r"cut\.webp is an animation that cannot be read.*magick"):
        run("cut.webp")
