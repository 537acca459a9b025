"""A part of a video: exact to the frame, with its sound, subtitles and chapters."""

from fractions import Fraction
from pathlib import Path

import av
import pytest

from sgm_vfi.media.images import write_frame
from sgm_vfi.video.trim import Position, Trim, parse_position
from tests.fixtures.demo import receipt, run
from tests.fixtures.videos import (
    decode_samples,
    moving_frames,
    read_packets,
    read_timestamps,
    write_clip,
)

pytestmark = pytest.mark.usefixtures("workdir")

FAST = ("--model", "blend", "--lossless")
SUBTITLES = """1
00:00:00,100 --> 00:00:00,500
first

2
00:00:00,700 --> 00:00:00,900
second

"""


def full_clip(name: str = "in.mkv") -> Path:
    """One second at 25 fps with sound, two chapters and two subtitles."""
    Path("words.srt").write_text(SUBTITLES)
    chapters = [
        {"id": n, "start": 500 * n, "end": 500 * n + 500, "time_base": Fraction(1, 1000),
         "metadata": {"title": title}} for n, title in enumerate(("one", "two"))
    ]  # fmt: skip
    return write_clip(
        Path(name), moving_frames(25), codec="ffv1", audio=1.0, chapters=chapters,
        subtitle=Path("words.srt"),
    )  # fmt: skip


@pytest.mark.parametrize(("text", "position"), [
    ("75.5", Position(Fraction(151, 2))),
    ("1:15.5", Position(Fraction(151, 2))),
    ("00:01:15.500", Position(Fraction(151, 2))),
    ("120f", Position(Fraction(120), is_frame=True)),
    ("0f", Position(Fraction(0), is_frame=True)),
    ("1/30", Position(Fraction(1, 30))),
])  # fmt: skip
def test_positions_are_seconds_timecodes_or_frames(text: str, position: Position) -> None:
    assert parse_position(text) == position


@pytest.mark.parametrize(
    "text", ["-1", "f", "1:75", "x", "1.5f", "1e400", "-5f", "9" * 5000, "9" * 5000 + "f"]
)
def test_wrong_positions_are_explained(text: str) -> None:
    with pytest.raises(ValueError, match=r"or a frame \(120f\), got "):
        parse_position(text)


def test_a_rounded_timestamp_is_on_its_side_of_a_position() -> None:
    """1/30 s is 33 ms in Matroska: the frame belongs to what begins at 1/30 s."""
    tick, shown, position = Fraction(1, 1000), Fraction(33, 1000), Position(Fraction(1, 30))
    assert not Trim(start=position).is_before(1, shown, tick)
    assert Trim(end=position).is_over(1, shown, tick)


@pytest.mark.parametrize("suffix", [".mkv", ".mp4"])
def test_the_part_is_exact_and_brings_its_sound_subtitles_and_chapters(suffix: str) -> None:
    source = full_clip()
    output = Path(f"out{suffix}")
    run(source, "--start", "0.2", "--end", "20f", "--output", output, *FAST)
    run(source, "--output", "all.mkv", *FAST)
    shown = read_timestamps(output)
    assert len(shown) == 30  # source frames 5 to 19, twice
    assert shown[0] == 0
    assert shown[-1] == pytest.approx(29 / 50, abs=1e-3)
    if suffix == ".mkv":
        assert decode_samples(output)[::2] == decode_samples(Path("all.mkv"))[10:40:2]
    sound = read_packets(source, "audio")
    kept = read_packets(output, "audio")
    assert kept in [sound[first : first + len(kept)] for first in (9, 10, 11)]  # of 21 ms each
    assert len(kept) == pytest.approx(0.6 * 48000 / 1024, abs=1)
    with av.open(output) as container:
        first = next(packet for packet in container.demux(audio=0) if packet.size)
        assert 0 <= first.pts * first.time_base < 0.022
    with av.open(output) as container:
        chapters = [(c["start"] * c["time_base"], c["end"] * c["time_base"])
                    for c in container.chapters()]  # fmt: skip
        if suffix == ".mkv":
            words = [
                (packet.pts * packet.time_base, packet.duration * packet.time_base)
                for packet in container.demux(subtitles=0) if packet.size
            ]  # fmt: skip
            assert words == [(0, Fraction(3, 10)), (Fraction(1, 2), Fraction(1, 10))]
    assert chapters == [(0, Fraction(3, 10)), (Fraction(3, 10), Fraction(3, 5))]


def test_an_interrupted_part_goes_on_and_another_part_does_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    source = write_clip(Path("in.mkv"), moving_frames(20), codec="ffv1")
    command = (source, "--output", "out.mkv", "--segment_frames", 8, *FAST)
    with monkeypatch.context() as patch:
        patch.setattr("sgm_vfi.video.job.join_segments", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            run(*command, "--start", "4f", "--end", "16f")
    with pytest.raises(SystemExit, match=r"other settings: start \(4/25, now 1/5\)"):
        run(*command, "--start", "5f", "--end", "17f")
    run(*command, "--start", "0.16", "--end", "16f")
    assert receipt("out.mkv")["frames made in this run"] == 0
    assert len(read_timestamps(Path("out.mkv"))) == 24


def test_cuts_are_found_in_the_part_only() -> None:
    frames = moving_frames(8) + [1 - frame.flip(-2) for frame in moving_frames(8)]
    source = write_clip(Path("in.mkv"), frames, codec="ffv1")
    run(source, "--output", "out.mkv", "--start", "4f", *FAST)
    assert [cut["frame"] for cut in receipt("out.mkv")["cuts"]] == [4]
    run(source, "--output", "after.mkv", "--start", "9f", *FAST)
    assert receipt("after.mkv")["cuts"] == []


def test_a_part_of_a_folder_of_images() -> None:
    Path("clip").mkdir()
    for number, frame in enumerate(moving_frames(6)):
        write_frame(Path("clip", f"{number}.png"), frame[0])
    part = ("--rate", 10, "--start", "0.2", "--end", "0.5")
    run("clip", "--output", "out.mkv", *part, *FAST)
    assert len(read_timestamps(Path("out.mkv"))) == 6


@pytest.mark.parametrize(("options", "message"), [
    (("--start", "9"), r"no frame from 9 s to the end; it has 4 before"),
    (("--start", "3f"), r"holds one frame from 3f to the end"),
    (("--start", "2f", "--end", "2f"), r"no frame from 2f to 2f"),
])  # fmt: skip
def test_an_empty_part_is_explained(options: tuple[str, ...], message: str) -> None:
    source = write_clip(Path("in.mkv"), moving_frames(4), codec="ffv1")
    with pytest.raises(SystemExit, match=message):
        run(source, "--output", "out.mkv", *options, *FAST)
