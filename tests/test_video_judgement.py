"""What a video is judged by: cuts, repeats, overlays, reliability; and the views to judge it by."""

from collections.abc import Iterator
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import av
import cv2
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from sgm_vfi.dataset.synthetic import SceneGenerator, SyntheticConfig
from sgm_vfi.media.images import as_frame, as_samples
from sgm_vfi.media.videos import VideoReader
from sgm_vfi.model import Interpolation, load_interpolator, time_like
from sgm_vfi.video.comparison import ExplainView, compare
from sgm_vfi.video.duplicates import MAX_RUN, drop_duplicates, is_duplicate
from sgm_vfi.video.overlays import (
    HISTORY_FRAMES,
    BlackBars,
    OverlayTracker,
    compute_luma,
    find_black_bars,
    protect_overlays,
)
from sgm_vfi.video.reliability import THRESHOLD, LeastReliable, make_fallback, measure_reliability
from sgm_vfi.video.scene_cuts import MAX_FLASH_FRAMES, CutDetector, make_thumbnail, measure_change

SIZE = (96, 128)


@pytest.fixture(scope="module")
def maker() -> SceneGenerator:
    config = SyntheticConfig(size=SIZE, textures=16, texture_size=128, masks=20, mask_size=96)
    return SceneGenerator(config)


@pytest.fixture(scope="module")
def scenes(maker: SceneGenerator) -> list[list[Tensor]]:
    """Ten scenes of ten frames (1, 3, H, W), with blur, grain and changing light as drawn."""
    drawn = [maker.draw([(5, number)]) for number in range(10)]
    times = torch.linspace(0, 1, 10, dtype=torch.float64)
    return [[scene.frame(time[None]) for time in times] for scene in drawn]


def cuts(frames: list[Tensor], threshold: float | None = None) -> list[int]:
    detector = CutDetector() if threshold is None else CutDetector(threshold)
    return [number for number, cut in found(detector, frames) if cut]


def found(detector: CutDetector, frames: list[Tensor]) -> Iterator[tuple[int, bool]]:
    return detector.scan(range(len(frames)), lambda number: frames[number])


