"""Two files of results, sample by sample."""

import csv
import json
import math
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sgm_vfi.benchmark.__main__ import main
from sgm_vfi.benchmark.compare_results import PairedSample, bootstrap_interval, compare_results
from sgm_vfi.benchmark.result_summary import ProtocolResult, read_results
from sgm_vfi.benchmark.row_journal import ReportError, Row
from tests.fixtures.result_rows import row, save


def results(tmp_path: Path, *files: list[Row]) -> list[list[ProtocolResult]]:
    return [
        read_results([save(tmp_path / f"{number}.jsonl", rows)])
        for number, rows in enumerate(files)
    ]


def pairs(differences: list[float], clusters: list[Any] | None = None) -> list[PairedSample]:
    names = clusters or list(range(len(differences)))
    return [
        PairedSample("", name, 0.0, value, None)
        for name, value in zip(names, differences, strict=True)
    ]


# pairing
def test_samples_meet_by_name_not_by_place(tmp_path: Path) -> None:
    before = [row("m", "a", 30.0), row("m", "b", 20.0), row("m", "only", 99.0)]
    after = [row("m", "b", 23.0), row("m", "a", 31.0)]
    [one] = compare_results(*results(tmp_path, before, after))
    assert {pair.label: pair.difference for pair in one.pairs} == {"a": 1.0, "b": 3.0}
    assert one.means == (25.0, 27.0)
    assert one.unpaired == (1, 0)


def test_gaps_and_metrics_are_kept_apart(tmp_path: Path) -> None:
    before = [row("m", "a", 30.0, gap=gap, ssim=0.5, motion=2.0) for gap in (1, 2)]
    after = [row("m", "a", 30.0 + gap, gap=gap, ssim=0.6) for gap in (1, 2)]
    found = compare_results(*results(tmp_path, before, after))
    assert [(one.name, one.metric) for one in found] == [
        (f"xtest, gap {gap}", metric) for gap in (1, 2) for metric in ("psnr", "ssim")
    ]
    assert [one.pairs[0].difference for one in found] == pytest.approx([1.0, 0.1, 2.0, 0.1])
    assert all(one.pairs[0].motion == 2.0 for one in found)


def test_which_models_are_compared(tmp_path: Path) -> None:
    """Those of one name; lone ones whatever their names; otherwise those that are named."""
    two = [row(model, "a", psnr) for model, psnr in (("m", 30.0), ("n", 33.0))]
    a, b = results(tmp_path, two, two)
    assert [one.models for one in compare_results(a, b)] == [("m", "m"), ("n", "n")]
    [one] = compare_results(a, b, models=("m", "n"))
    assert one.pairs[0].difference == 3.0
    a, b = results(tmp_path, [row("old", "a", 1.0)], [row("new", "a", 2.0)])
    assert compare_results(a, b)[0].models == ("old", "new")
    with pytest.raises(ReportError, match="holds old, not 'x'"):
        compare_results(a, b, models=("x", "new"))


def test_equal_frames_count_as_in_a_mean(tmp_path: Path) -> None:
    a, b = results(tmp_path, [row("m", "a", math.inf)], [row("m", "a", 40.0)])
    assert compare_results(a, b)[0].pairs[0].difference == -60.0


# the interval
def test_equal_differences_leave_no_doubt() -> None:
    assert bootstrap_interval(pairs([0.25] * 9), 0.95, seed=0) == (0.25, 0.25)


