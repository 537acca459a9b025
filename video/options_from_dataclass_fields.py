"""Command-line options that are declared once, as fields of a dataclass."""

import argparse
from collections.abc import Callable
from dataclasses import Field, fields
from fractions import Fraction
from typing import Any

from sgm_vfi.model.cli_options import (
    argument_type,
    parse_fraction,
    parse_number,
    parse_whole,
)
from sgm_vfi.short_help import RareHelp

MIN_RATE, MAX_RATE = Fraction(1, 1000), 1000  # frames per second
MAX_SLOW = 1000  # times as long
PARSERS = {int: parse_whole, float: parse_number}  # whose errors are sentences
MAX_DENOMINATOR = 1_000_000  # of a rate; containers hold 31 bits


def option(
    help: str,
    *,
    name: str | None = None,
    metavar: str | None = None,
    parse: Callable[[str], Any] | None = None,
    choices: tuple[str, ...] | None = None,
    changes_frames: bool = True,
    for_videos: bool = True,
    for_pipes: bool = False,
    is_common: bool = False,
) -> dict[str, Any]:
    """Return the metadata of a dataclass field that is also the command-line option `--NAME`.

    Args:
        help: what the option does, its unit, and its default where that is None.
        name: of the option, if it differs from that of the field.
        parse: converts the text of the command line; by default the type of the default value.
        changes_frames: an interrupted job continues only with the same value.
        for_videos: the option has no effect where images become images.
        for_pipes: the option has an effect where a stream is written to standard output.
        is_common: most people may need the option; `-h` shows it, not only `--help_all`.
    """
    return {
        "help": help,
        "name": name,
        "metavar": metavar,
        "parse": parse,
        "choices": choices,
        "changes_frames": changes_frames,
        "for_videos": for_videos,
        "for_pipes": for_pipes,
        "is_common": is_common,
    }


def option_fields(options: Any) -> list[Field[Any]]:
    """Return the fields of a dataclass, or of an instance, that are command-line options."""
    return [f for f in fields(options) if "help" in f.metadata]


def add_options(parser: argparse._ActionsContainer, options: type) -> None:
    """Add one argument to the parser per option field."""
    for declared in option_fields(options):
        about, default = declared.metadata, declared.default
        settings: dict[str, Any] = {"default": default, "help": about["help"]}
        if default is True:
            settings |= {"action": argparse.BooleanOptionalAction}
            settings["help"] += " (default: on)"
        elif default is False:
            settings |= {"action": "store_true"}
        else:
            parse = about["parse"] or (str if default is None else type(default))
            parse = PARSERS.get(parse, parse)
            settings |= {"type": argument_type(parse), "metavar": about["metavar"]}
            settings |= {"choices": about["choices"]} if about["choices"] else {}
            settings["help"] += "" if default is None else f" (default: {format_value(default)})"
        action = parser.add_argument(f"--{option_name(declared)}", dest=declared.name, **settings)
        help_ = settings["help"]  # without what BooleanOptionalAction of Python 3.10 adds
        action.help = help_ if about["is_common"] else RareHelp(help_)


def option_name(declared: Field[Any]) -> str:
    """Return the name of an option on the command line, without its dashes."""
    return str(declared.metadata["name"] or declared.name)


def read_options(options: type, args: argparse.Namespace) -> dict[str, Any]:
    """Return the values of all option fields from parsed arguments."""
    return {declared.name: getattr(args, declared.name) for declared in option_fields(options)}


def format_given(options: Any, defaults: type, only: Callable[[Field[Any]], bool]) -> list[str]:
    """Return the options that differ from their defaults as they are written, without values.

    Args:
        options: holds the values as attributes: an instance of the dataclass, or a namespace.
        only: which fields are of interest.
    """
    given = []
    for declared in filter(only, option_fields(defaults)):
        value = getattr(options, declared.name)
        if value != declared.default:
            name = option_name(declared)
            given.append(f"--no-{name}" if value is False else f"--{name}")
    return given


def saved_values(options: Any) -> dict[str, Any]:
    """Return the options that must not change while a job is unfinished, as JSON values."""
    values = {f.name: getattr(options, f.name) for f in option_fields(options)
              if f.metadata["changes_frames"]}  # fmt: skip
    return {name: str(v) if isinstance(v, Fraction) else v for name, v in values.items()}


def format_value(value: Any) -> str:
    """Return a default as it is shown in a help text."""
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def parse_rate(text: str) -> Fraction:
    """Parse frames per second: 60, 59.94 (which means 60000/1001), or 24000/1001."""
    value = parse_fraction(text)
    if not MIN_RATE <= value <= MAX_RATE:
        raise ValueError(
            f"a rate lies between {MIN_RATE} and {MAX_RATE} frames per second, got {text}"
        )
    broadcast = Fraction(round(value * Fraction(1001, 1000)) * 1000, 1001)
    is_rounded = "." in text and value.denominator != 1
    exact = broadcast if is_rounded and abs(broadcast - value) < Fraction(1, 200) else value
    return exact.limit_denominator(MAX_DENOMINATOR)


def parse_slow(text: str) -> Fraction:
    """Parse a ratio of slow motion: 4, 1.5 or 5/3."""
    value = parse_fraction(text)
    if not 1 < value <= MAX_SLOW:
        raise ValueError(f"a ratio of slow motion lies above 1 and up to {MAX_SLOW}, got {text}")
    return value.limit_denominator(MAX_DENOMINATOR)
