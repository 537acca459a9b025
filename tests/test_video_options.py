"""Judgement and views, as the whole of a video passes through them."""

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from torch import Tensor

from sgm_vfi.media.display_matrix import Orientation
from sgm_vfi.media.frame_readers import VideoReader
from sgm_vfi.media.images import read_samples
from sgm_vfi.video.detect_static_overlays import OverlayTracker
from sgm_vfi.video.output_timestamps import Target, Timeline
from sgm_vfi.video.pipeline import find_needed_frames
from sgm_vfi.video.produce_output_frames import FrameProducer, ProducerOptions
from sgm_vfi.video.segment_writers import rotate_flow
from sgm_vfi.video.segments_and_ranks import split_segments
from tests.fixtures.demo import receipt, run
from tests.fixtures.videos import decode_pictures, decode_samples, moving_frames, write_clip

pytestmark = pytest.mark.usefixtures("workdir")

FAST = ("--preset", "ultrafast")


def levels_apart(one: bytes, other: bytes) -> int:
    """The largest difference of two pictures' samples."""
    return max(abs(np.frombuffer(one, np.uint8).astype(int) - np.frombuffer(other, np.uint8)))


def two_scenes() -> list[Tensor]:
    """A pan, and its negative upside down."""
    return moving_frames(6) + [1 - frame.flip(-2) for frame in moving_frames(6)]


def test_a_cut_is_held_and_one_frame_no_more_or_less() -> None:
    """The frame before the cut is shown until it; everything else as without cuts."""
    source = write_clip(Path("in.mkv"), two_scenes(), codec="ffv1")
    common = (source, "--lossless", "--model", "blend", "--output")
    run(*common, "held.mkv")
    run(*common, "blended.mkv", "--at_cuts", "blend")
    run(*common, "across.mkv", "--no-cuts")
    assert receipt("held.mkv")["cuts"] == [{"frame": 6, "seconds": 0.24}]
    held, blended, across = (
        decode_samples(Path(f"{x}.mkv")) for x in ("held", "blended", "across")
    )
    assert [k for k in range(24) if levels_apart(blended[k], across[k]) > 3] == []
    assert held[11] == held[10]
    assert across[11] not in (across[10], across[12])
    assert [k for k in range(24) if held[k] != across[k]] == [11]


def test_repeats_are_spread_over_time_on_request() -> None:
    """Animation on twos: with --dedup every second frame is new, and as many as before."""
    frames = [frame for frame in moving_frames(6, step=8) for _ in range(2)]
    source = write_clip(Path("in.mkv"), frames, codec="ffv1")
    run(source, "--lossless", "--model", "blend", "--dedup", "--output", "out.mkv")
    run(source, "--lossless", "--model", "blend", "--output", "plain.mkv")
    spread, plain = decode_samples(Path("out.mkv")), decode_samples(Path("plain.mkv"))
    assert len(spread) == len(plain) == 24
    assert len(set(spread[:20])) == 20
    assert len(set(plain[:20])) == 10
    assert spread[::4] == plain[::4]


def test_what_stands_still_stays() -> None:
    """A box over a fast pan is not smeared where it is found, also after an interruption."""
    frames = [frame.clone() for frame in moving_frames(14, 96, 128, step=6)]
    for frame in frames:
        frame[..., 8:24, 8:40] = 0
    source = write_clip(Path("in.mkv"), frames, codec="ffv1", pix_fmt="yuv444p")
    for name, option in (("kept", ("--protect_static",)), ("plain", ())):
        run(source, "--lossless", "--output", f"{name}.mkv", *option)
    tracker = OverlayTracker()
    for frame in frames[:12]:
        tracker.feed(frame)
    found = (tracker.mask()[0, 0] > 0.6).numpy()
    assert found.sum() > 100
    middle, off = 21, {}  # between frames 10 and 11
    for name in ("kept", "plain"):
        luma = [
            p.to_ndarray(format="gray").astype(int) for p in decode_pictures(Path(f"{name}.mkv"))
        ]
        off[name] = abs(luma[middle] - luma[middle - 1])[found].mean()
    assert 2 * off["kept"] < off["plain"]


