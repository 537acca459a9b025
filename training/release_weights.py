r"""Convert trained weights to released files: float16, in parts, with an index.

  sgm-vfi train release log/ours-local-small/ckpt/ours-local-small.safetensors \
      --recipe "python train_base.py --synthetic" --measured "30.1 dB" --curve ours-local-small.png
  sgm-vfi train release log/ours-small-1-2/ckpt/ours-small-1-2.safetensors --name ours-small \
      --builds_on pretrained/ours-local-small.json --recipe "python train_x4k.py --synthetic"

Tensors that equal those of the `--builds_on` weights after rounding are not written again. A row of
the table in README.md, in the same folder, describes the files. The zoo finds them by name.
"""

import argparse
import json
import math
import shlex
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import skimage.data
import torch
from safetensors.torch import save_file
from torch import Tensor

from sgm_vfi.command_errors import CommandParser, report_errors
from sgm_vfi.model.interpolator import time_like
from sgm_vfi.model.weight_io import (
    INDEX_SUFFIX,
    PART_OF,
    CheckpointError,
    Weights,
    abbreviate,
    read_index,
    read_weights,
)
from sgm_vfi.model.weight_search import ROOT
from sgm_vfi.model.zoo import ZOO, load_interpolator
from sgm_vfi.storage.atomic_write import replace_atomically
from sgm_vfi.storage.file_identity import sha256

PART_BYTES = 2**24 - 2**17  # of tensors; with its header a part stays below 16 MiB
MEBIBYTE = 2**20
MIDDLE = np.s_[122:378, 242:498]  # of the photographs: 256 x 256
SOURCE = "trained by this repository on scenes that it draws itself"
LICENCE = "Apache-2.0"
COLUMNS = ("weights", "of", "files", "size", "sha256", "source", "licence", "recipe", "measured")
TABLE = f"| {' | '.join(COLUMNS)} | curve |"
CORNERS = "|---" * (len(COLUMNS) + 1) + "|"


