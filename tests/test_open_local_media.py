"""Which file FFmpeg opens for a path, and which stream of it is the video."""

import os
import subprocess
import sys
from pathlib import Path

import av
import pytest

from sgm_vfi.media.frame_readers import VideoReader
from sgm_vfi.media.open_local_media import VideoError, choose_video_stream, open_input, open_output
from tests.fixtures.demo import receipt, run
from tests.fixtures.package import ROOT, product_files
from tests.fixtures.videos import decode_samples, moving_frames, write_clip

ODD_NAMES = (
    *("2024-05-01T10:20:30", "http:x", "concat:a|b", "-i", "frame%03d", "a?b#c&d", "pipe:1"),
    *("subfile,,start,0,end,9,,:x", "sub:dir/clip", "file:y", "a b'c\"d", "näme"),
)
FAST = ("--model", "blend", "--codec", "ffv1", "-o")

pytestmark = pytest.mark.usefixtures("workdir")


def write_small(path: Path, size: int = 32) -> Path:
    """A clip of three frames."""
    path.parent.mkdir(parents=True, exist_ok=True)
    plain = write_clip(Path("plain.mkv"), moving_frames(3, size, size), codec="ffv1")
    return plain.replace(path)


def write_streams(*streams: tuple[int, bool]) -> Path:
    """A video with one stream for each size in pixels, marked default or not."""
    path = Path("streams.mkv")
    with open_output(path) as container:
        for size, is_default in streams:
            stream = container.add_stream("ffv1", rate=25, width=size, height=size)
            stream.disposition = av.stream.Disposition.default if is_default else 0
        for stream in container.streams:
            for number in range(3):
                picture = av.VideoFrame(stream.width, stream.height, "yuv420p")
                picture.pts = number
                container.mux(stream.encode(picture))
            container.mux(stream.encode(None))
    return path


def test_no_other_module_opens_media_files() -> None:
    for file in product_files():
        if file != ROOT / "media" / "open_local_media.py":
            assert "av.open(" not in file.read_text(), f"{file} opens a file of its own"


@pytest.mark.parametrize("name", ODD_NAMES)
def test_a_path_is_a_path(name: str) -> None:
    """Input, segments, views and output of any name are the files of these names."""
    source = write_small(Path(f"{name}.mkv"))
    run("--compare", "side", *FAST, f"./out:{Path(name).name}.mkv", "--", f"{name}.mkv")
    written = Path(f"out:{Path(name).name}.mkv")
    assert decode_names(written) == 6
    assert decode_names(written.with_stem(f"{written.stem}_compare")) == 6
    assert decode_names(source) == 3


def decode_names(path: Path) -> int:
    """How many frames a file of any name holds, which PyAV alone may not open by that name."""
    return len(decode_samples(path.replace(Path("plain.mkv"))))


def test_names_need_not_be_utf8() -> None:
    name = os.fsdecode(b"lat\xe9.mkv")
    write_small(Path(name))
    command = [sys.executable, str(ROOT / "demo_2x.py"), name, *FAST, os.fsdecode(b"\xe8.mkv")]
    done = subprocess.run(command, capture_output=True, env=os.environ | {"PYTHONUTF8": "1"})
    assert done.returncode == 0, done.stderr
    assert b"\xe8.mkv, checked" in done.stdout
    assert decode_names(Path(os.fsdecode(b"\xe8.mkv"))) == 6


def write_playlist(path: Path, name: str) -> Path:
    """A script of FFmpeg's, or an HLS playlist where the path ends in .m3u8."""
    if path.suffix == ".m3u8":
        head, tail = "#EXTM3U\n#EXT-X-TARGETDURATION:5\n#EXTINF:5,\n", "#EXT-X-ENDLIST\n"
        path.write_text(f"{head}{name}\n{tail}")
    else:
        path.write_text(f"ffconcat version 1.0\nfile {name}\n")
    return path


