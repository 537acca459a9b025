"""Measuring on synthetic scenes by motion: right numbers, repeatable, gone on with, drawn."""

import json
import math
from functools import partial
from pathlib import Path

import cv2
import pytest
import torch

from sgm_vfi.benchmark import synthetic
from sgm_vfi.benchmark.__main__ import main
from sgm_vfi.benchmark.motion_bins import format_bin_tables, plot_bins
from sgm_vfi.benchmark.result_summary import read_results
from sgm_vfi.benchmark.row_journal import PROTOCOL_KEY, RowJournal
from sgm_vfi.benchmark.synthetic import name_bins
from sgm_vfi.benchmark.synthetic_metrics import (
    GROUND_TRUTH_METRICS,
    TRUTH,
    measure_prediction,
    warp_true_motion,
)
from sgm_vfi.dataset.synthetic import SceneGenerator, SyntheticConfig
from sgm_vfi.dataset.triplet import Triplet
from sgm_vfi.model import Interpolation

SMALL = partial(
    SyntheticConfig, textures=12, texture_size=64, masks=10, mask_size=48, blur=0.0, grain=0.0
)
MODELS = ("blend", "repeat", "ours-local-small")
BINS = (20, 60)

pytestmark = pytest.mark.usefixtures("workdir", "small_scenes")


