"""Folders that become denser: interrupted, gone on with, and replaced on request only."""

import errno
import signal
from pathlib import Path
from unittest.mock import patch

import numpy as np
import pytest

from sgm_vfi import demo_2x
from sgm_vfi.media.images import write_frame
from tests.fixtures.demo import run
from tests.fixtures.image_samples import even, noise, samples, write_image
from tests.fixtures.processes import python, wait_for

pytestmark = pytest.mark.usefixtures("workdir")


def test_interrupted_folder_keeps_whole_frames(workdir: Path) -> None:
    """Ctrl-C in the middle: no traceback, every file can be read, and the same command goes on."""
    for number in range(400):  # links: many frames that take a while, written at once
        path = workdir / "clip" / f"{number}.png"
        if number < 2:
            write_image(path, noise(number, 192, 256))
        else:
            path.hardlink_to(path.with_name(f"{number % 2}.png"))
    process = python(demo_2x.__file__, "clip")
    output = workdir / "output" / "clip"
    wait_for(output / "000005.png", process)
    process.send_signal(signal.SIGINT)
    said, _ = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "interrupted" in said
    assert "Traceback" not in said
    files = sorted(output.glob("*.png"))
    assert 5 <= len(files) < 799
    assert [file.name for file in files] == [f"{n + 1:06d}.png" for n in range(len(files))]
    assert all(samples(file).shape == (192, 256, 3) for file in files)


def interrupted_after(count: int) -> object:
    """As by a person, when so many frames were written."""
    calls = iter(range(count))

    def write(*arguments: object) -> None:
        if next(calls, None) is None:
            raise KeyboardInterrupt
        write_frame(*arguments)

    return patch("sgm_vfi.video.folder_to_folder_job.write_frame", write)


def test_interrupted_folder_goes_on(workdir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """From the last given frame on, with the frames of one uninterrupted run and no trace."""
    for number in range(5):
        write_image(workdir / "clip" / f"{number}.png", noise(number))
    command = ("clip", "--multi", "3", "--model", "blend", "--output")
    run(*command, "whole")
    with interrupted_after(8), pytest.raises(SystemExit):
        run(*command, "out")
    kept = {file: file.stat().st_mtime_ns for file in sorted((workdir / "out").glob("*.png"))[:6]}
    run(*command, "out")
    assert "resume  after out/000006.png" in capsys.readouterr().out
    assert {file: file.stat().st_mtime_ns for file in kept} == kept
    names = sorted(file.name for file in (workdir / "out").iterdir())
    assert names == sorted(file.name for file in (workdir / "whole").iterdir())
    assert all(
        np.array_equal(samples(workdir / "out" / x), samples(workdir / "whole" / x)) for x in names
    )


def test_unfinished_folder_is_not_mixed_with_another_run(workdir: Path) -> None:
    """Another network, other times, other frames: refused, and nothing is touched."""
    for number in range(4):
        write_image(workdir / "clip" / f"{number}.png", even(50 * number))
    with interrupted_after(4), pytest.raises(SystemExit):
        run("clip", "--model", "blend")
    before = {file: file.stat().st_mtime_ns for file in (workdir / "output/clip").iterdir()}
    with pytest.raises(
        SystemExit, match=r"other settings: .*model \(blend .*now repeat.*delete output/clip"
    ):
        run("clip", "--model", "repeat")
    with pytest.raises(SystemExit, match=r"times \(\[0\.5\], now \[0\.25\]\)"):
        run("clip", "--model", "blend", "--time", "1/4")
    write_image(workdir / "clip" / "3.png", even(160))
    with pytest.raises(SystemExit, match=r"frames \(4 files, \w+, now 4 files, \w+\)"):
        run("clip", "--model", "blend")
    assert {file: file.stat().st_mtime_ns for file in before} == before


def test_full_disk_is_explained_and_leaves_what_is_done(workdir: Path) -> None:
    """The file that there is no room for is missing, and the same command goes on from it."""
    for number in range(3):
        write_image(workdir / "clip" / f"{number}.png", noise(number))
    write = Path.write_bytes

    def full(path: Path, data: bytes) -> int:
        if path.name.startswith(".000004."):
            raise OSError(errno.ENOSPC, "No space left on device", str(path))
        return write(path, data)

    message = r"^demo_2x.py: error: The disk is full\..*kept in output/clip: make room.* goes on\.$"
    with patch.object(Path, "write_bytes", full), pytest.raises(SystemExit, match=message):
        run("clip")
    files = sorted(file.name for file in (workdir / "output" / "clip").iterdir())
    assert files == ["000001.png", "000002.png", "000003.png"]
    run("clip")
    assert len(list((workdir / "output" / "clip").iterdir())) == 5
    with (
        patch.object(Path, "write_bytes", side_effect=OSError(errno.EIO, "Input/output error")),
        pytest.raises(SystemExit, match=r"Cannot write c\.png: Input/output error\.$"),
    ):
        run("clip/0.png", "clip/1.png", "--output", "c.png")


def test_frames_of_an_earlier_run_do_not_count_as_done(workdir: Path) -> None:
    for number in range(4):
        write_image(workdir / "clip" / f"{number}.png", even(50 * number))
    run("clip", "--model", "repeat")
    with interrupted_after(4), pytest.raises(SystemExit):
        run("clip", "--model", "blend", "--overwrite")
    run("clip", "--model", "blend")
    values = [samples(workdir / f"output/clip/{n:06d}.png")[0, 0, 0] for n in range(1, 8)]
    assert values == [0, 25, 50, 75, 100, 125, 150]


def test_a_folder_may_be_called_as_it_likes_once_it_is_there(workdir: Path) -> None:
    """A suffix is a mistake only where it would make a folder that looks like a file."""
    for name in ("clip/1.png", "clip/2.png"):
        write_image(workdir / name, noise(0))
    for name in ("run.mp4", "run.png"):
        (workdir / name).mkdir()
    run("clip", "--model", "blend", "--output", "run.png")
    run("clip/1.png", "clip/2.png", "--model", "blend", "--output", "run.mp4")
    assert len(list((workdir / "run.png").iterdir())) == 3
    assert samples(workdir / "run.mp4" / "middle.png").shape == (12, 20, 3)


def test_a_finished_folder_is_replaced_on_request_only(workdir: Path) -> None:
    for number in range(3):
        write_image(workdir / "clip" / f"{number}.png", noise(number))
    run("clip", "--multi", "3")
    before = [samples(file) for file in sorted((workdir / "output" / "clip").iterdir())]
    with pytest.raises(SystemExit, match=r"000001\.png exists already.*with --overwrite"):
        run("clip", "--multi", "3")
    run("clip", "--multi", "3", "--overwrite")
    after = [samples(file) for file in sorted((workdir / "output" / "clip").iterdir())]
    assert len(before) == 7
    assert all(map(np.array_equal, before, after))
    with pytest.raises(SystemExit, match=r"holds 2 images .*000006.png"):
        run("clip", "--multi", "2")  # would leave two of the seven behind


def test_a_run_killed_twice_at_its_end_leaves_nothing(workdir: Path) -> None:
    """Killed while finished work is deleted, and again before that is noted: refused, but tidy."""
    for number in range(3):
        write_image(workdir / "clip" / f"{number}.png", noise(number))
    run("clip", "--model", "blend", "--output", "out")
    trash = workdir / ".out.parts.trash.7"
    trash.mkdir()
    (trash / "00001.json").touch()
    (workdir / "out.lock").touch()
    with pytest.raises(SystemExit):
        run("clip", "--model", "blend", "--output", "out")
    assert not trash.exists()
