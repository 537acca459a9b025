"""Time of real files: held frames, hidden frames, empty frames and files without timestamps."""

from fractions import Fraction
from pathlib import Path

import av
import pytest

from sgm_vfi.media.frame_readers import VideoReader
from sgm_vfi.video.source_video import probe_video
from tests.fixtures.containers import write_jpegs
from tests.fixtures.demo import receipt, run
from tests.fixtures.videos import decode_samples, moving_frames, read_timestamps, write_clip

pytestmark = pytest.mark.usefixtures("workdir")

FAST = ("--model", "blend", "--preset", "ultrafast")


def test_a_screen_recording_stands_still(capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing creeps while nothing happens; the plan and the receipt say so."""
    stamps = [0, *(2000 + 40 * k for k in range(5)), 3160, 3200]
    source = write_clip(Path("in.mp4"), moving_frames(8), stamps=stamps, tick=Fraction(1, 1000))
    run(source, "--output", "out.mkv", "--fps", 25, "--lossless", "--model", "blend")
    pictures = decode_samples(Path("out.mkv"))
    assert len(set(pictures[:50])) == 1
    assert len(set(pictures[50:55])) == 5
    assert len(set(pictures[54:79])) == 1
    said = receipt("out.mkv")["holds"]
    assert said == [
        {"seconds": 0.0, "duration": 1.96},
        {"seconds": 2.16, "duration": 0.96},
    ]
    assert "2, 2.92 s in all: 1.96 s from 0.00, 0.96 s from 2.16" in capsys.readouterr().out
    run(source, "--output", "off.mkv", "--fps", 25, "--hold_gaps", 0, "--dry_run", *FAST)
    assert "holds" not in capsys.readouterr().out
    with pytest.raises(SystemExit, match=r"above 1, or 0, got 0\.5"):
        run(source, "--output", "off.mkv", "--hold_gaps", 0.5)


def test_empty_frames_of_avi_are_held(
    capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    """They are neither slow motion nor damage."""
    stamps = [0, 1, 2, 12, 13, 14, 15]
    source = write_clip(Path("in.avi"), moving_frames(7), stamps=stamps, codec="mpeg4")
    run(source, "--output", "out.mkv", *FAST)
    assert "holds   1, 0.36 s in all: 0.36 s from 0.08" in capsys.readouterr().out
    shown = read_timestamps(Path("out.mkv"))
    assert [round(time * 100) for time in shown[4:8]] == [8, 46, 48, 50]
    assert not any("promises" in note for note in receipt("out.mkv")["notes"])
    assert not caplog.text


def test_frames_that_an_edit_list_hides_are_not_missing(caplog: pytest.LogCaptureFixture) -> None:
    """As players that trim without encoding leave them."""
    source = write_clip(Path("in.mp4"), moving_frames(12), stamps=range(-5, 7))
    assert len(list(VideoReader("in", source).decode())) < 12
    assert not probe_video(source).notes[1:]
    assert not caplog.text


def test_truncated_files_are_still_noticed(caplog: pytest.LogCaptureFixture) -> None:
    source = write_clip(Path("in.avi"), moving_frames(30), codec="rawvideo")
    with av.open(source) as container:
        end = [packet.pos for packet in container.demux()][20]
    source.write_bytes(source.read_bytes()[:end])
    assert any("promises 30 frames and gives" in note for note in probe_video(source).notes)
    assert "of the 30 frames it promises" in caplog.text


def test_an_assumed_rate_is_said() -> None:
    """A raw stream has no timestamps; its codec states the rate."""
    source = probe_video(write_clip(Path("in.h264"), moving_frames(6), rate=30))
    assert source.timestamps == tuple(Fraction(k, 30) for k in range(6))
    assert any("gives no timestamps; 30 fps are assumed" in note for note in source.notes)
    source = probe_video(write_jpegs(Path("in.mjpeg")))  # of which nothing states a rate
    assert any("gives no timestamps; 25 fps are assumed" in note for note in source.notes)