@pytest.fixture
def small_scenes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Few textures are made in no time."""
    monkeypatch.setattr(synthetic, "SyntheticConfig", SMALL)


@pytest.fixture(scope="module")
def triplet() -> Triplet:
    """A scene with motion, and with truth."""
    return SceneGenerator(SMALL(size=(64, 64))).draw([(2, 0, 0, 7)]).triplet(truth=True)


def run(*more: object, models: tuple[str, ...] = MODELS) -> tuple[dict, list[dict]]:
    """Measure six small scenes; returns what the file says of itself, and its rows."""
    arguments = ["--random_weights", "--scenes", "2", "--size", "32", "--runs", "0"]
    arguments += ["--device", "cpu", "--output", "out", "--bins", *map(str, BINS)]
    assert main(["synthetic", "--model", *models, *arguments, *map(str, more)]) == 0
    about, *rows = map(json.loads, Path("out/synthetic.jsonl").read_text().splitlines())
    return about, rows


def true_prediction(triplet: Triplet) -> Interpolation:
    truth = triplet.truth
    flow = torch.cat((truth.flow_t0, truth.flow_t1), dim=1)
    return Interpolation(triplet.target, explanation={"flow": flow})


def test_the_truth_is_without_error(triplet: Triplet) -> None:
    found = measure_prediction(true_prediction(triplet), triplet)
    assert list(found) == list(GROUND_TRUTH_METRICS)
    assert found["psnr"] == found["psnr_visible"] == found["psnr_occluded"] == math.inf
    assert found["epe"] == found["epe_visible"] == found["epe_occluded"] == 0
    assert found["ssim"] == pytest.approx(1)


def test_errors_count_where_they_are(triplet: Triplet) -> None:
    """A tenth off where something is hidden is 20 dB there, and nothing elsewhere."""
    truth = triplet.truth
    hidden = (truth.visible_t0 * truth.visible_t1) == 0
    assert 100 < hidden.sum() < hidden.numel() - 100
    out = true_prediction(triplet)
    off = triplet.target + 0.1 * hidden
    lost = torch.cat((truth.visible_t0, truth.visible_t1)) == 0  # (2, 1, H, W)
    wrong = torch.tensor([3.0, 4.0]).view(1, 2, 1, 1) * lost
    flow = out.explanation["flow"] + wrong.flatten(0, 1)[None]
    found = measure_prediction(Interpolation(off, explanation={"flow": flow}), triplet)
    assert found["psnr_visible"] == math.inf
    assert found["psnr_occluded"] == pytest.approx(20, abs=1e-3)
    assert found["epe_visible"] == 0
    assert found["epe_occluded"] == pytest.approx(5, abs=1e-4)
    assert found["epe"] == pytest.approx(5 * lost.float().mean().item(), abs=1e-4)


def test_what_has_no_meaning_has_no_number(triplet: Triplet) -> None:
    truth = triplet.truth
    seen = truth._replace(**{n: torch.ones_like(truth.visible_t0) for n in truth._fields[4:]})
    found = measure_prediction(Interpolation(triplet.target), triplet._replace(truth=seen))
    missing = {name for name, value in found.items() if value is None}
    assert missing == {"psnr_occluded", "epe", "epe_visible", "epe_occluded"}


def test_true_motion_is_a_reference() -> None:
    """No error in its flows, far ahead of a blend at large motion; exact where nothing moves."""
    _, rows = run(models=("blend", TRUTH))
    known = [row for row in rows if row["model"] == TRUTH]
    assert len(known) == len(rows) / 2
    assert all(row["epe"] == 0 for row in known)
    far = [row for row in rows if row["bin"] == "60 px and more"]
    ahead = [row["psnr"] if row in known else -row["psnr"] for row in far]
    assert sum(ahead) / 2 > 3
    still = SceneGenerator(SMALL(size=(40, 40), still=1.0, lighting=0.0)).draw([(2, 0, 0, 7)])
    triplet = still.triplet(truth=True)
    torch.testing.assert_close(warp_true_motion(triplet).frame, triplet.target, atol=1e-5, rtol=0)
    with pytest.raises(ValueError, match="use synthetic scenes"):
        warp_true_motion(triplet._replace(truth=None))


def test_every_bin_has_its_scenes(capsys: pytest.CaptureFixture[str]) -> None:
    about, rows = run("--reference", "blend")
    assert about["random_weights"]
    assert len(rows) == 2 * 3 * len(MODELS)
    ranges = name_bins([float(edge) for edge in BINS])
    for row in rows:
        low, high = ranges[row["bin"]]
        assert low <= row["motion"] < high
    assert {row["bin"] for row in rows} == set(ranges)
    said = capsys.readouterr().out
    for words in (*ranges, "psnr - that of blend", "say nothing of the networks"):
        assert words in said
    assert Path("out/synthetic.md").read_text().split("\n\ncommand: ")[0] in said
    assert cv2.imread("out/synthetic.png").shape == (840, 1100, 3)


def test_the_same_again_and_gone_on_with(monkeypatch: pytest.MonkeyPatch) -> None:
    """Scenes depend on the seed alone, and what is measured is not measured again."""
    models = ("blend", "repeat")
    about, rows = run(models=models)
    whole = Path("out/synthetic.jsonl").read_bytes()
    known = {key: value for key, value in about.items() if key not in ("command", "date")}
    Path("out/synthetic.jsonl").unlink()
    with RowJournal(Path("out/synthetic.part0"), known, PROTOCOL_KEY) as journal:
        for row in rows[:5]:
            journal.append(row)
    measured = []
    exact = synthetic.measure_prediction
    monkeypatch.setattr(
        synthetic, "measure_prediction", lambda *both: measured.append(both) or exact(*both)
    )
    assert run(models=models)[1] == rows
    assert len(measured) == len(rows) - 5
    again = Path("out/synthetic.jsonl").read_bytes()
    assert again.splitlines()[1:] == whole.splitlines()[1:]
    run(models=models)
    assert len(measured) == len(rows) - 5
    Path("out/synthetic.jsonl").unlink()
    _, others = run("--seed", 1, models=models)
    assert [row["sample"] for row in others] != [row["sample"] for row in rows]


def test_other_commands_read_the_rows(capsys: pytest.CaptureFixture[str]) -> None:
    """Means and paired differences per bin, flows or not."""
    run(models=("blend", "repeat"))
    assert main(["report", "out/synthetic.jsonl", "--output", "out/page.html"]) == 0
    file = "out/synthetic.jsonl"
    capsys.readouterr()
    assert main(["compare", file, file, "--models", "blend", "repeat"]) == 0
    assert "below 20 px" in capsys.readouterr().out


def test_the_plot_shows_every_model_but_the_reference_as_a_difference() -> None:
    run()
    [result] = read_results([Path("out/synthetic.jsonl")])
    one, other = (plot_bins(result, name) for name in ("blend", "repeat"))
    assert one.shape == (840, 1100, 3)
    assert (one != other).any()
    text = format_bin_tables(result, "repeat")
    assert text.count("| repeat |") == text.count("| blend |") == 3


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--reference", "rife"), "--reference is one of the models"),
        (("--bins", "30", "20"), "--bins are increasing"),
        (("--bins", "0"), "--bins are increasing"),
    ],
)
def test_what_cannot_be_measured_says_why(
    arguments: tuple[str, ...], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        main(["synthetic", "--model", "blend", "--random_weights", *arguments])
    assert said in capsys.readouterr().err
