"""Two results sample by sample: paired differences and their bootstrap interval."""

import math
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np

from sgm_vfi.benchmark.result_rows import ReportError, Row, counted
from sgm_vfi.benchmark.results import APART, MOTION, ProtocolResult

RESAMPLES = 10_000
CHUNK = 2**22  # resampled indices held at a time


class PairedSample(NamedTuple):
    """One sample in both files."""

    label: str
    cluster: Any  # samples of one cluster are drawn together
    a: float
    b: float
    motion: float | None

    @property
    def difference(self) -> float:
        return self.b - self.a


class Comparison(NamedTuple):
    """One metric over all pairs of one protocol (and gap)."""

    name: str
    models: tuple[str, str]
    metric: str
    pairs: list[PairedSample]
    interval: tuple[float, float] | None  # of the mean difference; None of a single draw
    unpaired: tuple[int, int]  # samples that only A, only B has

    @property
    def means(self) -> tuple[float, float]:
        columns = ([pair.a for pair in self.pairs], [pair.b for pair in self.pairs])
        return tuple(math.fsum(column) / len(column) for column in columns)


def compare(
    a: Sequence[ProtocolResult],
    b: Sequence[ProtocolResult],
    models: Sequence[str] | None = None,
    by: str | None = None,
    confidence: float = 0.95,
    seed: int = 0,
) -> list[Comparison]:
    """Every metric of every protocol that both hold, per gap where there are gaps.

    Args:
        models: one of A and one of B; None takes those of one name, or the only ones there are.
        by: a column: its samples are drawn together in the bootstrap.
    """
    others = {result.name: result for result in b}
    found = []
    for one in a:
        if one.name in others:
            for pair in models_of(one, others[one.name], models):
                found += compared(one, others[one.name], pair, by, confidence, seed)
    if not found:
        raise ReportError(
            f"The files share nothing that could be compared: {contents(a)} against {contents(b)}. "
            f"Name a model of each with --models."
        )
    return found


def contents(results: Iterable[ProtocolResult]) -> str:
    """Protocols and models in words."""
    return "; ".join(f"{one.name} by {', '.join(one.models)}" for one in results)


def models_of(
    a: ProtocolResult, b: ProtocolResult, named: Sequence[str] | None
) -> list[tuple[str, str]]:
    """Which model of A is compared with which of B."""
    if named is not None:
        for result, name in zip((a, b), named, strict=True):
            if name not in result.models:
                raise ReportError(f"{result.name} holds {', '.join(result.models)}, not {name!r}.")
        return [(named[0], named[1])]
    if len(a.models) == len(b.models) == 1:
        return [(a.models[0], b.models[0])]
    return [(name, name) for name in a.models if name in b.models]


def compared(
    a: ProtocolResult,
    b: ProtocolResult,
    models: tuple[str, str],
    by: str | None,
    confidence: float,
    seed: int,
) -> list[Comparison]:
    """Each metric of one protocol, per gap."""
    if by is not None and by not in a.keys:
        raise ReportError(f"--by names a column of the samples: {', '.join(a.keys)}; got {by!r}.")
    if set(a.keys) != set(b.keys):
        raise ReportError(
            f"The samples of {a.name} are told apart by {', '.join(a.keys)} in A and by "
            f"{', '.join(b.keys)} in B: these are no results of one measurement."
        )
    apart = [key for key in APART if key in a.keys and key != "protocol"]
    ours, theirs = by_sample(a, models[0], a.keys), by_sample(b, models[1], a.keys)
    groups: dict[tuple[Any, ...], list[tuple[Any, ...]]] = {}
    for sample, row in (ours | theirs).items():
        groups.setdefault(tuple(row.get(key) for key in apart), []).append(sample)
    found = []
    for values, samples in groups.items():
        name = ", ".join(
            [a.name, *(f"{k} {v}" for k, v in zip(apart, values, strict=True) if v is not None)]
        )
        both = [sample for sample in samples if sample in ours and sample in theirs]
        unpaired = (
            sum(sample not in theirs for sample in samples),
            sum(sample not in ours for sample in samples),
        )
        for metric in (m for m in a.metrics if m in b.metrics):
            has = [
                s for s in both if {ours[s].get(metric), theirs[s].get(metric)}.isdisjoint({None})
            ]
            if not has:
                continue
            pairs = [pair_of(a, ours[s], theirs[s], metric, by) for s in has]
            interval = bootstrap(pairs, confidence, seed)
            found.append(Comparison(name, models, metric, pairs, interval, unpaired))
    return found


def by_sample(
    result: ProtocolResult, model: str, keys: Sequence[str]
) -> dict[tuple[Any, ...], Row]:
    """The rows of one model by what tells its samples apart."""
    rows: dict[tuple[Any, ...], Row] = {}
    for row in result.rows:
        if row["model"] == model:
            sample = tuple(row.get(key) for key in keys)
            if sample in rows:
                raise ReportError(f"{result.name} holds {result.label(row)} by {model} twice.")
            rows[sample] = row
    return rows


def pair_of(result: ProtocolResult, a: Row, b: Row, metric: str, by: str | None) -> PairedSample:
    """Two rows of one sample; infinite PSNR counts as it does in a mean."""
    cluster = result.sample(a) if by is None else a.get(by)
    values = (counted(metric, row[metric]) for row in (a, b))
    return PairedSample(result.label(a), cluster, *values, a.get(MOTION, b.get(MOTION)))


def bootstrap(
    pairs: Sequence[PairedSample], confidence: float, seed: int
) -> tuple[float, float] | None:
    """The percentile interval of the mean difference, samples (or clusters) drawn anew.

    A single one says nothing of how others would be: None.
    """
    clusters: dict[Any, list[float]] = {}
    for pair in pairs:
        clusters.setdefault(pair.cluster, []).append(pair.difference)
    if len(clusters) < 2:
        return None
    sums = np.array([math.fsum(values) for values in clusters.values()])
    counts = np.array([len(values) for values in clusters.values()])
    generator = np.random.default_rng(seed)
    size = len(sums)
    step = max(1, CHUNK // size)
    means = []
    for start in range(0, RESAMPLES, step):
        drawn = generator.integers(0, size, (min(step, RESAMPLES - start), size))
        means.append(sums[drawn].sum(axis=1) / counts[drawn].sum(axis=1))
    tail = (1 - confidence) / 2
    low, high = np.quantile(np.concatenate(means), (tail, 1 - tail))
    return float(low), float(high)
