"""Compare the cost of interpolators with an earlier run, and with other code in the same run."""

import os
import platform
import statistics
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeAlias

import torch

from sgm_vfi.benchmark.tables import markdown_table
from sgm_vfi.read_json import explain_structure, parse_json_object

SpeedRow: TypeAlias = dict[str, Any]  # of the JSON file
SpeedReport: TypeAlias = dict[str, Any]  # the JSON file: command, provenance, machine, limits, rows
KEY = ("model", "width", "height", "flow_scale", "precision", "compiled")  # identifies a row
CPU_INFO = Path("/proc/cpuinfo")  # on Linux


def describe_machine(device: torch.device) -> dict[str, Any]:
    """Return the name of a device and the number of CPU threads, which decide about times."""
    if device.type == "cuda":
        name = torch.cuda.get_device_name(device)
    else:
        lines = CPU_INFO.read_text(errors="replace").splitlines() if CPU_INFO.is_file() else []
        models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
        name = (models or [platform.processor() or platform.machine()])[0]
        name = f"{device}, {name}, {os.cpu_count()} cores"
    return {"name": name, "threads": torch.get_num_threads()}


def require_same_machine(path: Path, earlier: SpeedReport, machine: dict[str, Any]) -> None:
    """Raise ValueError if an earlier run was measured on another machine."""
    then, now = (
        f"{one['name']} with {one['threads']} threads" for one in (earlier["machine"], machine)
    )
    if then != now:
        raise ValueError(
            f"{path} was measured on {then}; this is {now}. Their times cannot be compared: "
            f"measure the earlier version here, with as many threads (OMP_NUM_THREADS)."
        )


def format_comparison(report: SpeedReport, earlier: SpeedReport) -> Iterator[str]:
    """Format a Markdown table of speed and memory relative to an earlier run.

    A row that the earlier run lacks is compared with the same network at the same size.
    """
    lines = []
    for row in report["rows"]:
        alike = [
            old
            for old in earlier["rows"]
            if "seconds" in old and all(old[name] == row[name] for name in KEY[:4])
        ]
        alike.sort(key=lambda old: sum(old[name] != row[name] for name in KEY))
        size = f"{row['width']}x{row['height']}"
        if not alike or "seconds" not in row:
            lines.append([label(row), "not in both", size, *[""] * 4])
            continue
        old = alike[0]
        before, now = (statistics.median(one["seconds"]) for one in (old, row))
        memory = f"{row['gib'] / old['gib']:.2f}" if old["gib"] > 0 else "-"
        numbers = (f"{before:.3g}", f"{now:.3g}", f"{before / now:.2f}", memory)
        lines.append([label(row), label(old), size, *numbers])
    head = ["now", "before", "size", "before, s", "now, s", "times as fast", "memory"]
    yield "\n" + markdown_table(head, lines)
    then, now = (one["limits"]["gflop_s"] for one in (earlier, report))
    yield f"\nThe machine: a convolution is {now / then:.2f} times as fast as in the earlier run."


def format_beside(rows: list[SpeedRow]) -> Iterator[str]:
    """Format a Markdown table of networks and the function that was timed in turn with them."""
    lines = []
    for row in (row for row in rows if "beside" in row):
        own, other = row["seconds"], row["beside"]["seconds"]
        ratio = statistics.median(b / a for a, b in zip(own, other, strict=True))
        numbers = (f"{statistics.median(one):.3g}" for one in (own, other))
        size = f"{row['width']}x{row['height']}"
        lines.append([label(row), size, *numbers, f"{ratio:.2f}", row["beside"]["function"]])
    if lines:
        head = ["model", "size", "seconds", "beside it, s", "times as fast", "beside it"]
        yield "\n" + markdown_table(head, lines)


def label(row: SpeedRow) -> str:
    """Return the model with its precision and compilation."""
    extra = [] if row["precision"] == "fp32" else [row["precision"]]
    if row["compiled"]:
        extra.append("compiled" if row["compiled"] is True else row["compiled"])
    return ", ".join([row["model"], *extra])


def read_figures(path: Path) -> SpeedReport:
    """Read the figures of an earlier run."""
    with explain_structure(path, "file of figures of this command"):
        report: SpeedReport = parse_json_object(path.read_text(encoding="utf-8"))
        for row in report["rows"]:
            if missing := [name for name in KEY if name not in row]:
                raise ValueError(f"a row lacks {', '.join(missing)}")
        if missing := [name for name in ("machine", "limits") if name not in report]:
            raise ValueError(f"it names no {' and no '.join(missing)}, as older versions wrote it")
    return report
