"""What an interpolator costs: seconds and memory for one frame, beside what the machine allows."""

import argparse
import json
import statistics
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from sgm_vfi.benchmark.result_rows import provenance
from sgm_vfi.benchmark.timing import GIB, FrameCost, SpeedRun, measure_in_subprocess
from sgm_vfi.media.images import write_atomically
from sgm_vfi.model import ZOO
from sgm_vfi.model.cli_options import (
    add_acceleration,
    add_device_option,
    argument_type,
    parse_flow_scale,
)
from sgm_vfi.model.zoo import resolve_alias

SAME = ("model", "width", "height", "flow_scale", "precision", "compiled")  # what makes rows alike
SMALL = 0.01  # share of the time: stages below it are shown as one
LEGEND = """
floor: what the arithmetic takes at the throughput of a convolution, and the traffic of
convolutions, products and attention at the bandwidth of a copy, both measured in the same run.
GiB: beyond weights and frames."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what `run` reads."""
    parser.add_argument(
        "--model",
        nargs="+",
        default=["ours-small-1-2"],
        type=resolve_alias,
        choices=[*sorted(ZOO), "all"],
        metavar="NAME",
        help="names of networks, or all; weights are fresh (default: ours-small-1-2)",
    )
    parser.add_argument(
        "--size",
        nargs="+",
        default=[(448, 256)],
        type=argument_type(size),
        metavar="WxH",
        help="width x height (default: 448x256)",
    )
    parser.add_argument(
        "--flow_scale", type=argument_type(parse_flow_scale), default=1.0, metavar="RATIO"
    )
    parser.add_argument("--runs", type=int, default=5, help="timed runs after one warm-up")
    add_acceleration(parser)
    add_device_option(parser)
    parser.add_argument(
        "--stages", action="store_true", help="also split time and memory by part of the network"
    )
    parser.add_argument("--output", type=Path, help="keep the figures, as JSON")
    parser.add_argument(
        "--against", type=Path, metavar="FILE", help="compare with figures kept before"
    )


def size(text: str) -> tuple[int, int]:
    """448x256 as (448, 256)."""
    try:
        width, height = map(int, text.lower().split("x"))
    except ValueError:
        width = height = 0
    if min(width, height) < 1:
        raise ValueError(f"A size is WIDTHxHEIGHT in pixels, such as 1280x720, got {text!r}.")
    return width, height


def run(args: argparse.Namespace) -> None:
    """Print the table; every row is measured in a process of its own."""
    if args.runs < 1:
        raise ValueError(f"--runs is 1 or more, got {args.runs}.")
    if args.output is not None and args.output.suffix != ".json":
        raise ValueError(f"The figures are JSON: --output ends in .json, got {args.output}.")
    earlier = read_figures(args.against) if args.against else []
    names = list(ZOO) if "all" in args.model else args.model
    jobs = [
        SpeedRun(
            name,
            *dimensions,
            args.flow_scale,
            str(args.device),
            args.runs,
            args.precision,
            args.compile,
            args.stages,
        )
        for name, dimensions in product(names, args.size)
    ]
    facts = provenance(torch.device(args.device))
    figures: list[dict[str, Any]] = []
    for job in tqdm(jobs, unit="row", disable=None):
        figures.append(figures_of(job, measure_in_subprocess(job)))
        if args.output is not None:  # after every row: it may take long
            kept = {"command": args.command, "provenance": facts, "rows": figures}
            args.output.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(args.output, json.dumps(kept, indent=1).encode())
    print("\n".join([*table(figures), *stage_tables(figures), *comparison(figures, earlier)]))
    print(LEGEND + "\n\n" + ", ".join(f"{name} {value}" for name, value in facts.items() if value))
    print(f"threads {torch.get_num_threads()}, command: {args.command}")


def figures_of(job: SpeedRun, cost: FrameCost | str) -> dict[str, Any]:
    """One row as plain values."""
    row: dict[str, Any] = {name: getattr(job, name) for name in SAME}
    if isinstance(cost, str):
        return row | {"problem": cost}
    row |= {name: getattr(cost, name) for name in ("parameters", "seconds", "gib", "floor")}
    row |= {name: getattr(cost, name) for name in ("gflop_s", "gbyte_s")}
    row |= {"gflop": cost.work.gflop, "gbyte": cost.work.gbyte}
    row["stages"] = [
        {
            "name": stage.name,
            "seconds": stage.seconds,
            "gflop": stage.work.gflop,
            "gbyte": stage.work.gbyte,
            "floor": stage.work.floor(cost.gflop_s, cost.gbyte_s),
            "gib": stage.work.peak / GIB,
        }
        for stage in cost.stages
    ]
    return row


