"""Videos as people have them: right results that keep all the rest, or errors that help."""

import re
import sys
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import av
import numpy as np
import pytest
import torch

from sgm_vfi import demo_2x
from sgm_vfi.video.av_frames import read_hdr_metadata
from sgm_vfi.video.source_video import probe_video
from tests.fixtures.demo import receipt, run
from tests.fixtures.videos import (
    decode_pictures,
    decode_samples,
    moving_frames,
    read_packets,
    read_timestamps,
    write_clip,
)

pytestmark = pytest.mark.usefixtures("workdir")

PYTHON = (sys.executable, demo_2x.__file__)
FAST = ("--model", "blend", "--preset", "ultrafast")


def gaps(path: Path) -> set[Fraction]:
    return {after - before for before, after in pairwise(read_timestamps(path))}


def test_everything_is_kept(workdir: Path) -> None:
    """Frames twice, at twice the rate, and all that was beside them, packet by packet."""
    Path("words.srt").write_text("1\n00:00:00,100 --> 00:00:00,300\nHello\n")
    tick = Fraction(1, 1000)
    source = write_clip(
        Path("in.mkv"),
        moving_frames(9),
        rate=Fraction(30000, 1001),
        tags=(1, 1, 1, 13),
        aspect=Fraction(4, 3),
        audio=0.6,
        subtitle=Path("words.srt"),
        chapters=[{"id": 1, "start": 0, "end": 200, "time_base": tick,
                   "metadata": {"title": "One"}}],
        title="A title",
    )  # fmt: skip
    run(source, "--output", "out.mkv", *FAST)
    assert len(decode_pictures(Path("out.mkv"))) == 18
    shown = read_timestamps(Path("out.mkv"))
    assert all(abs(t - shown[0] - Fraction(k * 1001, 60000)) <= tick for k, t in enumerate(shown))
    for kind in ("audio", "subtitle"):
        assert read_packets(Path("out.mkv"), kind) == read_packets(source, kind) != []
    with av.open("out.mkv") as container:
        stream = container.streams.video[0]
        assert container.metadata["title"] == "A title"
        assert [c["metadata"]["title"] for c in container.chapters()] == ["One"]
        assert stream.sample_aspect_ratio == Fraction(4, 3)
    picture = decode_pictures(Path("out.mkv"))[0]
    tags = (picture.colorspace, picture.color_range, picture.color_primaries, picture.color_trc)
    assert tags == (1, 1, 1, 13)
    said = receipt("out.mkv")
    assert (said["frames"], said["source frames"], said["lost"]) == (18, 9, [])
    assert sorted(path.name for path in workdir.iterdir()) == [
        "in.mkv", "out.mkv", "out.mkv.json", "words.srt"
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("rate", "option", "count", "gap"),
    [
        (Fraction(24000, 1001), ("--fps", "60"), 60, Fraction(1, 60)),
        (Fraction(24), ("--fps", "24000/1001"), 24, Fraction(1001, 24000)),
        (Fraction(30), ("--multi", "5"), 120, Fraction(1, 150)),
        (Fraction(60), ("--fps", "25"), 10, Fraction(1, 25)),
        (Fraction(25), ("--slow", "2"), 48, Fraction(1, 25)),
        (Fraction(25), ("--slow", "1.5"), 36, Fraction(1, 25)),
    ],
)
def test_rates(rate: Fraction, option: tuple[str, str], count: int, gap: Fraction) -> None:
    source = write_clip(Path("in.mp4"), moving_frames(24), rate=rate, audio=0.2)
    run(source, "--output", "out.mp4", *option, *FAST)
    assert len(decode_pictures(Path("out.mp4"))) == count
    assert gaps(Path("out.mp4")) == {gap}
    with av.open("out.mp4") as container:
        stream = container.streams.video[0]
        duration = stream.duration * stream.time_base
        assert len(container.streams) == (1 if option[0] == "--slow" else 2)
    stretch = Fraction(option[1]) if option[0] == "--slow" else 1
    assert abs(duration - 24 / rate * stretch) <= gap
    assert bool(receipt("out.mp4")["lost"]) == (option[0] == "--slow")


