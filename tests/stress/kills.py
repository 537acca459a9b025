"""Kill jobs at random moments, repeat their commands, and compare with undisturbed runs.

Each run is a process of its own that gets SIGKILL: at a random moment, or before a random one of
its operations on files, half of those among the last ones. The same command then goes on.
"""

import argparse
import importlib
import multiprocessing
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import suppress
from pathlib import Path

import cv2
import torch

from tests.stress.jobs import JOBS, Job

OPERATIONS = ("open", "os.rename", "os.remove", "os.rmdir", "os.mkdir", "os.link", "os.truncate")
LAST = 12  # operations at the end of a job
MODULES = "modules"  # file with the names of those that a job imports
MOST_KILLS = 3  # of one job
POLL_SECONDS = 0.004
PATIENCE = 900  # seconds for one command, on a busy machine


class Trial:
    """One kind of job in one folder, what its undisturbed run gave, and how long that took."""

    def __init__(self, name: str, root: Path, chance: random.Random) -> None:
        self.name, self.root, self.chance = name, root, chance
        self.job: Job = JOBS[name]
        self.inputs = root / "inputs"
        self.inputs.mkdir(parents=True)
        self.job.prepare(self.inputs)
        folder = self.new_folder("undisturbed")
        counter = root / "operations"
        start = time.monotonic()
        status, said = self.start(folder, counter=counter)
        assert status == 0, f"{name} fails undisturbed:\n{said}"
        self.seconds = time.monotonic() - start
        import_modules(root / MODULES)
        self.operations = counter.stat().st_size
        self.expected = self.job.read_result(folder)
        self.files = self.list_files(folder)

    def new_folder(self, name: str) -> Path:
        """Make the folder in which a command runs."""
        folder = self.root / name
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        return folder

    def list_files(self, folder: Path) -> list[str]:
        """Return the names of all files, without those that differ from run to run."""
        names = (path.relative_to(folder).as_posix() for path in folder.rglob("*"))
        return sorted(name for name in names if "tfevents" not in name)

    def run(self, number: int) -> tuple[int, str]:
        """Kill a job up to a few times and finish it; return the kills, and what went wrong."""
        folder = self.new_folder(f"run{number:04d}")
        kills = 0
        for _ in range(self.chance.randint(1, MOST_KILLS)):
            status, said = self.start(folder, **self.choose_moment())
            if status == 0:
                break
            if is_all_done(said):
                break
            if status != -signal.SIGKILL:
                return kills, f"exit {status}:\n{said}"
            kills += 1
        status, said = self.start(folder)
        if status != 0 and not is_all_done(said):
            return kills, f"the same command, exit {status}:\n{said}"
        if self.job.read_result(folder) != self.expected:
            return kills, f"another result:\n{said}"
        if (files := self.list_files(folder)) != self.files:
            return kills, f"other files: {sorted(set(files) ^ set(self.files))}"
        shutil.rmtree(folder)
        return kills, ""

    def choose_moment(self) -> dict[str, float]:
        """Return when the next process is killed."""
        if self.chance.random() < 0.4:
            return {"seconds": self.chance.uniform(0, 1.1 * self.seconds)}
        last = self.chance.random() < 0.5
        first = max(1, self.operations - LAST) if last else 1
        return {"operation": self.chance.randint(first, self.operations)}

    def start(
        self,
        folder: Path,
        *,
        operation: float = 0,
        seconds: float = PATIENCE,
        counter: Path | None = None,
    ) -> tuple[int, str]:
        """Run the command in a process of its own; return its status and what it said.

        Args:
            operation: number of the operation on files before which it is killed; 0: none.
            seconds: after which it is killed.
            counter: file that gets one byte for each operation.
        """
        log = self.root / "said"
        child = os.fork()
        if child == 0:
            run_child(self.job, self.inputs, folder, log, int(operation), counter)
        deadline = time.monotonic() + seconds
        while True:
            ended, status = os.waitpid(child, os.WNOHANG)
            if ended:
                return os.waitstatus_to_exitcode(status), log.read_text(errors="replace")
            if time.monotonic() > deadline:
                os.kill(child, signal.SIGKILL)
                deadline += PATIENCE
            time.sleep(POLL_SECONDS)