def test_a_single_draw_has_no_interval(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert bootstrap_interval(pairs([0.25]), 0.95, seed=0) is None
    assert bootstrap_interval(pairs([0.25, 1.0], ["clip", "clip"]), 0.95, seed=0) is None
    path = save(tmp_path / "a.jsonl", [row("m", "a", 30.0)])
    main(["compare", str(path), str(path)])
    assert "| +0.00 | of one, none | 0% |" in capsys.readouterr().out


def test_the_interval_by_its_theory() -> None:
    """Of many samples it is nearly the mean and 1.96 standard errors to either side."""
    values = np.random.default_rng(1).normal(0.3, 2.0, 400)
    low, high = bootstrap_interval(pairs(values.tolist()), 0.95, seed=0)
    error = values.std() / math.sqrt(len(values))
    assert low == pytest.approx(values.mean() - 1.96 * error, abs=0.1 * error)
    assert high == pytest.approx(values.mean() + 1.96 * error, abs=0.1 * error)
    narrow = bootstrap_interval(pairs(values.tolist()), 0.5, seed=0)
    assert narrow[1] - narrow[0] == pytest.approx(2 * 0.6745 * error, rel=0.1)


def test_the_same_seed_gives_the_same_interval() -> None:
    sample = pairs(np.random.default_rng(1).normal(size=30).tolist())
    assert bootstrap_interval(sample, 0.95, seed=3) == bootstrap_interval(sample, 0.95, seed=3)
    assert bootstrap_interval(sample, 0.95, seed=3) != bootstrap_interval(sample, 0.95, seed=4)


def test_frames_of_one_clip_are_one_draw() -> None:
    """Ten copies of each sample bring no certainty when they are drawn together."""
    values = np.random.default_rng(1).normal(size=25).tolist()
    alone = bootstrap_interval(pairs(values), 0.95, seed=0)
    copies = [value for value in values for _ in range(10)]
    clusters = [number for number in range(25) for _ in range(10)]
    assert bootstrap_interval(pairs(copies, clusters), 0.95, seed=0) == pytest.approx(alone)
    low, high = bootstrap_interval(pairs(copies), 0.95, seed=0)
    assert high - low < 0.5 * (alone[1] - alone[0])


@settings(max_examples=20, deadline=None)
@given(st.lists(st.floats(-5, 5), min_size=2, max_size=20))
def test_an_interval_lies_within_the_differences(values: list[float]) -> None:
    low, high = bootstrap_interval(pairs(values), 0.95, seed=0)
    assert min(values) - 1e-9 <= low <= high <= max(values) + 1e-9


# the command
def test_the_command_and_what_it_writes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = [row("m", f"<{n}>", 30.0, lpips=0.1, motion=float(n)) for n in range(6)]
    after = [row("m", f"<{n}>", 30.0 + n - 1, lpips=0.08, motion=float(n)) for n in range(6)]
    a, b = (
        save(tmp_path / "a.jsonl", before, pad_to=32),
        save(tmp_path / "b.jsonl", after, pad_to=8),
    )
    page, table = tmp_path / "new" / "page.html", tmp_path / "new" / "pairs.csv"
    main(["compare", *map(str, (a, b, "--output", page, table))])
    printed = capsys.readouterr().out
    assert "Not measured alike: xtest differs in pad_to." in printed
    [psnr] = re.findall(r"\| xtest \| psnr \| 6 \|.*", printed)
    assert "| 30.00 | 31.50 | +1.50 |" in psnr
    assert "| 67% | -1.00 at <0> |" in psnr  # one of six equal, one worse
    assert "| 100% | none |" in re.findall(r"\| xtest \| lpips .*", printed)[0]  # less is better

    text = page.read_text()
    assert text.count("<circle") == 12
    assert "&lt;0&gt;" in text
    assert "<0>" not in text
    assert "Not measured alike" in text
    lines = list(csv.DictReader(table.open()))
    assert [float(line["b-a"]) for line in lines if line["metric"] == "psnr"] == [
        *(-1.0, 0.0, 1.0, 2.0, 3.0, 4.0)
    ]


def test_footage_is_compared_within_one_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Other columns, models of one file, clips drawn together."""
    rows = [
        {"model": model, "clip": clip, "gap": 1, "frame": frame, "psnr": psnr + frame}
        for model, psnr in (("m", 20.0), ("n", 21.0))
        for clip in "ab"
        for frame in (1, 2, 3)
    ]
    path = tmp_path / "footage.json"
    path.write_text(json.dumps({"protocol": "footage", "rows": rows}))
    main(["compare", str(path), str(path), "--models", "m", "n", "--by", "clip"])
    printed = capsys.readouterr().out
    assert "| footage, gap 1 | psnr | 6 | 22.00 | 23.00 | +1.00 | +1.00 to +1.00 |" in printed
    assert "Not measured alike" not in printed


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("a.jsonl", "missing.jsonl"), "no file of results at missing.jsonl"),
        (("a.jsonl", "other.jsonl"), "share nothing.*xtest by m against davis by m"),
        (("a.jsonl", "a.jsonl", "--by", "clip"), "--by names a column .*sample; got 'clip'"),
        (("a.jsonl", "a.jsonl", "--confidence", "1"), "between 0 and 1, got 1.0"),
        (("a.jsonl", "a.jsonl", "--output", "x.txt"), r"written as \.html and \.csv, got x\.txt"),
        (("a.jsonl", "columns.jsonl"), "are no results of one measurement"),
    ],
)
def test_an_error_is_a_message(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: tuple[str, ...],
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    one = row("m", "a", 30.0)
    save(tmp_path / "a.jsonl", [one])
    save(tmp_path / "other.jsonl", [one | {"protocol": "davis"}])
    save(tmp_path / "columns.jsonl", [one | {"frame": 3}])
    before = sorted(tmp_path.iterdir())
    with pytest.raises(SystemExit) as caught:
        main(["compare", *arguments])
    assert caught.value.code == 2
    assert re.search(message, capsys.readouterr().err)
    assert sorted(tmp_path.iterdir()) == before
