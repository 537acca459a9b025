"""The report of `sgm-vfi train pipeline`: what each stage reached, as JSON and as a page."""

import json
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from sgm_vfi.engine.runlog import read_rows
from sgm_vfi.storage.atomic_write import write_atomically
from sgm_vfi.training.curves import plot_runs
from sgm_vfi.training.release_weights import MEBIBYTE


def write_report(
    folder: Path,
    about: Mapping[str, Any],
    plans: Mapping[Path, Mapping[str, Any]],
    files: Sequence[Sequence[Path]],
) -> str:
    """Write report.json, report.md and curves.png into the folder; return the page.

    Args:
        plans: what was decided for each run, by its folder.
        files: that ship, of each run.
    """
    plot_runs([*plans], folder / "curves.png")
    stages = [
        {**summarise_run(run), **plan, "files": {path.name: path.stat().st_size for path in paths}}
        for (run, plan), paths in zip(plans.items(), files, strict=True)
    ]
    report = json.dumps({**about, "stages": stages}, indent=2)
    write_atomically(folder / "report.json", f"{report}\n".encode())
    page = format_page(about, stages, [str(path) for path, *_ in files])
    write_atomically(folder / "report.md", page.encode())
    return page


def summarise_run(run: Path) -> dict[str, Any]:
    """Return what the log of a run says: steps, speed, and validation at the start and the end."""
    rows = read_rows(run)
    speeds, waits = (
        [row[name] for row in rows if name in row]
        for name in ("samples_per_second", "waiting_for_data")
    )
    scores = [row for row in rows if "psnr" in row]
    return {
        "name": run.name,
        "steps": rows[-1]["step"],
        "trained_samples_per_second": round(statistics.median(speeds), 3),
        "waiting_for_data": round(statistics.fmean(waits), 3),
        "psnr_blend": scores[-1]["psnr_blend"],
        "psnr": [round(row["psnr"], 3) for row in scores],
    }


def describe_device(device: torch.device) -> str:
    """Return the name of a GPU, or `cpu` and its threads."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"cpu, {torch.get_num_threads()} threads"


def format_page(
    about: Mapping[str, Any], stages: Sequence[Mapping[str, Any]], weights: Sequence[str]
) -> str:
    """Format the report as Markdown."""
    lines = ["# Training run", "", *(f"{name}: {value}  " for name, value in about.items()), ""]
    lines += ["| stage | minutes | batch | steps | samples/s | waiting | dB | blend, dB | files |"]
    lines += ["|---" * 9 + "|"]
    for row in stages:
        files = ", ".join(f"{n} {size / MEBIBYTE:.1f} MiB" for n, size in row["files"].items())
        lines.append(
            f"| {row['name']} | {row['minutes']:.3g} | {row['batch_size']} | {row['steps']} | "
            f"{row['trained_samples_per_second']:.3g} | {row['waiting_for_data']:.0%} | "
            f"{' > '.join(f'{value:.2f}' for value in row['psnr'])} | {row['psnr_blend']:.2f} | "
            f"{files} |"
        )
    names = " ".join(weights)
    return "\n".join(
        [
            *lines,
            "",
            "dB: on synthetic scenes for validation. On videos, against what needs no weights:",
            "",
            f"    sgm-vfi benchmark footage --path VIDEOS --gap 1 2 --model matched {names}",
            "",
            "![curves](curves.png)",
            "",
        ]
    )
