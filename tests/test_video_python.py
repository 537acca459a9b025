"""Videos from Python: frames in, frames out; and whole files."""

from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import pytest
import torch

from sgm_vfi.model import Interpolator, load_interpolator
from sgm_vfi.model.sgm.network import SGM
from sgm_vfi.video import (
    EncodingOptions,
    MemoryBudget,
    Target,
    TimedFrame,
    VideoOptions,
    interpolate,
    interpolate_file,
)
from tests.conftest import TINY, randomize_weights
from tests.fixtures.videos import decode_samples, moving_frames, write_clip

BLEND = load_interpolator("blend")


def frames(count: int = 6) -> list[torch.Tensor]:
    return [frame[0] for frame in moving_frames(count)]


@pytest.mark.parametrize("target", [Target(multi=3), Target(fps=Fraction(40)), Target(slow=2)])
def test_frames_are_those_of_the_file(tmp_path: Path, target: Target) -> None:
    """The same frames at the same times, whether they come from a file or from anywhere."""
    options = VideoOptions(target=target, encoding=EncodingOptions(codec="ffv1", pix_fmt="yuv444p"))
    source = write_clip(tmp_path / "in.mkv", moving_frames(6), codec="ffv1", pix_fmt="yuv444p")
    receipt = interpolate_file(source, tmp_path / "out.mkv", options, network=BLEND)
    stream = list(interpolate(frames(), options, rate=25, network=BLEND))
    assert len(stream) == receipt["frames"] == len(decode_samples(tmp_path / "out.mkv"))
    write_clip(
        tmp_path / "stream.mkv",
        [timed.frame[None] for timed in stream],
        codec="ffv1",
        pix_fmt="yuv444p",
    )
    pairs = zip(
        decode_samples(tmp_path / "out.mkv"), decode_samples(tmp_path / "stream.mkv"), strict=True
    )
    largest = max(abs(x - y) for one, other in pairs for x, y in zip(one, other, strict=True))
    assert largest <= 1  # the file went through whole samples
    step = (
        1 / target.fps if target.fps else Fraction(target.stretch, 25 * target.frames_per_interval)
    )
    assert [timed.seconds for timed in stream] == [k * step for k in range(len(stream))]


