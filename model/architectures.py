"""Which network a file of weights is for, by the tensors in it or by what it says."""

from dataclasses import replace
from typing import Any

from sgm_vfi.model.baselines.ifrnet.checkpoint_names import FAMILY as IFRNET_FAMILY
from sgm_vfi.model.baselines.pervfi.checkpoint_names import FAMILY as PERVFI_FAMILY
from sgm_vfi.model.baselines.raft_vfi.checkpoint_names import FAMILY as RAFT_VFI_FAMILY
from sgm_vfi.model.baselines.rife.checkpoint_names import FAMILY as RIFE_FAMILY
from sgm_vfi.model.baselines.rife.practical_rife import FAMILY as PRACTICAL_FAMILY
from sgm_vfi.model.checkpoint import CheckpointError, Family, Weights, describing, load_weights
from sgm_vfi.model.flow.gmflow_features import NOT_FEATURES
from sgm_vfi.model.interpolator import Interpolator
from sgm_vfi.model.sgm.checkpoint_names import FAMILY as SGM_FAMILY

DENSE = -1  # what the published code calls matching every cell
# The first is meant where a file written here names none.
FAMILIES = (
    SGM_FAMILY,
    RIFE_FAMILY,
    PRACTICAL_FAMILY,
    IFRNET_FAMILY,
    PERVFI_FAMILY,
    RAFT_VFI_FAMILY,
)


def build(
    weights: Weights,
    name: str,
    wanted: tuple[Family, Any] | None = None,
    num_key_points: float | None = None,
) -> Interpolator:
    """A network of the shape of these weights, holding them.

    Args:
        name: what was asked for, to say in errors.
        wanted: the family and the config that it has to be of; None: any.
        num_key_points: share of cells to match, in [0, 1], or -1 for all; None as it was trained.

    Raises:
        CheckpointError: the weights are of no network known here, or of another one than wanted.
        ValueError: the network matches no key points, or not so many.
    """
    family, is_published = _family_of(weights)
    if is_published:
        weights = family.from_published(weights)
        config = family.published_config(weights)
    else:
        config = _own_config(weights, family)
    if wanted is not None:
        config = fitted(weights, name, family, config, wanted, is_published)
    if num_key_points is not None:
        if getattr(config, "keypoint_ratio", None) is None:
            raise ValueError(
                f"{name} matches no key points (it is {family.in_words(config)}); "
                f"leave num_key_points out, or name a checkpoint with global matching."
            )
        config = replace(config, keypoint_ratio=keypoint_ratio(num_key_points))
    with describing(weights):
        network = family.network(config)
    if is_published:
        weights = weights._replace(state=weights.state | family.beside(config))
    load_weights(network, weights)
    return network


def fitted(
    weights: Weights,
    name: str,
    family: Family,
    config: Any,
    wanted: tuple[Family, Any],
    is_published: bool,
) -> Any:
    """The config of weights that are of what was asked for, completed by it."""
    wanted_family, wanted_config = wanted
    misfit = f"{weights.source} does not fit {name}: the file is "
    if family is not wanted_family:
        raise CheckpointError(f"{misfit}of {family.name}, {name} is of {wanted_family.name}.")
    config = family.completed(config, wanted_config, is_published)
    got, expected = family.in_words(config), family.in_words(wanted_config)
    if got != expected:
        raise CheckpointError(f"{misfit}{got}, {name} is {expected}.")
    return config


def _family_of(weights: Weights) -> tuple[Family, bool]:
    """Which networks these weights are for, and whether they bear published names."""
    for family in FAMILIES:
        if family.is_published(weights):
            return family, True
    if any(key.startswith(NOT_FEATURES) for key in weights.state):
        raise CheckpointError(
            f"{weights.source} is a GMFlow checkpoint: features for matching, no interpolator. "
            "It starts the second stage of training (train_x4k.py)."
        )
    name = weights.metadata.get("network", FAMILIES[0].name)
    for family in FAMILIES:
        if family.name == name and "config" in weights.metadata:
            return family, False
    known = ", ".join(family.name for family in FAMILIES)
    raise CheckpointError(
        f"{weights.source} is no SGM-VFI checkpoint, nor another one known here ({known}): "
        f"neither published names (feature_bone...) nor a config in its metadata, among "
        f"{len(weights.state)} tensors."
    )


def _own_config(weights: Weights, family: Family) -> Any:
    """The config in the metadata, where tuples have become lists."""
    with describing(weights):
        fields = weights.metadata["config"].items()
        return family.config(**{k: tuple(v) if isinstance(v, list) else v for k, v in fields})


def keypoint_ratio(num_key_points: float) -> float:
    """The published flag as a share: -1 means every cell."""
    if num_key_points == DENSE:
        return 1.0
    if not 0 <= num_key_points <= 1:
        raise ValueError(
            f"num_key_points is a share in [0, 1], or -1 for all cells, got {num_key_points:g}."
        )
    return num_key_points