def test_unreliable_frames_are_blended_and_listed() -> None:
    """Two unrelated pictures, not taken for a cut: no motion explains them."""
    source = write_clip(Path("in.mkv"), two_scenes()[4:8], codec="ffv1")
    common = (source, "--lossless", "--no-cuts", "--output")
    run(*common, "judged.mkv", "--min_reliability", "0.5")
    run(*common, "blend.mkv", "--model", "blend")
    said = receipt("judged.mkv")
    assert said["refused as unreliable"] == 1
    assert said["frames made by the network"] == len(said["least reliable"]) == 3
    assert said["least reliable"][0]["seconds"] == pytest.approx(0.06)
    assert said["least reliable"][0]["score"] < 0.5 < said["least reliable"][1]["score"]
    assert read_samples(Path("judged_worst.jpg")).shape[1] == pytest.approx(1600, abs=8)
    pair = (decode_samples(Path(f"{name}.mkv"))[3] for name in ("judged", "blend"))
    assert levels_apart(*pair) <= 1


def test_views_are_videos_of_the_same_length() -> None:
    source = write_clip(Path("in.mp4"), moving_frames(4), audio=0.16, rotation=90)
    run(source, "--compare", "side", "--explain", "--output", "out.mp4", *FAST)
    sizes = {}
    for name in ("out", "out_compare", "out_explain"):
        shown = decode_pictures(Path(f"{name}.mp4"))
        sizes[name] = (len(shown), shown[0].width, shown[0].height, shown[0].rotation)
        with av.open(f"{name}.mp4") as container:
            assert len(container.streams.audio) == 1
    assert sizes["out"] == (8, 64, 48, decode_pictures(source)[0].rotation)
    assert sizes["out_compare"] == (8, 96, 64, 0)  # upright
    assert sizes["out_explain"][0] == 8
    assert sizes["out_explain"][3] == 0