def test_originals_keep_their_samples_and_a_still_scene_is_still() -> None:
    """Encoded without loss, every other frame is the source's, bit by bit; nothing flickers."""
    colours = torch.rand(1, 3, 6, 8, generator=torch.Generator().manual_seed(1))
    chart = colours.repeat_interleave(8, 2).repeat_interleave(8, 3) * 0.8 + 0.1
    for name, pix_fmt, frames in (
        ("chart", "yuv420p", [chart] * 4),
        ("pan", "yuv422p", moving_frames(4)),
    ):
        lossless = {"qp": "0"}
        source = write_clip(Path(f"{name}.mp4"), frames, pix_fmt=pix_fmt, options=lossless)
        run(source, "--output", f"{name}2.mkv", "--lossless", "--model", "blend")
        before, after = decode_samples(source), decode_samples(Path(f"{name}2.mkv"))
        assert after[::2] == before
        if name == "chart":
            assert len(set(after)) == 1


def test_colours_are_those_of_the_same_encode_without_us() -> None:
    """Through x264 at CRF 16, a chart is within 1 of 255 of encoding the source's samples."""
    colours = torch.rand(1, 3, 6, 8, generator=torch.Generator().manual_seed(2))
    chart = colours.repeat_interleave(16, 2).repeat_interleave(16, 3)
    source = write_clip(Path("in.mp4"), [chart] * 4, options={"qp": "0"}, tags=(6, 1, 6, 6))
    run(source, "--output", "out.mp4", "--model", "classical")
    with av.open("plain.mp4", "w") as container:
        stream = container.add_stream(
            "libx264", rate=50, options={"crf": "16"}, width=128, height=96, pix_fmt="yuv420p"
        )
        for number, picture in enumerate(p for p in decode_pictures(source) for _ in range(2)):
            picture.pts, picture.time_base = number, Fraction(1, 50)
            picture.pict_type = 0
            container.mux(stream.encode(picture))
        container.mux(stream.encode(None))
    ours = [p.to_ndarray(format="rgb24").astype(int) for p in decode_pictures(Path("out.mp4"))]
    plain = [p.to_ndarray(format="rgb24").astype(int) for p in decode_pictures(Path("plain.mp4"))]
    assert len(ours) == len(plain) == 8
    assert max(abs(a - b).max() for a, b in zip(ours, plain, strict=True)) <= 1
    flicker = [max(abs(frames[0] - frame).max() for frame in frames) for frames in (ours, plain)]
    assert flicker[0] <= flicker[1]  # what the codec alone does


@pytest.mark.parametrize(
    ("pix_fmt", "codec"),
    [("yuv420p10le", "libx264"), ("yuv422p", "libx264"), ("yuv444p", "libx264"),
     ("yuv422p10le", "ffv1"), ("yuv420p12le", "ffv1"), ("gbrp10le", "ffv1")],
)  # fmt: skip
def test_depth_and_chroma_stay(pix_fmt: str, codec: str) -> None:
    source = write_clip(Path("in.mkv"), moving_frames(3), pix_fmt=pix_fmt, codec=codec)
    run(source, "--output", "out.mkv", "--codec", "same", "--model", "blend")
    out = decode_pictures(Path("out.mkv"))
    assert [picture.format.name for picture in out] == [pix_fmt] * 6
    if codec == "ffv1":
        assert decode_samples(Path("out.mkv"))[::2] == decode_samples(source)


@pytest.mark.parametrize(("height", "width"), [(45, 64), (48, 35), (33, 17), (2, 2)])
def test_odd_and_tiny_sizes(height: int, width: int) -> None:
    """x264 has no 4:2:0 of odd sizes: chroma is kept for more pixels there, and it is said."""
    source = write_clip(Path("in.mkv"), moving_frames(3, height, width), codec="ffv1")
    run(source, "--output", "out.mp4", *FAST)
    out = decode_pictures(Path("out.mp4"))
    assert (len(out), out[0].height, out[0].width) == (6, height, width)
    is_odd = bool(height % 2 or width % 2)
    wanted = "yuv444p" if width % 2 else "yuv422p" if height % 2 else "yuv420p"
    assert out[0].format.name == wanted
    assert is_odd == any("odd size" in note for note in receipt("out.mp4")["notes"])


