"""Scene cuts and duplicate frames."""

from collections.abc import Iterator
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from sgm_vfi.media.scene_cuts import (
    MAX_FLASH_FRAMES,
    THRESHOLD,
    detect_cuts,
    make_thumbnail,
    measure_change,
)
from sgm_vfi.video.duplicates import MAX_RUN, drop_duplicates, is_duplicate
from tests.video_scenes import SIZE, draw_scenes, encode_x264, pan_camera


@pytest.fixture(scope="module")
def scenes() -> list[list[Tensor]]:
    return draw_scenes()


def cuts(frames: list[Tensor], threshold: float = THRESHOLD) -> list[int]:
    numbers = range(len(frames))
    return [n for n, cut in detect_cuts(numbers, lambda n: frames[n], threshold) if cut]


@pytest.fixture(scope="module")
def wide(scenes: list[list[Tensor]]) -> Tensor:
    """A wide picture without seams: (1, 3, 192, 2304)."""
    parts = [scene[0] for scene in scenes[:3]]
    row = [part for picture in parts for part in (picture, picture.flip(-1))]
    return F.interpolate(torch.cat(row, dim=-1), scale_factor=2, mode="bilinear")


def test_every_hard_cut_is_found_and_no_motion_is_one(scenes: list[list[Tensor]]) -> None:
    frames = [frame for scene in scenes for frame in scene]
    assert cuts(frames) == list(range(10, 100, 10))


def test_scenes_of_a_few_frames_are_told_apart(scenes: list[list[Tensor]]) -> None:
    frames = [frame for scene in scenes for frame in scene[:4]]
    assert cuts(frames) == list(range(4, 40, 4))


@pytest.mark.parametrize("speed", [16, 32, 48])
def test_a_whip_pan_is_no_cut(wide: Tensor, speed: int) -> None:
    """It sets in at once and moves the picture by one to three sixteenths of its width."""
    frames = pan_camera(wide, [2] * 4 + [speed] * 8 + [2] * 4, width=256)
    assert cuts(frames) == []


@pytest.mark.parametrize("length", range(1, MAX_FLASH_FRAMES + 1))
@pytest.mark.parametrize("light", ["white", "black", "three times the light"])
def test_a_flash_is_no_cut(scenes: list[list[Tensor]], light: str, length: int) -> None:
    lit = {"white": torch.ones_like, "black": torch.zeros_like}
    for scene in scenes[:4]:
        flashed = list(scene)
        for number in range(4, 4 + length):
            change = lit.get(light, lambda frame: (3 * frame).clamp(max=1))
            flashed[number] = change(scene[number])
        assert cuts(flashed) == []


def test_a_picture_that_stays_longer_than_a_flash_is_a_scene(scenes: list[list[Tensor]]) -> None:
    inserted = scenes[0][:5] + scenes[1][: MAX_FLASH_FRAMES + 1] + scenes[0][5:]
    assert cuts(inserted) == [5, 5 + MAX_FLASH_FRAMES + 1]


@pytest.mark.parametrize("length", [4, 8])
def test_fades_and_dissolves_are_no_cuts(scenes: list[list[Tensor]], length: int) -> None:
    weights = [min(max((number - 1) / length, 0), 1) for number in range(10)]
    for first, second in pairwise(scenes[:4]):
        dissolve = [torch.lerp(*pair) for pair in zip(first, second, weights, strict=True)]
        fade_out = [frame * (1 - weight) for frame, weight in zip(first, weights, strict=True)]
        fade_in = [frame * weight for frame, weight in zip(first, weights, strict=True)]
        for frames in (dissolve, fade_out, fade_in):
            assert cuts([(frame * 255).round() / 255 for frame in frames]) == []


def test_a_picture_after_black_begins_a_scene(scenes: list[list[Tensor]]) -> None:
    black = [torch.zeros(1, 3, *SIZE)] * 5
    assert cuts(scenes[0][:5] + black + scenes[1][:5]) == [5, 10]
    assert cuts(black) == []


def test_a_change_of_colour_alone_is_a_cut() -> None:
    red, blue = (
        torch.tensor(c).view(1, 3, 1, 1).expand(1, 3, *SIZE) for c in ([0.8, 0, 0], [0, 0, 0.8])
    )
    assert cuts([red] * 5 + [blue] * 5) == [5]


def test_the_score_is_a_share_and_blind_to_light(scenes: list[list[Tensor]]) -> None:
    first, second = make_thumbnail(scenes[0][0]), make_thumbnail(scenes[1][0])
    dimmed = make_thumbnail(0.6 * scenes[0][0] + 0.2)
    assert measure_change(first, first) < 1e-3
    assert measure_change(first, dimmed) < 0.05
    assert measure_change(first, second) == pytest.approx(measure_change(second, first), abs=1e-5)
    assert 0.4 < measure_change(first, second) <= 1
    lone = torch.zeros(1, 3, *SIZE)
    lone[..., 40:48, 60:68] = 1  # all there is to explain lies in a block or two
    assert measure_change(make_thumbnail(lone), make_thumbnail(lone)) < 1e-3