@pytest.mark.parametrize("mirrored", [False, True])
@pytest.mark.parametrize("rotation", [0, 90, 180, 270])
def test_what_is_upright_is_shown_as_players_do(rotation: int, mirrored: bool) -> None:
    """Folders, views and clips: turned to the left, then mirrored left for right."""
    source = write_clip(
        Path("in.mp4"), moving_frames(2), rotation=rotation, mirrored=mirrored, pix_fmt="yuv444p"
    )
    stored = decode_pictures(source)[0].to_ndarray(format="rgb24").astype(int)
    shown = np.rot90(stored, rotation // 90)
    shown = np.flip(shown, axis=1) if mirrored else shown
    common = (source, "--model", "blend", "--output")
    run(*common, "frames")
    run(*common, "out.mkv", "--compare", "side", *FAST)
    view = decode_pictures(Path("out_compare.mkv"))[0].to_ndarray(format="rgb24").astype(int)
    width = shown.shape[1]
    half = np.s_[24:, width + 4 : 2 * width - 4]  # below the label
    assert abs(next(VideoReader("in", source).read_samples())[1].astype(int) - shown).max() <= 4
    assert abs(read_samples(Path("frames/000001.png")).astype(int) - shown).max() <= 4
    assert abs(view[half] - shown[24:, 4:-4]).mean() < 12  # its colours are halved
    assert receipt("out.mkv")["lost"] == []


def test_an_oblique_video_stays_one_and_gives_no_folder() -> None:
    source = write_clip(Path("in.mp4"), moving_frames(2), rotation=30)
    run(source, "--output", "out.mp4", *FAST)
    assert decode_pictures(Path("out.mp4"))[0].rotation == decode_pictures(source)[0].rotation
    with pytest.raises(SystemExit, match=r"by multiples of 90 degrees, got 30 degrees"):
        run(source, "--output", "frames", "--dry_run")


def test_flows_turn_with_their_pictures() -> None:
    """A vector to the right points up after a quarter to the left, and to the left in a mirror."""
    flow = torch.zeros(1, 4, 2, 3)
    flow[:, 0], flow[:, 3] = 5, 7  # to the right; down
    turned = rotate_flow(flow, Orientation(False, 90))
    assert turned.shape == (1, 4, 3, 2)
    assert turned[0, :, 0, 0].tolist() == [0, -5, 7, 0]
    assert rotate_flow(flow, Orientation(True, 0))[0, :, 0, 0].tolist() == [-5, 0, 0, 7]
    assert rotate_flow(flow, Orientation(True, 90))[0, :, 0, 0].tolist() == [0, 5, 7, 0]
    noise = torch.randn(1, 4, 2, 3)
    for orientation, inverse in (((False, 90), (False, 270)), ((True, 90), (True, 90))):
        there = rotate_flow(noise, Orientation(*orientation))
        assert torch.equal(rotate_flow(there, Orientation(*inverse)), noise)


def test_a_piece_needs_no_more_than_the_frames_before_it() -> None:
    """What an overlay is known by is decoded also where work begins in the middle."""
    timeline = Timeline([Fraction(k) for k in range(30)], Fraction(30), Target(multi=2))
    last = [*split_segments(timeline.output_frames(), (), 20)][-1]
    assert [*find_needed_frames([last])] == [*range(20, 30)]
    assert [*find_needed_frames([last], num_history=8)] == [*range(13, 30)]
    assert ProducerOptions(protect_static=True).num_history == 8


def test_the_maker_gives_what_lies_beyond_rgb_back() -> None:
    """A still frame with samples beyond [0, 1] is still, whatever the network is."""

    class Grey:
        network = None

        def interpolate(
            self, pair: tuple[int, int], frame0: Tensor, *_: object, **__: object
        ) -> object:
            return type("Result", (), {"frame": frame0, "explanation": None})

    frame = torch.linspace(-0.2, 1.2, 12).view(1, 3, 2, 2)

    class Held:
        def get_pair(self, _: object) -> tuple[Tensor, Tensor]:
            return frame, frame

        def get_context(self, _: object) -> dict[str, Tensor]:
            return {}

    timeline = Timeline([Fraction(0), Fraction(1)], Fraction(2), Target(multi=2))
    producer = FrameProducer(Grey(), ProducerOptions())
    for output_frame in timeline.output_frames():
        np.testing.assert_allclose(producer.produce(output_frame, Held()).frame, frame, atol=1e-7)


def test_frames_as_a_folder(workdir: Path) -> None:
    """Numbered PNG files, upright, with the times that they are shown, and nothing else."""
    source = write_clip(Path("in.mp4"), moving_frames(4), rotation=90, audio=0.1)
    run(source, "--output", "frames", "--segment_frames", "2", "--model", "blend")
    names = [f"{number:06d}.png" for number in range(1, 9)]
    assert sorted(file.name for file in Path("frames").iterdir()) == [*names, "timestamps.txt"]
    assert Path("frames/timestamps.txt").read_text().split("\n")[1:4] == [
        "0.000000", "20.000000", "40.000000"
    ]  # fmt: skip
    upright = next(VideoReader("in", source).read_samples())[1]
    given = read_samples(Path("frames/000001.png")).astype(int)
    assert given.shape == upright.shape == (64, 48, 3)
    assert abs(given - upright).max() <= 6  # swscale enlarges chroma in another way
    assert abs(given - upright).mean() < 1
    assert receipt("frames")["lost"] == ["audio stream 1 (aac): a folder holds frames only"]
    assert sorted(path.name for path in workdir.iterdir()) == ["frames", "frames.json", "in.mp4"]
    with pytest.raises(SystemExit, match="frames is there already"):
        run(source, "--output", "frames")
    with pytest.raises(SystemExit, match="no options of encoders"):
        run(source, "--output", "other", "--crf", "3")


def test_deep_frames_as_deep_files() -> None:
    source = write_clip(Path("in.mp4"), moving_frames(2), pix_fmt="yuv420p10le")
    run(source, "--output", "frames", "--model", "blend")
    assert read_samples(Path("frames/000002.png")).dtype == np.uint16


def test_a_wrong_name_is_found_before_a_video_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    def read(*_: object) -> None:
        raise AssertionError("read")

    monkeypatch.setattr("sgm_vfi.video.command.plan_video", read)
    write_clip(Path("clip.mp4"), moving_frames(2))
    Path("frames").mkdir()
    for given in (["clip.mp4"], ["frames", "--output", "film.mp4", "--rate", 24]):
        with pytest.raises(SystemExit, match="Did you mean matched"):
            run(*given, "--model", "matchd")