def test_variable_rate() -> None:
    """Each interval is divided where it is, and sound stays beside it."""
    stamps = [0, 40, 50, 200, 210]
    tick = Fraction(1, 1000)
    source = write_clip(Path("in.mkv"), moving_frames(5), stamps=stamps, tick=tick, audio=0.3)
    run(source, "--hold_gaps", 0, "--output", "out.mp4", *FAST)
    with av.open("out.mp4") as container:
        start = {s.type: s.start_time * s.time_base for s in container.streams}
    with av.open(source) as container:
        before = {s.type: s.start_time * s.time_base for s in container.streams}
    assert start["video"] - start["audio"] == before["video"] - before["audio"]
    shown = [
        time - read_timestamps(Path("out.mp4"))[0] for time in read_timestamps(Path("out.mp4"))
    ]
    wanted = [0, 20, 40, 45, 50, 125, 200, 205, 210]
    assert shown[:9] == [Fraction(when, 1000) for when in wanted]


@pytest.mark.parametrize("rotation", [90, 180, 270])
def test_rotation_stays(rotation: int) -> None:
    source = write_clip(Path("in.mp4"), moving_frames(2), rotation=rotation)
    for suffix in ("mp4", "mkv"):
        run(source, "--output", f"out.{suffix}", *FAST)
        out = decode_pictures(Path(f"out.{suffix}"))
        assert {p.rotation for p in out} == {decode_pictures(source)[0].rotation} != {0}
        assert (out[0].height, out[0].width) == (48, 64)


def test_what_was_counted_of_the_old_pictures_is_not_said_of_the_new() -> None:
    """mkvmerge's statistics of the video; of a stream that is copied they stay true."""
    counted = {"BPS-eng": "1", "NUMBER_OF_FRAMES": "4", "_STATISTICS_TAGS": "BPS", "DURATION": "9"}
    counted |= {"NUMBER_OF_BYTES-eng": "5", "ENCODER": "old", "_STATISTICS_WRITING_APP-eng": "x"}
    source = write_clip(Path("plain.mkv"), moving_frames(4), audio=0.1)
    with av.open(source) as plain, av.open("in.mkv", "w") as container:
        copies = [container.add_stream_from_template(stream) for stream in plain.streams]
        for copy in copies:
            copy.metadata.update({**counted, "title": "A title"})
        for packet in plain.demux():
            if packet.size:
                packet.stream = copies[packet.stream.index]
                container.mux(packet)
    run("in.mkv", "--output", "out.mkv", *FAST)
    with av.open("out.mkv") as container:
        video, audio = (stream.metadata for stream in container.streams)
    assert video.pop("DURATION") == "00:00:00.160000000"  # which the container counts anew
    assert "libx264" in video.pop("ENCODER", "libx264")
    assert video == {"title": "A title"}
    assert {"BPS-eng", "NUMBER_OF_FRAMES", "title"} <= audio.keys()


def test_full_range_and_wide_gamut_stay() -> None:
    tags = (9, 2, 9, 16)
    frames = moving_frames(2)
    source = write_clip(Path("in.mp4"), frames, tags=tags, pix_fmt="yuv420p10le")
    run(source, "--output", "out.mp4", "--crf", "1", *FAST)
    picture = decode_pictures(Path("out.mp4"))[0]
    got = (picture.colorspace, picture.color_range, picture.color_primaries, picture.color_trc)
    assert (got, picture.format.name) == (tags, "yuv420p10le")
    one, other = (
        np.concatenate([np.frombuffer(plane, "<u2") for plane in p.planes]).astype(int)
        for p in (picture, decode_pictures(source)[0])
    )
    assert abs(one - other).mean() < 2


