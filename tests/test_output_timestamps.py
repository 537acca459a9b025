"""Which frames a video gets, and when: by hand, and for any clock."""

from fractions import Fraction as Fr
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sgm_vfi.video.frame_schedule import OutputFrame, schedule_frames
from sgm_vfi.video.long_gaps import find_holds
from sgm_vfi.video.options_from_dataclass_fields import parse_rate
from sgm_vfi.video.output_timestamps import Target, Timeline, find_time_base, to_pts
from sgm_vfi.video.segments_and_ranks import split_segments

FILM = Fr(24000, 1001)


def steady(
    count: int, fps: Fr, start: Fr = Fr(0), time_base: Fr = Fr(1, 90000)
) -> dict[str, object]:
    timestamps = [start + number / fps for number in range(count)]
    return {"timestamps": timestamps, "end": start + count / fps, "time_base": time_base}


def shown(timeline: Timeline) -> list[tuple[int, Fr]]:
    return [(frame.left, frame.time) for frame in timeline.output_frames()]


def test_twice_as_many_frames_by_hand() -> None:
    """Two per source frame; the last one is held, so that the clip is as long as before."""
    timeline = Timeline(**steady(3, Fr(30)), target=Target(multi=2))
    half = Fr(1, 2)
    assert shown(timeline) == [(0, 0), (0, half), (1, 0), (1, half), (2, 0), (2, 0)]
    assert [frame.timestamp * 60 for frame in timeline.output_frames()] == [0, 1, 2, 3, 4, 5]
    assert (timeline.num_frames, timeline.output_end, timeline.output_time_base) == (
        6,
        Fr(1, 10),
        Fr(1, 60),
    )


def test_film_at_sixty_by_hand() -> None:
    """23.976 -> 60: every fifth output frame is 2 * 1001 / 1000 source frames further."""
    timeline = Timeline(**steady(24, FILM), target=Target(fps=Fr(60)))
    assert timeline.num_frames == 60  # 24 * 1001 / 24000 s * 60 = 60.06
    frames = list(timeline.output_frames())
    assert frames[5] == OutputFrame(Fr(5, 60), 1, 5 * FILM / 60 - 1, 2)
    assert frames[5].time == Fr(999, 1001)
    assert [m.left for m in frames[:6]] == [0, 0, 0, 1, 1, 1]


def test_film_to_a_thousandth_slower_by_hand() -> None:
    """24 -> 23.976: frame k lies k / 1000 past source frame k; the 1000th is one further."""
    timeline = Timeline(**steady(1201, Fr(24)), target=Target(fps=FILM))
    frames = list(timeline.output_frames())
    assert timeline.num_frames == len(frames) == 1200  # 1201 * 1000 / 1001 = 1199.8
    assert (frames[7].left, frames[7].time) == (7, Fr(7, 1000))
    assert (frames[1000].left, frames[1000].time) == (1001, 0)


def test_thirty_to_sixty_is_twice_as_many() -> None:
    half = Timeline(**steady(7, Fr(30)), target=Target(fps=Fr(60)))
    twice = Timeline(**steady(7, Fr(30)), target=Target(multi=2))
    assert list(half.output_frames()) == list(twice.output_frames())


def test_fewer_frames() -> None:
    """60 -> 24: every other output frame is an original, the others lie half-way."""
    timeline = Timeline(**steady(10, Fr(60)), target=Target(fps=Fr(24)))
    assert shown(timeline) == [(0, 0), (2, Fr(1, 2)), (5, 0), (7, Fr(1, 2))]


def test_variable_rate_is_honoured() -> None:
    """Frames at 0, 1, 4 s that ends at 6 s: divided where they are, or met by a steady rate."""
    clock = {"timestamps": [Fr(0), Fr(1), Fr(4)], "end": Fr(6), "time_base": Fr(1, 1000)}
    twice = Timeline(**clock, target=Target(multi=2))
    assert [frame.timestamp for frame in twice.output_frames()] == [0, Fr(1, 2), 1, Fr(5, 2), 4, 5]
    steady_rate = Timeline(**clock, target=Target(fps=Fr(1)))
    third = Fr(1, 3)
    assert shown(steady_rate) == [(0, 0), (1, 0), (1, third), (1, 2 * third), (2, 0), (2, 0)]