@pytest.mark.parametrize("name", ["list.ffconcat", "innocent.mp4", "list.m3u8"])
def test_playlists_are_refused_unless_asked_for(name: str) -> None:
    """Whatever the suffix: FFmpeg looks into the file."""
    write_small(Path("private", "secret.mkv"))
    playlist = write_playlist(Path(name), "private/secret.mkv")
    with pytest.raises(SystemExit, match=f"{name} is no video, but a list .*--follow_playlists"):
        run(playlist, *FAST, "out.mkv")
    assert not Path("out.mkv").exists()
    with pytest.raises(VideoError, match="is no video, but a list"):
        VideoReader(name, playlist).probe()
    if not name.endswith("m3u8"):  # of which FFmpeg takes no Matroska
        run(playlist, "--follow_playlists", *FAST, "out.mkv")
        assert len(decode_samples(Path("out.mkv"))) == 6
        assert any("may be a playlist" in note for note in receipt("out.mkv")["notes"])


@pytest.mark.parametrize("name", ["list.ffconcat", "list.m3u8"])
def test_playlists_reach_no_network(name: str) -> None:
    playlist = write_playlist(Path(name), "http://127.0.0.1:9/x.mp4")
    with pytest.raises(SystemExit, match=f"{name} is no video that can be read"):
        run(playlist, "--follow_playlists", *FAST, "out.mkv")


def test_session_descriptions_are_never_followed() -> None:
    text = "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\n"
    Path("call.mp4").write_text(f"{text}m=video 5004 RTP/AVP 96\na=rtpmap:96 H264/90000\n")
    with pytest.raises(VideoError, match=r"Give the videos themselves\.$"):
        open_input(Path("call.mp4"), follow_playlists=True)


def test_errors_name_the_path_that_was_given() -> None:
    with pytest.raises(av.error.FileNotFoundError) as caught:
        open_input(Path("10:20.mkv"))
    assert caught.value.filename == "10:20.mkv"


@pytest.mark.parametrize(
    ("streams", "chosen"),
    [
        (((16, False), (32, True)), 1),  # marked
        (((48, False), (32, True)), 1),  # marked, if smaller
        (((16, True), (32, True), (24, False)), 1),  # of several that are marked, the largest
        (((32, True), (32, True)), 0),  # of equals, the first
    ],
)
def test_the_default_stream_or_the_largest_is_the_video(
    streams: tuple[tuple[int, bool], ...], chosen: int
) -> None:
    path = write_streams(*streams)
    with open_input(path) as container:
        assert choose_video_stream(path, container).index == chosen


def test_the_plan_says_which_stream_is_taken(capsys: pytest.CaptureFixture[str]) -> None:
    path = write_streams((16, False), (32, True))
    run(path, *FAST, "out.mkv")
    said = capsys.readouterr().out
    assert "3 frames, 25 fps, 0.120 s, 32x32" in said
    assert "stream 1 is interpolated; left out: stream 0 (16x16 ffv1)" in said
    assert VideoReader("v", path).probe().width == 32
    run(path, "--stream", 0, *FAST, "first.mkv")
    assert "16x16" in capsys.readouterr().out
    with pytest.raises(SystemExit, match=r"no video in stream 2\. It has stream 0"):
        run(path, "--stream", 2, *FAST, "none.mkv")


def test_a_cover_picture_is_no_video() -> None:
    """Even if it is larger than the film."""
    film = write_clip(Path("film.mp4"), moving_frames(3, 32, 32))
    path = Path("cover.mp4")
    with open_input(film) as original, open_output(path) as container:
        cover = container.add_stream("mjpeg", rate=1, width=64, height=64, pix_fmt="yuvj420p")
        cover.disposition = av.stream.Disposition.attached_pic
        video = container.add_stream_from_template(original.streams.video[0])
        picture = av.VideoFrame(64, 64, "yuvj420p")
        container.mux([*cover.encode(picture), *cover.encode(None)])
        for packet in original.demux(video=0):
            if packet.size:
                packet.stream = video
                container.mux(packet)
    with open_input(path) as container:
        assert choose_video_stream(path, container).width == 32
    run(path, *FAST, "out.mkv")
    assert len(decode_samples(Path("out.mkv"))) == 6


def test_streams_are_options_of_videos() -> None:
    Path("frames").mkdir()
    with pytest.raises(SystemExit, match="for videos, not for folders"):
        run("frames", "--rate", 24, "--stream", 1, "-o", "out.mkv")
