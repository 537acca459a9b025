"""Select the half of a test set with the largest motion, as a list file with statistics."""

import argparse
import csv
import io
import math
import statistics
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from sgm_vfi.benchmark.motion_statistics import estimate_motion
from sgm_vfi.benchmark.row_files import describe_environment, utc_now
from sgm_vfi.benchmark.row_journal import ReportError, Row, RowJournal, to_json
from sgm_vfi.benchmark.tables import protect_cell
from sgm_vfi.dataset import snu_film, xiph
from sgm_vfi.dataset.triplet import TripletPaths, read_lines, read_triplet_list
from sgm_vfi.media.charts import plot_histograms
from sgm_vfi.media.images import as_frame, read_frame, write_frame
from sgm_vfi.model.cli_options import add_device_option, argument_type, parse_positive
from sgm_vfi.model.flow.dis import DISFlow
from sgm_vfi.model.flow.estimator import FlowEstimator
from sgm_vfi.model.flow.flow_zoo import FLOW_NETWORKS, load_flow_estimator
from sgm_vfi.model.flow.raft import load_raft
from sgm_vfi.storage.atomic_write import write_atomically
from sgm_vfi.storage.file_identity import sha256
from sgm_vfi.storage.file_lock import FileLock

ANCHORS = (*snu_film.FOLDERS, *xiph.SEQUENCES)  # folders that a listed path may be cut off before
OUTPUT = "top-half-motion-sufficiency"
FLOWS = ("raft", "gmflow_refine", "classical")
COLUMNS = ("mean", "sufficiency")
RULES = (
    "The flow is from the first to the last frame of a triplet, on frames whose longer side is at "
    "most max_side (bilinear, antialiased, never enlarged); its lengths are in pixels of the "
    "frames as they are on disk.",
    "mean: the mean length. sufficiency (motion sufficiency): the least of the longest 5 % of the "
    "lengths, that is of the max(1, floor(N / 20)) longest of N.",
    "Chosen are the floor(half) of the triplets with the largest sufficiency; of equal ones the "
    "earlier in the list. The list keeps the order and the words of the whole one.",
)


class ListedTriplet(NamedTuple):
    """A triplet and its line in a list file."""

    line: str
    paths: TripletPaths


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of `sgm-vfi benchmark curation`."""
    add, positive = parser.add_argument, argument_type(parse_positive)
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument("--list", type=Path, metavar="FILE", help="triplets: three paths a line")
    which.add_argument(
        "--xiph_gap", type=positive, metavar="FRAMES", help="every second frame of Xiph"
    )
    add("--path", type=Path, required=True, metavar="DIR", help="root of the data set")
    add("--flow", choices=FLOWS, default="raft", help="default: %(default)s")
    add("--weights", type=Path, metavar="FILE", help="of the flow (default: the usual folders)")
    add("--iterations", type=positive, default=20, help="of RAFT (default: %(default)s)")
    add(
        "--max_side",
        type=positive,
        default=1280,
        metavar="PIXELS",
        help="longer side of the frames that flow is estimated on (default: %(default)s)",
    )
    add("--output", type=Path, help=f"the list (default: output/{OUTPUT}_NAME.txt)")
    add_device_option(parser)


def run(args: argparse.Namespace) -> None:
    """Measure every triplet, then write the list, its statistics and a chart."""
    find = find_xiph_triplets if args.list is None else find_listed_triplets
    triplets = find(args)
    require_frames(triplets)
    output = args.output or default_output(args)
    if output.suffix != ".txt":
        raise ReportError(f"The list is text: --output ends in .txt, got {output}.")
    estimator, about = load_estimator(args)
    header = {
        "rules": RULES,
        **about,
        "max_side": args.max_side,
        "list": str(args.list) if args.list else f"Xiph, gap {args.xiph_gap}",
        "triplets": [triplet.line for triplet in triplets],
        **describe_environment(args.device),
    }
    output.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(output.with_suffix(".lock"), output):
        journal = RowJournal(output.with_suffix(".part.jsonl"), header, key=("triplet",))
        if journal.rows:
            print(f"{len(journal.rows)} of {len(triplets)} triplets were measured before.")
        missing = [triplet for triplet in triplets if not journal.holds({"triplet": triplet.line})]
        rows = measure_triplets(missing, estimator.to(args.device), args)
        journal.extend(rows, len(triplets), "triplet", initial=len(journal.rows))
        by_line = {row["triplet"]: row for row in journal.rows}
        ordered = [by_line[triplet.line] for triplet in triplets]
        write_selection(output, ordered, {"command": args.command, "date": utc_now(), **header})
        journal.path.unlink()


def find_listed_triplets(args: argparse.Namespace) -> list[ListedTriplet]:
    """Find the triplets of a list file, with its lines."""
    found = read_triplet_list(args.list, args.path, ANCHORS)
    paths = (xiph.find_listed_triplet(args.path, triplet) for triplet in found)
    return [ListedTriplet(*both) for both in zip(read_lines(args.list), paths, strict=True)]


def find_xiph_triplets(args: argparse.Namespace) -> list[ListedTriplet]:
    """Find every second frame of Xiph's sequences; lines are relative to the root."""
    return [
        ListedTriplet(
            " ".join(path.relative_to(args.path).as_posix() for path in triplet[:3]), triplet
        )
        for triplet in xiph.find_triplets(args.path, args.xiph_gap)
    ]


