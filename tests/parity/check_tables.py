"""Check padding, learning rate schedule and parameter names, which need no forward pass."""

import json
from collections.abc import Iterator
from pathlib import Path

import torch

from sgm_vfi.engine.schedule import warmup_cosine
from sgm_vfi.model.ops.resize import symmetric_padding
from sgm_vfi.model.sgm.checkpoint_names import to_published
from sgm_vfi.model.sgm.network import SGM, SGM_BASE, SGM_SMALL, SGMConfig
from tests.parity import recipe
from tests.parity.finding import Finding

SCHEDULES = {"local": (300, 2000), "global": (100, 1000)}  # epochs, warm-up steps
SHAPES = {"small": SGM_SMALL, "base": SGM_BASE}


def padder(folder: Path) -> Iterator[Finding]:
    """Check the padding on the left, right, top and bottom.

    `pad_additional` and `pad_bottom_mode` are options of the published padders that no caller
    uses; they do not exist here.
    """
    worst = 0
    for case in json.loads((folder / "padder.json").read_text())["cases"]:
        ours = (
            *symmetric_padding(case["w"], case["divisor"]),
            *symmetric_padding(case["h"], case["divisor"]),
        )
        worst = max(worst, *(abs(a - b) for a, b in zip(ours, case["pad"], strict=True)))
    yield Finding("padder", "pad", worst, 0, "its options that no caller uses: not covered")


def learning_rate(folder: Path) -> Iterator[Finding]:
    """Check the learning rate schedule of both stages."""
    for stage, rows in json.loads((folder / "learning_rate.json").read_text()).items():
        epochs, warmup = SCHEDULES[stage]
        errors = (
            abs(warmup_cosine(row["step"], epochs * row["step_per_epoch"], warmup) - row["lr"])
            for row in rows
        )
        yield Finding("learning_rate", stage, max(errors), 1e-15)


def weights_crc(folder: Path) -> Iterator[Finding]:
    """Check parameter names and shapes of every variant, and the bits of the recipe."""
    for variant, checksums in json.loads((folder / "weights_crc.json").read_text()).items():
        kind, size = variant.split("_")
        shape = SHAPES[size]
        ratio = None if kind == "local" else 0.5
        with torch.device("meta"):
            net = SGM(SGMConfig(channels=shape.channels, depths=shape.depths, keypoint_ratio=ratio))
        ours = {to_published(name): tensor.shape for name, tensor in net.state_dict().items()}
        yield Finding("weights_crc", f"{variant} names", len(ours.keys() ^ checksums.keys()), 0)
        wrong = sum(recipe.crc(recipe.fill(n, ours[n])) != checksums[n] for n in ours)
        yield Finding("weights_crc", f"{variant} bits", wrong, 0)
