"""The half of a test set that moves most, as a list file with its statistics.

python -m benchmark.curation --list SNU-FILM/test-hard.txt --path SNU-FILM
python -m benchmark.curation --xiph_gap 2 --path xiph --max_side 1024
python -m benchmark.curation --list my_test.txt --path DATA --flow classical
"""

import argparse
import csv
import io
import math
import shlex
import statistics
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from tqdm import tqdm

from sgm_vfi.benchmark.footage import positive
from sgm_vfi.benchmark.motion_statistics import estimate_motion
from sgm_vfi.benchmark.result_rows import ReportError, Row, RowJournal, as_json, now, provenance
from sgm_vfi.dataset import snu_film, xiph
from sgm_vfi.dataset.triplet import TripletPaths, read_lines, read_triplet_list
from sgm_vfi.media.charts import plot_histograms
from sgm_vfi.media.images import as_frame, read_frame, write_atomically, write_frame
from sgm_vfi.model.checkpoint import sha256
from sgm_vfi.model.cli_options import add_device_option, argument_type
from sgm_vfi.model.flow.dis import DISFlow
from sgm_vfi.model.flow.estimator import FlowEstimator
from sgm_vfi.model.flow.flow_zoo import FLOW_NETWORKS, load_flow_estimator
from sgm_vfi.model.flow.raft import load_raft

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
    """A triplet, and the line that names it in a list file."""

    line: str
    paths: TripletPaths


