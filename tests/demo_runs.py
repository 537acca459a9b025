"""What a person asks of demo_2x.py, and what it says beside its result."""

import json
from pathlib import Path
from unittest.mock import patch

from sgm_vfi import demo_2x


def run(*arguments: object) -> None:
    """As where no weights ship: by default the classical method, which is quick."""
    with patch("sgm_vfi.model.zoo.has_shipped_weights", return_value=False):
        demo_2x.main([str(argument) for argument in arguments])


def receipt(path: str) -> dict[str, object]:
    return json.loads(Path(f"{path}.json").read_text())
