"""Damaged unfinished work is named and made again by the same command."""

import os
import re
from collections.abc import Callable
from pathlib import Path
from unittest.mock import patch

import pytest

from sgm_vfi.storage.file_identity import hash_path
from sgm_vfi.storage.file_lock import FileLock
from sgm_vfi.video import command, finish_output, job
from sgm_vfi.video.make_segments import SegmentMaker
from sgm_vfi.video.work_folder import WorkFolder
from tests.fixtures.demo import receipt, run
from tests.fixtures.processes import ROOT, python
from tests.fixtures.training_runs import outcome, start_as_ranks
from tests.fixtures.videos import decode_samples, moving_frames, write_clip

pytestmark = pytest.mark.usefixtures("workdir")

OPTIONS = ("--model", "blend", "--segment_frames", "4", "--preset", "ultrafast", "--output")
SCRIPT = Path(job.__file__).parents[1] / "demo_2x.py"


class Killed(BaseException):
    """Stands for a kill: nothing of the product catches it."""


def run_until(where: str, *command: object) -> None:
    """Run a command that ends where a function is called."""
    with patch(where, side_effect=Killed), pytest.raises(Killed):
        run(*command)


def fail(capsys: pytest.CaptureFixture[str], *command: object) -> str:
    """Run a command that is refused, and return why."""
    with pytest.raises(SystemExit) as stop:
        run(*command)
    return f"{stop.value}\n{capsys.readouterr().err}"


def pieces(parts: Path) -> list[Path]:
    return sorted(parts.glob("[0-9]*.mkv"))


def swap(parts: Path) -> None:
    first, second = pieces(parts)[1:3]
    first.rename(parts / "x")
    second.rename(first)
    (parts / "x").rename(second)


def swap_with_records(parts: Path) -> None:
    swap(parts)
    (parts / "00004.json").rename(parts / "x")
    (parts / "00008.json").rename(parts / "00004.json")
    (parts / "x").rename(parts / "00008.json")