def table(rows: list[dict[str, Any]]) -> Iterator[str]:
    """Markdown, a row for each job."""
    yield "| model | size | flow scale | parameters | GFLOP | GB | seconds | floor | share | GiB |"
    yield "|---|---|---|---|---|---|---|---|---|---|"
    for row in rows:
        head = f"| {name_of(row)} | {row['width']}x{row['height']} | {row['flow_scale']:g} |"
        if "problem" in row:
            yield f"{head} | | | {row['problem']} | | | |"
            continue
        seconds, floor = row["seconds"], "- | -"
        median = statistics.median(seconds)
        if row["gflop"]:
            floor = f"{row['floor']:.3g} | {row['floor'] / median:.0%}"
        yield (
            f"{head} {row['parameters']:,} | {row['gflop']:.0f} | {row['gbyte']:.1f} | "
            f"{median:.3g} ({min(seconds):.3g} to {max(seconds):.3g}) | {floor} | "
            f"{row['gib']:.2f} |"
        )
    measured = [row for row in rows if "problem" not in row]
    if measured:
        gflop_s = statistics.median(row["gflop_s"] for row in measured)
        gbyte_s = statistics.median(row["gbyte_s"] for row in measured)
        yield f"\nA convolution: {gflop_s:.0f} GFLOP/s; a copy: {gbyte_s:.1f} GB/s."


def stage_tables(rows: list[dict[str, Any]]) -> Iterator[str]:
    """Markdown, a table for each job that was split; stages in the order of a call."""
    for row in rows:
        stages = row.get("stages")
        if not stages:
            continue
        yield f"\n{name_of(row)}, {row['width']}x{row['height']}:\n"
        yield "| stage | ms | share | GFLOP | GB | floor, ms | times the floor | GiB held |"
        yield "|---|---|---|---|---|---|---|---|"
        total = sum(stage["seconds"] for stage in stages)
        small = 0.0
        for stage in stages:
            share = stage["seconds"] / total
            if share < SMALL:
                small += stage["seconds"]
                continue
            floor = stage["floor"]
            times = f"{1e3 * floor:.1f} | {stage['seconds'] / floor:.1f}" if floor else "- | -"
            yield (
                f"| {stage['name']} | {1e3 * stage['seconds']:.1f} | {share:.0%} | "
                f"{stage['gflop']:.1f} | {stage['gbyte']:.2f} | {times} | {stage['gib']:.2f} |"
            )
        yield f"| all others | {1e3 * small:.1f} | {small / total:.0%} | | | | | |"


def comparison(rows: list[dict[str, Any]], earlier: list[dict[str, Any]]) -> Iterator[str]:
    """Markdown: how many times as fast, and with what share of the memory, as before.

    Where the same was not measured before, the same network at the same size is compared with.
    """
    measured = [row for row in earlier if "seconds" in row]
    if not earlier:
        return
    yield "\n| now | before | size | before, s | now, s | times as fast | memory |"
    yield "|---|---|---|---|---|---|---|"
    for row in rows:
        alike = [old for old in measured if all(old[name] == row[name] for name in SAME[:4])]
        alike.sort(key=lambda old: sum(old[name] != row[name] for name in SAME))
        dimensions = f"{row['width']}x{row['height']}"
        if not alike or "seconds" not in row:
            yield f"| {name_of(row)} | not in both | {dimensions} | | | | |"
            continue
        old = alike[0]
        was, now = (statistics.median(r["seconds"]) for r in (old, row))
        memory = f"{row['gib'] / old['gib']:.2f}" if old["gib"] > 0 else "-"
        yield (
            f"| {name_of(row)} | {name_of(old)} | {dimensions} | {was:.3g} | {now:.3g} | "
            f"{was / now:.2f} | {memory} |"
        )


def name_of(row: dict[str, Any]) -> str:
    """The model, and what was done to make it faster."""
    extra = [] if row["precision"] == "fp32" else [row["precision"]]
    if row["compiled"]:
        extra.append("compiled" if row["compiled"] is True else row["compiled"])
    return ", ".join([row["model"], *extra])


def read_figures(path: Path) -> list[dict[str, Any]]:
    """The rows that an earlier run kept."""
    try:
        rows = json.loads(path.read_text(encoding="utf-8"))["rows"]
        complete = all(name in row for row in rows for name in SAME)
    except (json.JSONDecodeError, UnicodeDecodeError, KeyError, TypeError) as error:
        raise ValueError(f"{path} is not what --output of this command keeps ({error}).") from error
    if not complete:
        raise ValueError(f"{path} lacks {', '.join(SAME)} in a row: measure it again.")
    return rows
