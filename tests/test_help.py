"""Help texts show defaults as one types them."""

import re

import pytest

from sgm_vfi.cli import main

COMMANDS = (
    *("interpolate", "export", "app", "train base", "train zoo", "train curves", "weights fetch"),
    *("dataset verify", "dataset write", "dataset speed"),
    *(f"benchmark {name}" for name in ("footage", "synthetic", "speed", "splat", "curation")),
    *(f"benchmark {name}" for name in ("report", "compare", "ucf101", "all")),
)
PYTHON_VALUE = re.compile(r"default: *(\[|\(|'|<|Path|None|True|False)")


@pytest.mark.parametrize("command", COMMANDS)
def test_defaults_are_shown_as_typed(command: str, capsys: pytest.CaptureFixture) -> None:
    with pytest.raises(SystemExit, match="0"):
        main([*command.split(), "-h"])
    assert not PYTHON_VALUE.search(" ".join(capsys.readouterr().out.split()))
