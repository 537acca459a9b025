"""Flow estimators by name, with the weights that they were published with."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from sgm_vfi.model.flow.dis import DISFlow
from sgm_vfi.model.flow.estimator import FlowEstimator
from sgm_vfi.model.flow.gmflow import GMFlow, load_gmflow_weights
from sgm_vfi.model.flow.gmflow_two_scales import GMFlowRefine, load_gmflow_refine_weights
from sgm_vfi.model.flow.liteflownet import LiteFlowNet, load_liteflownet_weights
from sgm_vfi.model.flow.raft import RAFT, find_raft, load_raft_weights
from sgm_vfi.model.weight_io import Weights, read_weights
from sgm_vfi.model.weight_search import find_file, weights_folders


class FlowZooEntry(NamedTuple):
    """One row of `FLOW_NETWORKS`."""

    build: Callable[[], FlowEstimator]  # with fresh weights
    fill: Callable[[Any, Weights], None] | None = None  # with published ones, all or none
    find: Callable[[], Path] | None = None  # their file; None: it has no weights


def _find(file: str, repository: str) -> Path:
    """Find a published file in the folders of weights."""
    return find_file(
        (folder / file for folder in weights_folders()),
        "weights of the flow network",
        f"Get {file} through the README of github.com/{repository}, and put it at one of these "
        f"places.",
    )


def _find_gmflow_refine() -> Path:
    name = "gmflow_refine"
    paths = [folder / f"{name}.safetensors" for folder in weights_folders()]
    return find_file(paths, f"weights of {name}", f"Fetch them: sgm-vfi weights fetch {name}")


def _gma() -> FlowEstimator:
    from sgm_vfi.model.flow.gma import GMA  # is made of torchvision's parts

    return GMA(20)


def _fill_gma(estimator: Any, weights: Weights) -> None:
    from sgm_vfi.model.flow.gma import load_gma_weights

    load_gma_weights(estimator, weights)


FLOW_NETWORKS = {  # with the iterations that PerVFI was trained and is run with
    "raft": FlowZooEntry(partial(RAFT, 12), load_raft_weights, find_raft),
    "gma": FlowZooEntry(_gma, _fill_gma, partial(_find, "gma-sintel.pth", "zacjiang/GMA")),
    "gmflow": FlowZooEntry(
        GMFlow, load_gmflow_weights, partial(_find, "gmflow_sintel-0c07dcb3.pth", "haofeixu/gmflow")
    ),
    "gmflow_refine": FlowZooEntry(GMFlowRefine, load_gmflow_refine_weights, _find_gmflow_refine),
    "dis": FlowZooEntry(DISFlow),
    "liteflownet": FlowZooEntry(  # only for labels, as published IFRNets were taught
        LiteFlowNet,
        load_liteflownet_weights,
        partial(_find, "network-default.pytorch", "sniklaus/pytorch-liteflownet"),
    ),
}


def build_flow_estimator(name: str) -> FlowEstimator:
    """Build a flow estimator with fresh weights.

    Raises:
        ValueError: no such name; says which there are.
    """
    return _row(name).build()


def load_flow_estimator(name: str, path: Path | None = None) -> FlowEstimator:
    """Load a flow estimator with published weights, in evaluation mode.

    Args:
        path: file of weights; None searches the usual folders.

    Raises:
        ValueError: no such name; says which there are.
        FileNotFoundError: the file is not there; says where to get it and where to put it.
        CheckpointError: it is damaged or holds other weights.
    """
    row = _row(name)
    estimator = row.build()
    if row.fill is None or row.find is None:
        return estimator.eval()
    row.fill(estimator, read_weights(row.find() if path is None else path))
    return estimator.eval()


def _row(name: str) -> FlowZooEntry:
    if name not in FLOW_NETWORKS:
        known = ", ".join(FLOW_NETWORKS)
        raise ValueError(f"No flow network is called {name!r}. Known names: {known}.")
    return FLOW_NETWORKS[name]
