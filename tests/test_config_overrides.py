"""Settings by name and as text, and the rate by step."""

from dataclasses import dataclass, field
from typing import Literal

import pytest
import torch

from sgm_vfi.engine.config_overrides import describe_differences, override, parse_value
from sgm_vfi.engine.schedule import one_cycle, warmup_cosine

# ---- settings ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Inner:
    rate: float = 0.1
    sizes: tuple[int, ...] = (1, 2)
    pair: tuple[float, float] = (0.9, 0.999)
    limit: float | None = None

    def __post_init__(self) -> None:
        if self.limit is not None and self.limit < self.rate:
            raise ValueError("limit below rate")


@dataclass(frozen=True)
class Outer:
    name: str = "run"
    kind: Literal["a", "b"] = "a"
    steps: int = 10
    fast: bool = False
    inner: Inner = field(default_factory=Inner)
    other: Inner = field(default_factory=Inner)


def test_override_changes_only_what_it_names() -> None:
    changes = {"steps": "3", "inner.sizes": "4,5,6", "fast": "true", "kind": "b"}
    assert override(Outer(), changes) == Outer(
        steps=3, fast=True, kind="b", inner=Inner(sizes=(4, 5, 6))
    )
    assert override(Outer(), {}) == Outer()


def test_override_checks_fields_together() -> None:
    """Neither order of two changes would do, one after the other: limit 0.3 and rate 0.2."""
    changed = override(
        Outer(inner=Inner(0.5, limit=0.6)), {"inner.limit": "0.3", "inner.rate": ".2"}
    )
    assert (changed.inner.limit, changed.inner.rate) == (0.3, 0.2)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"stepz": "3"}, ("stepz", "Did you mean steps?", "Known fields", "inner.rate")),
        ({"inner.raet": "3"}, ("Did you mean inner.rate",)),
        ({"rate": "3"}, ("inner.rate or other.rate",)),
        ({"steps": "3.5"}, ("steps", "int", "'3.5'")),
        ({"fast": "maybe"}, ("fast", "bool")),
        ({"kind": "c"}, ("kind", "'a', 'b'")),
        ({"inner.pair": "1"}, ("inner.pair", "2 values")),
        ({"inner.limit": "0.05"}, ("limit below rate",)),
    ],
)
def test_override_says_what_is_wrong(changes: dict[str, str], words: tuple[str, ...]) -> None:
    with pytest.raises(ValueError) as error:  # noqa: PT011 - the words follow
        override(Outer(), changes)
    assert all(word in str(error.value) for word in words)


@pytest.mark.parametrize(
    ("text", "kind", "value"),
    [
        ("1/4", float, 0.25),
        ("2e-4", float, 2e-4),
        ("none", float | None, None),
        ("1/8", float | None, 0.125),
        ("no", bool, False),
        ("(0.9, 0.99)", tuple[float, float], (0.9, 0.99)),
        ("none", str, "none"),
    ],
)
def test_parse_by_type(text: str, kind: object, value: object) -> None:
    assert parse_value(text, kind, "field") == value


def test_differences_name_the_field_and_both_values() -> None:
    old, new = {"a": 1, "b": {"c": [1, 2]}}, {"a": 1, "b": {"c": [1, 3], "d": None}}
    assert describe_differences(old, old) == []
    assert describe_differences(old, new) == ["b.c: [1, 2] was, [1, 3] is asked for"]


# ---- the rate ------------------------------------------------------------------------------------


def test_rate_at_the_specified_steps() -> None:
    """Specification 3.4, second stage."""
    rates = [warmup_cosine(step, 13_700, 1000) for step in (0, 500, 1000, 7350, 13_699)]
    assert rates == pytest.approx([0, 1e-4, 2e-4, 1.1e-4, 2e-5], rel=1e-4)


@pytest.mark.parametrize("total", [2, 7, 1000])
def test_one_cycle_is_pytorch_s(total: int) -> None:
    weight = torch.nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([weight], lr=1.0)
    theirs = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, max_lr=5e-4, total_steps=total, cycle_momentum=False
    )
    for step in range(total):
        (expected,) = theirs.get_last_lr()
        assert one_cycle(step, total, 5e-4) == pytest.approx(expected, rel=1e-9)
        if step < total - 1:
            optimizer.step()
            theirs.step()