def flip(file: Path) -> None:
    data = bytearray(file.read_bytes())
    data[len(data) * 2 // 3] ^= 1
    file.write_bytes(data)


DAMAGE: dict[str, tuple[Callable[[Path], object], int, str]] = {  # damage, segments lost, named
    "truncated": (lambda d: os.truncate(pieces(d)[2], 500), 1, "00008.mkv is damaged"),
    "empty": (lambda d: os.truncate(pieces(d)[2], 0), 1, "00008.mkv is damaged (0 bytes"),
    "missing": (lambda d: pieces(d)[2].unlink(), 1, "00008.mkv is missing"),
    "swapped": (swap, 2, "00004.mkv is damaged"),
    "swapped with records": (swap_with_records, 2, "00004.json is that of another segment"),
    "flipped": (lambda d: flip(pieces(d)[2]), 1, "00008.mkv is damaged"),
    "record empty": (lambda d: os.truncate(d / "00008.json", 0), 1, "00008.json is damaged"),
    "record []": (lambda d: (d / "00008.json").write_text("[]"), 1, "00008.json is damaged"),
    "record flipped": (lambda d: flip(d / "00008.json"), 1, "00008.json is damaged"),
    "plan empty": (lambda d: os.truncate(d / "plan.json", 0), 0, "plan.json is damaged"),
    "plan missing": (lambda d: (d / "plan.json").unlink(), 0, ""),
}


@pytest.mark.parametrize("name", DAMAGE)
def test_damage_is_named_and_repaired(name: str, caplog: pytest.LogCaptureFixture) -> None:
    source = write_clip(Path("in.mp4"), moving_frames(8, 32, 48))
    run(source, *OPTIONS, "whole.mp4")
    run_until("sgm_vfi.video.finish_output.assemble", source, *OPTIONS, "out.mp4")
    damage, lost, named = DAMAGE[name]
    damage(Path("out.mp4.parts"))
    run(source, *OPTIONS, "out.mp4")
    assert named in caplog.text
    assert receipt("out.mp4")["frames made in this run"] == 4 * lost
    assert decode_samples(Path("out.mp4")) == decode_samples(Path("whole.mp4"))


def test_segments_of_a_lost_plan_are_not_those_of_another_job(
    caplog: pytest.LogCaptureFixture,
) -> None:
    source = write_clip(Path("in.mp4"), moving_frames(8, 32, 48))
    run_until("sgm_vfi.video.finish_output.assemble", source, *OPTIONS, "out.mp4", "--multi", 3)
    Path("out.mp4.parts/plan.json").write_text("{}")
    run(source, *OPTIONS, "out.mp4")
    assert "00000.json belongs to a job with other settings" in caplog.text
    assert receipt("out.mp4")["frames made in this run"] == 16


def test_a_damaged_image_is_made_again(caplog: pytest.LogCaptureFixture) -> None:
    source = write_clip(Path("in.mp4"), moving_frames(8, 32, 48))
    options = OPTIONS[:4]
    run(source, *options, "--output", "whole")
    run_until("sgm_vfi.video.finish_output.rename_durably", source, *options, "--output", "frames")
    flip(sorted(Path("frames.parts/00004").iterdir())[1])
    run(source, *options, "--output", "frames")
    assert "00004 is damaged" in caplog.text
    assert hash_path(Path("frames")) == hash_path(Path("whole"))


@pytest.mark.parametrize("output", ["out.mp4", "frames"])
@pytest.mark.parametrize("moment", ["hash_path", "write_receipt", "WorkFolder.remove"])
def test_the_last_moments_block_nothing(output: str, moment: str) -> None:
    """The output has its name; the receipt is missing, or the work folder is still there."""
    source = write_clip(Path("in.mp4"), moving_frames(8, 32, 48))
    options = OPTIONS[:4]
    run(source, *options, "--output", f"whole_{output}")
    run_until(f"sgm_vfi.video.job.{moment}", source, *options, "--output", output)
    Path(f"{output}.lock").touch()  # a killed process leaves it
    run(source, *options, "--output", output)
    if output == "frames":
        assert hash_path(Path(output)) == hash_path(Path(f"whole_{output}"))
    else:
        assert decode_samples(Path(output)) == decode_samples(Path(f"whole_{output}"))
    left = {path.name for path in Path().iterdir() if path.name.startswith((output, "."))}
    assert left - {output} <= {f"{output}.json", f"{output}.parts"}


def test_trash_of_a_killed_deletion_is_removed() -> None:
    work = WorkFolder(Path("out.mp4.parts"))
    work.open({})
    with patch("shutil.rmtree", side_effect=Killed), pytest.raises(Killed):
        work.remove()
    assert not work.is_open()
    [trash] = Path().glob(".out.mp4.parts.trash.*")
    work.open({})
    assert not trash.exists()


def test_a_job_killed_after_its_work_is_not_made_again(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """What tells it from a finished one, which only --overwrite replaces, is the dead lock."""
    source = write_clip(Path("in.mp4"), moving_frames(4, 32, 48))
    arguments = (source, *OPTIONS, "out.mp4")
    run(*arguments)
    written = Path("out.mp4").stat().st_mtime_ns
    Path("out.mp4.lock").touch()
    run(*arguments)
    assert "finished before. --overwrite makes it again" in capsys.readouterr().out
    assert Path("out.mp4").stat().st_mtime_ns == written
    for damage in (lambda: None, lambda: flip(Path("out.mp4"))):
        assert "out.mp4 exists already" in fail(capsys, *arguments, "--multi", 3)
        damage()
        Path("out.mp4.lock").touch()
    assert "out.mp4 exists already" in fail(capsys, *arguments)
    run(*arguments, "--overwrite")
    assert receipt("out.mp4")["frames made in this run"] == 8


@pytest.mark.parametrize("moment", ["segments", "joining"])
def test_a_replaced_input_is_an_error(moment: str, capsys: pytest.CaptureFixture[str]) -> None:
    """As a download or an editor replaces it: after the plan, or after decoding."""
    source = write_clip(Path("in.mp4"), moving_frames(8, 32, 48), audio=0.3)
    other = write_clip(Path("other.mp4"), moving_frames(8, 32, 48, step=1), audio=0.3)
    where = {"segments": (SegmentMaker, "run"), "joining": (finish_output, "assemble")}[moment]
    real = getattr(*where)

    def replace_first(*arguments: object, **options: object) -> object:
        if other.exists():
            other.replace(source)
        return real(*arguments, **options)

    command = (source, *OPTIONS, "out.mp4")
    message = r"in\.mp4 was replaced by another file while it was in use .* nothing was made of it"
    with patch.object(*where, replace_first):
        assert re.search(message, fail(capsys, *command))
    assert not Path("out.mp4").exists()
    if moment == "segments":
        assert not Path("out.mp4.parts").exists()
        run(*command)
    else:
        assert re.search(r"other settings: input files.*--restart", fail(capsys, *command))
        run(*command, "--restart")
    run(source, *OPTIONS, "whole.mp4")
    assert decode_samples(Path("out.mp4")) == decode_samples(Path("whole.mp4"))


@pytest.mark.parametrize("output", ["out.mp4", "frames"])
def test_a_second_process_is_refused(
    output: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sgm_vfi.storage.file_lock.PATIENCE", 0.1)
    source = write_clip(Path("in.mp4"), moving_frames(4, 32, 48))
    arguments = (source, *OPTIONS[:4], "--output", output)
    message = rf"Process {os.getpid()} on \S+ works on {output} since "
    with FileLock(Path(f"{output}.lock"), output):
        assert re.search(message, fail(capsys, *arguments))
        with patch.object(command, "require_unlocked"):  # it begins just now
            assert re.search(message, fail(capsys, *arguments))
    run(*arguments)
    assert not Path(f"{output}.lock").exists()


def test_other_ranks_do_not_join_the_job_of_another_group() -> None:
    """Two torchruns of one command: all ranks of the second leave the work of the first alone."""
    source = write_clip(Path("in.mp4"), moving_frames(8, 32, 48))
    with FileLock(Path("out.mp4.lock"), "out.mp4", "another group"):
        main, other = start_as_ranks(SCRIPT, source, *OPTIONS, "out.mp4", processes=2)
        status, said = outcome(main)
        assert status == 2
        assert f"Process {os.getpid()} on " in said
        other.kill()
        assert outcome(other)[0] != 0
    assert not Path("out.mp4.parts").exists()


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="cannot hide processors here")
@pytest.mark.parametrize("options", [("--crf", "16"), ("--lossless",)])
def test_a_job_continued_with_fewer_processors_gives_the_same_bits(
    options: tuple[str, ...],
) -> None:
    source = write_clip(Path("in.mp4"), moving_frames(8, 192, 256))
    processors = os.sched_getaffinity(0)
    written = []
    for available in (processors, {min(processors)}):
        try:
            os.sched_setaffinity(0, available)
            run(source, "--model", "blend", *options, "--output", "out.mp4", "--overwrite")
        finally:
            os.sched_setaffinity(0, processors)
        written.append(decode_samples(Path("out.mp4")))
    assert written[0] == written[1]


def test_the_short_form_of_the_kill_trial() -> None:
    """Real kills; `python -m tests.stress kills` has more of them, and every kind of job."""
    kinds = ("video", "folder", "protocol")
    trial = python("-m", "tests.stress", "kills", "--runs", 3, "--jobs", *kinds, cwd=ROOT)
    status, said = outcome(trial, 300)
    assert status == 0, said
    assert "3 of 3 results equal" in said
