"""Reading JSON that may come from anywhere: a value, or one sentence that names the file."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

SHOWN = 160  # characters of the reason in an error


class JSONFileError(ValueError):
    """A file whose JSON cannot be used; the message names it."""


def read_json_object(path: Path, what: str) -> dict[str, Any]:
    """Read a JSON file that holds an object.

    Args:
        what: what the file is to be, for the error, such as "index of weights".

    Raises:
        JSONFileError: it is no JSON, nested too deeply, or no object.
    """
    with explain_structure(path, what):
        return parse_json_object(path.read_text(encoding="utf-8"))


def parse_json_object(text: str) -> dict[str, Any]:
    """Parse the text of a JSON object.

    Raises:
        ValueError: it is no JSON, nested too deeply, or no object.
    """
    try:
        value = json.loads(text)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error
    if not isinstance(value, dict):
        raise ValueError(f"expected an object, got {type(value).__name__}")
    return value


@contextmanager
def explain_structure(
    path: Path, what: str, kind: type[ValueError] = JSONFileError
) -> Iterator[None]:
    """Turn errors of reading a value of the wrong structure into one that names the file.

    Args:
        kind: of the error; such errors pass unchanged.
    """
    try:
        yield
    except kind:
        raise
    except (ValueError, TypeError, AttributeError, LookupError) as error:
        reason = " ".join(str(error).split())[:SHOWN]
        raise kind(
            f"{path} is no {what} ({reason}): it is damaged, truncated or of another kind. Make "
            f"or copy it again."
        ) from error
