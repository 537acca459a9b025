"""Check a device in one go: GPU tests, speed of networks and operations, 4K, training.

Every part is a process with a time limit: its share of the time that is left, so that all parts get
theirs and the whole never exceeds `--minutes`. A part that fails or takes too long is recorded, and
the others still run. On a CPU the same parts run at tiny sizes, to rehearse.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import torch

from sgm_vfi.benchmark.row_files import ROOT, describe_environment, utc_now
from sgm_vfi.benchmark.tables import markdown_table
from sgm_vfi.model.cli_options import add_device_option, argument_type, parse_number
from sgm_vfi.storage.atomic_write import write_atomically

KILL_SECONDS = 5  # to wait for a killed process, which a driver may hold up
MAX_OUTPUT = 12_000  # characters of a part that are kept, the last
SPEED = ("ours-small-1-2", "rife_v4.6")  # networks whose speed is measured
BOTH, LARGE = ("448x256", "960x544"), ("960x544",)
MODES = {  # options of inference -> sizes, expected seconds
    "fp32": ((), BOTH, 60),
    "tf32": (("--precision", "tf32"), LARGE, 40),
    "bf16": (("--precision", "bf16"), BOTH, 60),
    "compiled": (("--compile", "--precision", "bf16"), LARGE, 110),
    "CUDA graphs": (("--cuda_graphs", "--precision", "bf16"), LARGE, 110),
}
REHEARSED = ("fp32", "CUDA graphs")  # on a CPU, which refuses the second


class CheckPart(NamedTuple):
    """A part of the check: a command of this Python."""

    name: str
    arguments: tuple[str, ...]
    seconds: float  # expected; the share of the time that it may take


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of `sgm-vfi benchmark device_check`."""
    parser.add_argument(
        "--output",
        type=Path,
        default=Path("output/device_check.json"),
        metavar="FILE",
        help="JSON file; a Markdown file is written beside it (default: %(default)s)",
    )
    parser.add_argument(
        "--minutes",
        type=argument_type(parse_number),
        default=11.0,
        help="time limit of all parts together (default: 11)",
    )
    add_device_option(parser)


def run(args: argparse.Namespace) -> int:
    """Run all parts, write after each of them, and return 1 if one failed."""
    if args.output.suffix != ".json":
        raise ValueError(f"The results are JSON: --output ends in .json, got {args.output}.")
    device = torch.device(args.device)
    end = time.monotonic() + 60 * args.minutes
    report = {"command": args.command, "date": utc_now(), "parts": []}
    report |= {"provenance": describe_environment(device)}
    args.output.parent.mkdir(parents=True, exist_ok=True)
    parts = list(list_parts(device.type))
    for i, part in enumerate(parts):
        share = part.seconds / max(1, sum(later.seconds for later in parts[i:]))
        result = run_part(part, share * (end - time.monotonic()))
        print(f"{part.name}: {result['result']}, {result['seconds']} s", flush=True)
        report["parts"].append(result)
        write_atomically(args.output, json.dumps(report, indent=1).encode())
        write_atomically(args.output.with_suffix(".md"), format_check(report).encode())
    print(f"{args.output}, {args.output.with_suffix('.md')}")
    return int(any(result["result"] != "passed" for result in report["parts"]))


