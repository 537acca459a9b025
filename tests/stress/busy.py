"""Seconds of one 720p frame on an idle and on a busy machine, with and without spinning threads."""

import argparse
import os
import statistics
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

FRAMES = """
import sys, time, torch
from sgm_vfi.model.zoo import build_interpolator
from sgm_vfi.model.interpolator import time_like
network = build_interpolator(sys.argv[1]).eval()
pair = torch.rand(2, 1, 3, 720, 1280)
with torch.inference_mode():
    for _ in range(int(sys.argv[2]) + 1):
        start = time.perf_counter()
        network(*pair, time_like(pair[0], 0.5))
        print(time.perf_counter() - start, flush=True)
"""
NEIGHBOUR = """
import torch
x, w = torch.rand(1, 64, 256, 256), torch.rand(64, 64, 3, 3)
with torch.inference_mode():
    while True:
        torch.nn.functional.conv2d(x, w, padding=1)
"""
WAITING = {"PyTorch's default": {}, "as the commands set it": {"GOMP_SPINCOUNT": "3000"}}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of this trial."""
    parser.add_argument("--model", default="classical", help="(default: %(default)s)")
    parser.add_argument("--frames", type=int, default=3, help="timed frames (default: 3)")
    parser.add_argument(
        "--neighbours", type=int, default=4, help="other processes of PyTorch (default: 4)"
    )


def run(args: argparse.Namespace) -> int:
    """Print the median seconds of a frame for each setting; return 0."""
    for name, variables in WAITING.items():
        environment = {k: v for k, v in os.environ.items() if not k.startswith(("GOMP", "OMP"))}
        environment |= variables
        idle = time_frames(args.model, args.frames, environment)
        with run_neighbours(args.neighbours, environment):
            busy = time_frames(args.model, args.frames, environment)
        print(f"{name}: idle {describe(idle)}, beside {args.neighbours} others {describe(busy)}")
    return 0


@contextmanager
def run_neighbours(count: int, environment: dict[str, str] | None = None) -> Iterator[None]:
    """Run busy processes of PyTorch within a `with` block."""
    command = [sys.executable, "-c", NEIGHBOUR]
    others = [subprocess.Popen(command, env=environment) for _ in range(count)]
    try:
        yield
    finally:
        for other in others:
            other.kill()
            other.wait()


def time_frames(model: str, count: int, environment: dict[str, str]) -> list[float]:
    """Return the seconds of each frame but the first, in a process of its own."""
    command = [sys.executable, "-c", FRAMES, model, str(count)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    return [float(line) for line in done.stdout.split()][1:]


def describe(seconds: Sequence[float]) -> str:
    """Format the median and the range."""
    return f"{statistics.median(seconds):.2f} s ({min(seconds):.2f} to {max(seconds):.2f})"
