"""Videos that browsers and phones show: pixel formats, sizes, and the defaults of `--for`."""

from fractions import Fraction
from pathlib import Path

import av
import pytest
import torch

from sgm_vfi.media.images import write_frame
from sgm_vfi.video.colour_conversion import PLANE_LAYOUTS
from sgm_vfi.video.encoding_options import EncodingOptions, apply_purpose, describe_purpose
from sgm_vfi.video.input_frame_size import fit_size, parse_max_size, resize_planes
from tests.fixtures.demo import receipt, run
from tests.fixtures.videos import decode_pictures, moving_frames, write_clip

pytestmark = pytest.mark.usefixtures("workdir")

FAST = ("--model", "blend", "--preset", "ultrafast")


def describe(path: str) -> tuple[str, int, int, str]:
    """Codec, width, height and pixel format."""
    picture = decode_pictures(Path(path))[0]
    with av.open(path) as container:
        codec = container.streams.video[0].codec_context.name
    return codec, picture.width, picture.height, picture.format.name


@pytest.mark.parametrize(("bits", "width"), [(8, 64), (16, 35)])
def test_images_become_a_video_that_players_show(bits: int, width: int) -> None:
    """4:2:0 of 8 bits and of even size; all that is lost is said."""
    Path("frames").mkdir()
    for number, frame in enumerate(moving_frames(3, 48, width)):
        write_frame(Path("frames", f"{number}.png"), frame[0], bits)
    run("frames", "--rate", 24, *FAST, "--output", "out.mp4")
    assert describe("out.mp4") == ("h264", width // 2 * 2, 48, "yuv420p")
    notes = " ".join(receipt("out.mp4")["notes"])
    assert "few players show as h264" in notes
    assert ("35x48 loses its odd row or column" in notes) == (width == 35)
    shown = decode_pictures(Path("out.mp4"))[0].to_ndarray(format="rgb24") / 255
    given = moving_frames(3, 48, width)[0][0, ..., : width // 2 * 2].movedim(0, -1)
    assert abs(shown - given.numpy()).mean() < 0.04


def test_whoever_asks_keeps_all_colours() -> None:
    source = write_clip(Path("in.mkv"), moving_frames(2, 48, 35), codec="ffv1", pix_fmt="gbrp10le")
    run(source, *FAST, "--pix_fmt", "yuv444p", "--output", "a.mp4")
    run(source, "--model", "blend", "--lossless", "--output", "b.mkv")
    assert describe("a.mp4") == ("h264", 35, 48, "yuv444p")
    assert describe("b.mkv")[1:] == (35, 48, "gbrp10le")


def test_few_players_show_4_2_2_in_h264() -> None:
    source = write_clip(Path("in.mp4"), moving_frames(2), pix_fmt="yuv422p")
    run(source, *FAST, "--output", "out.mp4")
    assert any("few browsers and phones show yuv422p" in x for x in receipt("out.mp4")["notes"])


def test_for_web_plays_everywhere() -> None:
    """Sound that phones may not play is encoded again; other streams and sizes stay."""
    clip = write_clip(Path("x.mkv"), moving_frames(5, 46, 63), pix_fmt="yuv444p10le", audio=0.2)
    with av.open(clip) as old, av.open("in.mkv", "w") as new:
        video = new.add_stream_from_template(old.streams.video[0])
        sound = new.add_stream("libopus", rate=48000, layout="stereo")
        resampler = av.AudioResampler("s16", "stereo", 48000)
        for packet in old.demux(old.streams.video[0]):
            if packet.size:
                packet.stream = video
                new.mux(packet)
        old.seek(0)
        for frame in old.decode(audio=0):
            for converted in resampler.resample(frame):
                new.mux(sound.encode(converted))
        new.mux(sound.encode(None))
    run("in.mkv", *FAST, "--for", "web", "--output", "out.mp4")
    assert describe("out.mp4") == ("h264", 62, 46, "yuv420p")
    with av.open("out.mp4") as container:
        sound = container.streams.audio[0]
        assert sound.codec_context.name == "aac"
        assert float(sound.duration * sound.time_base) == pytest.approx(0.2, abs=0.05)
    data = Path("out.mp4").read_bytes()
    assert data.index(b"moov") < data.index(b"mdat")  # begins to play before all is loaded


@pytest.mark.parametrize(
    ("purpose", "output", "codec"),
    [("edit", "output/in_2x_blend.mov", "prores"), ("archive", "output/in_2x_blend.mkv", "ffv1")],
)
def test_purposes_choose_codec_and_container(
    purpose: str, output: str, codec: str, capsys: pytest.CaptureFixture[str]
) -> None:
    source = write_clip(Path("in.mp4"), moving_frames(2), audio=0.1)
    run(source, "--model", "blend", "--for", purpose)
    assert describe(output)[0] == codec
    assert f"for     {purpose}: --codec {codec}" in capsys.readouterr().out


def test_what_is_given_wins_over_the_purpose() -> None:
    web = EncodingOptions(purpose="web")
    assert describe_purpose(web).startswith("web: --codec h264 --crf 20;")
    assert apply_purpose(EncodingOptions(purpose="web", crf=9)).crf == 9
    hevc = apply_purpose(EncodingOptions(purpose="web", codec="hevc"))
    assert (hevc.codec, hevc.crf) == ("hevc", None)
    lossy = apply_purpose(EncodingOptions(purpose="archive", codec="h264", crf=3))
    assert (lossy.codec, lossy.lossless) == ("h264", False)


def test_frames_are_scaled_before_they_are_interpolated(capsys: pytest.CaptureFixture) -> None:
    """A rotated video fits as it is shown; the rows that decide about colours are named."""
    frames = moving_frames(3, 96, 160)
    source = write_clip(Path("in.mp4"), frames, rotation=90, aspect=Fraction(4, 3))
    run(source, *FAST, "--max_size", "60x80", "--output", "out.mp4")
    assert describe("out.mp4") == ("h264", 80, 48, "yuv420p")
    assert "in.mp4: 3 frames, 25 fps, 0.120 s, 160x96" in capsys.readouterr().out
    assert any("160x96 is scaled" in note for note in receipt("out.mp4")["notes"])
    shown = decode_pictures(Path("out.mp4"))
    with av.open("out.mp4") as container:
        assert container.streams.video[0].sample_aspect_ratio == Fraction(4, 3)
    assert shown[0].colorspace == 6
    small = torch.nn.functional.interpolate(frames[0], scale_factor=0.5, mode="area")[0]
    got = torch.from_numpy(shown[0].to_ndarray(format="rgb24")).movedim(-1, 0) / 255
    assert (got - small).abs().mean() < 0.05


def test_sizes_fit() -> None:
    assert parse_max_size("1280") == (1280, 1280)
    assert parse_max_size("1280x720") == (720, 1280)
    assert fit_size(1080, 1920, (1280, 1280), is_even=False) == (720, 1280)
    assert fit_size(479, 853, (853, 853), is_even=False) == (479, 853)
    assert fit_size(479, 853, (701, 701), is_even=False) == (394, 700)
    assert fit_size(479, 853, None, is_even=True) == (478, 852)
    assert fit_size(3, 4000, (100, 100), is_even=False) == (2, 100)
    with pytest.raises(ValueError, match="at least 2 pixels"):
        parse_max_size("1")


def test_scaled_samples_keep_their_depth_and_range() -> None:
    layout = PLANE_LAYOUTS["yuv420p10le"]
    planes = [torch.full((20, 30), 1023, dtype=torch.int32)]
    planes += [torch.full((10, 15), 512, dtype=torch.int32) for _ in range(2)]
    luma, blue, red = resize_planes(planes, layout, 10, 16)
    assert luma.shape == (10, 16)
    assert blue.shape == red.shape == (5, 8)
    assert luma.dtype == torch.int32
    assert (luma == 1023).all()
    assert (blue == 512).all()
    noise = [torch.randint(256, size, dtype=torch.uint8) for size in ((5, 7), (3, 4), (3, 4))]
    cut = resize_planes(noise, PLANE_LAYOUTS["yuv420p"], 4, 6)
    assert torch.equal(cut[0], noise[0][:4, :6])
    assert torch.equal(cut[1], noise[1][:2, :3])
