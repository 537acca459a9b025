"""Start weights of SGM-VFI: those of an earlier stage, and features for global matching."""

import logging
from collections.abc import Mapping
from pathlib import Path

from sgm_vfi.model.flow.gmflow_features import GMFlowFeatures, load_gmflow_features
from sgm_vfi.model.flow.gmflow_two_scales import GMFlowRefineFeatures, load_gmflow_refine_weights
from sgm_vfi.model.sgm.checkpoint_names import from_published, is_published, published_config
from sgm_vfi.model.sgm.network import SGM, SGMConfig
from sgm_vfi.model.weight_io import CheckpointError, Weights, load_weights, read_weights
from sgm_vfi.model.weight_search import find_file, search_roots, weights_folders
from sgm_vfi.model.zoo import find_weights

logger = logging.getLogger(__name__)

PUBLISHED_FEATURES = "gmflow_sintel-0c07dcb3.pth"  # in pretrained/
FEATURES_NETWORK = "GMFlowFeatures"  # in the metadata of features that were trained here
NEW_PARTS = ("gmflow.", "matching.")  # what a local branch alone lacks


def load_start_weights(network: SGM, name_or_path: str) -> bool:
    """Load the weights of a zoo name, an experiment or a file into a network of the same shape.

    Weights of the local branch leave the matching branch fresh. Returns whether the weights have a
    matching branch.

    Raises:
        FileNotFoundError: there are no such weights.
        CheckpointError: the weights do not fit; nothing is loaded.
    """
    weights = read_weights(find_weights(name_or_path))
    if is_published(weights):
        weights = from_published(weights)
        source = published_config(weights)
        config = {"colour_order": source.colour_order}
    else:
        config = weights.metadata.get("config", {})
    _require_colours(weights, config, network.config)
    has_matching = any(name.startswith(NEW_PARTS) for name in weights.state)
    if not has_matching:
        fresh = {n: t for n, t in network.state_dict().items() if n.startswith(NEW_PARTS)}
        weights = weights._replace(state=weights.state | fresh)
    load_weights(network, weights)
    logger.info("Starting from %s", weights.source)
    return has_matching


def load_features(features: GMFlowFeatures, name_or_path: str | None = None) -> None:
    """Load features for global matching: named, published or trained here.

    Raises:
        FileNotFoundError: there are none.
    """
    weights = read_weights(find_features(name_or_path))
    if weights.metadata.get("network") == FEATURES_NETWORK:
        load_weights(features, weights)
    elif isinstance(features, GMFlowRefineFeatures):
        load_gmflow_refine_weights(features, weights)
    else:
        load_gmflow_features(features, weights)
    logger.info("Features for matching from %s", weights.source)


def find_features(name_or_path: str | None = None) -> Path:
    """Return the named file of features, or the first one in the default places."""
    if name_or_path is not None:
        return find_weights(name_or_path)
    folders = weights_folders()
    places = [folder / PUBLISHED_FEATURES for folder in folders]
    places += [folder / "gmflow.safetensors" for folder in folders]
    places += [root / "log" / "gmflow" / "ckpt" / "gmflow.safetensors" for root in search_roots()]
    return find_file(
        places,
        "features for global matching",
        "Put the published GMFlow file at the first of these places, or train features, which "
        "needs no data: sgm-vfi train gmflow.",
    )


def _require_colours(weights: Weights, theirs: Mapping[str, str], config: SGMConfig) -> None:
    order = theirs.get("colour_order", config.colour_order)
    if order != config.colour_order:
        raise CheckpointError(
            f"{weights.source} was trained on frames in {order} order, this recipe says "
            f"{config.colour_order}. Set model.colour_order={order}."
        )
