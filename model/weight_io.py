"""Reading and writing weights without pickled code, all tensors or none.

Weights that come with the project are split into parts. A JSON index in the same folder lists them
with hashes, `{"builds_on": [...], "parts": [...]}`, each a `file` and its `sha256`. `builds_on` is
the index of other weights that share tensors, if any; the own parts hold the remaining tensors.
"""

import json
import pickle
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from sgm_vfi.read_json import JSONFileError, read_json_object
from sgm_vfi.storage.atomic_write import replace_atomically
from sgm_vfi.storage.file_identity import sha256
from sgm_vfi.zip_checks import require_sound_archive

SHOWN = 4  # names listed of a longer list
INDEX_SUFFIX = ".json"  # ending of an index of parts
# Raised by configs and layers for unexpected values.
UNFIT = (TypeError, ValueError, AttributeError, LookupError, ArithmeticError, RuntimeError)
PART_OF = "part_of"  # in the metadata of a part: its index


class CheckpointError(ValueError):
    """A file of weights that cannot be used; the message says why."""


class Weights(NamedTuple):
    """Content of a file of weights."""

    state: dict[str, Tensor]
    metadata: dict[str, Any]  # network, config, recipe, ...; empty for published files
    source: Path


class Architecture(NamedTuple):
    """A kind of network: how its files are recognised, and what is built from them.

    A network keeps its config, a frozen dataclass, as `config`. Our files hold it in their
    metadata; for published files it is inferred from the tensors.
    """

    name: str  # `network` in the metadata of our files
    network: Callable[[Any], Any]  # config -> network, with fresh weights
    config: type
    is_published: Callable[[Weights], bool]  # by names unique to the published network
    from_published: Callable[[Weights], Weights]  # renames the tensors
    published_config: Callable[[Weights], Any]  # of renamed tensors
    describe: Callable[[Any], str]  # config -> text that differs between variants
    # (found, wanted, published) -> the config found in a file, completed by the variant asked for
    complete_config: Callable[[Any, Any, bool], Any] = lambda found, wanted, published: found
    # config -> tensors that the published file of the network does not hold
    extra_tensors: Callable[[Any], dict[str, Tensor]] = lambda config: {}


class NameScope(NamedTuple):
    """Renaming of the tensors below one prefix of a published checkpoint."""

    published: str
    ours: str
    parts: tuple[tuple[str, str], ...] = ()  # published, ours: replaced in this order


def translate_name(published: str, scopes: Iterable[NameScope]) -> str:
    """Translate one published name; names outside of all scopes are unchanged."""
    for scope in scopes:
        if published.startswith(scope.published):
            rest = "." + published.removeprefix(scope.published)
            for theirs, ours in scope.parts:
                rest = rest.replace(theirs, ours)
            return scope.ours + rest[1:]
    return published


def published_name(ours: str, scopes: Iterable[NameScope]) -> str:
    """Undo `translate_name`."""
    inverse = (
        NameScope(scope.ours, scope.published, tuple((b, a) for a, b in reversed(scope.parts)))
        for scope in scopes
    )
    return translate_name(ours, inverse)