def test_another_network_is_another_run(
    tmp_path: Path, tiny: SGM, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of one class, of other settings or weights, or with less effort: it does not go on."""
    source = write_clip(tmp_path / "in.mp4", moving_frames(3))
    unmatched = [
        randomize_weights(SGM(replace(TINY, keypoint_ratio=None)), seed).eval() for seed in (0, 1)
    ]
    runs = {
        "network": [(load_interpolator(name), None) for name in ("classical", "matched")],
        "weights": [(network, None) for network in unmatched],
        "keypoint_ratio": [(tiny, None), (unmatched[0], None)],
        "flow_scale": [(BLEND, MemoryBudget()), (BLEND, MemoryBudget(0.5))],
    }
    for number, (name, (first, other)) in enumerate(runs.items()):
        output = tmp_path / f"{number}.mkv"

        def go(run: tuple[Interpolator, MemoryBudget | None], output: Path = output) -> object:
            return interpolate_file(source, output, network=run[0], budget=run[1])

        with monkeypatch.context() as patch:
            patch.setattr("sgm_vfi.video.finish_output.join_video", interrupted)
            with pytest.raises(KeyboardInterrupt):
                go(first)
        with pytest.raises(ValueError, match=rf"other settings: .*{name}.*, now "):
            go(other)
        assert go(first)["frames made in this run"] == 0


def interrupted(*_: object) -> None:
    raise KeyboardInterrupt


def test_a_dry_run_says_what_would_be_done(tmp_path: Path) -> None:
    source = write_clip(tmp_path / "in.mp4", moving_frames(4), audio=0.1)
    options = VideoOptions(target=Target(slow=3), dry_run=True)
    said = interpolate_file(source, tmp_path / "out.mp4", options)
    assert [path.name for path in tmp_path.iterdir()] == ["in.mp4"]
    assert said["lost"]
    done = interpolate_file(source, tmp_path / "out.mp4", replace(options, dry_run=False))
    assert said["frames"] == done["frames"] == 12
    assert {name: done[name] for name in said if name != "settings"} == {
        name: said[name] for name in said if name != "settings"
    }


def test_frames_are_given_as_soon_as_they_can_be() -> None:
    """Nothing is read further ahead than to the next frame, and originals go out as they are."""
    read = []

    def source() -> object:
        for number, frame in enumerate(frames()):
            read.append(number)
            yield frame

    stream = interpolate(source(), VideoOptions(cuts=False), rate=25, network=BLEND)
    assert read == []
    first, second, third = next(stream), next(stream), next(stream)
    assert read == [0, 1, 2]
    assert torch.equal(first.frame, frames()[0])
    assert torch.equal(third.frame, frames()[1])
    torch.testing.assert_close(second.frame, (first.frame + third.frame) / 2)
    assert isinstance(first, TimedFrame)


def test_times_may_be_uneven() -> None:
    stamped = [(Fraction(when), frame) for when, frame in zip((1, 2, 5), frames(), strict=False)]
    stream = interpolate(stamped, VideoOptions(target=Target(fps=Fraction(1))), network=BLEND)
    shown = {int(timed.seconds): timed.frame for timed in stream}
    assert list(shown) == [1, 2, 3, 4, 5, 6, 7]
    third = torch.lerp(stamped[1][1], stamped[2][1], 1 / 3)
    torch.testing.assert_close(shown[3], third)
    assert torch.equal(shown[7], stamped[2][1])


def test_cuts_and_repeats_in_a_stream() -> None:
    pan = frames(4)
    twos = [frame for frame in pan for _ in range(2)]
    other = [1 - frame.flip(-2) for frame in frames(8)]
    options = VideoOptions(dedup=True)
    stream = [timed.frame for timed in interpolate(twos + other, options, rate=24, network=BLEND)]
    assert len(stream) == 32
    assert torch.equal(stream[4], pan[1])
    torch.testing.assert_close(stream[5], torch.lerp(pan[1], pan[2], 0.25))
    assert all(torch.equal(stream[k], pan[3]) for k in range(12, 16))  # up to the cut
    assert torch.equal(stream[16], other[0])


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ([torch.zeros(1, 3, 8, 8)], r"number 0 is \(1, 3, 8, 8\)"),
        ([[1, 2]], r"number 0 is list"),
        (
            [torch.zeros(3, 32, 32), torch.zeros(3, 32, 48)],
            r"number 1 is \(3, 32, 48\) after \(3, 32, 32\)",
        ),
    ],
)
def test_what_are_no_frames(given: list[object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        list(interpolate(given, rate=25, network=BLEND))


def test_times_that_do_not_increase() -> None:
    stamped = [(Fraction(1), frames()[0]), (Fraction(1), frames()[1])]
    with pytest.raises(ValueError, match="frame 1 comes at 1 after 1 s"):
        list(interpolate(stamped, VideoOptions(cuts=False), network=BLEND))


def test_no_frames_give_none() -> None:
    assert list(interpolate([], rate=25, network=BLEND)) == []


def test_long_gaps_of_a_stream_are_held_as_those_of_a_file(tmp_path: Path) -> None:
    """Motion takes the last usual gap of a pause; 0 spreads it over all of it."""
    times = [Fraction(k, 25) for k in (0, 1, 2, 3, 4, 5, 30, 31)]
    pairs = list(zip(times, (frame[0] for frame in moving_frames(8)), strict=True))
    network = load_interpolator("blend")
    target = Target(multi=2)
    held = [f.seconds for f in interpolate(pairs, VideoOptions(target=target), network=network)]
    spread = VideoOptions(target=target, hold_gaps=0)
    plain = [f.seconds for f in interpolate(pairs, spread, network=network)]
    assert held[:11] == plain[:11]
    assert (held[11], plain[11]) == (Fraction(59, 50), Fraction(35, 50))
    assert held[12:] == plain[12:]
    with pytest.raises(ValueError, match="no loop"):
        next(interpolate(pairs, VideoOptions(target=target, loop=True), network=network))
