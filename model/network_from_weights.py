"""Build the network that a file of weights is for, by its tensors or its metadata."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from torch import nn
from torch.nn.modules.module import register_module_parameter_registration_hook

from sgm_vfi.model.baselines.flow_blend import ARCHITECTURE as FLOW_BLEND_ARCHITECTURE
from sgm_vfi.model.baselines.ifrnet.checkpoint_names import ARCHITECTURE as IFRNET_ARCHITECTURE
from sgm_vfi.model.baselines.pervfi.checkpoint_names import ARCHITECTURE as PERVFI_ARCHITECTURE
from sgm_vfi.model.baselines.raft_vfi.checkpoint_names import ARCHITECTURE as RAFT_VFI_ARCHITECTURE
from sgm_vfi.model.baselines.rife.checkpoint_names import ARCHITECTURE as RIFE_ARCHITECTURE
from sgm_vfi.model.baselines.rife.practical_rife import ARCHITECTURE as PRACTICAL_ARCHITECTURE
from sgm_vfi.model.flow.gmflow_features import FLOW_HEAD_PREFIXES
from sgm_vfi.model.interpolator import Interpolator
from sgm_vfi.model.sgm.checkpoint_names import ARCHITECTURE as SGM_ARCHITECTURE
from sgm_vfi.model.weight_io import (
    Architecture,
    CheckpointError,
    Weights,
    load_weights,
    report_config_errors,
)

SPARE = 2**20  # parameters beyond those of a file: tensors that published files leave out
DENSE = -1  # what the published code calls matching every cell
# The first is meant where a file written here names none.
ARCHITECTURES = (
    SGM_ARCHITECTURE,
    RIFE_ARCHITECTURE,
    PRACTICAL_ARCHITECTURE,
    IFRNET_ARCHITECTURE,
    PERVFI_ARCHITECTURE,
    RAFT_VFI_ARCHITECTURE,
    FLOW_BLEND_ARCHITECTURE,
)
OLD_DEFAULTS = (("initial_flow", "learnt"),)  # removed fields of older files, at their default


def build_from_weights(
    weights: Weights,
    name: str,
    wanted: tuple[Architecture, Any] | None = None,
    num_key_points: float | None = None,
) -> Interpolator:
    """Build the network that fits these weights, and load them.

    Args:
        name: what was asked for, to say in errors.
        wanted: the architecture and the config that it has to be of; None: any.
        num_key_points: share of cells to match, in [0, 1], or -1 for all; None as it was trained.

    Raises:
        CheckpointError: the weights are of no network known here, or of another one than wanted.
        ValueError: the network matches no key points, or not so many.
    """
    architecture, is_published = _find_architecture(weights)
    if is_published:
        weights = architecture.from_published(weights)
        config = architecture.published_config(weights)
    else:
        config = _own_config(weights, architecture)
    if wanted is not None:
        config = require_match(weights, name, architecture, config, wanted, is_published)
    if num_key_points is not None:
        if getattr(config, "keypoint_ratio", None) is None:
            raise ValueError(
                f"{name} matches no key points (it is {architecture.describe(config)}); "
                f"leave num_key_points out, or name a checkpoint with global matching."
            )
        config = replace(config, keypoint_ratio=keypoint_ratio(num_key_points))
    with report_config_errors(weights), limit_parameters(2 * count_values(weights) + SPARE):
        network = architecture.network(config)
    if is_published:
        weights = weights._replace(state=weights.state | architecture.extra_tensors(config))
    load_weights(network, weights)
    return network


def count_values(weights: Weights) -> int:
    """Return how many numbers the tensors of a file hold."""
    return sum(tensor.numel() for tensor in weights.state.values())


@contextmanager
def limit_parameters(most: int) -> Iterator[None]:
    """Raise ValueError as soon as modules that are built have more parameters.

    A few bytes of a file can ask for a network of gigabytes. PyTorch reserves memory before a
    parameter is registered, and touches it afterwards.
    """
    count = 0

    def watch(module: nn.Module, name: str, parameter: nn.Parameter | None) -> None:
        """Count a parameter that is being registered."""
        nonlocal count
        count += 0 if parameter is None else parameter.numel()
        if count > most:
            raise ValueError(f"its config asks for over {most} parameters, the file holds fewer")

    handle = register_module_parameter_registration_hook(watch)
    try:
        yield
    finally:
        handle.remove()


def require_match(
    weights: Weights,
    name: str,
    architecture: Architecture,
    config: Any,
    wanted: tuple[Architecture, Any],
    is_published: bool,
) -> Any:
    """Return the config of the weights, completed by the variant asked for, or raise."""
    wanted_architecture, wanted_config = wanted
    misfit = f"{weights.source} does not fit {name}: the file is "
    if architecture is not wanted_architecture:
        raise CheckpointError(
            f"{misfit}of {architecture.name}, {name} is of {wanted_architecture.name}."
        )
    config = architecture.complete_config(config, wanted_config, is_published)
    got, expected = architecture.describe(config), architecture.describe(wanted_config)
    if got != expected:
        raise CheckpointError(f"{misfit}{got}, {name} is {expected}.")
    return config


def _find_architecture(weights: Weights) -> tuple[Architecture, bool]:
    """Return the architecture of the weights, and whether their names are published ones."""
    for architecture in ARCHITECTURES:
        if architecture.is_published(weights):
            return architecture, True
    if any(key.startswith(FLOW_HEAD_PREFIXES) for key in weights.state):
        raise CheckpointError(
            f"{weights.source} is a GMFlow checkpoint: features for matching, no interpolator. "
            "It starts the second stage of training (train_x4k.py)."
        )
    name = weights.metadata.get("network", ARCHITECTURES[0].name)
    for architecture in ARCHITECTURES:
        if architecture.name == name and "config" in weights.metadata:
            return architecture, False
    known = ", ".join(architecture.name for architecture in ARCHITECTURES)
    raise CheckpointError(
        f"{weights.source} is no SGM-VFI checkpoint, nor another one known here ({known}): "
        f"neither published names (feature_bone...) nor a config in its metadata, among "
        f"{len(weights.state)} tensors."
    )


def _own_config(weights: Weights, architecture: Architecture) -> Any:
    """Return the config in the metadata, with lists as tuples again."""
    with report_config_errors(weights):
        config = weights.metadata["config"].items()
        fields = [field for field in config if field not in OLD_DEFAULTS]
        return architecture.config(**{k: tuple(v) if isinstance(v, list) else v for k, v in fields})


def keypoint_ratio(num_key_points: float) -> float:
    """Convert the published flag to a share: -1 means every cell."""
    if num_key_points == DENSE:
        return 1.0
    if not 0 <= num_key_points <= 1:
        raise ValueError(
            f"num_key_points is a share in [0, 1], or -1 for all cells, got {num_key_points:g}."
        )
    return num_key_points