def test_slow_motion_keeps_the_rate() -> None:
    timeline = Timeline(**steady(3, Fr(30), start=Fr(1)), target=Target(slow=2))
    assert [frame.timestamp for frame in timeline.output_frames()] == [
        1 + Fr(k, 30) for k in range(6)
    ]
    assert timeline.output_end == 1 + Fr(6, 30)
    assert timeline.output_time_base == Fr(1, 30)


def test_slow_motion_by_any_ratio_keeps_the_rate_and_the_duration() -> None:
    """At 1.5 every third output frame is a source frame, and two new ones lie in two gaps."""
    target = Target(slow=Fr(3, 2), source_rate=Fr(30))
    timeline = Timeline(**steady(5, Fr(30)), target=target)
    frames = list(timeline.output_frames())
    assert [frame.timestamp for frame in frames] == [Fr(k, 30) for k in range(len(frames))]
    assert [(f.left, f.time) for f in frames[:4]] == [(0, 0), (0, Fr(2, 3)), (1, Fr(1, 3)), (2, 0)]
    assert abs(timeline.output_end - Fr(5, 30) * Fr(3, 2)) <= Fr(1, 30)
    assert len(frames) == timeline.num_frames
    assert timeline.output_time_base == Fr(1, 30)


@pytest.mark.parametrize("ratio", [1, 0, Fr(1, 2), 1.5])
def test_slow_motion_is_slower_and_exact(ratio: object) -> None:
    with pytest.raises(ValueError, match="slow must be above 1 and exact"):
        Target(slow=ratio)


def test_slow_motion_by_a_fraction_needs_the_rate_of_the_source() -> None:
    with pytest.raises(ValueError, match="slow is a whole number from 2 up here, got 3/2"):
        _ = Target(slow=Fr(3, 2)).rate


def test_stamps_that_were_rounded_are_met() -> None:
    """Milliseconds of Matroska: 33 and 67 ms are 1/30 and 2/30 s, not something near."""
    stamps = [Fr(round(Fr(1000 * k, 30)), 1000) for k in range(30)]
    timeline = Timeline(stamps, Fr(1), Target(fps=Fr(60)), Fr(1, 1000))
    frames = list(timeline.output_frames())
    assert [(m.left, m.time) for m in frames[::2]] == [(k, 0) for k in range(30)]
    assert all(m.time for m in frames[1:-1:2])


def test_a_coarse_clock_swallows_no_frames() -> None:
    """A tick as long as a frame, as AVI has it, does not pull new frames onto originals."""
    frames = enumerate(Fr(k, 25) for k in range(3))
    times = [(time, time) for time in (Fr(1, 1000), Fr(1, 250))]
    scheduled = schedule_frames(frames, times, time_base=Fr(1, 25))
    assert [(frame.left, frame.time) for frame in scheduled] == [(0, 0), (0, Fr(1, 10))]


def test_repeats_are_one_long_frame() -> None:
    """Animation on twos: motion is spread over both frames, at unchanged times."""
    timeline = Timeline(**steady(4, Fr(24)), target=Target(multi=2), distinct=[0, 2])
    quarter = Fr(1, 4)
    assert shown(timeline)[:5] == [(0, 0), (0, quarter), (0, 2 * quarter), (0, 3 * quarter), (2, 0)]
    assert shown(timeline)[5:] == [(2, 0)] * 3
    assert [m.right for m in timeline.output_frames()][:4] == [0, 2, 2, 2]


def test_nothing_lies_across_a_cut() -> None:
    timeline = Timeline(**steady(3, Fr(30)), target=Target(multi=3))
    held = list(timeline.output_frames(lambda left, right: right == 2))
    assert [(m.left, m.right) for m in held[3:6]] == [(1, 1)] * 3
    assert [m.timestamp for m in held] == [m.timestamp for m in timeline.output_frames()]
    assert held[1].time == Fr(1, 3)


