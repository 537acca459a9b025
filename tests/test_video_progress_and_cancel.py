"""The time that is left, the length of segments, and what a stop keeps."""

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import pytest

from sgm_vfi.model.baselines.repeat_and_blend import Blend
from sgm_vfi.video import EncodingOptions, VideoOptions, interpolate_file
from sgm_vfi.video.frame_schedule import OutputFrame
from sgm_vfi.video.progress_and_cancel import InterpolationCancelled
from sgm_vfi.video.progress_bar import TimeLeft, format_duration
from sgm_vfi.video.segment_plan import (
    MAX_FRAMES,
    MIN_FRAMES,
    choose_length,
    count_finished,
    find_missing,
    find_records,
    select_missing,
    select_unfinished,
)
from sgm_vfi.video.segments_and_ranks import Segment, split_segments
from sgm_vfi.video.work_folder import WorkFolder
from tests.fixtures.videos import decode_samples, moving_frames, write_clip

LOSSLESS = VideoOptions(encoding=EncodingOptions(lossless=True))


def watch(seconds: list[float]) -> Iterator[tuple[int, float, float | None]]:
    """Yield the number of frames that are done, the true time left and the predicted one."""
    now = 0.0
    left = TimeLeft(len(seconds), clock=lambda: now)
    for number, each in enumerate(seconds, start=1):
        now += each
        left.advance()
        yield number, sum(seconds[number:]), left.seconds_left


def test_the_time_left_is_right_after_a_tenth_of_the_work() -> None:
    """A first frame that loads kernels does not count; frames of one gap differ."""
    seconds = [20.0, *[1.5, 0.5] * 100]
    for number, true, predicted in watch(seconds):
        if 20 <= number < len(seconds) - 2:
            assert true / 1.5 <= predicted <= 1.5 * true


def test_the_time_left_follows_the_load_of_the_machine() -> None:
    """Within a minute after other programs have begun to take their share."""
    seconds = [1.0] * 300 + [4.0] * 300
    for number, true, predicted in watch(seconds):
        if 320 <= number < len(seconds):
            assert true / 1.5 <= predicted <= 1.5 * true
    seconds = [0.6] * 35 + [2.0] * 35  # a short job
    for number, true, predicted in watch(seconds):
        if 50 <= number < len(seconds):
            assert true / 1.5 <= predicted <= 1.5 * true


def test_the_start_of_the_second_segment_does_not_count() -> None:
    """Decoding begins again there, once."""
    now = 0.0
    left = TimeLeft(100, clock=lambda: now)
    for number in range(10):
        now += 1.0
        if number == 4:
            now += 30.0
            left.restart()
        left.advance()
    assert left.seconds_left == pytest.approx(90.0)


def test_the_time_left_is_unknown_before_the_second_frame() -> None:
    left = TimeLeft(5)
    left.advance()
    assert left.seconds_left is None
    assert format_duration(3725.4) == "1:02:05"


def test_a_segment_is_about_a_minute_of_work() -> None:
    assert choose_length(1.0) == 64
    assert choose_length(100.0) == MIN_FRAMES
    assert choose_length(0.0) == MAX_FRAMES
    assert 30 <= choose_length(0.5) * 0.5 <= 120


def output_frames(count: int) -> list[OutputFrame]:
    return [
        OutputFrame(Fraction(n), n // 2, Fraction(n % 2, 2), n // 2 + n % 2) for n in range(count)
    ]


def test_only_what_is_missing_is_made(tmp_path: Path) -> None:
    """Of a segment that a stop has cut short, the rest."""
    frames = output_frames(20)
    segments = [*split_segments(frames, (), 8)]
    assert [(s.number, len(s.output_frames)) for s in segments] == [(0, 8), (8, 8), (16, 4)]
    work = WorkFolder(tmp_path / "parts", "")
    work.open({})
    work.finish(8, {"frames": 2, "outputs": {}})
    work.finish(10, {"frames": 2, "outputs": {}})
    assert find_missing(segments, work) == {0: 0, 8: 4, 16: 0}
    missing = [*select_missing(segments, find_missing(segments, work))]
    assert missing[1] == Segment(12, tuple(frames[12:16]))
    assert [*select_unfinished(frames, work)] == frames[:8] + frames[12:]
    assert find_records(work, 20) == {}
    work.finish(0, {"frames": 8, "outputs": {}})
    assert [*find_records(work, 20)] == [0, 8, 10]


@pytest.mark.parametrize("when", [1, 5, 13])
def test_a_stop_keeps_every_frame_that_was_made(tmp_path: Path, when: int) -> None:
    """The current segment ends there; the next run makes the rest, and the result is the same."""
    source = write_clip(tmp_path / "in.mkv", moving_frames(20), codec="ffv1")
    made: list[int] = []
    work = WorkFolder(tmp_path / "out.mkv.parts", ".mkv")
    message = r"\d+ of 40 frames are kept in .*out\.mkv\.parts"
    with pytest.raises(InterpolationCancelled, match=message):
        interpolate_file(
            source, tmp_path / "out.mkv", LOSSLESS, network=Blend(),
            progress=lambda done, total: made.append(done), cancel=lambda: len(made) > when,
        )  # fmt: skip
    kept = sum(count_finished(work).values())
    assert when <= kept == made[-1] < 40
    receipt = interpolate_file(source, tmp_path / "out.mkv", LOSSLESS, network=Blend())
    assert receipt["frames made in this run"] == 40 - kept
    interpolate_file(source, tmp_path / "whole.mkv", LOSSLESS, network=Blend())
    assert decode_samples(tmp_path / "out.mkv") == decode_samples(tmp_path / "whole.mkv")
