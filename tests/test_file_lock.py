"""One process at a time; a dead one's lock blocks nobody."""

import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from sgm_vfi.storage.file_lock import FileLock, LockedError, require_unlocked
from tests.fixtures.processes import ROOT

HOLDER = """
import os, sys, time
from pathlib import Path
from sgm_vfi.storage.file_lock import FileLock
lock = FileLock(Path(sys.argv[1]), "out.mp4").acquire()
if len(sys.argv) > 2 and os.fork() == 0:  # a worker that outlives its parent
    time.sleep(60)
print("held", flush=True)
time.sleep(60)
"""


@pytest.fixture
def lock(tmp_path: Path) -> Path:
    return tmp_path / "deep/er/out.mp4.lock"


def start_holder(lock: Path, *arguments: str) -> subprocess.Popen:
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(lock), *arguments],
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": str(ROOT.parent)},
        start_new_session=True,
    )
    assert holder.stdout is not None
    assert holder.stdout.readline() == "held\n"
    return holder


@pytest.mark.parametrize("arguments", [(), ("fork",)])
def test_a_second_process_is_told_who_works_until_that_one_dies(
    lock: Path, arguments: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where a worker process of the dead one lives on."""
    monkeypatch.setattr("sgm_vfi.storage.file_lock.PATIENCE", 0.2)
    holder = start_holder(lock, *arguments)
    message = rf"^Process {holder.pid} on \S+ works on out.mp4 since .*\. Wait until .*\.$"
    try:
        with pytest.raises(LockedError, match=message):
            FileLock(lock, "out.mp4").acquire()
        with pytest.raises(LockedError, match=message):
            require_unlocked(lock, "out.mp4")
        holder.kill()
        holder.wait()
        assert lock.exists()
        require_unlocked(lock, "out.mp4")
        with FileLock(lock, "out.mp4"):
            assert f'"pid": {os.getpid()}' in lock.read_text()
    finally:
        with suppress(ProcessLookupError):
            os.killpg(holder.pid, signal.SIGKILL)
    assert not lock.exists()


def test_a_lock_leaves_nothing_behind(lock: Path, tmp_path: Path) -> None:
    with FileLock(lock, "out.mp4"):
        assert lock.is_file()
    assert list(tmp_path.iterdir()) == []
    with FileLock(lock, "out.mp4"):
        (lock.parent / "out.mp4").touch()
    assert [path.name for path in lock.parent.iterdir()] == ["out.mp4"]


def test_a_process_that_waits_goes_on_when_the_other_ends(
    lock: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    holder = start_holder(lock)
    monkeypatch.setattr("sgm_vfi.storage.file_lock.time.sleep", lambda _: holder.kill())
    require_unlocked(lock, "out.mp4", wait=True)
    holder.wait()
    assert f"Process {holder.pid} on " in caplog.text
    assert caplog.text.count("Waiting for it.") == 1