def read_weights(path: Path) -> Weights:
    """Read a safetensors file or a PyTorch checkpoint, on the CPU, without running its code.

    Takes the entry `model` of a PyTorch checkpoint if there is one, and removes the prefix
    `module.` of DistributedDataParallel. An index or any part of it stands for all its parts.

    Raises:
        FileNotFoundError: there is no such file.
        CheckpointError: it is damaged, truncated, or holds something other than weights; or so is
            one of several parts, or is missing.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"No file of weights at {path} (that is {path.absolute()}).")
    if path.suffix == INDEX_SUFFIX:
        return _read_parts(path)
    if path.suffix == ".safetensors":
        weights = _read_safetensors(path)
        return _read_whole(weights) if PART_OF in weights.metadata else weights
    return _read_torch(path)


def _read_safetensors(path: Path) -> Weights:
    try:
        with safe_open(path, framework="pt") as file:
            state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            metadata = {n: _parse_metadata(text) for n, text in (file.metadata() or {}).items()}
    except (SafetensorError, RecursionError) as error:
        raise _damaged(path, error) from error
    return Weights(state, metadata, path)


def _parse_metadata(text: str) -> Any:
    """Parse a value as we write it, JSON; other tools write plain text, such as `pt`."""
    try:
        return json.loads(text)
    except ValueError:
        return text


def _read_whole(part: Weights) -> Weights:
    """Read the weights that a part belongs to."""
    index = part.source.with_name(str(part.metadata[PART_OF]))
    if not index.is_file():
        raise CheckpointError(
            f"{part.source} is one part of several, and {index}, which names them, is missing. "
            f"Copy the whole folder again."
        )
    return _read_parts(index)


def _read_parts(path: Path) -> Weights:
    """Read all tensors of an index, with the metadata of its first part."""
    index = read_index(path)
    listed = [*index["builds_on"], *index["parts"]]
    missing = [entry["file"] for entry in listed if not path.with_name(entry["file"]).is_file()]
    if missing:
        raise CheckpointError(
            f"{path} stands for {len(listed)} files; of these {len(missing)} are missing beside "
            f"it: {abbreviate(missing)}. Copy the whole folder again. Nothing was loaded."
        )
    for entry in listed:
        file, found = path.with_name(entry["file"]), sha256(path.with_name(entry["file"]))
        if found != entry["sha256"]:
            raise CheckpointError(
                f"{file} ({file.stat().st_size} bytes) is not what {path.name} says: its sha256 "
                f"is {found}, not {entry['sha256']}. It is damaged or of another version: copy "
                f"the whole folder again. Nothing was loaded."
            )
    state: dict[str, Tensor] = {}
    for base in index["builds_on"]:
        state |= _read_parts(path.with_name(base["file"])).state
    parts = [_read_safetensors(path.with_name(entry["file"])) for entry in index["parts"]]
    for part in parts:
        state |= part.state
    metadata = {name: value for name, value in parts[0].metadata.items() if name != PART_OF}
    return Weights(state, metadata, path)


def read_index(path: Path) -> dict[str, list[dict[str, str]]]:
    """Read the names and hashes in an index of parts.

    Raises:
        CheckpointError: it is damaged, or no such index.
    """
    try:
        index = read_json_object(path, "index of weights")
        listed = [*index["builds_on"], *index["parts"]]
        named = [Path(entry["file"]).name == entry["file"] and entry["sha256"] for entry in listed]
    except JSONFileError as error:
        raise CheckpointError(f"{error}") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise _damaged(path, error) from error
    if not index["parts"] or not all(named):
        raise CheckpointError(f"{path} is no index of weights: it names no files beside it.")
    return index


def _read_torch(path: Path) -> Weights:
    try:
        require_sound_archive(path)
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # bytes that are no checkpoint make the unpickler raise anything
        raise _damaged(path, error) from error
    content = content if isinstance(content, Mapping) else {}
    state = content.get("model", content)
    if not isinstance(state, Mapping) or not state:
        raise CheckpointError(f"{path} holds no weights: expected a state dict, or one as 'model'.")
    odd = [
        str(name)
        for name, value in state.items()
        if not (isinstance(name, str) and isinstance(value, Tensor))
    ]
    if odd:
        raise CheckpointError(
            f"{path} holds no weights: expected names of tensors, got also {abbreviate(odd)}."
        )
    metadata = content.get("metadata", {}) if state is not content else {}
    if not isinstance(metadata, Mapping):
        raise CheckpointError(
            f"{path} tells nothing of its weights: expected names and values as 'metadata', got "
            f"{type(metadata).__name__}."
        )
    state = {name.removeprefix("module."): tensor for name, tensor in state.items()}
    return Weights(state, dict(metadata), path)


def _damaged(path: Path, error: Exception) -> CheckpointError:
    size = path.stat().st_size
    reason = " ".join(str(error).split())[:160]
    told = "" if isinstance(error, pickle.UnpicklingError) else f" ({reason})"  # how to run code
    return CheckpointError(
        f"{path} ({size} bytes) cannot be read as weights: it is damaged, truncated, no file of "
        f"weights, or holds pickled code, which is never run. Download or copy it again.{told}"
    )


@contextmanager
def report_config_errors(weights: Weights) -> Iterator[None]:
    """Raise CheckpointError for errors of building a network from unchecked metadata."""
    try:
        yield
    except UNFIT as error:
        raise CheckpointError(
            f"{weights.source} describes a network that is not known here ({error}): the file is "
            f"damaged, or of another version of this code than the one at hand."
        ) from error


def load_weights(module: nn.Module, weights: Weights) -> None:
    """Load all tensors, or raise CheckpointError and load none."""
    expected = module.state_dict()
    missing = sorted(expected.keys() - weights.state.keys())
    unexpected = sorted(weights.state.keys() - expected.keys())
    odd_shapes = [
        f"{name} {tuple(weights.state[name].shape)} for {tuple(tensor.shape)}"
        for name, tensor in expected.items()
        if name in weights.state and weights.state[name].shape != tensor.shape
    ]
    if missing or unexpected or odd_shapes:
        found = (
            (f"{len(missing)} tensors missing: {abbreviate(missing)}", missing),
            (f"{len(unexpected)} unexpected: {abbreviate(unexpected)}", unexpected),
            (f"{len(odd_shapes)} of another shape: {abbreviate(odd_shapes)}", odd_shapes),
        )
        raise CheckpointError(
            f"{weights.source} does not fit {type(module).__name__}: "
            + "; ".join(text for text, names in found if names)
            + ". Nothing was loaded."
        )
    module.load_state_dict(weights.state)


def save_weights(module: nn.Module, path: Path, metadata: Mapping[str, Any]) -> None:
    """Write weights as safetensors with JSON metadata, atomically."""
    state = {name: tensor.contiguous().cpu() for name, tensor in module.state_dict().items()}
    with replace_atomically(Path(path)) as file:
        save_file(state, file, {name: json.dumps(value) for name, value in metadata.items()})


def abbreviate(names: list[str]) -> str:
    """Join the first few names of a list, for a message."""
    more = f", and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more
