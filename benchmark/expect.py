"""Means that a measurement is held to."""

import json
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import NamedTuple

from sgm_vfi.benchmark.results import ProtocolResult, averages

FORM = '{"snu-film-hard": {"blend": {"psnr": [24.1, 0.01]}}}'


class Expected(NamedTuple):
    """A mean, and how far from it is near enough."""

    protocol: str
    model: str
    metric: str
    value: float
    tolerance: float


def read_expected(
    path: Path, protocols: Collection[str], models: Collection[str]
) -> list[Expected]:
    """What a file expects of these protocols and models; it may hold more.

    The file is JSON: protocol, model, metric, then value and tolerance.
    """
    try:
        table = json.loads(path.read_text(encoding="utf-8"))
        every = [
            Expected(protocol, model, metric, float(value), float(tolerance))
            for protocol, by_model in table.items()
            for model, by_metric in by_model.items()
            for metric, (value, tolerance) in by_metric.items()
        ]
    except (ValueError, TypeError, AttributeError) as error:
        raise ValueError(f"{path} is no file of expected means such as {FORM}: {error}.") from error
    wanted = [one for one in every if one.protocol in protocols and one.model in models]
    if not wanted:
        raise ValueError(
            f"{path} expects nothing of {', '.join(models)} under {', '.join(protocols)}."
        )
    return wanted


def missed(expected: Iterable[Expected], results: Iterable[ProtocolResult]) -> list[str]:
    """Say which of the expected means were not met."""
    found = {(result.name, row["model"]): row for result in results for row in averages(result)}
    problems = []
    for one in expected:
        value = found.get((one.protocol, one.model), {}).get(one.metric)
        what = f"{one.protocol}, {one.model}: {one.metric}"
        if value is None:
            problems.append(f"{what} was not measured, expected {one.value:g}")
        elif not abs(value - one.value) <= one.tolerance:
            problems.append(f"{what} is {value:.6g}, expected {one.value:g} +- {one.tolerance:g}")
    return problems
