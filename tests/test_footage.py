"""Measuring on one's own footage, from files to report."""

import json
import math
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from skimage.data import astronaut
from torch import Tensor

from sgm_vfi.benchmark.__main__ import main
from sgm_vfi.benchmark.footage_evaluation import FootageEvaluator
from sgm_vfi.benchmark.metrics import METRICS
from sgm_vfi.benchmark.row_journal import RowJournal
from sgm_vfi.dataset.triplet import Triplet
from sgm_vfi.media.images import as_frame, quantise, read_samples, write_frame
from sgm_vfi.model import ZOO, Interpolation, Interpolator, time_like
from sgm_vfi.model.fingerprint import fingerprint
from sgm_vfi.model.inference.padding import Padded
from sgm_vfi.model.zoo import build_interpolator

ROOT = Path(__file__).resolve().parent.parent


def image(shift: int, height: int = 40, width: int = 56) -> np.ndarray:
    """A cut of a photograph that moves to the left, (H, W, 3), bytes."""
    return astronaut()[100 : 100 + height, 150 + shift : 150 + shift + width]


def save_clip(folder: Path, shifts: list[int], bits: int = 8) -> Path:
    folder.mkdir(parents=True)
    for number, shift in enumerate(shifts):
        write_frame(folder / f"{number}.png", as_frame(image(shift)), bits)
    return folder


def run(*arguments: object) -> None:
    main(["footage", *map(str, arguments)])


def report_of(path: Path) -> dict[str, Any]:
    def refuse(name: str) -> None:
        raise AssertionError(f"{name} is not JSON")

    return json.loads(path.read_text(), parse_constant=refuse)


# ---- what is measured ----------------------------------------------------------------------------


def expected_psnr(folder: Path, model: str, gap: int, frame: int) -> float:
    """From the files, in numpy."""
    before, target, after = (
        read_samples(folder / f"{number}.png").astype(float)
        for number in (frame - gap, frame, frame + gap)
    )
    predicted = before if model == "repeat" else np.rint((before + after) / 2)
    return 10 * np.log10(255**2 / ((predicted - target) ** 2).mean())


