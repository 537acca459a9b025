"""Compare this code with golden numbers of the published implementation.

    python -m tests.parity FOLDER [--device D]

FOLDER holds cases.json with archives beside, and files of formulas (metrics.json, padder.json,
learning_rate.json, weights_crc.json); sizes, variants and seeds are read from them. Or it holds
archives of the other systems, which tests/parity/zoo knows by name. Prints case,
quantity, worst error and tolerance, and exits with 1 when one is out.
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

from tests.parity import formulas, networks, tables, training
from tests.parity.finding import Finding
from tests.parity.units import UNITS
from tests.parity.zoo import ARCHIVES

FORMULAS: dict[str, Callable[[Path], Iterator[Finding]]] = {
    "metrics.json": formulas.metrics,
    "padder.json": tables.padder,
    "learning_rate.json": tables.learning_rate,
    "weights_crc.json": tables.weights_crc,
}
NETWORK_CALLS = ("forward", "hr", "hr_padded", "tta", "demo")


def checks(
    folder: Path, device: torch.device
) -> tuple[dict[str, Callable[[], Iterator[Finding]]], dict[str, str]]:
    """What can be checked in a folder, by case, and why the rest is not."""
    todo: dict[str, Callable[[], Iterator[Finding]]] = {}
    left: dict[str, str] = {}
    listed = folder / "cases.json"
    cases = json.loads(listed.read_text()) if listed.is_file() else {}
    for name, case in cases.items():
        checker = _checker(name, case)
        if "quirk" in case:
            left[name] = f"not reproduced on purpose: {case['quirk']}"
        elif checker is None:
            left[name] = "not covered: a case of no network here"
        else:
            todo[name] = lambda n=name, c=case, f=checker: f(n, c, folder, device)
    files = {case.get(key) for case in cases.values() for key in ("file", "file_tensors")}
    for path in sorted(folder.iterdir()):
        if path.name in FORMULAS:
            todo[path.stem] = lambda p=path: FORMULAS[p.name](p.parent)
        elif path.suffix == ".npz" and path.stem in ARCHIVES:
            todo[path.stem] = lambda p=path: ARCHIVES[p.stem](np.load(p), device)
        elif path.suffix in (".json", ".npz") and path.name not in files | {"cases.json"}:
            left[path.stem] = "not covered: a case of no network here"
    return todo, left


def _checker(name: str, case: dict[str, Any]) -> Callable[..., Iterator[Finding]] | None:
    if case["call"] == "unit":
        return _unit if name in UNITS else None
    if case.get("variant", "").split("_")[0] not in ("local", "sgm"):
        return None
    if case["call"] == "train":
        return training.findings
    return networks.findings if case["call"] in NETWORK_CALLS else None


def _unit(name: str, case: dict[str, Any], folder: Path, device: torch.device) -> Iterator[Finding]:
    golden = np.load(folder / case["file"])
    arrays = UNITS[name](device, golden)
    arrays = {key: value.detach().cpu().numpy() for key, value in arrays.items()}
    yield from networks.compare_all(name, case, golden, arrays)


def report(findings: Sequence[Finding]) -> Iterator[str]:
    """One line a quantity, and all that is out; of many the worst of each kind."""
    for finding in findings:
        mark = "ok " if finding.ok else "OUT"
        line = f"{mark} {finding.case:32s} {finding.quantity:48s} "
        yield f"{line} {finding.error:9.2e} of {finding.tolerance:7.0e}  {finding.note}".rstrip()


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m tests.parity",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--device", type=torch.device, default=torch.device("cpu"))
    parser.add_argument("--only", default="", help="check only cases whose name holds this text")
    args = parser.parse_args(arguments)
    if not args.folder.is_dir():
        parser.error(f"{args.folder} is no folder (that is {args.folder.absolute()})")

    torch.backends.cuda.matmul.allow_tf32 = False  # golden numbers are of full float32
    torch.backends.cudnn.allow_tf32 = False
    torch.backends.cudnn.deterministic = True
    todo, left = checks(args.folder, args.device)
    out = []
    todo = {name: check for name, check in todo.items() if args.only in name}
    for name, check in tqdm(todo.items(), unit="case", leave=False, disable=None):
        findings = list(check())
        for line in report(findings):
            tqdm.write(line)
        if not all(finding.ok for finding in findings):
            out.append(name)
    for name, why in left.items():
        print(f"-   {name:32s} {why}")
    print(f"{len(todo)} cases checked, {len(out)} out, {len(left)} not covered")
    return 1 if out else 0


if __name__ == "__main__":
    sys.exit(main())
