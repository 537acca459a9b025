"""Mistakes with videos: each is explained in one sentence, and nothing is written."""

from pathlib import Path

import av
import numpy as np
import pytest
from av.stream import Disposition

from tests.fixtures.demo import assert_refused
from tests.fixtures.videos import (
    moving_frames,
    write_clip,
)

pytestmark = pytest.mark.usefixtures("workdir")

MISTAKES = {
    "empty": ("empty.mp4", r"empty.mp4: the file is empty"),
    "text": ("text.mp4", r"text.mp4 is no video that can be read"),
    "truncated": ("truncated.mp4", r"truncated.mp4 is no video that can be read"),
    "sound only": ("sound.mp4", r"sound.mp4 holds no video stream \(audio only\)"),
    "cover only": ("cover.mp4", r"cover.mp4 holds no video stream \(audio, cover picture only\)"),
    "damaged codec": ("codec.mkv", r"codec.mkv beyond its first 0 frames: its codec is unknown"),
    "one frame": ("one.mp4", r"one.mp4 holds one frame"),
    "over itself": ("good.mp4 --output good.mp4", r"good.mp4 is among the frames to read"),
    "into AVI": ("good.mp4 --output out.avi", r"name a file ending in .mp4"),
    "VP9 into nothing": ("good.mp4 --output out.webm --codec h264", r"\.webm cannot hold libx264"),
    "unknown codec": ("good.mp4 --codec nope", r"no encoder 'nope' here"),
    "sound codec": ("good.mp4 --codec aac", r"aac encodes audio"),
    "pixels": ("good.mp4 --pix_fmt rgb24", r"cannot write --pix_fmt rgb24 here; it can: yuv420p"),
    "odd 4:2:0": ("odd.mkv --pix_fmt yuv420p", r"cannot write 35x48 as yuv420p"),
    "two qualities": ("good.mp4 --lossless --crf 3", r"--lossless or --crf 3"),
    "quality of lossless": ("good.mp4 --codec ffv1 --crf 3", r"ffv1 takes no --crf"),
    "preset": ("good.mp4 --preset warp", r"libx264 has no --preset warp; it has ultrafast, .*"),
    "preset of AV1": (
        "good.mp4 --codec av1 --preset slow",
        r"libsvtav1 has no --preset slow; .*13",
    ),
    "preset of VP9": ("good.mp4 --codec vp9 --preset slow", r"libvpx-vp9 takes no --preset"),
    "quality beyond H.264's": ("good.mp4 --crf 52", r"libx264 takes a --crf from 0 to 51, got 52"),
    "quality beyond AV1's": ("good.mp4 --codec av1 --crf 64", r"a --crf from 0 to 63, got 64"),
    "no quality": ("good.mp4 --crf 16.5", r"--crf: expected a whole number, got '16\.5'"),
    "no limit": ("good.mp4 --hold_gaps x", r"--hold_gaps: expected a number such as 0\.5"),
    "no stream": ("good.mp4 --stream x", r"--stream: expected a whole number, got 'x'"),
    "palette": ("good.mp4 --codec gif", r"gif cannot write .* written here \(it takes others\)"),
    "no output": ("good.mp4 --output /", r"--output: name a file or a folder, got '/'"),
    "negative quality": ("good.mp4 --codec hevc --crf -1", r"a --crf from 0 to 51, got -1"),
    "rate of MPEG-2": (
        "good.mp4 --codec mpeg2video --fps 7",
        r"mpeg2video cannot encode 64x48 yuv420p at 7 fps: .*--codec h264",
    ),
    "no Matroska": ("good.mp4 --codec h263", r"kept as Matroska, which cannot hold h263"),
    "two targets": ("good.mp4 --fps 60 --multi 2", r"not allowed with"),
    "times": ("good.mp4 --time 0.5", r"--time is for images"),
    "tiles": ("good.mp4 --tile 64", r"--tile 64 with sift\+dis: .*cannot be tiled"),
    "cut threshold": ("good.mp4 --cut_threshold 7", r"cut_threshold lies in \[0, 1\], got 7"),
    "nothing to resume": ("good.mp4 --resume", r"nothing to resume"),
    "resume and restart": ("good.mp4 --resume --restart", r"--resume or --restart"),
    "flow scale": ("good.mp4 --flow_scale 1/3 --model nope", r"'nope'"),
}


@pytest.fixture(scope="module")
def mistaken(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Files that are no good videos, and some that are."""
    folder = tmp_path_factory.mktemp("mistaken")
    good = write_clip(folder / "good.mp4", moving_frames(12)).read_bytes()
    (folder / "empty.mp4").touch()
    data = write_clip(folder / "codec.mkv", moving_frames(2)).read_bytes()
    (folder / "codec.mkv").write_bytes(data.replace(b"V_MPEG4/ISO", b"V_MPEG4/ISX"))
    (folder / "text.mp4").write_text("hello world")
    (folder / "truncated.mp4").write_bytes(good[: len(good) // 2])
    write_clip(folder / "one.mp4", moving_frames(1))
    write_clip(folder / "odd.mkv", moving_frames(2, 48, 35), codec="ffv1")
    with av.open(folder / "sound.mp4", "w") as container:
        stream = container.add_stream("aac", rate=48000)
        sound = av.AudioFrame.from_ndarray(np.zeros((2, 1024), np.float32), "fltp", "stereo")
        sound.sample_rate = 48000
        container.mux(stream.encode(sound))
        container.mux(stream.encode(None))
    with av.open(folder / "cover.mp4", "w") as container:
        cover = container.add_stream("mjpeg", rate=1, width=64, height=48, pix_fmt="yuvj420p")
        cover.disposition = Disposition.attached_pic
        stream = container.add_stream("aac", rate=48000)
        sound.pts = None
        container.mux([*cover.encode(av.VideoFrame(64, 48, "yuvj420p")), *cover.encode(None)])
        container.mux([*stream.encode(sound), *stream.encode(None)])
    return folder


@pytest.mark.parametrize("case", MISTAKES)
def test_mistake_is_explained_and_leaves_nothing(
    mistaken: Path, case: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(mistaken)
    assert_refused(mistaken, *MISTAKES[case], capsys)
