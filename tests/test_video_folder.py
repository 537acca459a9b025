"""A folder of frames that becomes a video, with new frames between them."""

import os
import re
import shutil
from fractions import Fraction
from pathlib import Path
from unittest.mock import patch

import numpy as np
import pytest
import torch

from sgm_vfi.media.images import read_frame, write_frame
from sgm_vfi.media.sequences import FrameFormat
from sgm_vfi.video import pipeline
from sgm_vfi.video.from_images import Film, Images
from sgm_vfi.video.source_video import probe_video
from tests.fixtures.demo import receipt, run
from tests.fixtures.videos import decode_pictures, moving_frames, read_timestamps

pytestmark = pytest.mark.usefixtures("workdir")


def images(count: int = 4, bits: int = 8) -> list[Path]:
    """Frames in a folder, in natural order."""
    Path("frames").mkdir()
    files = [Path("frames", f"{number}.png") for number in range(8, 8 + count)]
    for file, frame in zip(files, moving_frames(count), strict=True):
        write_frame(file, frame[0], bits)
    return files


def film(output: str, *options: object) -> None:
    run("frames", "--model", "blend", "--rate", 24, "--output", output, *options)


@pytest.mark.parametrize("bits", [8, 16])
def test_given_frames_keep_their_pixels(bits: int) -> None:
    """Also of 16 bits; and nothing is left of what was written on the way."""
    files = images(bits=bits)
    film("out.mkv", "--lossless", "--multi", 3)
    assert read_timestamps(Path("out.mkv"))[:4] == [Fraction(k, 1000) for k in (0, 14, 28, 42)]
    shown = decode_pictures(Path("out.mkv"))
    assert len(shown) == 3 * len(files)
    for file, picture in zip(files, shown[::3], strict=True):
        planes = [np.frombuffer(plane, np.dtype("<u2")) for plane in picture.planes]
        green, blue, red = (plane.reshape(48, -1)[:, :64].astype(np.int64) for plane in planes)
        given = (read_frame(file) * (2**bits - 1)).round().long()
        largest = 2 ** picture.format.components[0].bits - 1
        got = torch.from_numpy(np.stack((red, green, blue))) / largest * (2**bits - 1)
        assert torch.equal(got.round().long(), given)
    assert sorted(path.name for path in Path().iterdir()) == ["frames", "out.mkv", "out.mkv.json"]


def test_rates_are_as_asked_for() -> None:
    """PerVFI's `-fps 10` at twice the frames: of the source 5; or another rate outright."""
    images()
    run("frames", "--model", "blend", "--rate", "5", "--output", "a.mp4", "--pix_fmt", "yuv420p")
    assert read_timestamps(Path("a.mp4")) == [Fraction(k, 10) for k in range(8)]
    film("b.mp4", "--fps", 30)
    assert read_timestamps(Path("b.mp4")) == [Fraction(k, 30) for k in range(5)]
    assert "b.mp4.frames.avi" in str(receipt("b.mp4")["input"])


def test_it_goes_on_where_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    images(6)
    options = ("--lossless", "--segment_frames", 2)
    film("whole.mkv", *options)
    with monkeypatch.context() as patch:
        patch.setattr(
            pipeline.BackgroundSink, "put", interrupted_after(7, pipeline.BackgroundSink.put)
        )
        with pytest.raises(SystemExit):
            film("out.mkv", *options)
    assert not Path("out.mkv").exists()
    film("out.mkv", *options, "--resume")
    assert receipt("out.mkv")["frames made in this run"] < 12
    same = (
        [b"".join(map(bytes, picture.planes)) for picture in decode_pictures(Path(name))]
        for name in ("out.mkv", "whole.mkv")
    )
    assert next(same) == next(same)


def interrupted_after(count: int, put: object) -> object:
    """As by a person, after so many messages."""
    calls = iter(range(count))

    def counted(sink: object, message: object) -> None:
        if next(calls, None) is None:
            raise KeyboardInterrupt
        put(sink, message)

    return counted


