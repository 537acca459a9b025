"""A parser with two help texts: a short one of common options, and one of all."""

import argparse
from collections.abc import Sequence
from typing import Any

from sgm_vfi.command_errors import CommandParser


class RareHelp(str):
    """The help text of an option that only `--help_all` shows."""


class ShortHelpParser(CommandParser):
    """Parser whose `-h` leaves out the options that few people use; `--help_all` shows all."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.add_argument(
            "--help_all", action=_ShowAll, help="show all options, also rare ones, and exit"
        )

    def format_help(self) -> str:
        """Return the help text of the common options."""
        rare = {action: action.help for action in self._actions if is_rare(action)}
        for action in rare:
            action.help = argparse.SUPPRESS
        text = super().format_help()
        for action, help_ in rare.items():
            action.help = help_
        return f"{text}\n{self.prog} --help_all shows {len(rare)} more options.\n"

    def format_full_help(self) -> str:
        """Return the help text of all options."""
        return super().format_help()


class _ShowAll(argparse.Action):
    """Prints the help text of all options."""

    def __init__(self, option_strings: Sequence[str], dest: str, help: str) -> None:
        super().__init__(option_strings, argparse.SUPPRESS, nargs=0, help=help)

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        assert isinstance(parser, ShortHelpParser)
        print(parser.format_full_help(), end="")  # not to standard error, for pagers
        parser.exit()


def is_rare(action: argparse.Action) -> bool:
    """Return whether only the long help text shows an option."""
    return isinstance(action.help, RareHelp)
