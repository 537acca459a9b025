"""Measure the cost of interpolators: seconds and memory per frame, beside the machine's limits."""

import argparse
import json
import statistics
from collections.abc import Iterator
from itertools import product
from pathlib import Path

import torch
from tqdm import tqdm

from sgm_vfi.benchmark.compare_speed_with_earlier_run import (
    KEY,
    SpeedReport,
    SpeedRow,
    describe_machine,
    format_beside,
    format_comparison,
    label,
    read_figures,
    require_same_machine,
)
from sgm_vfi.benchmark.frame_cost import FrameCost, SpeedConfig, measure_in_subprocess
from sgm_vfi.benchmark.profiler import GIB, MachineLimits, measure_limits
from sgm_vfi.benchmark.row_files import describe_environment
from sgm_vfi.benchmark.tables import markdown_table
from sgm_vfi.media.images import parse_size
from sgm_vfi.model import ZOO
from sgm_vfi.model.automatic_precision import resolve_precision
from sgm_vfi.model.cli_options import (
    add_acceleration,
    add_device_option,
    add_flow_scale,
    argument_type,
    parse_positive,
)
from sgm_vfi.model.import_by_name import is_reference
from sgm_vfi.model.weight_search import ENDINGS
from sgm_vfi.model.zoo import find_builder, resolve_alias
from sgm_vfi.storage.atomic_write import write_atomically

ALL = "all"  # networks of the zoo
SMALL_SHARE = 0.01  # of the time: shorter stages are shown as one
LEGEND = """
floor: what the arithmetic takes at the throughput of a convolution, and the traffic of
convolutions, products and attention at the bandwidth of a copy, both measured once in this run.
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
        help="names of networks, files of weights, file.py:Class, or all; weights are random where "
        "none are found (default: ours-small-1-2)",
    )
    add(
        "--size",
        nargs="+",
        default=[(256, 448)],
        type=argument_type(parse_size),
        metavar="WIDTHxHEIGHT",
        help="in pixels (default: 448x256)",
    )
    add_flow_scale(parser)
    add(
        "--runs",
        type=argument_type(parse_positive),
        default=5,
        help="timed runs after one warm-up (default: %(default)s)",
    )
    add_acceleration(parser)
    add_device_option(parser)
    add("--stages", action="store_true", help="also split time and memory by stage of the network")
    add("--output", type=Path, help="write the figures as JSON (default: none)")
    add(
        "--against",
        type=Path,
        metavar="FILE",
        help="print ratios to an earlier run on this machine, as --output wrote it (default: none)",
    )
    add(
        "--beside",
        type=argument_type(parse_function),
        metavar="FILE.py:FUNCTION",
        help="time function(frame0, frame1, time) in turn with each network, and print the ratio "
        "(default: none)",
    )


def parse_network(text: str) -> str:
    """Parse the name of a network, a file of weights, a class of the user, or all."""
    if Path(text).suffix in ENDINGS and not Path(text).is_file():
        raise ValueError(f"there is no file of weights {text} ({Path(text).absolute()})")
    if text != ALL and not Path(text).is_file():
        find_builder(text)
    return resolve_alias(text)


def parse_function(text: str) -> str:
    """Parse a reference to a function of the user."""
    if not is_reference(text):
        raise ValueError(f"expected file.py:function or module:function, got {text!r}")
    return text


def run(args: argparse.Namespace) -> None:
    """Print the tables; every row is measured in a process of its own."""
    if args.output is not None and args.output.suffix != ".json":
        raise ValueError(f"The figures are JSON: --output ends in .json, got {args.output}.")
    device = torch.device(args.device)
    machine = describe_machine(device)
    earlier = read_figures(args.against) if args.against else None
    if earlier is not None:
        require_same_machine(args.against, earlier, machine)
    names = list(ZOO) if ALL in args.model else args.model
    facts = describe_environment(device)
    args.precision = resolve_precision(args.precision, device)
    limits = measure_limits(device, args.precision)
    rows: list[SpeedRow] = []
    report: SpeedReport = {"command": args.command, "provenance": facts, "machine": machine}
    report |= {"limits": limits._asdict(), "rows": rows}
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
            args.beside,
        )
        rows.append(as_row(config, measure_in_subprocess(config), limits))
        if args.output is not None:  # after every row: a run may take long
            args.output.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(args.output, json.dumps(report, indent=1).encode())
    print(format_costs(rows, limits))
    print("\n".join([*format_stages(rows), *format_beside(rows)]))
    if earlier is not None:
        print("\n".join(format_comparison(report, earlier)))
    print(LEGEND + "\n\n" + ", ".join(f"{name} {value}" for name, value in facts.items() if value))
    print(f"{machine['name']}, threads {machine['threads']}, command: {args.command}")


def as_row(config: SpeedConfig, cost: FrameCost | str, limits: MachineLimits) -> SpeedRow:
    """Convert a cost, or the reason why there is none, to plain values."""
    row: SpeedRow = {name: getattr(config, name) for name in KEY}
    if isinstance(cost, str):
        return row | {"problem": cost}
    row |= {name: getattr(cost, name) for name in ("weights", "parameters", "seconds", "gib")}
    if config.beside is not None:
        row["beside"] = {"function": config.beside, "seconds": cost.beside}
    row |= {"gflop": cost.operations.gflop, "gbyte": cost.operations.gbyte}
    row["floor"] = cost.operations.floor(*limits)
    row["stages"] = [
        {
            "name": stage.name,
            "seconds": stage.seconds,
            "gflop": stage.operations.gflop,
            "gbyte": stage.operations.gbyte,
            "floor": stage.operations.floor(*limits),
            "gib": stage.operations.peak / GIB,
        }
        for stage in cost.stages
    ]
    return row


def format_costs(rows: list[SpeedRow], limits: MachineLimits) -> str:
    """Format a Markdown table with one line per row."""
    head = ["model", "size", "flow scale", "weights", "parameters", "GFLOP", "GB"]
    head += ["seconds", "floor", "share", "GiB"]
    lines = []
    for row in rows:
        line = [label(row), f"{row['width']}x{row['height']}", f"{row['flow_scale']:g}"]
        if "problem" in row:
            lines.append([*line, "", "", "", "", row["problem"], "", "", ""])
            continue
        seconds = row["seconds"]
        median = statistics.median(seconds)
        has_work = row["gflop"] > 0
        lines.append(
            [
                *line,
                row["weights"],
                f"{row['parameters']:,}",
                f"{row['gflop']:.0f}",
                f"{row['gbyte']:.1f}",
                f"{median:.3g} ({min(seconds):.3g} to {max(seconds):.3g})",
                f"{row['floor']:.3g}" if has_work else "-",
                f"{row['floor'] / median:.0%}" if has_work else "-",
                f"{row['gib']:.2f}",
            ]
        )
    return (
        f"{markdown_table(head, lines)}\n\nA convolution: {limits.gflop_s:.0f} GFLOP/s; "
        f"a copy: {limits.gbyte_s:.1f} GB/s."
    )


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
