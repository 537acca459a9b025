"""Overrides of fields of nested frozen dataclasses, given as text."""

import dataclasses
import types
import typing
from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from fractions import Fraction
from typing import Any, Literal, TypeVar

T = TypeVar("T")

NONE_WORDS = ("none", "null")
BOOLEANS = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}


def override(config: T, changes: Mapping[str, str]) -> T:
    """Replace fields named `outer.inner`, or by their last name where only one field has it.

    All changes apply at once, so that checks between fields see the final values.

    Raises:
        ValueError: the field is unknown or ambiguous, or the text is not a valid value.
    """
    known = dict(field_types(config))
    tree: dict[str, Any] = {}
    for name, text in changes.items():
        path = resolve_field_name(name, list(known))
        *outer, last = path.split(".")
        branch = tree
        for part in outer:
            branch = branch.setdefault(part, {})
        branch[last] = parse_value(text, known[path], path)
    return replace_fields(config, tree)


def field_types(config: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the full name and the type of every leaf field."""
    hints = typing.get_type_hints(type(config))
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        if dataclasses.is_dataclass(value):
            yield from field_types(value, f"{prefix}{field.name}.")
        else:
            yield prefix + field.name, hints[field.name]


def resolve_field_name(name: str, known: list[str]) -> str:
    """Return the full name of a field, given that name or the end of it."""
    if name in known:
        return name
    meant = [path for path in known if f".{path}".endswith(f".{name}")]
    if len(meant) > 1:
        raise ValueError(f"{name} may mean {' or '.join(meant)}: write the one you mean.")
    if not meant:
        raise ValueError(
            f"There is no field {name}.{suggest_fields(name, known)} "
            f"Known fields: {', '.join(known)}."
        )
    return meant[0]


def suggest_fields(name: str, known: list[str]) -> str:
    """Return a question that names the fields with a similar name; empty without any."""
    by_last_name: dict[str, list[str]] = {}
    for path in known:
        by_last_name.setdefault(path.rpartition(".")[2], []).append(path)
    close = get_close_matches(name, known)
    for last_name in get_close_matches(name.rpartition(".")[2], by_last_name):
        close += by_last_name[last_name]
    return f" Did you mean {' or '.join(dict.fromkeys(close))}?" if close else ""


def replace_fields(config: Any, tree: Mapping[str, Any]) -> Any:
    """Replace the fields in `tree`, inner dataclasses first."""
    changes = {
        name: replace_fields(getattr(config, name), value) if isinstance(value, dict) else value
        for name, value in tree.items()
    }
    return dataclasses.replace(config, **changes)


def parse_value(text: str, kind: Any, name: str) -> Any:
    """Parse a value of a type: numbers (also 1/4), booleans, tuples (1,1,2), none."""
    origin, parts = typing.get_origin(kind), typing.get_args(kind)
    if origin in (typing.Union, types.UnionType):
        if text.lower() in NONE_WORDS and type(None) in parts:
            return None
        (kind,) = (part for part in parts if part is not type(None))
        return parse_value(text, kind, name)
    if origin is tuple:
        return parse_tuple(text, parts, name)
    if origin is Literal:
        if text not in parts:
            raise ValueError(f"{name} is one of {', '.join(map(repr, parts))}, got {text!r}.")
        return text
    try:
        return PARSERS[kind](text)
    except (KeyError, ValueError, ZeroDivisionError) as error:
        raise ValueError(f"{name} is of type {kind.__name__}, got {text!r}.") from error


def parse_tuple(text: str, kinds: tuple[Any, ...], name: str) -> tuple[Any, ...]:
    """Parse `1,1,2` as a tuple of fixed or any length (`tuple[int, ...]`)."""
    items = [item.strip() for item in text.strip("()").split(",") if item.strip()]
    if kinds[-1] is Ellipsis:
        kinds = kinds[:1] * len(items)
    if len(items) != len(kinds):
        raise ValueError(f"{name} has {len(kinds)} values, as in 1,2, got {text!r}.")
    return tuple(parse_value(item, kind, name) for item, kind in zip(items, kinds, strict=True))


PARSERS: dict[Any, typing.Callable[[str], Any]] = {
    int: int,
    float: lambda text: float(Fraction(text)),
    bool: lambda text: BOOLEANS[text.lower()],
    str: str,
}


def describe_differences(old: Any, new: Any, name: str = "") -> list[str]:
    """Describe the differences of two trees of plain values, one line each."""
    if isinstance(old, dict) and isinstance(new, dict):
        lines = []
        for key in dict.fromkeys((*old, *new)):
            inner = f"{name}.{key}" if name else str(key)
            lines += describe_differences(old.get(key), new.get(key), inner)
        return lines
    return [] if old == new else [f"{name}: {old!r} was, {new!r} is asked for"]
