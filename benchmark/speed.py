"""Measure the cost of interpolators: seconds and memory per frame, beside the machine's limits."""

import argparse
import json
import statistics
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Any, TypeAlias

import torch
from tqdm import tqdm

from sgm_vfi.benchmark.frame_cost import FrameCost, SpeedConfig, measure_in_subprocess
from sgm_vfi.benchmark.profiler import GIB
from sgm_vfi.benchmark.row_files import describe_environment
from sgm_vfi.benchmark.tables import markdown_table
from sgm_vfi.media.images import parse_size
from sgm_vfi.model import ZOO
from sgm_vfi.model.cli_options import (
    add_acceleration,
    add_device_option,
    argument_type,
    parse_flow_scale,
    parse_positive,
)
from sgm_vfi.model.zoo import find_builder, resolve_alias
from sgm_vfi.read_json import explain_structure, parse_json_object
from sgm_vfi.storage.atomic_write import write_atomically

SpeedRow: TypeAlias = dict[str, Any]  # of the JSON file
KEY = ("model", "width", "height", "flow_scale", "precision", "compiled")  # identifies a row
ALL = "all"  # networks of the zoo
SMALL_SHARE = 0.01  # of the time: shorter stages are shown as one
LEGEND = """
floor: what the arithmetic takes at the throughput of a convolution, and the traffic of
convolutions, products and attention at the bandwidth of a copy, both measured in the same run.
GiB: beyond weights and frames."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of `sgm-vfi benchmark speed`."""
    add = parser.add_argument
    add(
        "--model",
        nargs="+",
        default=["ours-small-1-2"],
        type=argument_type(parse_network),
        metavar="NAME",
        help="names of networks, file.py:Class, or all; weights are random "
        "(default: ours-small-1-2)",
    )
    add(
        "--size",
        nargs="+",
        default=[(256, 448)],
        type=argument_type(parse_size),
        metavar="WIDTHxHEIGHT",
        help="in pixels (default: 448x256)",
    )
    add("--flow_scale", type=argument_type(parse_flow_scale), default=1.0, metavar="RATIO")
    add(
        "--runs",
        type=argument_type(parse_positive),
        default=5,
        help="timed runs after one warm-up (default: %(default)s)",
    )
    add_acceleration(parser)
    add_device_option(parser)
    add("--stages", action="store_true", help="also split time and memory by stage of the network")
    add("--output", type=Path, help="write the figures as JSON")
    add("--against", type=Path, metavar="FILE", help="compare with figures of an earlier run")


def parse_network(text: str) -> str:
    """Parse the name of a network, a class of the user, or all."""
    if text != ALL:
        find_builder(text)
    return resolve_alias(text)


def run(args: argparse.Namespace) -> None:
    """Print the tables; every row is measured in a process of its own."""
    if args.output is not None and args.output.suffix != ".json":
        raise ValueError(f"The figures are JSON: --output ends in .json, got {args.output}.")
    earlier = read_figures(args.against) if args.against else []
    names = list(ZOO) if ALL in args.model else args.model
    facts = describe_environment(torch.device(args.device))
    rows: list[SpeedRow] = []
    sizes = product(names, args.size)
    for name, (height, width) in tqdm(list(sizes), unit="row", disable=None):
        config = SpeedConfig(
            name,
            width,
            height,
            args.flow_scale,
            str(args.device),
            args.runs,
            args.precision,
            args.compile,
            args.stages,
        )
        rows.append(as_row(config, measure_in_subprocess(config)))
        if args.output is not None:  # after every row: a run may take long
            report = {"command": args.command, "provenance": facts, "rows": rows}
            args.output.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(args.output, json.dumps(report, indent=1).encode())
    print(format_costs(rows))
    print("\n".join([*format_stages(rows), *format_comparison(rows, earlier)]))
    print(LEGEND + "\n\n" + ", ".join(f"{name} {value}" for name, value in facts.items() if value))
    print(f"threads {torch.get_num_threads()}, command: {args.command}")