def main(arguments: Sequence[str] | None = None) -> None:
    """Run `sgm-vfi train release`."""
    arguments = sys.argv[1:] if arguments is None else arguments
    parser = CommandParser(
        prog="sgm-vfi train release",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("weights", type=Path, help="file that training wrote")
    add("--name", help="released name (default: that of the file)")
    add("--builds_on", type=Path, metavar="INDEX", help="released weights to share tensors with")
    add("--recipe", required=True, metavar="COMMAND", help="command that trained them")
    add("--measured", default="", metavar="TEXT", help="measured quality, with its command")
    add(
        "--curve",
        default="",
        metavar="FILE",
        help="image of the training curves, in the same folder",
    )
    add("--output", type=Path, default=ROOT / "pretrained", metavar="DIR")
    args = parser.parse_args(arguments)
    with report_errors(parser.prog):
        name = args.name or args.weights.stem
        index = write_release(read_weights(args.weights), name, args.output, args.builds_on)
        cost = f"float16 against float32: {rounding_psnr(args.weights, index):.1f} dB"
        measured = "; ".join(filter(None, (args.measured.replace("|", "\\|"), cost)))
        told = {"recipe": f"`{args.recipe}`", "measured": measured}
        row = table_row(index, told, f"![{name}]({args.curve})" if args.curve else "")
        update_table(args.output / "README.md", row)
    print(f"{row}\n\n{index}: {shlex.join(sorted(part_hashes(index)))}")
    for other in outdated_indices(index):
        print(f"{other} was made for what {index.name} was before: ship it again.")


def write_release(weights: Weights, name: str, folder: Path, builds_on: Path | None = None) -> Path:
    """Write float16 parts, then their index, replacing files of that name.

    Raises:
        CheckpointError: no config, a value beyond float16, or tensors that do not go with those
            that they are to build on.
    """
    if "config" not in weights.metadata:
        raise CheckpointError(
            f"{weights.source} does not say how its network was built: ship what training here "
            f"has left, log/NAME/ckpt/NAME.safetensors."
        )
    state = to_float16(weights)
    bases = []
    if builds_on is not None:
        if builds_on.parent.resolve() != folder.resolve() or builds_on.suffix != INDEX_SUFFIX:
            raise CheckpointError(f"{builds_on} is no index in {folder}, where these would go.")
        state = tensors_not_in_base(state, read_weights(builds_on))
        bases = [index_entry(builds_on)]
    index = folder / f"{name}{INDEX_SUFFIX}"
    known = {name: json.dumps(value) for name, value in weights.metadata.items()}
    link = {PART_OF: json.dumps(index.name)}
    groups = split_into_parts(state)
    files = []
    for number, group in enumerate(groups, start=1):
        place = f"-{number}-of-{len(groups)}" if len(groups) > 1 else ""
        files.append(folder / f"{name}{place}.safetensors")
        with replace_atomically(files[-1]) as file:
            save_file(group, file, link | (known if number == 1 else {}))
    entries = {"builds_on": bases, "parts": [index_entry(file) for file in files]}
    with replace_atomically(index) as file:
        file.write_text(json.dumps(entries, indent=1) + "\n", encoding="utf-8")
    for stale in {*folder.glob(f"{name}-*-of-*.safetensors"), *folder.glob(f"{name}.safetensors")}:
        if stale not in files:
            stale.unlink()
    read_weights(index)  # whole, or nobody is told of it
    return index


def to_float16(weights: Weights) -> dict[str, Tensor]:
    """Copy the tensors, with floating-point ones rounded to float16."""
    state = {
        name: tensor.to(torch.float16, copy=True) if tensor.is_floating_point() else tensor.clone()
        for name, tensor in weights.state.items()
    }
    lost = [name for name, t in state.items() if t.is_floating_point() and not t.isfinite().all()]
    if lost:
        raise CheckpointError(
            f"{weights.source} holds values that float16 has not, in {abbreviate(sorted(lost))}."
        )
    return {name: tensor.contiguous() for name, tensor in sorted(state.items())}


@torch.inference_mode()
def rounding_psnr(before: Path, after: Path) -> float:
    """Return the PSNR in dB of the frames of two weights files against each other.

    Between the middles of scikit-image's stereo photographs.
    """
    left, right, _ = skimage.data.stereo_motorcycle()
    pair = [torch.from_numpy(photo[MIDDLE]).movedim(2, 0)[None] / 255 for photo in (left, right)]
    time = time_like(pair[0], 0.5)
    one, other = (load_interpolator(path)(*pair, time).frame for path in (before, after))
    return -10 * math.log10((one - other).square().mean().item() or 1e-10)


def tensors_not_in_base(state: Mapping[str, Tensor], base: Weights) -> dict[str, Tensor]:
    """Return the tensors that differ from the base weights.

    Raises:
        CheckpointError: they do, or most of these are not shared.
    """
    strange = sorted(base.state.keys() - state.keys())
    if strange:
        raise CheckpointError(
            f"{base.source} holds tensors that these weights have not: {abbreviate(strange)}. They "
            f"cannot build on it."
        )
    own = {name: t for name, t in state.items() if not bitwise_equal(t, base.state.get(name))}
    shared, whole = (
        sum(tensor.nbytes for name, tensor in base.state.items() if name not in some_names)
        for some_names in (own, ())
    )
    if 2 * shared < whole or not own:
        raise CheckpointError(
            f"{base.source} shares {shared} of its {whole} bytes with these weights: they do not "
            f"build on it, or are the same."
        )
    return own


def bitwise_equal(tensor: Tensor, other: Tensor | None) -> bool:
    """Whether both tensors have the same type and values."""
    return other is not None and tensor.dtype == other.dtype and torch.equal(tensor, other)


def split_into_parts(state: Mapping[str, Tensor]) -> list[dict[str, Tensor]]:
    """Group the tensors, in order, into parts of limited size."""
    groups: list[dict[str, Tensor]] = [{}]
    used = 0
    for name, tensor in state.items():
        size = tensor.nbytes
        if size > PART_BYTES:
            raise CheckpointError(f"{name} takes {size} bytes: more than a part, {PART_BYTES}.")
        if used + size > PART_BYTES:
            groups.append({})
            used = 0
        groups[-1][name] = tensor
        used += size
    return groups


def index_entry(file: Path) -> dict[str, str]:
    """Return the index entry of a file."""
    return {"file": file.name, "sha256": sha256(file)}


def part_hashes(index: Path) -> dict[str, str]:
    """Return the files of an index and their hashes, without the weights it builds on."""
    return {entry["file"]: entry["sha256"] for entry in read_index(index)["parts"]}


def outdated_indices(base: Path) -> list[Path]:
    """Return the indices in the folder that build on an older version of a file."""
    others = sorted(base.parent.glob(f"*{INDEX_SUFFIX}"))
    return [
        other
        for other in others
        if any(
            entry["file"] == base.name and entry != index_entry(base)
            for entry in read_index(other)["builds_on"]
        )
    ]


def table_row(index: Path, told: Mapping[str, Any], curve: str) -> str:
    """Format the table row that describes released weights."""
    parts = part_hashes(index)
    size = sum((index.parent / file).stat().st_size for file in parts)
    names = [name for name, entry in ZOO.items() if entry.shipped == index.stem]
    cells = {
        "weights": f"`{index.name}`",
        "of": ", ".join(f"`{name}`" for name in names),
        "files": "<br>".join(f"`{file}`" for file in parts),
        "size": f"{size / MEBIBYTE:.1f} MiB",
        "sha256": "<br>".join(f"`{value}`" for value in parts.values()),
        "source": SOURCE,
        "licence": LICENCE,
        **told,
    }
    return f"| {' | '.join(cells[column] for column in COLUMNS)} | {curve} |"


def update_table(readme: Path, row: str) -> None:
    """Insert a row into the table of a README, replacing that of the same weights.

    Raises:
        CheckpointError: there is no such table.
    """
    lines = readme.read_text(encoding="utf-8").split("\n") if readme.is_file() else []
    if TABLE not in lines:
        raise CheckpointError(
            f"{readme} has no table of weights to put this row into. It begins:\n{TABLE}\n"
            f"{CORNERS}\n\nThe row: {row}"
        )
    start = lines.index(TABLE) + 2
    end = next((at for at in range(start, len(lines)) if not lines[at].startswith("|")), len(lines))
    first = row.split(" | ")[0]
    kept = [line for line in lines[start:end] if line.split(" | ")[0] != first]
    lines[start:end] = sorted([*kept, row])
    with replace_atomically(readme) as file:
        file.write_text("\n".join(lines), encoding="utf-8")


if __name__ == "__main__":
    main()
