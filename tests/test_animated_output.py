"""Animated images as the result: GIF, WebP and APNG that last as long as the video."""

from fractions import Fraction
from pathlib import Path

import pytest
import torch
from PIL import Image

from sgm_vfi.media.images import write_frame
from sgm_vfi.video.animated_output import choose_animation_target
from sgm_vfi.video.output_timestamps import Target
from tests.fixtures.demo import receipt, run
from tests.fixtures.videos import decode_pictures, decode_samples, moving_frames, write_clip

pytestmark = pytest.mark.usefixtures("workdir")


def delays(path: str) -> list[int]:
    """Milliseconds of each frame, read by another library."""
    found = []
    with Image.open(path) as animation:
        assert animation.info.get("loop", 0) == 0
        for number in range(animation.n_frames):
            animation.seek(number)
            animation.load()
            found.append(round(animation.info["duration"]))
    return found


@pytest.mark.parametrize("suffix", ["gif", "webp", "apng"])
def test_a_clip_becomes_an_animation(suffix: str) -> None:
    source = write_clip(Path("in.mp4"), moving_frames(6), rate=25, audio=0.2)
    run(source, "--model", "blend", "--output", f"out.{suffix}")
    found = delays(f"out.{suffix}")
    assert found[:10] == [20] * 10
    assert sum(found) == 240  # WebP joins the last frame and its repetition
    said = receipt(f"out.{suffix}")
    assert any(f".{suffix} holds frames only" in text for text in said["lost"])
    shown = Image.open(f"out.{suffix}").convert("RGB")
    assert shown.size == (64, 48)
    expected = moving_frames(6)[0][0]
    got = torch.frombuffer(bytearray(shown.tobytes()), dtype=torch.uint8).reshape(48, 64, 3)
    assert (got.permute(2, 0, 1) / 255 - expected).abs().mean() < 0.06


def test_gif_takes_a_rate_that_players_honour() -> None:
    """60 frames per second would be played at 10."""
    source = write_clip(Path("in.mp4"), moving_frames(12), rate=30)
    run(source, "--model", "blend", "--output", "out.gif")
    assert delays("out.gif") == [20] * 20
    notes = receipt("out.gif")["notes"]
    assert any("50 frames per second instead of 60" in note for note in notes)
    stamps = [Fraction(k, 24) for k in range(5)]
    assert choose_animation_target(Target(multi=2), stamps, ".gif")[0].fps == 50
    assert choose_animation_target(Target(fps=10), stamps, ".gif") == (Target(fps=10), ())
    assert choose_animation_target(Target(fps=60), stamps, ".webp") == (Target(fps=60), ())


def test_a_folder_becomes_an_animation() -> None:
    Path("frames").mkdir()
    for number, frame in enumerate(moving_frames(3)):
        write_frame(Path("frames", f"{number}.png"), frame[0], 16)
    run("frames", "--model", "blend", "--rate", 10, "--output", "out.gif")
    assert delays("out.gif") == [50] * 6


def test_slow_motion_says_which_frames_a_gif_cannot_show(capsys: pytest.CaptureFixture) -> None:
    source = write_clip(Path("in.mp4"), moving_frames(6), rate=60)
    run(source, "--model", "blend", "--slow", 2, "--output", "out.gif")
    told = "4 of 12 frames are left out: .gif shows a frame for 0.02 s or longer"
    assert any(told in note for note in receipt("out.gif")["notes"])
    assert told in capsys.readouterr().out
    assert len(delays("out.gif")) == 8


def test_a_loop_leads_back_to_the_first_frame() -> None:
    """As many frames as before; the last one is new instead of repeated."""
    source = write_clip(Path("in.mkv"), moving_frames(4, step=1), codec="ffv1")
    run(source, "--model", "blend", "--loop", "--output", "out.gif")
    assert delays("out.gif") == [20] * 8
    run(source, "--model", "blend", "--lossless", "--loop", "--multi", 3, "--output", "out.mkv")
    shown = [picture.to_ndarray(format="gray") for picture in decode_pictures(Path("out.mkv"))]
    assert len(shown) == 12
    first, last = shown[0].astype(float), shown[9].astype(float)
    assert abs(shown[10] - (2 * last + first) / 3).max() < 2
    assert abs(shown[11] - (last + 2 * first) / 3).max() < 2


def test_a_loop_of_two_scenes_is_held(capsys: pytest.CaptureFixture) -> None:
    frames = moving_frames(6) + [1 - frame.flip(-2) for frame in moving_frames(6)]
    source = write_clip(Path("in.mkv"), frames, codec="ffv1")
    run(source, "--model", "blend", "--lossless", "--loop", "--output", "out.mkv")
    assert [cut["frame"] for cut in receipt("out.mkv")["cuts"]] == [6, 12]
    assert "the last frame and the first are two scenes" in capsys.readouterr().out
    samples = decode_samples(Path("out.mkv"))
    assert samples[23] == samples[22]


def test_images_that_become_images_make_no_loop() -> None:
    Path("frames").mkdir()
    for number, frame in enumerate(moving_frames(3)):
        write_frame(Path("frames", f"{number}.png"), frame[0])
    with pytest.raises(SystemExit, match="Only videos take --loop"):
        run("frames", "--model", "blend", "--loop", "--output", "out")
    run("frames", "--model", "blend", "--rate", 10, "--loop", "--output", "out.apng")
    assert delays("out.apng") == [50] * 6
