"""Time left, as the bar of a real job shows it, over the time that was left; idle and busy.

The job runs on a terminal of its own. The neighbours are processes of PyTorch that never rest.
"""

import argparse
import fcntl
import os
import pty
import re
import struct
import subprocess
import sys
import tempfile
import termios
import time
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

from sgm_vfi.model.cli_options import parse_positive
from tests.stress.busy import run_neighbours

SHARES = (0.1, 0.25, 0.5, 0.75, 0.9)  # of the work
BAR = re.compile(r"\| (\d+)/(\d+) frames \[[\d:]+(?:, time left (\d+):(\d\d):(\d\d))?")
CASES = {"idle": None, "busy": 0.0, "busy from half-way": 0.5}  # share done when the load begins


class Reading(NamedTuple):
    """What the bar showed."""

    seconds: float  # since the command was started
    done: float  # share of the frames
    left: float | None  # seconds


class Trial(NamedTuple):
    """What a job showed, and when, in seconds since the command was started."""

    first_output: float
    end: float  # of the output
    readings: list[Reading]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of this trial."""
    parser.add_argument("clip", type=Path, help="a video")
    parser.add_argument("--model", default="classical", help="(default: %(default)s)")
    parser.add_argument("--frames", type=parse_positive, default=45, help="of it (default: 45)")
    parser.add_argument("--max_size", default="1280", help="pixels (default: %(default)s)")
    parser.add_argument("--neighbours", type=int, default=4, help="busy processes (default: 4)")
    parser.add_argument(
        "--cases", nargs="+", choices=CASES, default=list(CASES), help="(default: all)"
    )


def run(args: argparse.Namespace) -> int:
    """Print the ratios of each case; return 1 if one of them is off by more than 1.5 at 10 %."""
    is_good = True
    for case in args.cases:
        with tempfile.TemporaryDirectory() as folder:
            trial = watch_job(build_command(args, Path(folder)), args.neighbours, CASES[case])
        print(describe(case, trial), flush=True)
        is_good &= CASES[case] == 0.5 or 1 / 1.5 <= find_ratio(trial, SHARES[0]) <= 1.5
    return 0 if is_good else 1


def build_command(args: argparse.Namespace, folder: Path) -> list[str]:
    """Return the command of the job."""
    size = ["--max_size", args.max_size, "--end", f"{args.frames}f"]
    command = [sys.executable, "-m", "sgm_vfi.cli", "interpolate", str(args.clip.resolve())]
    return [*command, "-o", str(folder / "out.mp4"), "--model", args.model, *size]


def watch_job(command: list[str], neighbours: int, begin: float | None) -> Trial:
    """Run a command on a terminal and read its bar.

    Args:
        begin: share of the work after which the neighbours start; None: never.
    """
    leader, terminal = pty.openpty()
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 50, 120, 0, 0))  # rows, columns
    with ExitStack() as stack:
        if begin == 0:
            stack.enter_context(run_neighbours(neighbours))
        start, first, now = time.monotonic(), None, 0.0
        job = subprocess.Popen(command, stdout=terminal, stderr=terminal)
        os.close(terminal)
        readings: list[Reading] = []
        while text := read_terminal(leader):
            now = time.monotonic() - start
            first = first or now
            readings += parse_bars(text, now)
            if begin and readings and readings[-1].done >= begin:
                stack.enter_context(run_neighbours(neighbours))
                begin = None
        if job.wait() != 0:
            raise RuntimeError(f"{' '.join(command)} ended with {job.returncode}.")
        return Trial(first or 0.0, now, readings)


def read_terminal(leader: int) -> str:
    """Return what was written; an empty text at the end."""
    try:
        return os.read(leader, 65536).decode(errors="replace")
    except OSError:  # Linux: the other side is closed
        return ""


def parse_bars(text: str, seconds: float) -> list[Reading]:
    """Return what the bars in a text show."""
    readings = []
    for done, total, *left in BAR.findall(text):
        h, m, s = (int(part or 0) for part in left)
        share = int(done) / max(int(total), 1)
        readings.append(Reading(seconds, share, h * 3600 + m * 60 + s if left[0] else None))
    return readings


def find_ratio(trial: Trial, share: float) -> float:
    """Return predicted over actual seconds left after a share of the work."""
    known = [r for r in trial.readings if r.done >= share and r.left is not None]
    return (known[0].left or 0.0) / (trial.end - known[0].seconds)


def describe(case: str, trial: Trial) -> str:
    """Return the figures of a trial as a line."""
    moving = next(r.seconds for r in trial.readings if r.done > 0)
    ratios = ", ".join(f"{100 * x:.0f} %: {find_ratio(trial, x):.2f}" for x in SHARES)
    return (
        f"{case}: {trial.end:.0f} s, first output after {trial.first_output:.1f} s, "
        f"bar moves after {moving:.1f} s; predicted over actual time left at {ratios}"
    )