clocks = st.builds(
    lambda start, gaps, last, tick: (
        [start * tick + sum(gaps[:k]) * tick for k in range(len(gaps) + 1)],
        (start + sum(gaps) + last) * tick,
        tick,
    ),
    start=st.integers(-50, 2000),
    gaps=st.lists(st.integers(1, 4000), min_size=1, max_size=20),
    last=st.integers(1, 4000),
    tick=st.sampled_from([Fr(1, 1000), Fr(1, 90000), Fr(1001, 30000), Fr(1, 12800)]),
)
targets = st.one_of(
    st.builds(lambda n: Target(multi=n), st.integers(2, 7)),
    st.builds(lambda n: Target(slow=n), st.integers(2, 7)),
    st.builds(lambda n: Target(fps=n), st.sampled_from([Fr(60), FILM, Fr(7), Fr(1, 3)])),
)


@settings(deadline=None, max_examples=60)
@given(clocks, targets)
def test_any_clock(clock: tuple[list[Fr], Fr, Fr], target: Target) -> None:
    """Times increase from the first frame on, are counted exactly, and last as long as promised."""
    stamps, end, tick = clock
    timeline = Timeline(stamps, end, target, tick)
    duration = (end - stamps[0]) * target.stretch
    if target.fps is not None and duration * target.fps > 3000:
        return
    frames = list(timeline.output_frames())
    times = [frame.timestamp for frame in frames]
    assert len(frames) == timeline.num_frames
    assert times[0] == stamps[0]
    assert all(before < after for before, after in pairwise(times))
    assert times[-1] < timeline.output_end
    longest = 1 / target.fps if target.fps else Fr(0)
    assert abs(timeline.output_end - stamps[0] - duration) <= longest
    assert all(
        to_pts(time, timeline.output_time_base) * timeline.output_time_base == time
        for time in times
    )
    assert all(m.left <= m.right <= m.left + 1 and (m.time > 0) == (m.right > m.left)
               for m in frames)  # fmt: skip
    assert all(before.left <= after.left for before, after in pairwise(frames))
    whole = [frame for segment in split_segments(frames, (), 4) for frame in segment.output_frames]
    assert whole == frames


@settings(deadline=None, max_examples=60)
@given(clocks, st.integers(2, 5))
def test_every_original_is_shown_at_its_time(clock: tuple[list[Fr], Fr, Fr], multi: int) -> None:
    stamps, end, tick = clock
    frames = list(Timeline(stamps, end, Target(multi=multi), tick).output_frames())
    originals = [(m.timestamp, m.left) for m in frames[::multi]]
    assert originals == list(zip(stamps, range(len(stamps)), strict=True))
    assert all(m.time == 0 for m in frames[::multi])


@settings(deadline=None, max_examples=60)
@given(st.lists(st.fractions(0, 100, max_denominator=1000).filter(bool), min_size=1))
def test_a_common_tick_counts_all_and_is_the_longest(times: list[Fr]) -> None:
    tick = find_time_base(times)
    counts = [time / tick for time in times]
    assert all(count.denominator == 1 for count in counts)
    assert find_time_base(counts) == 1


def test_pieces_end_where_pairs_do_and_sooner_at_scenes() -> None:
    timeline = Timeline(**steady(12, Fr(30)), target=Target(multi=4))
    lengths = [
        len(s.output_frames)
        for s in split_segments(timeline.output_frames(), scenes={4}, length=18)
    ]
    assert lengths == [16, 20, 12]
    for segment in split_segments(timeline.output_frames(), scenes={4}, length=18):
        assert segment.output_frames[0].time == 0


@pytest.mark.parametrize(
    ("text", "value"),
    [("60", Fr(60)), ("24000/1001", FILM), ("23.976", FILM), ("59.94", Fr(60000, 1001)),
     ("12.5", Fr(25, 2)), ("29.97", Fr(30000, 1001)), ("0.5", Fr(1, 2))],
)  # fmt: skip
def test_rates_as_people_write_them(text: str, value: Fr) -> None:
    assert parse_rate(text) == value


