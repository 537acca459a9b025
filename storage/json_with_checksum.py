"""JSON files that hold a hash of their content, so that damage is found."""

import hashlib
import json
from pathlib import Path
from typing import Any

from sgm_vfi.storage.atomic_write import write_atomically


class DamagedFileError(ValueError):
    """A file that was written by this project and is no longer as it was; the message names it."""


def hash_json(content: Any) -> str:
    """Return the SHA-256 of JSON values, whatever the order of names."""
    text = json.dumps(content, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def write_checked_json(path: Path, content: dict[str, Any]) -> None:
    """Write JSON values with their hash, whole or not at all."""
    text = json.dumps({"sha256": hash_json(content), "content": content}, indent=1)
    write_atomically(path, text.encode())


def read_checked_json(path: Path) -> dict[str, Any]:
    """Read what `write_checked_json` wrote.

    Raises:
        DamagedFileError: the file is empty, or is not as it was written.
    """
    data = path.read_bytes()
    try:
        whole = json.loads(data)
        content, written = whole["content"], whole["sha256"]
    except (ValueError, TypeError, LookupError):
        what = "it is empty" if not data else "it is not as this version writes it"
        raise DamagedFileError(f"{path} is damaged: {what}") from None
    if not isinstance(content, dict) or hash_json(content) != written:
        raise DamagedFileError(f"{path} is damaged: its content does not match its hash")
    return content