def as_row(config: SpeedConfig, cost: FrameCost | str) -> SpeedRow:
    """Convert a cost, or the reason why there is none, to plain values."""
    row: SpeedRow = {name: getattr(config, name) for name in KEY}
    if isinstance(cost, str):
        return row | {"problem": cost}
    names = ("parameters", "seconds", "gib", "floor", "gflop_s", "gbyte_s")
    row |= {name: getattr(cost, name) for name in names}
    row |= {"gflop": cost.operations.gflop, "gbyte": cost.operations.gbyte}
    row["stages"] = [
        {
            "name": stage.name,
            "seconds": stage.seconds,
            "gflop": stage.operations.gflop,
            "gbyte": stage.operations.gbyte,
            "floor": stage.operations.floor(cost.gflop_s, cost.gbyte_s),
            "gib": stage.operations.peak / GIB,
        }
        for stage in cost.stages
    ]
    return row


def format_costs(rows: list[SpeedRow]) -> str:
    """Format a Markdown table with one line per row."""
    head = ["model", "size", "flow scale", "parameters", "GFLOP", "GB"]
    head += ["seconds", "floor", "share", "GiB"]
    lines = []
    for row in rows:
        line = [label(row), f"{row['width']}x{row['height']}", f"{row['flow_scale']:g}"]
        if "problem" in row:
            lines.append([*line, "", "", "", row["problem"], "", "", ""])
            continue
        seconds = row["seconds"]
        median = statistics.median(seconds)
        has_work = row["gflop"] > 0
        lines.append(
            [
                *line,
                f"{row['parameters']:,}",
                f"{row['gflop']:.0f}",
                f"{row['gbyte']:.1f}",
                f"{median:.3g} ({min(seconds):.3g} to {max(seconds):.3g})",
                f"{row['floor']:.3g}" if has_work else "-",
                f"{row['floor'] / median:.0%}" if has_work else "-",
                f"{row['gib']:.2f}",
            ]
        )
    measured = [row for row in rows if "problem" not in row]
    text = markdown_table(head, lines)
    if measured:
        gflop_s = statistics.median(row["gflop_s"] for row in measured)
        gbyte_s = statistics.median(row["gbyte_s"] for row in measured)
        text += f"\n\nA convolution: {gflop_s:.0f} GFLOP/s; a copy: {gbyte_s:.1f} GB/s."
    return text


def format_stages(rows: list[SpeedRow]) -> Iterator[str]:
    """Format a Markdown table of the stages of each row that has them."""
    head = ["stage", "ms", "share", "GFLOP", "GB", "floor, ms", "times the floor", "GiB held"]
    for row in (row for row in rows if row.get("stages")):
        total = sum(stage["seconds"] for stage in row["stages"])
        lines, others = [], 0.0
        for stage in row["stages"]:
            seconds, floor = stage["seconds"], stage["floor"]
            if seconds / total < SMALL_SHARE:
                others += seconds
                continue
            lines.append(
                [
                    stage["name"],
                    f"{1e3 * seconds:.1f}",
                    f"{seconds / total:.0%}",
                    f"{stage['gflop']:.1f}",
                    f"{stage['gbyte']:.2f}",
                    f"{1e3 * floor:.1f}" if floor else "-",
                    f"{seconds / floor:.1f}" if floor else "-",
                    f"{stage['gib']:.2f}",
                ]
            )
        lines.append(["all others", f"{1e3 * others:.1f}", f"{others / total:.0%}", *[""] * 5])
        yield f"\n{label(row)}, {row['width']}x{row['height']}:\n"
        yield markdown_table(head, lines)


def format_comparison(rows: list[SpeedRow], earlier: list[SpeedRow]) -> Iterator[str]:
    """Format a Markdown table of speed and memory relative to an earlier run.

    A row that the earlier run lacks is compared with the same network at the same size.
    """
    if not earlier:
        return
    lines = []
    for row in rows:
        alike = [
            old
            for old in earlier
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


def label(row: SpeedRow) -> str:
    """Return the model with its precision and compilation."""
    extra = [] if row["precision"] == "fp32" else [row["precision"]]
    if row["compiled"]:
        extra.append("compiled" if row["compiled"] is True else row["compiled"])
    return ", ".join([row["model"], *extra])


def read_figures(path: Path) -> list[SpeedRow]:
    """Read the rows of an earlier run."""
    with explain_structure(path, "file of figures of this command"):
        rows: list[SpeedRow] = parse_json_object(path.read_text(encoding="utf-8"))["rows"]
        for row in rows:
            if missing := [name for name in KEY if name not in row]:
                raise ValueError(f"a row lacks {', '.join(missing)}")
    return rows
