"""Streams of y4m on standard input and output."""

import io
import shutil
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import av
import pytest
import torch
from torch import Tensor

from sgm_vfi.media.open_local_media import VideoError
from sgm_vfi.video.av_frames import read_planes, to_video_frame
from sgm_vfi.video.colour_conversion import PLANE_LAYOUTS, PixelFormat
from sgm_vfi.video.y4m import Y4MHeader, read_y4m_frames, read_y4m_header
from tests.fixtures.demo import run
from tests.fixtures.videos import (
    decode_pictures,
    decode_samples,
    moving_frames,
    read_timestamps,
    write_clip,
)

ROOT = Path(__file__).resolve().parent.parent
COMMAND = [sys.executable, str(ROOT / "demo_2x.py")]
WRITER = """
import sys
out = sys.stdout.buffer
out.write(b"YUV4MPEG2 C420 W64 H48 F25:1 Ip A0:0 XLENGTH=4\\n")
for number in range(4):
    out.write(b"FRAME\\n" + bytes([40 * number + 20]) * 3072 + bytes([128]) * 1536)
"""  # as vspipe does
HEADER = b"YUV4MPEG2 W4 H2 F25:1 Ip A1:1 C420jpeg\n"

pytestmark = pytest.mark.usefixtures("workdir")


def write_y4m(path: Path, frames: list[Tensor], pix_fmt: str = "yuv420p") -> Path:
    """What `ffmpeg -strict -1 -f yuv4mpegpipe` writes."""
    height, width = frames[0].shape[-2:]
    with av.open(path, "w", format="yuv4mpegpipe", options={"strict": "-1"}) as container:
        stream = container.add_stream(
            "wrapped_avframe", rate=Fraction(30000, 1001), width=width, height=height
        )
        stream.pix_fmt = pix_fmt
        for number, frame in enumerate(frames):
            picture = to_video_frame(frame, PixelFormat(PLANE_LAYOUTS[pix_fmt], 6))
            picture.pts = number
            container.mux(stream.encode(picture))
        container.mux(stream.encode(None))
    return path


def decode_luma(path: Path) -> list[Tensor]:
    """The luma of every frame, as stored. Shapes: (H, W) each."""
    return [read_planes(x, PLANE_LAYOUTS["yuv420p"])[0] for x in decode_pictures(path)]


class Pipe(io.BytesIO):
    """Standard input or output, as Python has it."""

    @property
    def buffer(self) -> "Pipe":
        return self

    def isatty(self) -> bool:
        return False


def run_piped(
    monkeypatch: pytest.MonkeyPatch, data: bytes, *options: object, input: object = "-"
) -> Path:
    """Send data through the command, and return a file of what comes out."""
    sink = Pipe()
    with monkeypatch.context() as patch:
        patch.setattr(sys, "stdin", Pipe(data))
        patch.setattr(sys, "stdout", sink)
        run(input, "--model", "blend", *options, "-o", "-")
    Path("out.y4m").write_bytes(sink.getvalue())
    return Path("out.y4m")


