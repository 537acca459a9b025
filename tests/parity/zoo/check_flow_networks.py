"""Check the optical flow networks RAFT, GMA and GMFlow."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from sgm_vfi.model.flow import gma, liteflownet, raft
from sgm_vfi.model.flow import gmflow as gmflow_head
from sgm_vfi.model.flow import gmflow_features as gmflow
from sgm_vfi.model.flow.estimator import FlowEstimator
from sgm_vfi.model.flow.flow_zoo import FLOW_NETWORKS
from sgm_vfi.model.weight_io import Weights, published_name
from tests.parity import recipe
from tests.parity.finding import Finding
from tests.parity.zoo import zoo_recipe as zoo
from tests.parity.zoo.compare_archive import Check, Golden, compare

TOLERANCE = {"raft": 5e-4, "gma": 5e-4, "gmflow": 5e-2}  # pixels
POSITIONS = {
    "att.pos_emb.rel_height.weight": (319, 128),
    "att.pos_emb.rel_width.weight": (319, 128),
}


def published_state(name: str, estimator: FlowEstimator) -> dict[str, Tensor]:
    """Return the tensors of a flow network under their published names, some of them twice."""
    if name == "gmflow":
        return {gmflow_name(ours): tensor for ours, tensor in estimator.state_dict().items()}
    if name == "liteflownet":
        scopes = liteflownet.PUBLISHED_NAMES
        return {published_name(ours, scopes): t for ours, t in estimator.state_dict().items()}
    scopes = (*(gma.PUBLISHED_NAMES if name == "gma" else ()), *raft.PUBLISHED_NAMES)
    tensors = estimator.network.state_dict().items()
    state = {published_name(ours, scopes): tensor for ours, tensor in tensors}
    twice = {n.replace(".downsample.1.", raft.SECOND_NAME): t for n, t in state.items()}
    unused = {key: torch.zeros(shape) for key, shape in POSITIONS.items()} if name == "gma" else {}
    return twice | state | unused


def gmflow_name(ours: str) -> str:
    if ours.startswith("features."):
        return published_name(ours.removeprefix("features."), gmflow.PUBLISHED_NAMES)
    return published_name(ours, gmflow_head.HEAD_NAMES)


def golden_flow(name: str, device: torch.device) -> tuple[FlowEstimator, int]:
    """Build a flow network with the weights of the recipe, and return their checksum."""
    estimator = FLOW_NETWORKS[name].build()
    published = published_state(name, estimator)
    entries = {key: zoo.fill(name, key, tensor.shape) for key, tensor in published.items()}
    state = {key: torch.from_numpy(value) for key, value in entries.items()}
    FLOW_NETWORKS[name].fill(estimator, Weights(state, {}, Path("recipe")))
    return estimator.to(device).eval(), zoo.fingerprint(entries)


@torch.inference_mode()
def flow_nets(golden: Golden, device: torch.device) -> Iterator[Finding]:
    """Check the flow in both directions of every network."""
    frames = recipe.inputs(zoo.CASES["zoo_flow"])
    bytes_like = (frame * np.float32(255) for frame in frames)
    ours = {"inputs_crc": zoo.fingerprint(dict(zip("ab", bytes_like, strict=True)))}
    for name in TOLERANCE:
        estimator, ours[f"{name}_weights_crc"] = golden_flow(name, device)
        forward, backward = estimator.bidirectional(
            *(torch.from_numpy(x).to(device) for x in frames)
        )
        ours[f"{name}_fwd"] = forward[..., ::2, ::2]
        ours[f"{name}_fwd_mean"] = forward.mean(dim=(2, 3))
        ours[f"{name}_bwd_mean"] = backward.mean(dim=(2, 3))
    yield from compare("flow_nets", golden, ours, lambda name: TOLERANCE[name.split("_")[0]])


ARCHIVES: dict[str, Check] = {"flow_nets": flow_nets}