def require_frames(triplets: Sequence[ListedTriplet]) -> None:
    """Raise an error if frames are missing or a triplet is listed twice."""
    missing = [path for one in triplets for path in one.paths[:3] if not path.is_file()]
    if missing:
        raise FileNotFoundError(
            f"{len(missing)} of {3 * len(triplets)} frames are missing; the first one is "
            f"{missing[0]} ({missing[0].resolve()}). --path is the root of the data set."
        )
    lines = [one.line for one in triplets]
    if len(lines) < 2 or len(set(lines)) < len(lines):
        raise ReportError(
            f"A set to choose from has two triplets or more, each of them once; got {len(lines)}, "
            f"{len(set(lines))} of them different."
        )


def default_output(args: argparse.Namespace) -> Path:
    """Return the published name; with another flow, that is part of the name."""
    source = f"gap{args.xiph_gap}" if args.list is None else args.list.stem
    flow = "" if args.flow == "raft" else f"-{args.flow}"
    return Path("output", f"{OUTPUT}{flow}_{source}.txt")


def load_estimator(args: argparse.Namespace) -> tuple[FlowEstimator, dict[str, Any]]:
    """Load the flow estimator, and describe it for the header."""
    if args.flow == "classical":
        if args.weights is not None:
            raise ReportError("--flow classical takes no --weights.")
        return DISFlow(), {"flow": "classical: OpenCV's DIS, not RAFT as published"}
    about: dict[str, Any] = {"flow": "RAFT", "iterations": args.iterations}
    try:
        if args.flow == "gmflow_refine":
            find = FLOW_NETWORKS[args.flow].find
            assert find is not None
            path = args.weights or find()
            estimator: FlowEstimator = load_flow_estimator(args.flow, path)
            about = {"flow": "gmflow_refine: GMFlow at two scales, not RAFT as published"}
        else:
            estimator, path = load_raft(args.weights, args.iterations)
    except FileNotFoundError as error:
        raise FileNotFoundError(
            f"{error} Or ask for another flow, whose lists are not comparable: --flow classical."
        ) from error
    return estimator, about | {"weights": path.name, "weights_sha256": sha256(path)}


def measure_triplets(
    triplets: Sequence[ListedTriplet], estimator: FlowEstimator, args: argparse.Namespace
) -> Iterator[Row]:
    """Yield the motion statistics of each triplet."""
    for line, paths in triplets:
        first, last = (read_frame(path)[None] for path in (paths.frame0, paths.frame1))
        if first.shape != last.shape:
            sizes = " and ".join(f"{f.shape[-1]}x{f.shape[-2]}" for f in (first, last))
            raise ReportError(f"The frames of a triplet have one size, got {sizes}: {line}.")
        frames = (first.to(args.device), last.to(args.device))
        yield {"triplet": line, **estimate_motion(estimator, *frames, args.max_side)._asdict()}


def select_larger_half(values: Sequence[float]) -> list[int]:
    """Return the places of the floor(half) largest values, ascending; of equal ones the earlier."""
    falling = sorted(range(len(values)), key=lambda place: (-values[place], place))
    return sorted(falling[: len(values) // 2])


def write_selection(output: Path, rows: Sequence[Row], about: Mapping[str, Any]) -> None:
    """Write the list, all numbers (.csv), their statistics (.json) and a chart (.png)."""
    chosen = select_larger_half([row["sufficiency"] for row in rows])
    sets = {"all": rows, "chosen": [rows[place] for place in chosen]}
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("triplet", *COLUMNS, "chosen"))
    for place, row in enumerate(rows):
        writer.writerow(
            (protect_cell(row["triplet"]), *(row[c] for c in COLUMNS), int(place in chosen))
        )
    summary = {name: {c: summarise(part, c) for c in COLUMNS} for name, part in sets.items()}
    report = {name: value for name, value in about.items() if name != "triplets"}
    report["counts"] = {"triplets": len(rows), "chosen": len(chosen)}
    report["statistics"] = summary
    flow = about["flow"].partition(":")[0]
    chart = plot_histograms(
        {
            f"{title}, px, by {flow}": {n: [r[c] for r in part] for n, part in sets.items()}
            for c, title in zip(COLUMNS, ("Mean motion", "Motion sufficiency"), strict=True)
        }
    )
    write_atomically(output.with_suffix(".csv"), text.getvalue().encode(errors="backslashreplace"))
    write_atomically(output.with_suffix(".json"), f"{to_json(report)}\n".encode())
    write_frame(output.with_suffix(".png"), as_frame(chart))
    write_atomically(output, "".join(f"{row['triplet']}\n" for row in sets["chosen"]).encode())
    print(f"Flow: {about['flow']}, frames of {about['max_side']} pixels at most.")
    for name, columns in summary.items():
        means = ", ".join(f"{c} {numbers['mean']:.1f} px" for c, numbers in columns.items())
        print(f"{name}: {len(sets[name])} triplets, on average {means}")
    print(f"{output}, and .csv, .json, .png beside it.")


def summarise(rows: Sequence[Row], column: str) -> dict[str, float]:
    """Return mean, least, median and greatest of a column."""
    values = [row[column] for row in rows]
    return {
        "mean": math.fsum(values) / len(values),
        "least": min(values),
        "median": statistics.median(values),
        "greatest": max(values),
    }