@pytest.mark.parametrize(
    "pix_fmt",
    [
        *("yuv420p", "yuv422p", "yuv444p"),
        *("yuv420p10le", "yuv422p10le", "yuv444p10le", "yuv444p16le"),
    ],
)
def test_frames_of_the_stream_stay_as_they_are(
    pix_fmt: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """And one more comes between two, also where rows are odd."""
    source = write_y4m(Path("in.y4m"), moving_frames(4, 48, 65), pix_fmt)
    written = run_piped(monkeypatch, source.read_bytes())
    before, after = decode_samples(source), decode_samples(written)
    assert after[::2] == before
    assert after[1] not in before
    assert read_timestamps(written) == [Fraction(k * 1001, 60000) for k in range(8)]
    said = capsys.readouterr()
    assert said.out == ""
    assert "29.97 fps to 59.94 fps" in said.err


@pytest.mark.parametrize(
    ("options", "rate", "count"),
    [
        (("--multi", 3), Fraction(90000, 1001), 12),
        (("--fps", 60), Fraction(60), 8),
        (("--slow", 4), Fraction(30000, 1001), 16),
    ],
)
def test_any_rate(
    options: tuple[object, ...], rate: Fraction, count: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = write_y4m(Path("in.y4m"), moving_frames(4))
    written = run_piped(monkeypatch, source.read_bytes(), *options)
    assert read_timestamps(written) == [k / rate for k in range(count)]


def test_cuts_are_found_and_held(monkeypatch: pytest.MonkeyPatch) -> None:
    frames = moving_frames(6) + [1 - frame.flip(-2) for frame in moving_frames(6)]
    data = write_y4m(Path("in.y4m"), frames).read_bytes()
    held = decode_samples(run_piped(monkeypatch, data))
    blended = decode_samples(run_piped(monkeypatch, data, "--no-cuts"))
    assert [k for k in range(24) if held[k] != blended[k]] == [11]
    assert held[11] == held[10]


def test_a_video_becomes_a_stream(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Upright, with its samples, its range and the shape of its pixels."""
    tags, aspect = (9, 2, 9, 16), Fraction(4, 3)
    source = write_clip(Path("in.mp4"), moving_frames(4), tags=tags, aspect=aspect, rotation=180)
    written = run_piped(monkeypatch, b"", input=source)
    head = written.read_bytes().partition(b"\n")[0]
    assert head == b"YUV4MPEG2 W64 H48 F50:1 Ip A4:3 C420mpeg2 XCOLORRANGE=FULL"
    for before, after in zip(decode_luma(source), decode_luma(written)[::2], strict=True):
        assert torch.equal(before.rot90(2), after)
    assert "samples are of BT.2020" in capsys.readouterr().err


def test_variable_rates_need_a_constant_one(monkeypatch: pytest.MonkeyPatch) -> None:
    stamps = [0, 1, 2, 9, 10, 11]
    source = write_clip(Path("in.mkv"), moving_frames(6), codec="ffv1", stamps=stamps)
    with pytest.raises(SystemExit, match=r"variable frame rate .* Add --fps"):
        run_piped(monkeypatch, b"", input=source)
    assert len(decode_samples(run_piped(monkeypatch, b"", "--fps", 50, input=source))) == 24


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "is empty"),
        (b"\x00\x00\x00\x18ftypmp42", "a y4m stream begins with YUV4MPEG2"),
        (HEADER.replace(b"Ip", b"It"), "interlaced .top field first.*Deinterlace it first"),
        (HEADER.replace(b"420jpeg", b"411"), "kind 411; supported are 420, 422 and 444"),
        (HEADER.replace(b"420jpeg", b"mono"), "kind mono; supported are 420, 422 and 444"),
        (HEADER.replace(b"W4 ", b""), "states no size or no rate"),
        (HEADER.replace(b"F25:1", b"F0:0"), "sides are 1 to .*and the rate is above 0"),
        (HEADER.replace(b"W4", b"W999999999"), "sides are 1 to"),
        (HEADER, "holds no frame"),
        (HEADER + b"FRAME\nabc", "ends within frame 0"),
        (HEADER + b"XRAME\nabc", "damaged: frame 0 begins with"),
    ],
)
def test_what_is_no_stream_is_named(
    data: bytes, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(SystemExit, match=f"Standard input .*{reason}"):
        run_piped(monkeypatch, data)


@pytest.mark.parametrize(
    "options",
    [
        *(("--resume",), ("--restart",), ("--compare", "side"), ("--explain",), ("--dry_run",)),
        *(("--crf", 3), ("--codec", "h264"), ("--stream", 1), ("--segment_frames", 9)),
    ],
)
def test_options_that_need_files_are_refused(
    options: tuple[object, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(SystemExit, match=f"A stream takes no {options[0]}"):
        run_piped(monkeypatch, HEADER, *options)


def test_streams_need_an_output_that_holds_them() -> None:
    for output in ((), ("-o", "folder")):
        with pytest.raises(SystemExit, match=r"Say where the stream goes: -o OUT\.mp4, or -o -"):
            run("-", *output)
    with pytest.raises(SystemExit, match=r"one video, or a y4m stream .* not a\.png, b\.png"):
        run("a.png", "b.png", "-o", "-")


def test_memory_does_not_grow_with_the_stream() -> None:
    """Frames are read when they are asked for."""
    data = io.BytesIO(HEADER + (b"FRAME\n" + bytes(12)) * 1000)
    header = read_y4m_header(data, "stream")
    frames = read_y4m_frames(data, header, "stream")
    next(frames)
    assert data.tell() == len(HEADER) + 6 + 12


def test_headers_survive_writing() -> None:
    header = Y4MHeader(48, 64, Fraction(24000, 1001), Fraction(8, 9), "422p12", True)
    assert read_y4m_header(io.BytesIO(header.encode()), "stream") == header
    with pytest.raises(VideoError):
        read_y4m_header(io.BytesIO(header.encode()[:-1]), "stream")


def test_a_reader_that_ends_early_is_no_error() -> None:
    source = write_y4m(Path("in.y4m"), moving_frames(40, 240, 320))
    with source.open("rb") as file:
        command = [*COMMAND, "-", "--model", "blend", "-o", "-"]
        process = subprocess.Popen(
            command, stdin=file, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        assert process.stdout.read(1000).startswith(b"YUV4MPEG2 W320 H240")
        process.stdout.close()
        said = process.stderr.read().decode()
    assert process.wait() == 141
    assert "Error" not in said
    assert "Exception" not in said


def test_a_stream_of_another_process_becomes_a_file() -> None:
    """Its header is as vspipe writes it."""
    process = subprocess.Popen([sys.executable, "-c", WRITER], stdout=subprocess.PIPE)
    done = subprocess.run(
        [*COMMAND, "-", "--model", "blend", "--slow", "3/2", "-o", "out.mp4"],
        stdin=process.stdout, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == process.wait() == 0, done.stderr
    assert decode_pictures(Path("out.mp4"))[0].format.name == "yuv420p"
    assert read_timestamps(Path("out.mp4")) == [Fraction(k, 25) for k in range(6)]
    assert "file    out.mp4" in done.stdout
    assert [*Path().iterdir()] == [Path("out.mp4")]


def test_a_stream_becomes_an_animation(monkeypatch: pytest.MonkeyPatch) -> None:
    data = write_y4m(Path("in.y4m"), moving_frames(4)).read_bytes()
    monkeypatch.setattr(sys, "stdin", Pipe(data))
    run("-", "--model", "blend", "--max_size", 30, "-o", "out.gif")
    assert decode_pictures(Path("out.gif"))[0].width == 30
    assert read_timestamps(Path("out.gif")) == [Fraction(k, 50) for k in range(7)]


def test_nothing_is_left_of_a_stream_that_breaks_off(monkeypatch: pytest.MonkeyPatch) -> None:
    """And nothing that exists is overwritten."""
    data = HEADER + (b"FRAME\n" + bytes(12)) * 2 + b"FRAME\nabc"
    monkeypatch.setattr(sys, "stdin", Pipe(data))
    with pytest.raises(SystemExit, match="ends within frame 2"):
        run("-", "--model", "blend", "-o", "out.mkv")
    assert [*Path().iterdir()] == []
    Path("out.mkv").touch()
    monkeypatch.setattr(sys, "stdin", Pipe(data))
    with pytest.raises(SystemExit, match="exists already"):
        run("-", "--model", "blend", "-o", "out.mkv")


def test_with_the_command_line_of_ffmpeg() -> None:
    if shutil.which("ffmpeg") is None:
        pytest.skip("the command line of FFmpeg is not installed")
    source = write_clip(Path("in.mkv"), moving_frames(5), codec="ffv1", pix_fmt="yuv422p10le")
    ours = " ".join([*COMMAND, "-", "--model", "blend", "-o", "-"])
    quiet = "ffmpeg -v error -strict -1"
    subprocess.run(
        f"{quiet} -i {source} -strict -1 -f yuv4mpegpipe - | {ours} | "
        f"{quiet} -i - -c:v ffv1 out.mkv",
        shell=True,
        check=True,
    )
    assert decode_samples(Path("out.mkv"))[::2] == decode_samples(source)
    assert read_timestamps(Path("out.mkv")) == [Fraction(k * 20, 1000) for k in range(10)]
