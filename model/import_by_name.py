"""References to Python code of the user, `module:name` or `file.py:name`."""

import importlib
import importlib.util
import re
import sys
import traceback
from difflib import get_close_matches
from pathlib import Path
from types import ModuleType
from typing import Any
from zlib import crc32

from sgm_vfi.model.interpolator import Interpolator

REFERENCE = re.compile(r"(?P<module>.+\.py|[^\W\d]\w*(?:\.[^\W\d]\w*)*):(?P<name>[^\W\d]\w*)")


class PythonReferenceError(ValueError):
    """A reference that cannot be used; the message says why."""


def is_reference(text: str) -> bool:
    """Return whether a text is `module:name` or `file.py:name`, and no file of that name."""
    return REFERENCE.fullmatch(text) is not None and not Path(text).exists()


def import_reference(text: str) -> Any:
    """Import the object that a reference names; modules are also looked for in this folder.

    Raises:
        PythonReferenceError: there is no such module, file or name, or the module raises an error.
    """
    match = REFERENCE.fullmatch(text)
    if match is None:
        raise PythonReferenceError(f"Expected module:name or file.py:name, got {text!r}.")
    module = _import_module(match["module"], text)
    if not hasattr(module, match["name"]):
        public = [name for name in vars(module) if not name.startswith("_")]
        close = get_close_matches(match["name"], public)
        hint = f" Did you mean {' or '.join(close)}?" if close else ""
        raise PythonReferenceError(f"{match['module']} has no {match['name']}.{hint}")
    return getattr(module, match["name"])


def build_referenced_interpolator(text: str) -> Interpolator:
    """Build the interpolator of a reference: a class, or a function that returns one.

    Either is called without arguments. The checksum of the source file becomes the attribute
    `source_code`, by which results of different versions are told apart.

    Raises:
        PythonReferenceError: the object is no interpolator, or cannot be called without arguments.
    """
    factory = import_reference(text)
    if not callable(factory):
        raise PythonReferenceError(
            f"{text} is {factory!r}. Expected a class derived from sgm_vfi.model.Interpolator, or "
            f"a function that returns an object of one."
        )
    try:
        network = factory()
    except Exception as error:
        raise PythonReferenceError(
            f"{text}() raised {_describe_error(error)}. It is called without arguments; a function "
            f"that returns the network can give its arguments."
        ) from error
    if not isinstance(network, Interpolator):
        raise PythonReferenceError(
            f"{text}() returned an object of type {type(network).__name__}, expected "
            f"sgm_vfi.model.Interpolator. Derive the class from it."
        )
    network.source_code = checksum_source(factory)
    return network


def checksum_source(referenced: Any) -> str:
    """Return the CRC-32 of the source file of a class or function, as hexadecimal digits."""
    module = sys.modules.get(getattr(referenced, "__module__", ""))
    file = getattr(module, "__file__", None)
    return f"{crc32(Path(file).read_bytes()):08x}" if file else "unknown"


def _import_module(name: str, text: str) -> ModuleType:
    if str(Path.cwd()) not in sys.path:
        sys.path.append(str(Path.cwd()))  # as `python -m` does
    try:
        return _import_file(Path(name)) if name.endswith(".py") else importlib.import_module(name)
    except ModuleNotFoundError as error:
        if name.endswith(".py") or not name.startswith(error.name or " "):
            raise PythonReferenceError(f"{text}: {_describe_error(error)}.") from error
        raise PythonReferenceError(
            f"There is no module {error.name} for {text}: looked in {Path.cwd()} and in the "
            f"installed packages. Name the file instead, as in {name.split('.')[-1]}.py:NAME."
        ) from error
    except PythonReferenceError:
        raise
    except Exception as error:
        raise PythonReferenceError(
            f"{name} could not be imported: {_describe_error(error)}."
        ) from error


def _import_file(path: Path) -> ModuleType:
    """Import a file once, under a name that is made of its path."""
    if not path.is_file():
        raise PythonReferenceError(f"There is no file {path} ({path.absolute()}).")
    name = "sgm_vfi_own_" + re.sub(r"\W", "_", str(path.resolve().with_suffix("")))
    if name in sys.modules:
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses look their module up
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def _describe_error(error: Exception) -> str:
    """Return type and message of an error, and where it was raised."""
    where = traceback.extract_tb(error.__traceback__)[-1]
    return f"{type(error).__name__}: {error} ({where.filename}, line {where.lineno})"
