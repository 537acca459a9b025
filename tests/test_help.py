"""Help texts are short and complete, and show defaults as one types them."""

import argparse
import importlib
import re
from collections.abc import Iterator

import pytest

from sgm_vfi.cli import COMMANDS as COMMANDS_BY_NAME
from sgm_vfi.cli import main
from sgm_vfi.short_help import ShortHelpParser, is_rare

COMMANDS = (
    *("interpolate", "export", "app", "train base", "train zoo", "train curves", "weights fetch"),
    *("dataset verify", "dataset write", "dataset speed"),
    *(f"benchmark {name}" for name in ("footage", "synthetic", "speed", "splat", "curation")),
    *(f"benchmark {name}" for name in ("report", "compare", "ucf101", "all")),
)
MAX_LINES = 100  # two screens
PYTHON_VALUE = re.compile(r"default: *(\[|\(|'|<|Path|None|True|False)")


@pytest.mark.parametrize("command", COMMANDS)
def test_defaults_are_shown_as_typed(command: str, capsys: pytest.CaptureFixture) -> None:
    with pytest.raises(SystemExit, match="0"):
        main([*command.split(), "-h"])
    assert not PYTHON_VALUE.search(" ".join(capsys.readouterr().out.split()))


class Caught(Exception):
    """Carries the parser of a command."""

    def __init__(self, parser: argparse.ArgumentParser) -> None:
        super().__init__(parser.prog)
        self.parser = parser


def catch(parser: argparse.ArgumentParser, *_: object, **__: object) -> None:
    raise Caught(parser)


def walk(parser: argparse.ArgumentParser) -> Iterator[argparse.ArgumentParser]:
    """Yield a parser and those of its sub-commands."""
    yield parser
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for own in action.choices.values():
                yield from walk(own)


def find_parsers(monkeypatch: pytest.MonkeyPatch, command: str) -> list[argparse.ArgumentParser]:
    """Return the parser of a command, and those of its sub-commands."""
    name, *rest = command.split()
    module = importlib.import_module(COMMANDS_BY_NAME[name][0])
    for method in ("parse_args", "parse_known_args"):
        monkeypatch.setattr(argparse.ArgumentParser, method, catch)
    with pytest.raises(Caught) as caught:
        module.main(rest)
    return list(walk(caught.value.parser))


def names_default(parser: argparse.ArgumentParser, action: argparse.Action) -> bool:
    """Return whether a default is stated where there is one; one for options that exclude."""
    for group in parser._mutually_exclusive_groups:
        if action in group._group_actions:
            return group.required or any("default" in a.help for a in group._group_actions)
    is_switch = action.nargs == 0 and not isinstance(action, argparse.BooleanOptionalAction)
    is_option = action.option_strings and not action.required and not is_switch
    return not is_option or "default" in action.help


@pytest.mark.parametrize(
    "command",
    ["interpolate", "benchmark", "train", "train base", "train zoo", "train curves",
     "train release", "weights", "dataset", "app", "export"],
)  # fmt: skip
def test_every_option_is_explained_within_two_screens(
    command: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for parser in find_parsers(monkeypatch, command):
        assert parser.format_help().count("\n") <= MAX_LINES, parser.prog
        for action in parser._actions:
            named = isinstance(action, argparse._SubParsersAction)
            assert named or action.help, f"{parser.prog} {action.dest}"
            assert named or names_default(parser, action), f"{parser.prog} {action.dest}"


def test_the_long_help_shows_all_options(monkeypatch: pytest.MonkeyPatch) -> None:
    (parser,) = find_parsers(monkeypatch, "interpolate")
    assert isinstance(parser, ShortHelpParser)
    short, full = parser.format_help(), parser.format_full_help()
    assert short.count("\n") <= 80
    rare = sum(map(is_rare, parser._actions))
    assert short.splitlines()[-1].endswith(f"--help_all shows {rare} more options.")
    for action in parser._actions:
        assert all(name in full for name in action.option_strings)
        shown = [re.search(rf"^  .*{name}\b", short, re.M) for name in action.option_strings]
        assert any(shown) is not is_rare(action) or not shown