def list_parts(device: str) -> Iterator[CheckPart]:
    """Yield the parts in the order of their importance; on a CPU, with tiny sizes."""
    is_cpu = device == "cpu"
    where = ("--device", device)
    large, size_4k = ("64x64",) * 2 if is_cpu else (*LARGE, "4096x2176")
    runs = ("--runs", "1" if is_cpu else "7")
    if files := find_gpu_tests():
        yield CheckPart("GPU tests", ("-m", "pytest", "-q", "-m", "gpu", *files), 100)
    speed = ("-m", "sgm_vfi.cli", "benchmark", "speed", *where, *runs, "--model")
    networks = SPEED[1:2] if is_cpu else SPEED
    for name, (options, sizes, seconds) in MODES.items():
        if not is_cpu or name in REHEARSED:
            whole = (*networks, "--size", *((large,) if is_cpu else sizes), *options)
            yield CheckPart(f"speed, {name}", (*speed, *whole), seconds)
    for command in ("splat", "operations"):
        arguments = ("-m", "sgm_vfi.cli", "benchmark", command, "--size", large, *where, *runs)
        yield CheckPart(command, arguments, 25)
    whole = ("--size", size_4k, "--precision", "fp32" if is_cpu else "bf16")
    yield CheckPart("4K at flow scale 1", (*speed, *networks, *whole), 60)
    if (ROOT / "train_base.py").is_file():
        training = ["--synthetic", "--config", "ours-local-small", "--measure"]
        training += ["1" if is_cpu else "30", "--set", f"batch_size={1 if is_cpu else 32}"]
        yield CheckPart("training", (str(ROOT / "train_base.py"), *training, *where), 70)


def find_gpu_tests() -> list[str]:
    """Return the files of tests that need a GPU; none in an installed package."""
    files = sorted((ROOT / "tests").glob("test_*.py"))
    return [str(file) for file in files if "pytest.mark.gpu" in file.read_text(encoding="utf-8")]


def run_part(part: CheckPart, seconds: float) -> dict[str, Any]:
    """Run a part for at most some seconds; return its result, its time and what it printed."""
    command = (sys.executable, *part.arguments)
    report = {"name": part.name, "command": " ".join(("python", *part.arguments))}
    if seconds <= 0:
        return report | {"result": "no time left", "seconds": 0.0, "output": ""}
    start = time.monotonic()
    path = os.pathsep.join(filter(None, (str(ROOT.parent), os.environ.get("PYTHONPATH"))))
    with tempfile.TemporaryFile() as printed:  # a pipe would wait for processes that outlive a kill
        process = subprocess.Popen(
            command,
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": path},
            stdout=printed,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            code = process.wait(timeout=seconds)
            result = "passed" if code == 0 else f"failed (exit {code})"
        except subprocess.TimeoutExpired:
            kill_group(process)
            result = f"stopped after {seconds:.0f} s"
        printed.seek(0)
        output = printed.read().decode(errors="replace")
    taken = round(time.monotonic() - start, 1)
    return report | {"result": result, "seconds": taken, "output": output[-MAX_OUTPUT:].strip()}


def kill_group(process: subprocess.Popen[bytes]) -> None:
    """Kill a process and those that it started; wait for its end, but not for long."""
    if hasattr(os, "killpg"):
        os.killpg(process.pid, signal.SIGKILL)
    else:
        process.kill()
    with suppress(subprocess.TimeoutExpired):
        process.wait(timeout=KILL_SECONDS)


def format_check(report: dict[str, Any]) -> str:
    """Format the report as Markdown: a table of parts, then what each printed."""
    rows = [[part["name"], part["result"], f"{part['seconds']:g}"] for part in report["parts"]]
    facts = ", ".join(f"{name} {value}" for name, value in report["provenance"].items())
    text = [f"# Device check\n\n{report['date']}, {facts}\n"]
    text.append(markdown_table(["part", "result", "seconds"], rows))
    for part in report["parts"]:
        text.append(f"\n## {part['name']}\n\n```sh\n{part['command']}\n```\n")
        text.append(keep_tables(part["output"].splitlines()))
    return "\n".join(text) + "\n"


def keep_tables(lines: Sequence[str]) -> str:
    """Format printed lines as Markdown: tables as they are, all else as code."""
    text, is_code = [], False
    for line in lines:
        if is_code == line.startswith("|"):
            text.append("```" if is_code else "\n```")
            is_code = not is_code
        text.append(line)
    return "\n".join([*text, "```"] if is_code else text)