@pytest.mark.parametrize("text", ["0", "-5", "fast", "1/0", "2000", "nan", "inf"])
def test_rates_that_are_none(text: str) -> None:
    with pytest.raises(ValueError, match=r"rate|expected a number"):
        parse_rate(text)


def test_whole_rates_are_exact() -> None:
    timeline = Timeline(**steady(3, FILM), target=Target(fps=60))
    assert all(isinstance(frame.timestamp, Fr) for frame in timeline.output_frames())


@pytest.mark.parametrize(
    "wrong", [{}, {"multi": 2, "slow": 2}, {"multi": 1}, {"slow": 0}, {"fps": 0}, {"fps": 59.94}]
)
def test_targets_that_are_none(wrong: dict[str, int]) -> None:
    with pytest.raises(
        ValueError, match=r"exactly one|from 2 up|above 0|exact rate|above 1 and exact"
    ):
        Target(**wrong)


def screen_recording() -> dict[str, object]:
    """Nothing happens for 5 s, then something moves every 40 ms."""
    stamps = [Fr(0), *(Fr(5000 + 40 * k, 1000) for k in range(4))]
    return {"timestamps": stamps, "end": Fr(516, 100), "holds": find_holds(stamps)}


def test_a_long_gap_is_a_hold() -> None:
    """The frame is held; the change takes the last 40 ms."""
    twice = Timeline(**screen_recording(), target=Target(multi=2))
    frames = list(twice.output_frames())
    assert [(m.timestamp, m.left, m.time) for m in frames[:4]] == [
        (0, 0, 0),
        (Fr(498, 100), 0, Fr(1, 2)),
        (5, 1, 0),
        (Fr(502, 100), 1, Fr(1, 2)),
    ]
    assert len(frames) == twice.num_frames == 10
    steady_rate = list(Timeline(**screen_recording(), target=Target(fps=Fr(50))).output_frames())
    assert {(m.left, m.time) for m in steady_rate[:249]} == {(0, 0)}
    assert [m.time for m in steady_rate[249:252]] == [Fr(1, 2), 0, Fr(1, 2)]
    slow = Timeline(**screen_recording(), target=Target(slow=2))
    assert [m.timestamp for m in slow.output_frames()][:3] == [0, Fr(996, 100), 10]
    for timeline in (twice, slow):
        base = timeline.output_time_base
        stamps = [m.timestamp for m in timeline.output_frames()]
        assert all(to_pts(stamp, base) * base == stamp for stamp in stamps)


def test_usual_gaps_are_no_holds() -> None:
    """Photographs per second, a camera that slows down, and a few dropped frames are none."""
    photographs = [Fr(k) for k in range(9)]
    dropped = [Fr(k, 30) for k in (0, 1, 2, 6, 7, 12, 13, 14)]
    half_rate = [*(Fr(k, 30) for k in range(9)), *(Fr(8 + 3 * k, 30) for k in range(1, 5))]
    for stamps in (photographs, dropped, half_rate, photographs[:2]):
        assert not find_holds(stamps)
    assert find_holds([Fr(0), Fr(1), Fr(2), Fr(9)]) == {3: 8}
    assert not find_holds([Fr(0), Fr(1), Fr(2), Fr(9)], 0)


def test_missing_frames_leave_room() -> None:
    """Source frames 0, 1 and 4 of 5: as many output frames as if none were missing."""
    clock = {"timestamps": [Fr(0), Fr(1), Fr(4)], "end": Fr(5), "spacing": Fr(1)}
    timeline = Timeline(**clock, target=Target(multi=2))
    assert [m.timestamp for m in timeline.output_frames()] == [Fr(k, 2) for k in range(10)]
    assert shown(timeline)[2:8] == [(1, Fr(k, 6)) for k in range(6)]
    assert (timeline.num_frames, timeline.output_time_base) == (10, Fr(1, 2))
