"""Every interpolator by name, and how its weights are found."""

import logging
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import NamedTuple

from model.baselines.flow_blend import FlowBlend
from model.baselines.trivial import Blend, Repeat
from model.checkpoint import CheckpointError, Weights, load_weights, read_weights
from model.flow.classical import DISFlow
from model.flow.gmflow import NOT_FEATURES
from model.interpolator import Interpolator
from model.sgm.network import SGM, SGM_BASE, SGM_SMALL, SGMConfig
from model.sgm.published import from_published, is_published, published_config

logger = logging.getLogger(__name__)

ROOT = Path(__file__).resolve().parent.parent
DENSE = -1  # what the published code calls matching every cell


class Entry(NamedTuple):
    """One row of the zoo."""

    build: Callable[[], Interpolator]  # with fresh weights
    needs_weights: bool = True
    published: str | None = None  # name of the published experiment
    licence: str = "Apache-2.0"


def _sgm(config: SGMConfig, **changes: float | None) -> Callable[[], Interpolator]:
    return partial(SGM, replace(config, **changes))


ZOO: dict[str, Entry] = {
    "repeat": Entry(Repeat, needs_weights=False),
    "blend": Entry(Blend, needs_weights=False),
    "classical": Entry(lambda: FlowBlend(DISFlow()), needs_weights=False),
    "ours-local-small": Entry(_sgm(SGM_SMALL, keypoint_ratio=None), published="ours-local"),
    "ours-local-base": Entry(_sgm(SGM_BASE, keypoint_ratio=None)),
    "ours-small-1-2": Entry(_sgm(SGM_SMALL, keypoint_ratio=1 / 2), published="ours-1-2-points"),
    "ours-small-1-4": Entry(_sgm(SGM_SMALL, keypoint_ratio=1 / 4), published="ours-1-4-points"),
    "ours-small-1-8": Entry(_sgm(SGM_SMALL, keypoint_ratio=1 / 8), published="ours-1-8-points"),
    "ours-small-dense": Entry(_sgm(SGM_SMALL, keypoint_ratio=1.0)),
    "ours-base-1-2": Entry(_sgm(SGM_BASE, keypoint_ratio=1 / 2)),
}
DEFAULT = "classical"  # until weights ship with the project


def load_interpolator(
    name_or_path: str | Path, *, num_key_points: float | None = None
) -> Interpolator:
    """Find an interpolator by name or by file, with its trained weights, ready to interpolate.

    A name is a row of the zoo, or an experiment: then `pretrained/<name>.safetensors` and
    `log/<name>/ckpt/<name>.safetensors` (or `.pth` or `.pkl`, as published) are looked for, here
    and in the repository. A path is a file of weights, ours or published: size and variant are
    read off it.

    Args:
        num_key_points: share of cells to match, in [0, 1], or -1 for all; None as it was trained.

    Raises:
        FileNotFoundError: no such name, or its weights are not in place; says where they belong.
        CheckpointError: the file is damaged or does not fit; says which tensors differ.
    """
    name = str(name_or_path)
    entry = ZOO.get(name)
    if entry is not None and not entry.needs_weights:
        network = entry.build()
        if num_key_points is not None:
            raise ValueError(f"{name} matches no key points; leave num_key_points out.")
        return network.eval()
    path = find_weights(name)
    network = _built_for(read_weights(path), num_key_points, entry, name)
    logger.info("%s: weights from %s", name, path)
    return network.eval()


def find_weights(name_or_path: str) -> Path:
    """The file that holds the weights of a zoo name, of an experiment, or that is named itself."""
    places = list(_places(name_or_path))
    for place in places:
        if place.is_file():
            return place
    path = Path(name_or_path)
    if path.is_dir():
        raise FileNotFoundError(f"{path} is a folder; name the file of weights in it.")
    if name_or_path not in ZOO and (path.suffix or path.parent != Path(".")):
        raise FileNotFoundError(f"No file of weights at {path} (that is {path.absolute()}).")
    known = "" if name_or_path in ZOO else f" Known names: {', '.join(ZOO)}."
    raise FileNotFoundError(
        f"No weights for {name_or_path!r}: looked for {', '.join(map(str, places[1:]))}. "
        f"Put a published or trained checkpoint at one of these places, or name its file.{known}"
    )


def _places(name_or_path: str) -> Iterator[Path]:
    yield Path(name_or_path)
    if Path(name_or_path).name != name_or_path:
        return
    entry = ZOO.get(name_or_path)
    names = [name_or_path, *([entry.published] if entry and entry.published else [])]
    for root in dict.fromkeys((Path.cwd(), ROOT)):
        for name in names:
            yield root / "pretrained" / f"{name}.safetensors"
            for ending in (".safetensors", ".pth", ".pkl"):
                yield root / "log" / name / "ckpt" / f"{name}{ending}"


def _built_for(
    weights: Weights, num_key_points: float | None, entry: Entry | None, name: str
) -> Interpolator:
    """A network of the shape of these weights, holding them."""
    published = is_published(weights)
    weights = from_published(weights) if published else weights
    config = _config_of(weights, published)
    if entry is not None:
        expected = entry.build().config
        got, wanted = _shape_in_words(config), _shape_in_words(expected)
        if got != wanted:
            raise CheckpointError(
                f"{weights.source} does not fit {name}: the file is {got}, {name} is {wanted}."
            )
        config = replace(config, keypoint_ratio=expected.keypoint_ratio)
    if num_key_points is not None:
        if config.keypoint_ratio is None:
            raise ValueError(
                f"{name} is the local branch alone, which matches no key points; "
                f"leave num_key_points out, or name a checkpoint with global matching."
            )
        config = replace(config, keypoint_ratio=keypoint_ratio(num_key_points))
    network = SGM(config)
    load_weights(network, weights)
    return network


def _shape_in_words(config: SGMConfig) -> str:
    """What tells one row of the zoo from another, the share of key points apart."""
    matching = "the local branch alone" if config.keypoint_ratio is None else "with matching"
    return f"{config.channels} channels wide, {config.depths} deep, {matching}"


def _config_of(weights: Weights, published: bool) -> SGMConfig:
    if published:
        return published_config(weights)
    if any(key.startswith(NOT_FEATURES) for key in weights.state):
        raise CheckpointError(
            f"{weights.source} is a GMFlow checkpoint: features for matching, no interpolator. "
            f"It starts the second stage of training (model.flow.gmflow.load_gmflow)."
        )
    fields = weights.metadata.get("config")
    if fields is None:
        raise CheckpointError(
            f"{weights.source} is no SGM-VFI checkpoint: neither published names "
            f"(feature_bone...) nor a config in its metadata, among {len(weights.state)} tensors."
        )
    return SGMConfig(**{**fields, "depths": tuple(fields["depths"])})


def keypoint_ratio(num_key_points: float) -> float:
    """The published flag as a share: -1 means every cell."""
    if num_key_points == DENSE:
        return 1.0
    if not 0 <= num_key_points <= 1:
        raise ValueError(
            f"num_key_points is a share in [0, 1], or -1 for all cells, got {num_key_points:g}."
        )
    return num_key_points
