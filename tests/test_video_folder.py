"""A folder of frames that becomes a video, with new frames between them."""

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch

from sgm_vfi import demo_2x
from sgm_vfi.media.images import read_frame, write_frame
from sgm_vfi.video import pipeline
from sgm_vfi.video.image_sequence_source import probe_images
from tests.fixtures.demo import receipt, run
from tests.fixtures.training_runs import outcome, start_as_ranks
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
    """Also of 16 bits; and nothing else is written."""
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
    assert receipt("b.mp4")["input"] == "frames"


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
def test_what_cannot_be_done_is_said_before_anything_is_written(
    odd: Path, options: tuple[str, ...], message: str
) -> None:
    with pytest.raises(SystemExit, match=message):
        run(odd, "--model", "blend", "--rate", 24, "--output", "out.mp4", *options)
    assert [*Path().iterdir()] == [odd]


def test_dry_run_writes_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    images(40)
    film("out.mp4", "--multi", 3, "--dry_run")
    said = capsys.readouterr().out
    assert [*Path().iterdir()] == [Path("frames")]
    for words in ("frames: 40 frames, 24 fps", "out.mp4: 120 frames, 72 fps", "of 78 new frames"):
        assert words in said


@pytest.mark.parametrize("bits", [8, 16])
def test_images_are_read_as_they_are_needed(bits: int) -> None:
    """Sample by sample, those that are wanted."""
    files = images(bits=bits)
    source = probe_images(Path("frames"), files, Fraction(24))
    assert source.timestamps == tuple(Fraction(k, 24) for k in range(4))
    assert source.duration == Fraction(4, 24)
    for wanted in (None, [1, 3]):
        read = list(source.planes(wanted))
        assert [index for index, _ in read] == (wanted or [0, 1, 2, 3])
        for index, planes in read:
            expected = (read_frame(files[index]) * (2**bits - 1)).round()
            got = source.pixel_format.to_rgb(planes)[0] * (2**bits - 1)
            assert torch.equal(got.round(), expected)


def test_cuts_and_repeats_of_images_are_found() -> None:
    Path("frames").mkdir()
    pan = [frame for frame in moving_frames(4) for _ in range(2)]
    other = [1 - frame.flip(-2) for frame in moving_frames(4)]
    for number, frame in enumerate(pan + other):
        write_frame(Path("frames", f"{number:02d}.png"), frame[0])
    film("out.mkv", "--dedup")
    assert [cut["frame"] for cut in receipt("out.mkv")["cuts"]] == [8]
    assert receipt("out.mkv")["frames made by the network"] == 12


def test_several_processes_share_a_folder() -> None:
    images(6)
    options = ("--model", "blend", "--rate", "24", "--output", "out.mkv", "--segment_frames", "4")
    ranks = start_as_ranks(demo_2x.__file__, "frames", *options, processes=2)
    assert [outcome(rank)[0] for rank in ranks] == [0, 0]
    assert len(decode_pictures(Path("out.mkv"))) == 12