def panned(picture: Tensor, steps: list[int], width: int) -> list[Tensor]:
    """What a camera sees that turns by so many pixels from frame to frame, its shutter open."""
    frames, left = [], 0
    for step in steps:
        places = [left + step * part // 8 for part in range(8)]
        frames.append(torch.stack([picture[..., x : x + width] for x in places]).mean(0))
        left += step
    return frames


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
    frames = panned(wide, [2] * 4 + [speed] * 8 + [2] * 4, width=256)
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


def test_pairs_are_judged_alone_and_by_the_threshold(scenes: list[list[Tensor]]) -> None:
    same, other = (scenes[0][0], scenes[0][1]), (scenes[0][0], scenes[1][0])
    assert CutDetector().is_cut(*other)
    assert not CutDetector().is_cut(*same)
    assert not CutDetector(1.0).is_cut(*other)
    for threshold in (0.0, 1.5):
        with pytest.raises(ValueError, match="threshold of cuts lies in"):
            CutDetector(threshold)
    with pytest.raises(ValueError, match=r"frames \(1, 3, H, W\), got \(3, 96, 128\)"):
        CutDetector().feed(torch.zeros(3, *SIZE))


def test_frames_are_read_ahead_only_where_there_is_a_doubt(scenes: list[list[Tensor]]) -> None:
    frames = scenes[0][:6] + scenes[1][:6]
    read: list[int] = []

    def items() -> Iterator[int]:
        for number in range(len(frames)):
            read.append(number)
            yield number

    scan = CutDetector().scan(items(), lambda number: frames[number])
    ahead = [len(read) - 1 - number for number, _ in scan]
    assert ahead[:6] == [0] * 6
    assert max(ahead) == MAX_FLASH_FRAMES


def test_one_verdict_for_each_frame_and_a_fresh_start(scenes: list[list[Tensor]]) -> None:
    frames, detector = scenes[0][:3] + scenes[1][:2], CutDetector()
    for _ in range(2):
        verdicts = [verdict for frame in frames for verdict in detector.feed(frame)]
        assert verdicts + detector.finish() == [False, False, False, True, False]


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
    with pytest.raises(ValueError, match=r"lies in \[0, 1\], got 6"):
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


def encoded(frames: list[Tensor], path: Path, crf: int) -> list[Tensor]:
    """Frames after x264. Shapes: (1, 3, H, W) each."""
    with av.open(path, "w") as container:
        stream = container.add_stream("libx264", rate=24, options={"crf": str(crf)})
        stream.height, stream.width = frames[0].shape[-2:]
        stream.pix_fmt = "yuv420p"
        for frame in frames:
            picture = av.VideoFrame.from_ndarray(as_samples(frame[0]), format="rgb24")
            container.mux(stream.encode(picture))
        container.mux(stream.encode())
    return [frame[None] for _, frame in VideoReader(path.name, path).read_frames()]


def test_repeats_are_found_behind_a_codec(scenes: list[list[Tensor]], tmp_path: Path) -> None:
    twos = [frame for frame in scenes[6] for _ in range(2)]
    coded = encoded(twos, tmp_path / "twos.mp4", crf=18)
    same = [is_duplicate(*pair) for pair in pairwise(coded)]
    assert not all(torch.equal(*pair) for pair in zip(coded[::2], coded[1::2], strict=True))
    assert same == [number % 2 == 0 for number in range(19)]


def titled(frame: Tensor, bar: int = 0) -> Tensor:
    """With a white word in the middle, and black bars at the top and the bottom."""
    canvas = as_samples(frame[0])
    cv2.putText(canvas, "Word", (40, 60), cv2.FONT_HERSHEY_DUPLEX, 0.7, (255, 255, 255))
    if bar:
        canvas[:bar], canvas[-bar:] = 0, 0
    return as_frame(canvas)[None]


def word() -> Tensor:
    """The pixels of the word that are all white: (1, 1, 96, 128), truth values."""
    return titled(torch.zeros(1, 3, *SIZE))[:, :1] == 1


def mask_of(frames: list[Tensor]) -> Tensor:
    tracker = OverlayTracker()
    for frame in frames:
        tracker.feed(frame)
    return tracker.mask()


def textured(height: int, width: int) -> Tensor:
    """A dark and lively picture, (1, 3, height, width)."""
    torch.manual_seed(3)
    coarse = torch.rand(1, 3, height // 4, width // 4)
    return 0.6 * F.interpolate(coarse, size=(height, width), mode="bilinear")


def moving(count: int) -> list[Tensor]:
    """What a camera sees that turns by three pixels from frame to frame."""
    return panned(textured(96, 256), [3] * count, width=128)


def test_a_word_over_what_moves_is_found_and_nothing_else() -> None:
    mask = mask_of([titled(frame) for frame in moving(HISTORY_FRAMES)])
    assert mask[word()].mean() > 0.5
    around = F.max_pool2d(word().float(), 5, stride=1, padding=2) == 0
    assert mask[around].mean() < 1e-3
    assert mask_of(moving(HISTORY_FRAMES)).max() == 0


def test_an_overlay_is_known_by_the_last_frames_alone() -> None:
    frames = [titled(frame) for frame in moving(HISTORY_FRAMES + 4)]
    assert torch.equal(mask_of(frames), mask_of(frames[4:]))
    assert mask_of(frames[: HISTORY_FRAMES - 1]).max() == 0


def test_a_still_background_is_no_overlay() -> None:
    still = titled(textured(*SIZE))
    assert mask_of([still] * HISTORY_FRAMES).max() == 0


def test_what_flies_past_a_still_background_is_not_wiped_out() -> None:
    """Between the last two frames a ball crosses pixels that both show alike."""
    background = 1.5 * textured(96, 256)
    frames = []
    for number in range(HISTORY_FRAMES):
        frame = background.clone()
        left = 2 + (HISTORY_FRAMES - 1 - number) * 30
        frame[..., 10:18, left : left + 8] = 1
        frames.append(frame)
    assert mask_of(frames)[..., 8:20, 15:27].max() == 0


def test_an_overlay_is_found_behind_a_codec(tmp_path: Path) -> None:
    frames = [titled(frame, bar=16) for frame in moving(HISTORY_FRAMES)]
    mask = mask_of(encoded(frames, tmp_path / "word.mp4", crf=20))
    assert mask[word()].mean() > 0.4
    assert mask[..., :16, :].min() == 1
    assert mask[..., 16:32, :].mean() < 0.05


@pytest.mark.parametrize(
    "bars", [BlackBars(0, 0, 0, 0), BlackBars(12, 10, 0, 0), BlackBars(0, 0, 7, 9)]
)
def test_black_bars_are_counted_exactly(bars: BlackBars) -> None:
    frame = textured(*SIZE) + 0.1
    height, width = SIZE
    frame[..., : bars.top, :] = 0
    frame[..., height - bars.bottom :, :] = 0
    frame[..., : bars.left] = 0
    frame[..., width - bars.right :] = 0
    assert find_black_bars(compute_luma(frame)) == bars
    expected = torch.zeros(1, 1, *SIZE)
    expected[(frame == 0).all(dim=1, keepdim=True)] = 1
    assert torch.equal(mask_of([frame, frame]), expected)


def test_a_black_frame_has_no_bars_and_a_dark_one_none_it_will_lose() -> None:
    black, lit = torch.zeros(1, 3, *SIZE), textured(*SIZE) + 0.1
    assert find_black_bars(compute_luma(black)) == BlackBars(0, 0, 0, 0)
    dark = lit.clone()
    dark[..., :40, :] = 0
    assert mask_of([dark, lit]).max() == 0


def test_a_protected_frame_shows_both_frames_where_the_mask_says() -> None:
    frame, frame0, frame1 = (torch.full((1, 3, 4, 4), level) for level in (0.9, 0.2, 0.4))
    mask = torch.zeros(1, 1, 4, 4)
    mask[..., 0, 0], mask[..., 0, 1] = 1, 0.5
    shown = protect_overlays(frame, frame0, frame1, 0.25, mask)
    torch.testing.assert_close(shown[0, 0, 0], torch.tensor([0.25, 0.575, 0.9, 0.9]))


def test_frames_of_two_sizes_are_refused() -> None:
    tracker = OverlayTracker()
    tracker.feed(torch.zeros(1, 3, 8, 8))
    with pytest.raises(ValueError, match=r"one size, got \(8, 10\) after \(8, 8\)"):
        tracker.feed(torch.zeros(1, 3, 8, 10))


def told(frame: Tensor, **notes: Tensor) -> Interpolation:
    return Interpolation(frame, explanation=notes)


def flow_of(u: float) -> Tensor:
    """A motion by u to the right between the frames, seen from half-way."""
    flow = torch.zeros(1, 4, *SIZE)
    flow[:, 0], flow[:, 2] = -u / 2, u / 2
    return flow


def test_the_true_motion_is_reliable_and_the_less_true_the_less() -> None:
    picture = textured(96, 160)
    frame0, frame1 = picture[..., 8:136], picture[..., :128]  # moves by 8 to the right
    scores = [
        measure_reliability(frame0, frame1, told(frame0, flow=flow_of(u))) for u in (8, 6, 4, 0)
    ]
    assert scores[0] > 0.7  # what enters and leaves the frame remains
    assert scores == sorted(scores, reverse=True)
    assert scores[-1] < 0.3


def test_where_one_frame_alone_is_shown_nothing_is_held_against_it() -> None:
    frame0, frame1 = textured(*SIZE), textured(*SIZE).flip(-1)
    blends = {share: torch.full((1, 1, *SIZE), share) for share in (0.5, 0.9, 1.0)}
    scores = [
        measure_reliability(frame0, frame1, told(frame0, flow=flow_of(0), blend=blend))
        for blend in blends.values()
    ]
    assert scores[0] == measure_reliability(frame0, frame1, told(frame0, flow=flow_of(0)))
    assert scores[0] < scores[1] < scores[2] == 1


def test_a_bad_tenth_of_the_frame_is_as_bad_as_all_of_it() -> None:
    frame0, frame1 = torch.zeros(1, 3, 80, 80), torch.zeros(1, 3, 80, 80)
    frame1[..., :8] = 1
    still = told(frame0, flow=torch.zeros(1, 4, 80, 80))
    assert measure_reliability(frame0, frame1, still) == pytest.approx(
        1 - 1 / (1 + 0.08**2), abs=1e-6
    )
    assert measure_reliability(frame0, frame0, still) == 1


def test_without_a_flow_there_is_no_score() -> None:
    frame = torch.zeros(1, 3, *SIZE)
    assert measure_reliability(frame, frame, Interpolation(frame)) is None
    assert (
        measure_reliability(frame, frame, told(frame, difference=torch.zeros(1, 2, *SIZE))) is None
    )


def test_a_network_is_reliable_in_a_pan_and_not_across_a_cut(scenes: list[list[Tensor]]) -> None:
    network = load_interpolator("classical")
    first, second = moving(2)
    pairs = {"pan": (first, second), "cut": (scenes[1][0], scenes[6][0])}
    scores = {}
    for name, (frame0, frame1) in pairs.items():
        result = network(frame0, frame1, time_like(frame0, 0.5), explain=True)
        scores[name] = measure_reliability(frame0, frame1, result)
    assert scores["pan"] > 0.8
    assert scores["cut"] < THRESHOLD


@given(st.lists(st.tuples(st.floats(0, 1), st.integers(0, 99))), st.integers(1, 5))
def test_the_worst_are_the_first_of_all_in_order(frames: list[tuple], limit: int) -> None:
    worst = LeastReliable(limit)
    for score_, number in frames:
        worst.add(score_, Fraction(number, 24))
    assert worst.to_list() == sorted((s, Fraction(n, 24)) for s, n in frames)[:limit]


def test_fall_backs_hold_or_blend() -> None:
    frame0, frame1 = torch.zeros(1, 3, 2, 2), torch.ones(1, 3, 2, 2)
    assert torch.equal(make_fallback(frame0, frame1, 0.75, "hold"), frame0)
    assert torch.equal(make_fallback(frame0, frame1, 0.75, "blend"), 0.75 * frame1)
    with pytest.raises(ValueError, match="one of hold, blend, got 'warp'"):
        make_fallback(frame0, frame1, 0.5, "warp")
    with pytest.raises(ValueError, match="limit of 0"):
        LeastReliable(0)


def test_both_sides_of_a_comparison_are_the_frames_and_are_labelled() -> None:
    before, after = torch.full((1, 3, 91, 127), 0.2), torch.full((1, 3, 91, 127), 0.6)
    side = compare(before, after)
    assert side.shape == (1, 3, 92, 254)
    torch.testing.assert_close(side[..., 40:91, :127], before[..., 40:, :])
    torch.testing.assert_close(side[..., 40:91, 127:], after[..., 40:, :])
    split = compare(before, after, ("a", "b"), layout="split")
    assert split.shape == (1, 3, 92, 128)
    torch.testing.assert_close(split[..., 50, :62], before[..., 50, :62])
    assert split[..., 50, 62:64].min() == 1
    torch.testing.assert_close(split[..., 50, 64:127], after[..., 50, 64:])
    for label in (side[..., :16, :60], split[..., :16, :10], split[..., :16, -12:]):
        assert label.max() > 0.9  # light letters
        assert label.min() < 0.2  # on a dark ground
    with pytest.raises(ValueError, match="side, split, got 'above'"):
        compare(before, after, layout="above")


NAMES = ("flow", "difference", "keypoints", "blend")


def notes_of(u: float, size: tuple[int, int] = SIZE) -> dict[str, Tensor]:
    channels = {"flow": 4, "difference": 2, "keypoints": 2, "blend": 1}
    notes = {name: torch.zeros(1, count, *size) for name, count in channels.items()}
    notes["flow"][:, 0] = u
    return notes


def test_panels_are_of_one_size_and_keep_the_last_steps() -> None:
    frame = textured(*SIZE)
    view = ExplainView(NAMES, width=803)
    empty = view.panel(frame, frame, frame, "source frame")
    made = view.panel(frame, frame, frame, "t = 0.5", notes_of(5))
    again = view.panel(frame, frame, frame, "t = 0.5")
    assert empty.shape == made.shape
    assert not any(side % 2 for side in made.shape[2:])
    assert not torch.equal(empty, made)
    assert torch.equal(again, made)
    other = view.panel(frame, frame, frame, "source frame")
    assert torch.equal(other[..., other.shape[2] // 2 :, :], made[..., made.shape[2] // 2 :, :])


def test_the_scale_of_flows_rises_at_once_and_fades_slowly() -> None:
    """To the right is red: the less green, the longer it is next to the scale."""
    frame = textured(*SIZE)
    view = ExplainView(("flow",), width=640)

    def green(u: float) -> float:
        panel = view.panel(frame, frame, frame, "t = 0.5", {"flow": notes_of(u)["flow"]})
        return panel[0, 1, -60, 20].item()

    assert green(10) == pytest.approx(0, abs=0.01)
    assert green(5) == pytest.approx(1 - 5 / 9.5, abs=0.01)
    assert green(20) == pytest.approx(0, abs=0.01)


def test_reduced_panels_keep_key_points_and_lengths_of_flows() -> None:
    """Of frames four times as large as a cell, a lone point and flows in their own pixels."""
    size = (384, 512)
    frame, notes = torch.zeros(1, 3, *size), notes_of(6, size)
    notes["keypoints"][:, 0, 200, 300] = 1
    panel = ExplainView(NAMES, width=536).panel(frame, frame, frame, "t = 0.5", notes)
    yellow = (panel[:, 0] > 0.9) & (panel[:, 2] < 0.1) & (panel[:, 1] > 0.7) & (panel[:, 1] < 0.9)
    assert yellow.sum() == 1


def test_unknown_explanations_are_refused() -> None:
    with pytest.raises(ValueError, match="got magic"):
        ExplainView(("flow", "magic"))