HDR10 = "G(13250,34500)B(7500,3000)R(34000,16000)WP(15635,16450)L(10000000,1)"


@pytest.mark.parametrize("codec", ["h264", "hevc"])
def test_hdr10_metadata_stay(codec: str) -> None:
    options = {"x265-params": f"log-level=error:master-display={HDR10}:max-cll=1000,400"}
    source = write_clip(
        Path("in.mp4"),
        moving_frames(3),
        codec="libx265",
        pix_fmt="yuv420p10le",
        tags=(9, 1, 9, 16),
        options=options,
    )
    run(source, "--output", "out.mp4", "--codec", codec, "--model", "blend")
    metadata = read_hdr_metadata(decode_pictures(Path("out.mp4"))[0])
    assert metadata.content_light == (1000, 400)
    assert metadata.encoder_parameters("m", "c") == [f"m={HDR10}", "c=1000,400"]
    assert receipt("out.mp4")["lost"] == []
    run(source, "--output", "out.mkv", "--codec", "ffv1", "--model", "blend")
    assert receipt("out.mkv")["lost"] == []


def test_what_a_container_cannot_hold_is_said_first(capsys: pytest.CaptureFixture[str]) -> None:
    Path("words.srt").write_text("1\n00:00:00,000 --> 00:00:00,300\nHello\n")
    source = write_clip(Path("in.mkv"), moving_frames(2), subtitle=Path("words.srt"))
    run(source, "--output", "out.mp4", "--dry_run", *FAST)
    assert re.search(r"lost +subtitle stream 1 .*\.mp4 cannot hold it", capsys.readouterr().out)
    assert not Path("out.mp4").exists()
    run(source, "--output", "out.mp4", *FAST)
    with av.open("out.mp4") as container:
        assert [stream.type for stream in container.streams] == ["video"]


def test_chapters_are_slowed_down_with_the_pictures() -> None:
    tick = Fraction(1, 1000)
    chapters = [{"id": 1, "start": 40, "end": 100, "time_base": tick, "metadata": {}}]
    source = write_clip(Path("in.mkv"), moving_frames(5), chapters=chapters)
    run(source, "--slow", "3", "--output", "out.mkv", *FAST)
    with av.open("out.mkv") as container:
        (chapter,) = container.chapters()
    assert [chapter[end] * chapter["time_base"] for end in ("start", "end")] == [
        Fraction(12, 100), Fraction(30, 100)
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "codec", "pix_fmt"),
    [("in.avi", "mpeg4", "yuv420p"), ("in.ts", "libx264", "yuv420p"),
     ("in.h264", "libx264", "yuv420p"), ("in.webm", "libvpx-vp9", "yuv420p"),
     ("in.mov", "prores_ks", "yuv422p10le"), ("in.gif", "gif", "rgb8")],
)  # fmt: skip
def test_other_containers(name: str, codec: str, pix_fmt: str) -> None:
    """Whatever FFmpeg reads: with timestamps or without, YUV or a palette."""
    source = Path(name)
    if codec == "gif":
        with av.open(source, "w") as container:
            stream = container.add_stream("gif", rate=25, width=64, height=48, pix_fmt="rgb8")
            for number, frame in enumerate(moving_frames(5)):
                shades = (frame[0].movedim(0, -1).numpy() * 255).astype(np.uint8)
                picture = av.VideoFrame.from_ndarray(shades).reformat(format="rgb8")
                picture.pts, picture.time_base = number, Fraction(1, 25)
                container.mux(stream.encode(picture))
            container.mux(stream.encode(None))
    else:
        write_clip(source, moving_frames(5), codec=codec, pix_fmt=pix_fmt)
    run(source, "--output", "out.mp4", *FAST)
    assert len(decode_pictures(Path("out.mp4"))) == 10
    assert gaps(Path("out.mp4")) == {Fraction(1, 50)}


