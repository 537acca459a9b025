"""Compare this code with golden numbers of the published implementations.

    python -m tests.parity FOLDER [FOLDER ...] [--device D]

A folder holds cases.json, which describes the cases of SGM-VFI and names their archives; tables
(metrics.json, padder.json, learning_rate.json, weights_crc.json); or archives of other networks,
recognised by name (tests/parity/zoo); or cases of networks whose weights `sgm-vfi weights fetch`
puts in place. Prints case, quantity, largest error and tolerance, and exits
with 1 if an error exceeds its tolerance.
"""

import argparse
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from tests.parity import (
    check_fetched,
    check_metrics,
    check_sgm,
    check_sgm_training,
    check_tables,
)
from tests.parity.check_fetched import is_fetched_case
from tests.parity.check_sgm_units import UNITS
from tests.parity.finding import Finding
from tests.parity.zoo import ARCHIVES

FORMULAS: dict[str, Callable[[Path], Iterator[Finding]]] = {
    "metrics.json": check_metrics.metrics,
    "padder.json": check_tables.padder,
    "learning_rate.json": check_tables.learning_rate,
    "weights_crc.json": check_tables.weights_crc,
}
NETWORK_CALLS = ("forward", "hr", "hr_padded", "tta", "demo")


def checks(
    folder: Path, device: torch.device
) -> tuple[dict[str, Callable[[], Iterator[Finding]]], dict[str, str]]:
    """Return the checks of a folder by case, and the reason for each case that is not checked."""
    todo: dict[str, Callable[[], Iterator[Finding]]] = {}
    left: dict[str, str] = {}
    listed = folder / "cases.json"
    cases = json.loads(listed.read_text()) if listed.is_file() else {}
    for name, case in cases.items():
        checker = _checker(name, case)
        missing = check_fetched.missing_weights(case) if is_fetched_case(case) else None
        if missing is not None:
            left[name] = missing
        elif "quirk" in case:
            left[name] = f"not reproduced on purpose: {case['quirk']}"
        elif checker is None:
            left[name] = "not covered: a case of no network here"
        else:
            todo[name] = lambda n=name, c=case, f=checker: f(n, c, folder, device)
    files = {case.get(key) for case in cases.values() for key in ("file", "file_tensors")}
    files |= {f"{name}.npz" for name in cases}
    for path in sorted(folder.iterdir()):
        if path.name in FORMULAS:
            todo[path.stem] = lambda p=path: FORMULAS[p.name](p.parent)
        elif path.suffix == ".npz" and path.stem in ARCHIVES:
            todo[path.stem] = lambda p=path: ARCHIVES[p.stem](np.load(p), device)
        elif path.suffix in (".json", ".npz") and path.name not in files | {"cases.json"}:
            left[path.stem] = "not covered: a case of no network here"
    return todo, left


def _checker(name: str, case: dict[str, Any]) -> Callable[..., Iterator[Finding]] | None:
    if is_fetched_case(case):
        return check_fetched.findings
    if case["call"] == "unit":
        return _unit if name in UNITS else None
    if case.get("variant", "").split("_")[0] not in ("local", "sgm"):
        return None
    if case["call"] == "train":
        return check_sgm_training.findings
    return check_sgm.findings if case["call"] in NETWORK_CALLS else None


def _unit(name: str, case: dict[str, Any], folder: Path, device: torch.device) -> Iterator[Finding]:
    golden = np.load(folder / case["file"])
    arrays = UNITS[name](device, golden)
    arrays = {key: value.detach().cpu().numpy() for key, value in arrays.items()}
    yield from check_sgm.compare_all(name, case, golden, arrays)


def report(findings: Sequence[Finding]) -> Iterator[str]:
    """Format one line per quantity."""
    for finding in findings:
        mark = "ok " if finding.ok else "OUT"
        line = f"{mark} {finding.case:32s} {finding.quantity:48s} "
        yield f"{line} {finding.error:9.2e} of {finding.tolerance:7.0e}  {finding.note}".rstrip()


def main(arguments: Sequence[str] | None = None) -> int:
    """Check the folders; return 1 if a number is out of tolerance, else 0."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.parity",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("folders", type=Path, nargs="+", metavar="FOLDER")
    parser.add_argument(
        "--device", type=torch.device, default=torch.device("cpu"), help="default: cpu"
    )
    parser.add_argument(
        "--only", default="", help="check only cases whose name contains this text (default: all)"
    )
    args = parser.parse_args(arguments)
    for folder in args.folders:
        if not folder.is_dir():
            parser.error(f"{folder} is not a folder (absolute path: {folder.absolute()})")

    torch.backends.cuda.matmul.allow_tf32 = False  # golden numbers are of full float32
    torch.backends.cudnn.allow_tf32 = False
    torch.backends.cudnn.deterministic = True
    return 1 if sum([run_folder(folder, args.device, args.only) for folder in args.folders]) else 0


def run_folder(folder: Path, device: torch.device, only: str) -> int:
    """Run and print the checks of a folder; return the number of cases out of tolerance."""
    found, not_covered = checks(folder, device)
    selected = {name: check for name, check in found.items() if only in name}
    num_out = 0
    for check in tqdm(selected.values(), unit="case", leave=False, disable=None):
        findings = list(check())
        for line in report(findings):
            tqdm.write(line)
        num_out += not all(finding.ok for finding in findings)
    for name, reason in not_covered.items():
        print(f"-   {name:32s} {reason}")
    print(f"{len(selected)} cases checked, {num_out} out, {len(not_covered)} not covered")
    return num_out


if __name__ == "__main__":
    sys.exit(main())