def main(arguments: Sequence[str] | None = None) -> None:
    """Curate a test set; errors that the user can mend end it with a message."""
    arguments = sys.argv[1:] if arguments is None else arguments
    parser = argparse.ArgumentParser(
        prog="python -m benchmark.curation",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_arguments(parser)
    args = parser.parse_args(arguments)
    command = shlex.join(["python", "-m", "benchmark.curation", *arguments])
    try:
        run(args, command)
    except KeyboardInterrupt:
        parser.exit(130, "\nInterrupted. The same command goes on from here: every row is kept.\n")
    except (ValueError, OSError) as error:
        parser.exit(2, f"error: {error}\n")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what `run` reads."""
    add = parser.add_argument
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument("--list", type=Path, metavar="FILE", help="of triplets: three paths a line")
    which.add_argument(
        "--xiph_gap",
        type=argument_type(positive),
        metavar="FRAMES",
        help="every second frame of Xiph",
    )
    add("--path", type=Path, required=True, metavar="DIR", help="root of the data set")
    add("--flow", choices=FLOWS, default="raft", help="default: %(default)s")
    add("--weights", type=Path, metavar="FILE", help="of the flow (default: the usual folders)")
    add(
        "--iterations",
        type=argument_type(positive),
        default=20,
        help="of RAFT (default: %(default)s)",
    )
    add(
        "--max_side",
        type=argument_type(positive),
        default=1280,
        metavar="PIXELS",
        help="default: 1280",
    )
    add("--output", type=Path, help=f"the list (default: output/{OUTPUT}_NAME.txt)")
    add_device_option(parser)


def run(args: argparse.Namespace, command: str) -> None:
    """Measure every triplet, then write the list, its statistics and the chart beside it."""
    triplets = xiph_triplets(args) if args.list is None else listed_triplets(args.list, args.path)
    require_frames(triplets)
    output = args.output or default_output(args)
    if output.suffix != ".txt":
        raise ReportError(f"The list is text: --output ends in .txt, got {output}.")
    estimator, about = estimator_of(args)
    header = {
        "rules": RULES,
        **about,
        "max_side": args.max_side,
        "list": str(args.list) if args.list else f"Xiph, gap {args.xiph_gap}",
        "triplets": [triplet.line for triplet in triplets],
        **provenance(args.device),
    }
    output.parent.mkdir(parents=True, exist_ok=True)
    journal = RowJournal(output.with_suffix(".part.jsonl"), header, key=("triplet",))
    fill(journal, triplets, estimator.to(args.device), args)
    rows = in_order(journal.rows, triplets)
    chosen = larger_half([row["sufficiency"] for row in rows])
    write_all(output, rows, chosen, {"command": command, "date": now(), **header})
    journal.path.unlink()


def listed_triplets(path: Path, root: Path) -> list[ListedTriplet]:
    """The triplets of a list file, with its lines."""
    found = read_triplet_list(path, root, ANCHORS)
    places = (xiph.find_listed_triplet(root, triplet) for triplet in found)
    return [ListedTriplet(*both) for both in zip(read_lines(path), places, strict=True)]


def xiph_triplets(args: argparse.Namespace) -> list[ListedTriplet]:
    """Every second frame of Xiph's sequences; lines name frames from the root on."""
    return [
        ListedTriplet(
            " ".join(path.relative_to(args.path).as_posix() for path in triplet[:3]), triplet
        )
        for triplet in xiph.find_triplets(args.path, args.xiph_gap)
    ]


def require_frames(triplets: Sequence[ListedTriplet]) -> None:
    """Refuse a set of which frames are missing, or a triplet is there twice, before any work."""
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
    """The published name; a list by another flow says so in it."""
    of = f"gap{args.xiph_gap}" if args.list is None else args.list.stem
    flow = "" if args.flow == "raft" else f"-{args.flow}"
    return Path("output", f"{OUTPUT}{flow}_{of}.txt")


def estimator_of(args: argparse.Namespace) -> tuple[FlowEstimator, dict[str, Any]]:
    """What estimates flow, and what is to be known about it."""
    if args.flow == "classical":
        if args.weights is not None:
            raise ReportError("--flow classical takes no --weights.")
        return DISFlow(), {"flow": "classical: OpenCV's DIS, not RAFT as published"}
    about: dict[str, Any] = {"flow": "RAFT", "iterations": args.iterations}
    try:
        if args.flow == "gmflow_refine":
            path = args.weights or FLOW_NETWORKS[args.flow].find()
            estimator = load_flow_estimator(args.flow, path)
            about = {"flow": "gmflow_refine: GMFlow at two scales, not RAFT as published"}
        else:
            estimator, path = load_raft(args.weights, args.iterations)
    except FileNotFoundError as error:
        raise FileNotFoundError(
            f"{error} Or ask for another flow, whose lists are not comparable: --flow classical."
        ) from error
    return estimator, about | {"weights": path.name, "weights_sha256": sha256(path)}


def fill(
    journal: RowJournal,
    triplets: Sequence[ListedTriplet],
    estimator: FlowEstimator,
    args: argparse.Namespace,
) -> None:
    """Measure every triplet that the journal does not hold yet, one at a time."""
    if journal.rows:
        print(f"{len(journal.rows)} of {len(triplets)} triplets were measured before.")
    with journal, tqdm(total=len(triplets), initial=len(journal.rows), unit="triplet") as progress:
        for line, paths in triplets:
            if journal.holds({"triplet": line}):
                continue
            first, last = (read_frame(path)[None] for path in (paths.frame0, paths.frame1))
            if first.shape != last.shape:
                sizes = " and ".join(f"{f.shape[-1]}x{f.shape[-2]}" for f in (first, last))
                raise ReportError(f"The frames of a triplet have one size, got {sizes}: {line}.")
            pair = (first.to(args.device), last.to(args.device))
            journal.append({"triplet": line, **measured(estimator, pair, args.max_side)})
            progress.update()


def measured(
    estimator: FlowEstimator, pair: tuple[torch.Tensor, torch.Tensor], max_side: int
) -> dict[str, float]:
    """The statistics of one triplet, by column."""
    return estimate_motion(estimator, *pair, max_side)._asdict()


def in_order(rows: Sequence[Row], triplets: Sequence[ListedTriplet]) -> list[Row]:
    """Rows in the order of the list."""
    by_line = {row["triplet"]: row for row in rows}
    return [by_line[triplet.line] for triplet in triplets]


def larger_half(values: Sequence[float]) -> list[int]:
    """Places of the floor(half) largest values, ascending; of equal ones the earlier."""
    falling = sorted(range(len(values)), key=lambda place: (-values[place], place))
    return sorted(falling[: len(values) // 2])


def write_all(
    output: Path, rows: Sequence[Row], chosen: Sequence[int], about: Mapping[str, Any]
) -> None:
    """Write the list, every triplet's numbers (.csv), their summary (.json), the chart (.png)."""
    kept = set(chosen)
    sets = {"all": rows, "chosen": [rows[place] for place in chosen]}
    summary = {name: {c: summarised(part, c) for c in COLUMNS} for name, part in sets.items()}
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("triplet", *COLUMNS, "chosen"))
    for place, row in enumerate(rows):
        writer.writerow((row["triplet"], *(row[c] for c in COLUMNS), int(place in kept)))
    about = {name: value for name, value in about.items() if name != "triplets"}
    counts = {"triplets": len(rows), "chosen": len(chosen)}
    flow = about["flow"].partition(":")[0]  # without what the list says beside
    chart = plot_histograms(
        {
            f"{title}, px, by {flow}": {n: [r[c] for r in part] for n, part in sets.items()}
            for c, title in zip(COLUMNS, ("Mean motion", "Motion sufficiency"), strict=True)
        }
    )
    write_atomically(output.with_suffix(".csv"), text.getvalue().encode())
    whole = {**about, "counts": counts, "statistics": summary}
    write_atomically(output.with_suffix(".json"), f"{as_json(whole)}\n".encode())
    write_frame(output.with_suffix(".png"), as_frame(chart))
    write_atomically(output, "".join(f"{row['triplet']}\n" for row in sets["chosen"]).encode())
    print(f"Flow: {about['flow']}, frames of {about['max_side']} pixels at most.")
    for name, columns in summary.items():
        means = ", ".join(f"{c} {numbers['mean']:.1f} px" for c, numbers in columns.items())
        print(f"{name}: {len(sets[name])} triplets, on average {means}")
    print(f"{output}, and .csv, .json, .png beside it.")


def summarised(rows: Sequence[Row], column: str) -> dict[str, float]:
    """Mean, least, median and greatest of a column."""
    values = [row[column] for row in rows]
    return {
        "mean": math.fsum(values) / len(values),
        "least": min(values),
        "median": statistics.median(values),
        "greatest": max(values),
    }


if __name__ == "__main__":
    main()