def import_modules(names: Path) -> None:
    """Import the modules of a file here, so that forked processes need not."""
    for name in names.read_text().split():
        if name not in sys.modules:
            with suppress(Exception):  # of those that belong to a command
                importlib.import_module(name)


def is_all_done(said: str) -> bool:
    """Return whether a command was refused because nothing of the killed one is left to do."""
    return "exists already" in said or "is there already" in said


def run_child(
    job: Job, inputs: Path, folder: Path, log: Path, operation: int, counter: Path | None
) -> None:
    """Run the command in this forked process, and end it."""
    status = 1
    try:
        output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(output, 1)
        os.dup2(output, 2)
        os.chdir(folder)
        watch_operations(folder, operation, counter)
        status = job.run(inputs) or 0
        if counter is not None:
            counter.with_name(MODULES).write_text("\n".join(list(sys.modules)))
    except SystemExit as leaving:
        if isinstance(leaving.code, str):
            print(leaving.code, file=sys.stderr)
        status = leaving.code if isinstance(leaving.code, int) else int(leaving.code is not None)
    except BaseException as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def watch_operations(folder: Path, last: int, counter: Path | None) -> None:
    """Count this process's operations on files below a folder, and die before the last one."""
    output = None if counter is None else os.open(counter, os.O_WRONLY | os.O_CREAT)
    count = 0

    def watch(event: str, arguments: tuple[object, ...]) -> None:
        nonlocal count
        if event not in OPERATIONS or (event == "open" and not is_written(arguments)):
            return
        path = str(arguments[0])
        if os.path.isabs(path) and not path.startswith(str(folder)):
            return
        count += 1
        if output is not None:
            os.write(output, b".")
        if count == last:
            os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(watch)


def is_written(arguments: tuple[object, ...]) -> bool:
    """Return whether a file is opened for writing."""
    mode, flags = arguments[1], arguments[2]
    return bool(int(flags or 0) & (os.O_WRONLY | os.O_RDWR)) or "w" in str(mode or "")  # type: ignore[call-overload]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the trial."""
    parser.add_argument("--runs", type=int, default=200, help="jobs in all (default: %(default)s)")
    parser.add_argument(
        "--jobs", nargs="+", choices=list(JOBS), default=list(JOBS), help="kinds (default: all)"
    )
    parser.add_argument("--processes", type=int, default=2, help="kinds at a time (default: 2)")
    parser.add_argument("--seed", type=int, default=0, help="of the moments (default: 0)")


def run_kind(name: str, root: Path, seed: int, numbers: Sequence[int]) -> tuple[int, int]:
    """Kill jobs of one kind; return the kills, and how many results differ."""
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    trial = Trial(name, root, random.Random(f"{seed} {name}"))
    kills = wrong = 0
    for number in numbers:
        count, problem = trial.run(number)
        kills += count
        if problem:
            wrong += 1
            print(f"run {number}, {name}: {problem}", flush=True)
    print(f"{name}: {kills} kills, {len(numbers) - wrong} of {len(numbers)} equal", flush=True)
    return kills, wrong


def run(args: argparse.Namespace) -> int:
    """Run the trial and print its figures; return 1 if any result differs."""
    fork = multiprocessing.get_context("fork")
    with (
        tempfile.TemporaryDirectory() as root,
        ProcessPoolExecutor(args.processes, fork) as pool,
    ):
        tried = [
            pool.submit(run_kind, name, Path(root, name), args.seed,
                        range(number, args.runs, len(args.jobs)))
            for number, name in enumerate(args.jobs)
        ]  # fmt: skip
        figures = [future.result() for future in tried]
    kills, wrong = (sum(column) for column in zip(*figures, strict=True))
    print(f"all: {kills} kills, {args.runs - wrong} of {args.runs} results equal")
    return int(bool(wrong))