def test_what_is_no_film_is_said() -> None:
    images()
    with pytest.raises(SystemExit, match=r"frames it shows a second, as in --rate 24"):
        run("frames", "--output", "out.mp4")
    with pytest.raises(SystemExit, match=r"--output OUT\.mp4 --rate 24"):
        run("frames", "--rate", 24)
    film("out.mp4")
    with pytest.raises(SystemExit, match=r"of a video say --fps or --slow"):
        run("out.mp4", "--rate", 24)


@pytest.fixture
def odd() -> Path:
    """Frames whose chroma cannot be halved."""
    Path("odd").mkdir()
    for number, frame in enumerate(moving_frames(3, 48, 35)):
        write_frame(Path("odd", f"{number}.png"), frame[0])
    return Path("odd")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--pix_fmt", "yuv420p"), r"cannot write 35x48 as yuv420p"),
        (("--codec", "nope"), r"no encoder 'nope'"),
        (("--output", "out.webm", "--codec", "h264"), r"\.webm cannot hold libx264"),
        (("--time", "1/4"), r"--time is for images"),
    ],
)
def test_what_cannot_be_done_is_said_before_frames_are_gathered(
    odd: Path, options: tuple[str, ...], message: str
) -> None:
    with (
        patch.object(Film, "write", counted := CountedWrite()),
        pytest.raises(SystemExit, match=message),
    ):
        run(odd, "--model", "blend", "--rate", 24, "--output", "out.mp4", *options)
    assert counted.frames <= 2
    assert [*Path().iterdir()] == [odd]


class CountedWrite:
    """Writes films, and counts their frames."""

    def __init__(self) -> None:
        self.write = Film.write
        self.frames = 0

    def __get__(self, film: Film, _: type) -> object:
        def write(file: Path, count: int | None = None) -> None:
            self.frames += len(film.paths[:count])
            self.write(film, file, count)

        return write


def test_dry_run_gathers_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    """Two frames are tried for all; the disk that the others will take is counted."""
    images(40)
    with patch.object(Film, "write", counted := CountedWrite()):
        film("out.mp4", "--multi", 3, "--dry_run")
    said = capsys.readouterr().out
    assert counted.frames == 2
    assert [*Path().iterdir()] == [Path("frames")]
    for words in ("frames: 40 frames, 24 fps", "out.mp4: 120 frames, 72 fps", "of 78 new frames"):
        assert words in said
    film("whole.mp4", "--multi", 3)
    needed = [float(n) for n in re.findall(r"about ([\d.]+) MB", said + capsys.readouterr().out)]
    assert needed[0] > needed[1]


@pytest.mark.parametrize("bits", [8, 16])
def test_images_are_to_be_had_as_of_their_film(bits: int) -> None:
    """Sample by sample, those that are wanted."""
    files = images(bits=bits)
    film = Film(files, Fraction(24), FrameFormat(48, 64, bits))
    film.write(Path("film.avi"))
    source = probe_video(Path("film.avi"))
    for wanted in (None, [1, 3]):
        read = list(Images(**vars(source), files=files).planes(wanted))
        decoded = list(source.planes(wanted))
        assert [index for index, _ in read] == [index for index, _ in decoded]
        for (_, one), (_, other) in zip(read, decoded, strict=True):
            assert all(map(torch.equal, one, other))


def test_frames_are_not_gathered_where_there_is_no_room() -> None:
    images()
    full = shutil.disk_usage(".")._replace(free=1000)
    with (
        patch("shutil.disk_usage", return_value=full),
        pytest.raises(SystemExit, match=r"gathered in out\.mp4\.frames\.avi, .* 0\.0 MB are free"),
    ):
        film("out.mp4")
    assert [*Path().iterdir()] == [Path("frames")]


def test_gathered_frames_replace_no_file_but_their_own() -> None:
    files = images()
    other = Path("out.mp4.frames.avi")
    other.write_text("hello world")
    with pytest.raises(SystemExit, match=r"out\.mp4\.frames\.avi is there already"):
        film("out.mp4")
    assert other.read_text() == "hello world"
    newest = max(file.stat().st_mtime_ns for file in files)
    os.utime(other, ns=(newest, newest))  # as a run that was killed leaves it
    film("out.mp4")
    assert not other.exists()


def test_one_process_gathers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of several, the first to finish would take the film away from the others."""
    images()
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(SystemExit, match="in one process"):
        film("out.mp4")