@pytest.mark.parametrize(
    ("codec", "suffix", "name"),
    [("h264", "mkv", "h264"), ("hevc", "mp4", "hevc"), ("vp9", "webm", "vp9"),
     ("av1", "mp4", "av1"), ("prores", "mov", "prores"), ("ffv1", "mkv", "ffv1"),
     ("mpeg4", "mp4", "mpeg4")],
)  # fmt: skip
def test_pieces_of_every_codec_join(codec: str, suffix: str, name: str) -> None:
    """Encoders that show pictures out of order too: every frame once, in order, at its time."""
    frames = [frame * 0 + number / 16 for number, frame in enumerate(moving_frames(16))]
    source = write_clip(Path("in.mkv"), frames, codec="ffv1")
    output = Path(f"out.{suffix}")
    run(source, "--output", output, "--codec", codec, "--segment_frames", "8", "--model", "blend",
        "--no-cuts")  # fmt: skip
    shown = read_timestamps(output)
    assert all(abs(time - Fraction(k, 50)) <= Fraction(1, 1000) for k, time in enumerate(shown))
    levels = [picture.to_ndarray(format="gray").mean() for picture in decode_pictures(output)]
    assert len(levels) == 32
    assert all(after > before + 3 for before, after in pairwise(levels[:31]))
    with av.open(output) as container:
        packet_times = [p.dts for p in container.demux(video=0) if p.dts is not None]
        assert packet_times == sorted(set(packet_times))
        assert container.streams.video[0].codec.canonical_name == name


def test_sound_longer_than_the_picture() -> None:
    source = write_clip(Path("in.mp4"), moving_frames(5), audio=2.0)
    run(source, "--output", "out.mp4", *FAST)
    assert read_packets(Path("out.mp4"), "audio") == read_packets(source, "audio")
    assert len(decode_pictures(Path("out.mp4"))) == 10


def test_dry_run_writes_nothing(workdir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = write_clip(Path("in.mp4"), moving_frames(4), audio=0.1)
    run(source, "--fps", "60", "--dry_run")
    said = capsys.readouterr().out
    for word in (
        "4 frames",
        "10 frames, 60 fps",
        "libx264 (crf 16",
        "none found",
        "audio stream 1",
    ):
        assert word in said
    assert [path.name for path in workdir.iterdir()] == ["in.mp4"]


def test_a_file_that_was_cut_off_is_noticed() -> None:
    """Matroska can be read up to where it ends; that this is too early is said."""
    for audio in (0.0, 0.4):
        source = write_clip(Path("in.mkv"), moving_frames(12), codec="ffv1", audio=audio)
        data = source.read_bytes()
        source.write_bytes(data[: len(data) // 2])
        run(source, "--output", "out.mkv", "--overwrite", *FAST)
        said = receipt("out.mkv")
        assert 2 * said["source frames"] == said["frames"] < 24
        assert any("0.480 s" in note and "cut off" in note for note in said["notes"])
    run(write_clip(Path("long.mkv"), moving_frames(5), audio=2.0), "--output", "new.mkv", *FAST)
    assert not any("cut off" in note for note in receipt("new.mkv")["notes"])


@pytest.mark.parametrize("name", ["in.mkv", "in.mp4", "in.ts", "in.avi"])
def test_a_late_start_is_no_early_end(name: str) -> None:
    """Also of a file that begins late and was cut off, that is said."""
    codec = "ffv1" if name == "in.mkv" else "mpeg4"
    source = write_clip(Path(name), moving_frames(12), stamps=range(100, 112), codec=codec)
    assert not any("cut off" in note for note in probe_video(source).notes)
    if name == "in.mkv":
        data = source.read_bytes()
        source.write_bytes(data[: len(data) // 2])
        assert any("4.480 s and ends after 4." in note for note in probe_video(source).notes)


def test_two_frames_are_enough() -> None:
    source = write_clip(Path("in.mp4"), moving_frames(2))
    run(source, *FAST)
    assert len(decode_pictures(Path("output/in_2x_blend.mp4"))) == 4