def test_from_files_to_report(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Two clips, three models, two gaps of which one does not fit the shorter clip."""
    shifts = [0, 2, 4, 6, 8, 10, 12]
    folders = {
        "long": save_clip(tmp_path / "clips" / "long", shifts),
        "short": save_clip(tmp_path / "clips" / "short", shifts[2:5]),
    }
    output = tmp_path / "new" / "report.json"
    models = ("repeat", "blend", "classical")
    run("--path", tmp_path / "clips", "--model", *models, "--gap", 2, 1, "--output", output)

    report = report_of(output)
    rows = report["rows"]
    triplets = [("long", gap, frame) for frame in (2, 3, 4) for gap in (1, 2)] + [("short", 1, 1)]
    assert [(row["clip"], row["gap"], row["frame"], row["model"]) for row in rows] == [
        (*triplet, model) for triplet in triplets for model in models
    ]
    for row in rows:
        assert list(row) == ["model", "clip", "gap", "frame", "psnr", "ssim", "motion"]
        if row["model"] != "classical":
            expected = expected_psnr(folders[row["clip"]], row["model"], row["gap"], row["frame"])
            assert row["psnr"] == pytest.approx(expected, abs=0.01)

    average = {(row["model"], row["clip"], row["gap"]): row for row in report["means"]}
    long = [row["ssim"] for row in rows if row["model"] == "blend" and row["gap"] == 1][:3]
    assert average["blend", "long", 1]["ssim"] == pytest.approx(np.mean(long))
    assert average["blend", None, 1]["ssim"] == pytest.approx(
        (average["blend", "long", 1]["ssim"] + average["blend", "short", 1]["ssim"]) / 2
    )
    assert average["blend", None, 1]["triplets"] == 4
    assert ("blend", "short", 2) not in average
    assert average["classical", None, 1]["psnr"] > average["blend", None, 1]["psnr"]

    assert report["left_out"] == ["short at gap 2: 3 frames, needs 5"]
    assert "AlexNet weights" in report["not_measured"]["lpips"]
    assert report["command"].startswith("sgm-vfi benchmark footage --path ")
    assert report["versions"]["torch"] == torch.__version__
    assert report["clips"]["long"]["num_frames"] == 7
    assert sorted(path.name for path in output.parent.iterdir()) == [
        "report.html",
        "report.json",
        "report.png",
    ]
    printed = capsys.readouterr().out
    assert "| long | 3 | " in printed
    assert printed.count("| **mean of the clips** |") == 2
    assert f"{average['classical', 'long', 2]['psnr']:.2f} / " in printed
    assert "Left out: short at gap 2" in printed


def test_sixteen_bit_footage_is_measured_at_sixteen_bits(tmp_path: Path) -> None:
    """The mean of two frames one level of 255 apart lies between: rounded away at 8 bits."""
    folder = tmp_path / "clip"
    folder.mkdir()
    for bits in (8, 16):
        for number, level in enumerate((100, 100.5, 101)):
            flat = torch.full((3, 16, 16), level / 255)
            write_frame(folder / f"{number}.png", flat, bits)
        run("--path", folder, "--model", "blend", "--output", tmp_path / f"{bits}.json")
    deep, plain = (report_of(tmp_path / f"{bits}.json")["rows"][0]["psnr"] for bits in (16, 8))
    assert deep == "inf" or deep > 90
    assert plain == "inf" or plain == pytest.approx(-20 * math.log10(1 / 255), abs=0.01)


class Constant(Interpolator):
    """Predicts one value everywhere."""

    def __init__(self, value: float) -> None:
        super().__init__()
        self.value = torch.nn.Parameter(torch.tensor(value))

    def prepare(self, frame0: Tensor, frame1: Tensor, flow_scale: float = 1.0) -> Tensor:
        return frame0

    def interpolate(self, state: Tensor, time: Tensor, *, explain: bool = False) -> Interpolation:
        return Interpolation(torch.full_like(state, self.value.item()))


def evaluator_of(**models: Interpolator) -> FootageEvaluator:
    return FootageEvaluator(models, METRICS, torch.device("cpu"), 1.0)


def flat_triplet(value: float, size: int = 16) -> Triplet:
    frame = torch.full((1, 3, size, size), value)
    return Triplet(frame, frame, frame, time_like(frame, 0.5))


@pytest.mark.parametrize("bits", [8, 16])
def test_predictions_are_rounded_as_the_footage_is(bits: int) -> None:
    setup = evaluator_of(constant=Constant(0.12345678))
    frame = setup.predict("constant", flat_triplet(0.5), bits, "frame 1").frame
    assert torch.equal(frame, quantise(torch.full((1, 3, 16, 16), 0.12345678), bits))
    assert not torch.equal(frame, torch.full((1, 3, 16, 16), 0.12345678))


def test_a_network_that_gives_no_numbers_is_named() -> None:
    setup = evaluator_of(broken=Constant(math.nan))
    with pytest.raises(ValueError, match="broken predicts values that are not numbers"):
        setup.predict("broken", flat_triplet(0.5), 8, "frame 1")


def test_a_still_clip_is_infinitely_well_predicted(tmp_path: Path) -> None:
    """The report stays strict JSON, and the mean finite."""
    save_clip(tmp_path / "still", [5, 5, 5, 5, 6])
    output = tmp_path / "report.json"
    run("--path", tmp_path / "still", "--model", "repeat", "--output", output)
    report = report_of(output)
    values = [row["psnr"] for row in report["rows"]]
    assert values[:3] == ["inf", "inf", "inf"]
    [clip, total] = report["means"]
    assert clip["psnr"] == total["psnr"] == 100.0


# ---- what is kept --------------------------------------------------------------------------------


def test_an_interrupted_run_goes_on_where_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Every row before the interruption is kept and not measured again; the report is the same."""
    save_clip(tmp_path / "clip", [0, 3, 5, 8, 9, 14])
    arguments = ("--path", tmp_path / "clip", "--model", "repeat", "blend", "--gap", 1, 2)
    run(*arguments, "--output", tmp_path / "whole.json")
    whole = report_of(tmp_path / "whole.json")
    output = tmp_path / "report.json"

    append, predict, predicted = RowJournal.append, FootageEvaluator.predict, []

    def interrupted(self: RowJournal, row: dict[str, Any]) -> None:
        if len(self.rows) == 5:
            raise KeyboardInterrupt
        append(self, row)

    def counted(self: FootageEvaluator, *what: Any, **options: Any) -> Interpolation:
        predicted.append(what)
        return predict(self, *what, **options)

    monkeypatch.setattr(RowJournal, "append", interrupted)
    with pytest.raises(SystemExit) as caught:
        run(*arguments, "--output", output)
    assert caught.value.code == 130
    assert "every row is kept" in capsys.readouterr().err
    journal = output.with_suffix(".jsonl")
    assert len(journal.read_text().splitlines()) == 1 + 5
    assert not output.exists()

    with journal.open("a") as file:
        file.write('{"model": "repe')  # as a crash in the middle of a line leaves it
    monkeypatch.setattr(RowJournal, "append", append)
    monkeypatch.setattr(FootageEvaluator, "predict", counted)
    run(*arguments, "--output", output)
    assert not journal.exists()
    report = report_of(output)
    drawn = 2 * 2 + 4 * 2  # worst triplet per gap on the sheet; it and the median one on the page
    assert len(predicted) == len(whole["rows"]) - 5 + drawn
    for changing in ("date", "command"):
        report.pop(changing), whole.pop(changing)
    assert report == whole
    assert output.with_suffix(".png").read_bytes() == (tmp_path / "whole.png").read_bytes()


def test_rows_of_another_measurement_are_not_mixed_in(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with RowJournal(tmp_path / "report.jsonl", {"gaps": [7]}) as journal:
        journal.append({"model": "a", "clip": "b", "gap": 7, "frame": 8, "psnr": 1.0})
    before = journal.path.read_bytes()
    save_clip(tmp_path / "clip", [0, 1, 2])
    with pytest.raises(SystemExit) as caught:
        run("--path", tmp_path / "clip", "--model", "blend", "--output", tmp_path / "report.json")
    assert caught.value.code == 2
    error = capsys.readouterr().err
    assert re.search("another, unfinished measurement, which differs in clips, .*, gaps, ", error)
    assert journal.path.read_bytes() == before


def test_a_journal_gives_back_what_it_was_given(tmp_path: Path) -> None:
    rows = [
        {"model": "a", "clip": "b", "gap": 1, "frame": frame, "psnr": value}
        for frame, value in enumerate((30.123456789012345, math.inf))
    ]
    with RowJournal(tmp_path / "j.jsonl", {"x": 1}) as journal:
        assert not journal.holds(rows[0])
        for row in rows:
            journal.append(row)
    with RowJournal(tmp_path / "j.jsonl", {"x": 1}) as journal:
        assert [float(row["psnr"]) for row in journal.rows] == [row["psnr"] for row in rows]
        assert all(journal.holds(row) for row in rows)
        assert not journal.holds(rows[0] | {"gap": 2})


# ---- what goes wrong -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"--path": "missing"}, "There is no clip at .*missing"),
        ({"--path": "bad"}, r"(?s)Cannot decode .*1\.mp4.*Cannot decode .*2\.mp4"),
        ({"--model": "nonsense"}, r"(?s)nonsense.*sift\+dis"),
        ({"--gap": "5"}, "takes clips of 11 frames or more; the longest here has 3"),
        ({"--gap": "0"}, "a whole number from 1 up is wanted, got '0'"),
        ({"--limit": "-1"}, "a whole number from 1 up is wanted, got '-1'"),
        ({"--output": "report.png"}, r"--output ends in \.json"),
        ({"--flow_scale": "0.3333"}, "flow_scale is a ratio of small whole numbers"),
        ({"--device": "nonsense"}, "no device 'nonsense'"),
    ],
)
def test_an_error_is_a_message_before_any_work(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    change: dict[str, str],
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    save_clip(tmp_path / "clip", [0, 1, 2])
    (tmp_path / "bad").mkdir()
    for number in (1, 2):
        (tmp_path / "bad" / f"{number}.mp4").write_bytes(b"no video")
    options = {"--path": "clip", "--model": "blend", "--output": "out/report.json"} | change
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(SystemExit) as caught:
        run(*(f"{name}={value}" for name, value in options.items()))
    assert caught.value.code == 2
    assert re.search(message, capsys.readouterr().err)
    assert sorted(tmp_path.rglob("*")) == before


def test_the_command_itself(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Result on the standard output, progress on the other."""
    save_clip(tmp_path / "clip", [0, 1, 2])
    metrics = ("--metrics", "ssim_uniform", "--output", tmp_path / "r.json")
    run("--path", tmp_path / "clip", "--model", "blend", *metrics)
    said = capsys.readouterr()
    assert "Gap 1: psnr / ssim_uniform" in said.out
    assert "1/1" in said.err
    assert "LPIPS" not in said.out
    assert report_of(tmp_path / "r.json")["metrics"] == ["psnr", "ssim_uniform"]


# ---- networks without their weights --------------------------------------------------------------


def test_random_weights_are_the_same_again_and_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    clip = save_clip(tmp_path / "clip", [0, 1, 2])
    rows = {name: ZOO[name] for name in ("blend", "ifrnet_s")}
    monkeypatch.setattr("sgm_vfi.benchmark.footage_command.ZOO", rows)
    output = tmp_path / "report.json"
    options = ("--random_weights", "--metrics", "psnr", "--output", output)
    run("--path", clip, "--model", "all", *options)
    assert "Random weights: these scores say nothing" in capsys.readouterr().out
    report = report_of(output)
    assert report["random_weights"]
    again = {name: fingerprint(Padded(build_interpolator(name))) for name in rows}
    assert report["models"] == again
    assert len({row["psnr"] for row in report["rows"]}) == len(rows)


def test_an_inexact_mode_is_measured_and_said(tmp_path: Path) -> None:
    clip = save_clip(tmp_path / "clip", [0, 3, 6])
    common = ("--path", clip, "--model", "ifrnet_s", "--random_weights", "--metrics", "psnr")
    reports = {}
    for precision in ("fp32", "bf16"):
        output = tmp_path / f"{precision}.json"
        run(*common, "--precision", precision, "--output", output)
        reports[precision] = report_of(output)
        assert reports[precision]["precision"] == precision
    [exact], [rounded] = (report["rows"] for report in reports.values())
    assert 0 < abs(exact["psnr"] - rounded["psnr"]) < 0.5


def test_random_weights_are_for_names(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    clip = save_clip(tmp_path / "clip", [0, 1, 2])
    with pytest.raises(SystemExit):
        run("--path", clip, "--random_weights", "--model", "some.pth")
    assert "No network is called 'some.pth'" in capsys.readouterr().err


def test_several_processes_are_refused_before_they_measure_all_of_it_each(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(SystemExit):
        main(["footage", "--path", str(tmp_path), "--output", str(tmp_path / "report.json")])
    assert "start it with python, not torchrun" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_a_finished_report_is_not_overwritten(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    clip = save_clip(tmp_path / "clip", [0, 1, 2])
    common = ("--path", clip, "--metrics", "psnr", "--output", tmp_path / "r.json", "--model")
    run(*common, "blend")
    before = (tmp_path / "r.json").read_bytes()
    with pytest.raises(SystemExit):
        run(*common, "repeat")
    assert "give --overwrite" in capsys.readouterr().err
    assert (tmp_path / "r.json").read_bytes() == before
    run(*common, "repeat", "--overwrite")
    assert [row["model"] for row in report_of(tmp_path / "r.json")["rows"]] == ["repeat"]


def test_a_metric_that_is_named_must_be_available(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "hub"))
    clip = save_clip(tmp_path / "clip", [0, 1, 2])
    with pytest.raises(SystemExit):
        run("--path", clip, "--metrics", "lpips", "--output", tmp_path / "r.json")
    assert re.search("LPIPS needs AlexNet weights.* Get .* put it there", capsys.readouterr().err)
    assert not (tmp_path / "r.json").exists()


def test_a_journal_keeps_the_last_of_equal_rows(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    row = {"model": "a", "clip": "b", "gap": 1, "frame": 1, "psnr": 1.0}
    with RowJournal(tmp_path / "j.jsonl", {}) as journal:
        journal.append(row)
        journal.append(row | {"psnr": 2.0})
    with RowJournal(tmp_path / "j.jsonl", {}) as journal:
        assert [row["psnr"] for row in journal.rows] == [2.0]
    assert "twice" in caplog.text
