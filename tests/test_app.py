"""The page's work, files and messages, without Gradio and a browser."""

import threading
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import pytest
import torch

from sgm_vfi.app import __main__ as command
from sgm_vfi.app.interpolate_clip_or_pair import FPS, SLOW, JobRunner, read_clip_options
from sgm_vfi.app.network_choices import describe_missing_weights, list_runnable_networks
from sgm_vfi.app.session_files import SessionFiles, hide_folders
from sgm_vfi.media.images import read_frame, write_frame
from sgm_vfi.video import VideoOptions
from sgm_vfi.video.progress_and_cancel import InterpolationCancelled
from tests.fixtures.videos import decode_pictures, encode_tone, moving_frames, write_clip


def typed(rate: str = "2x", amount: str = "", **given: Any) -> VideoOptions:
    values = {"slow_sound": "drop", "start": "", "end": "", "explain": False, "find_worst": False}
    return read_clip_options(rate, amount, **(values | given))


@pytest.fixture
def runner() -> JobRunner:
    return JobRunner(torch.device("cpu"))


def test_what_is_typed_becomes_options() -> None:
    assert typed("3x", start=" 0:01 ").target.multi == 3
    assert typed(FPS, "59.94").target.fps == Fraction(60000, 1001)
    slow = typed(SLOW, "1.5", slow_sound="stretch", end="12f")
    assert (slow.target.slow, slow.slow_sound, str(slow.trim.end)) == (
        Fraction(3, 2),
        "stretch",
        "12f",
    )
    assert typed(explain=True).explain
    assert typed("4x", slow_sound="stretch").slow_sound == "drop"
    for wrong in ({"rate": FPS, "amount": "fast"}, {"start": "later"}):
        with pytest.raises(ValueError, match="expected"):
            typed(**wrong)


def test_a_clip_is_planned_made_and_continued(tmp_path: Path, runner: JobRunner) -> None:
    clip = write_clip(tmp_path / "in.mp4", moving_frames(3))
    plan = runner.plan_clip(str(clip), "dis", typed(find_worst=True), tmp_path / "out")
    cancel, seen = threading.Event(), []

    def stop_after_some(done: int, total: int) -> None:
        seen.append((done, total))
        if done == 4:
            cancel.set()

    with pytest.raises(InterpolationCancelled, match="of 6 frames are kept"):
        runner.run_clip(plan, "dis", stop_after_some, cancel)
    result = runner.run_clip(plan, "dis", lambda *_: None, threading.Event())
    assert seen[-1] == (4, 6)
    assert len(decode_pictures(result.video)) == 6
    assert all(path.is_file() for path in (*result.files, result.before, result.after))
    assert "Least reliable" in result.summary
    assert [path.name for path, _ in result.views] == ["in_2x_dis_worst.jpg"]


def test_a_pair_gives_frames_pictures_and_reliability(tmp_path: Path, runner: JobRunner) -> None:
    pair = [str(tmp_path / f"{number}.png") for number in range(2)]
    for path, frame in zip(pair, moving_frames(2), strict=True):
        write_frame(path, frame[0])
    given: dict[str, Any] = {"progress": lambda *_: None, "cancel": threading.Event()}
    result = runner.run_pair(pair, "dis", 4, tmp_path, **given)
    assert (len(result.files), result.after) == (3, result.files[1])
    assert "3 new frames" in result.summary
    assert "Reliability " in result.summary
    names = {path.name for path, _ in result.views}
    assert names == {"comparison.jpg", "flow.jpg", "explain.jpg", "animation.webp"}
    average = (read_frame(pair[0]) + read_frame(pair[1])) / 2
    torch.testing.assert_close(read_frame(result.before), average, atol=1 / 255, rtol=0)
    with pytest.raises(ValueError, match="Two images are needed"):
        runner.run_pair([pair[0], None], "dis", 2, tmp_path, **given)
    given["cancel"].set()
    with pytest.raises(InterpolationCancelled, match="after 0 of 1"):
        runner.run_pair(pair, "dis", 2, tmp_path, **given)


def test_what_is_no_clip_is_refused(tmp_path: Path, runner: JobRunner) -> None:
    sound, text, empty = (tmp_path / name for name in ("a.mp4", "b.mp4", "c.mp4"))
    with av.open(sound, "w") as container:
        container.mux(encode_tone(container.add_stream("aac", rate=48000), 0.2))
    text.write_text("no video")
    empty.touch()
    for clip, reason in (
        (None, "No clip yet"), (sound, "no video"), (text, "no video"), (empty, "is empty"),
    ):  # fmt: skip
        with pytest.raises(ValueError, match=reason):
            runner.plan_clip(clip and str(clip), "blend", typed(), tmp_path)


def test_files_of_a_session_are_deleted_when_it_ends(tmp_path: Path) -> None:
    files = SessionFiles(tmp_path)
    shared, own = files.uploads / "shared.mp4", files.uploads / "own.mp4"
    for path in (shared, own):
        path.touch()
        files.add_upload("one", str(path))
    files.add_upload("two", str(shared))
    result = files.folder("one") / "result.mp4"
    result.touch()
    cancel = files.start_job("one")
    files.end("one")
    assert (shared.exists(), own.exists(), result.parent.exists()) == (True, False, False)
    assert cancel.is_set()
    files.end("two")
    assert list(tmp_path.rglob("*.mp4")) == []


def test_temporary_folders_are_not_shown() -> None:
    text = "input /var/a/sgm_vfi_app_x_1/uploads/0af/my clip.mp4: 3 frames, 1/2 s of /else"
    assert hide_folders(text) == "input my clip.mp4: 3 frames, 1/2 s of /else"


def test_networks_without_weights_come_with_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sgm_vfi.app.network_choices.has_weights", lambda name: name == "rife_m")
    assert {"dis", "rife_m"} < set(list_runnable_networks())
    assert "rife_v4.6" not in list_runnable_networks()
    assert "`sgm-vfi weights fetch rife_v4.6`" in describe_missing_weights()
    assert "pretrained/" in describe_missing_weights()


def test_without_gradio_the_command_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(command, "find_spec", lambda name: None)
    with pytest.raises(SystemExit, match=r"pip install \"sgm-vfi\[app\]\""):
        command.main([])


@pytest.mark.parametrize(
    ("host", "is_loopback"),
    [("127.0.0.1", True), ("::1", True), ("localhost", True), ("0.0.0.0", False), ("me", False)],
)
def test_other_hosts_are_warned_of(host: str, is_loopback: bool) -> None:
    assert command.is_loopback(host) == is_loopback