def test_pairs_are_judged_by_the_threshold(scenes: list[list[Tensor]]) -> None:
    same, other = [scenes[0][0], scenes[0][1]], [scenes[0][0], scenes[1][0]]
    assert cuts(other) == [1]
    assert cuts(same) == []
    assert cuts(other, 1.0) == []
    for threshold in (0.0, 1.5):
        with pytest.raises(ValueError, match="cut threshold must lie in"):
            cuts(same, threshold)
    with pytest.raises(ValueError, match=r"Frames must be \(1, 3, H, W\), got \(3, 96, 128\)"):
        cuts([torch.zeros(3, *SIZE)])


def test_frames_are_read_ahead_only_where_there_is_a_doubt(scenes: list[list[Tensor]]) -> None:
    frames = scenes[0][:6] + scenes[1][:6]
    read: list[int] = []

    def items() -> Iterator[int]:
        for number in range(len(frames)):
            read.append(number)
            yield number

    scan = detect_cuts(items(), lambda number: frames[number])
    ahead = [len(read) - 1 - number for number, _ in scan]
    assert ahead[:6] == [0] * 6
    assert max(ahead) == MAX_FLASH_FRAMES


def test_only_equal_frames_are_duplicates_at_zero() -> None:
    frame = torch.rand(1, 3, 17, 23)
    near = frame.clone()
    near[0, 1, 16, 22] += 1e-4
    assert is_duplicate(frame, frame.clone(), 0)
    assert not is_duplicate(frame, near, 0)
    assert is_duplicate(frame, near)


def test_grain_repeats_and_a_mouth_moves() -> None:
    torch.manual_seed(0)
    frame = torch.full((1, 3, 96, 128), 0.5)
    grain = [0.01 * torch.randn_like(frame) for _ in range(2)]
    mouth = frame.clone()
    mouth[..., 40:44, 60:68] = 0.2
    assert is_duplicate(frame + grain[0], frame + grain[1])
    assert not is_duplicate(frame + grain[0], mouth + grain[1])
    with pytest.raises(ValueError, match="one size"):
        is_duplicate(frame, frame[..., 1:])
    with pytest.raises(ValueError, match=r"must lie in \[0, 1\], got 6"):
        is_duplicate(frame, frame, 6)


def kept(runs: list[int], step: Fraction, longest: Fraction = MAX_RUN) -> list[Fraction]:
    """What is left of frames `step` apart where each picture is repeated so many times."""
    pictures = [number for number, length in enumerate(runs) for _ in range(length)]
    items = [(number * step, picture) for number, picture in enumerate(pictures)]
    left = drop_duplicates(items, lambda a, b: a[1] == b[1], lambda item: item[0], longest)
    return [time for time, _ in left]


def test_animation_on_twos_keeps_every_second_frame_and_its_end() -> None:
    film = Fraction(1, 24)
    assert kept([2, 2, 2], film) == [0 * film, 2 * film, 4 * film, 5 * film]
    assert kept([1, 3, 1], film) == [0 * film, 1 * film, 4 * film]


def test_a_long_hold_stays() -> None:
    """Six film frames last exactly the bound, seven longer."""
    film = Fraction(1, 24)
    assert kept([6, 1], film) == [0 * film, 6 * film]
    assert kept([7, 1], film) == [number * film for number in range(8)]
    assert kept([30], film) == [number * film for number in range(30)]


@given(st.lists(st.integers(1, 12), min_size=1, max_size=8), st.integers(1, 30))
def test_no_interval_but_a_short_run_grows(runs: list[int], rate: int) -> None:
    step = Fraction(1, rate)
    times = kept(runs, step)
    firsts = [sum(runs[:number]) * step for number in range(len(runs))]
    assert set(firsts) <= set(times)
    assert (times[0], times[-1]) == (0, (sum(runs) - 1) * step)
    assert all(after - before <= max(MAX_RUN, step) for before, after in pairwise(times))


def test_repeats_are_found_behind_a_codec(scenes: list[list[Tensor]], tmp_path: Path) -> None:
    twos = [frame for frame in scenes[6] for _ in range(2)]
    coded = encode_x264(twos, tmp_path / "twos.mp4", crf=18)
    same = [is_duplicate(*pair) for pair in pairwise(coded)]
    assert not all(torch.equal(*pair) for pair in zip(coded[::2], coded[1::2], strict=True))
    assert same == [number % 2 == 0 for number in range(19)]
