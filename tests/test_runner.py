"""Protocols from files to tables: here, in other processes, killed and gone on with."""

import dataclasses
import json
import shutil
import signal
import time
from collections.abc import Iterator
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch

from sgm_vfi.benchmark import protocol_and_footage_samples as samples
from sgm_vfi.benchmark.__main__ import main
from sgm_vfi.benchmark.protocols import PROTOCOLS
from sgm_vfi.benchmark.result_summary import read_results
from sgm_vfi.benchmark.row_journal import PROTOCOL_KEY, RowJournal
from sgm_vfi.dataset import snu_film
from sgm_vfi.dataset.stand_in_data_sets import write_stand_in
from sgm_vfi.dataset.synthetic import SyntheticConfig
from sgm_vfi.dataset.triplet import read_lines
from sgm_vfi.media.images import read_frame
from sgm_vfi.model.sgm.network import SGM
from sgm_vfi.model.weight_io import save_weights
from tests.conftest import TINY, randomize_weights
from tests.fixtures.processes import ROOT, python
from tests.fixtures.training_runs import finish, run_script, start_as_ranks

SMALL = SyntheticConfig(textures=12, texture_size=64, masks=10, mask_size=48, blur=0.0)
TREES = {  # data set -> scenes, (height, width)
    "x4k1000fps": (1, (32, 64)),
    "snu-film": (4, (32, 64)),
    "xiph": (1, (32, 64)),
    "vimeo90k": (8, (32, 32)),
    "ucf101": (2, (32, 32)),
    "middlebury": (1, (24, 32)),
    "gopro": (1, (32, 32)),
}
QUICK = ("x4k1000fps", "ucf101")  # enough for a run that is killed in the middle
RANDOM = "ours-1-2-points"  # the published name, here of random weights


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of miniature data sets, never changed by a test."""
    folder = tmp_path_factory.mktemp("data")
    for name, (scenes, size) in TREES.items():
        write_stand_in(name, folder / name, scenes=scenes, size=size, config=SMALL)
    return folder


@pytest.fixture(scope="module")
def workplace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder to run commands in, with weights where published commands look for them."""
    folder = tmp_path_factory.mktemp("work")
    weights = folder / f"log/{RANDOM}/ckpt/{RANDOM}.safetensors"
    save_weights(randomize_weights(SGM(TINY)), weights, {"config": dataclasses.asdict(TINY)})
    return folder


@pytest.fixture(scope="module", autouse=True)
def _as_in_other_processes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """On one thread; without LPIPS, which is slow, and takes no frames as small as these."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TORCH_HOME", str(tmp_path_factory.mktemp("hub")))
        yield
    torch.set_num_threads(threads)


def read(path: Path) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """A file of rows: what was measured, and the rows."""
    about, *rows = map(json.loads, path.read_text().splitlines())
    return about, rows


def rows_of(path: Path) -> list[dict[str, Any]]:
    return read(path)[1]


def run(protocol: str, *arguments: object) -> int:
    return main([protocol, "--device", "cpu", *map(str, arguments)])


def everything(data: Path, output: Path) -> list[object]:
    """The arguments that measure all protocols that have their data, two samples of each."""
    return [
        *("all", "--path", data, "--output", output, "--limit", 2),
        *("--device", "cpu", "--model", "classical", RANDOM),
    ]


@pytest.fixture(scope="module")
def measured(data: Path, workplace: Path) -> Path:
    """All protocols, measured by one process that nothing disturbed: this one.

    Middlebury on a canvas that is small, because its own of 640x480 takes as long as all others.
    """
    output, said = workplace / "one", StringIO()
    small = dataclasses.replace(PROTOCOLS["middlebury"], canvas=(32, 48))
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(said):
        patch.chdir(workplace)
        patch.setattr("sgm_vfi.benchmark.runner.PROTOCOLS", {**PROTOCOLS, "middlebury": small})
        assert main([*map(str, everything(data, output))]) == 0
    assert "Not found" not in said.getvalue()
    return output


def test_all_measures_every_protocol_and_says_how(measured: Path) -> None:
    assert {path.name for path in measured.iterdir()} == {f"{name}.jsonl" for name in PROTOCOLS}
    for name, protocol in PROTOCOLS.items():
        about, rows = read(measured / f"{name}.jsonl")
        assert len(rows) == 2 * about["samples"]
        keys = {(row["model"], row["protocol"], row["sample"]) for row in rows}
        assert len(keys) == len(rows)
        assert [row["model"] for row in rows[:2]] == ["classical", RANDOM]
        for row in rows:
            assert row["protocol"] == name
            assert all(isinstance(row[metric], float) for metric in protocol.metrics)
        origin = about["models"][RANDOM]
        assert len(origin["sha256"]) == 64
        assert origin["weights"].endswith(f"{RANDOM}.safetensors")
        assert "lpips" in about["not_measured"]
        for fact in ("commit", "device", "versions", "date", "command", "rounding", "source"):
            assert about[fact]


def test_killed_and_gone_on_with_by_two_processes_gives_the_same_rows(
    data: Path, workplace: Path, measured: Path
) -> None:
    output, few = workplace / "killed", workplace / "few"
    few.mkdir()
    for name in QUICK:
        (few / name).symlink_to(data / name)
    command = ["-m", "benchmark", *everything(few, output)]
    process = python(*command, cwd=workplace)
    while not rows_in(output / "xtest-8x-2k.part0"):
        assert process.poll() is None, process.communicate()[0]
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert (output / "xtest-l-2k.jsonl").is_file()
    finished = (output / "xtest-l-2k.jsonl").stat().st_mtime_ns
    assert not (output / "xtest-8x-2k.jsonl").exists()

    ranks = start_as_ranks(*command, cwd=workplace, processes=2)
    said = "".join(map(finish, ranks))
    assert "of 4 rows were measured before" in said
    assert (output / "xtest-l-2k.jsonl").stat().st_mtime_ns == finished
    kinds = ("xtest", "ucf101")
    expected = {name for name in PROTOCOLS if name.startswith(kinds)}
    assert {path.name for path in output.iterdir()} == {f"{name}.jsonl" for name in expected}
    for path in output.iterdir():
        assert rows_of(measured / path.name) == rows_of(path), path.name


def test_rows_do_not_depend_on_the_number_of_threads(
    data: Path, workplace: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At flow scale 0.8, by optical flow and by a network."""
    monkeypatch.chdir(workplace)
    found = []
    for threads in (2, 1):
        torch.set_num_threads(threads)
        output = tmp_path / str(threads)
        common = ("--path", data / "snu-film", "--limit", 1, "--output", output)
        run("snu-film-hard", *common, "--model", "classical", RANDOM)
        assert torch.get_num_threads() == threads
        found.append(rows_of(output / "snu-film-hard.jsonl"))
    assert found[0] == found[1]


def rows_in(part: Path) -> int:
    """Whole rows that a process has kept so far."""
    return max(part.read_text().count("\n") - 1, 0) if part.is_file() else 0


def test_published_commands_work_as_published(
    data: Path, workplace: Path, measured: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From any folder and from the repository's root, with names and with paths of weights.

    The first in a process of its own, which knows nothing of where the repository is.
    """
    common = ["--limit", 2, "--device", "cpu"]
    named = ["--exp_name", RANDOM, "--num_key_points", 0.25]
    weights = workplace / f"log/{RANDOM}/ckpt/{RANDOM}.safetensors"
    commands = [
        (ROOT / "benchmark/XTest_interval.py", "x4k1000fps/test", named, workplace),
        (ROOT / "benchmark/SNU_FILM.py", "snu-film", named, workplace),
        ("benchmark/Xiph.py", "xiph", ["--model", "classical", weights], ROOT),
    ]
    output = ["--output", workplace / "published"]
    for number, (script, folder, network, cwd) in enumerate(commands):
        arguments = ["--path", data / folder, *network, *output, *common]
        if number == 0:
            finish(python(script, *arguments, cwd=cwd, PYTHONPATH=""))
        else:
            monkeypatch.chdir(cwd)
            with pytest.raises(SystemExit) as ended:
                run_script(monkeypatch, script, *arguments)
            assert ended.value.code == 0
    for name in ("xtest-l-2k", "xtest-l-4k", "snu-film-l-hard", "snu-film-l-extreme"):
        wanted = [row for row in rows_of(measured / f"{name}.jsonl") if row["model"] == RANDOM]
        assert rows_of(workplace / f"published/{name}.jsonl") == wanted
    for name in ("xiph-l-2k", "xiph-l-4k"):
        rows = rows_of(workplace / f"published/{name}.jsonl")
        assert {row["model"] for row in rows} == {"classical", str(weights)}
        renamed = [row | {"model": row["model"].replace(str(weights), RANDOM)} for row in rows]
        assert renamed == rows_of(measured / f"{name}.jsonl")


def test_several_models_share_one_reading(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reads, read_8_bit = [], samples.read_8_bit
    monkeypatch.setattr(samples, "read_8_bit", lambda path: reads.append(path) or read_8_bit(path))
    path = ["--path", data / "gopro", "--output", tmp_path]
    run("gopro-8x", *path, "--model", "blend", "repeat", "--limit", 14)
    assert len(rows_of(tmp_path / "gopro-8x.jsonl")) == 28
    assert len(reads) == 2 * (2 + 7)  # each window: its two ends and what lies between


def test_what_is_finished_is_not_measured_again_nor_mixed_with_another(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    common = ["--path", data / "ucf101", "--model", "blend", "--output", tmp_path]
    run("ucf101", *common)
    before = (tmp_path / "ucf101.jsonl").read_bytes()
    table = capsys.readouterr().out
    monkeypatch.setattr(
        "sgm_vfi.benchmark.runner.ProtocolEvaluator.measure", None
    )  # calling it would fail
    run("ucf101", *common)
    assert (tmp_path / "ucf101.jsonl").read_bytes() == before
    assert capsys.readouterr().out == table
    with pytest.raises(SystemExit):
        run("ucf101", *common, "--limit", 1)
    assert "another measurement, which differs in limit, samples" in capsys.readouterr().err


def test_an_inexact_mode_is_another_measurement(
    data: Path, workplace: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(workplace)
    common = ["--path", data / "ucf101", "--model", RANDOM, "--limit", 1, "--output"]
    run("ucf101", *common, tmp_path / "exact")
    run("ucf101", *common, tmp_path / "rounded", "--precision", "bf16")
    (exact, [one]), (rounded, [other]) = (
        read(tmp_path / name / "ucf101.jsonl") for name in ("exact", "rounded")
    )
    assert (exact["precision"], rounded["precision"]) == ("fp32", "bf16")
    assert one["psnr"] != other["psnr"]
    with pytest.raises(SystemExit):
        run("ucf101", *common, tmp_path / "exact", "--precision", "bf16")


def test_rows_of_more_processes_are_taken_over(data: Path, tmp_path: Path) -> None:
    """A third process's journal, whose row is marked, ends up in the file of a single one."""
    common = ["--path", data / "ucf101", "--model", "blend", "--output"]
    run("ucf101", *common, tmp_path / "whole")
    about, (first, second) = read(tmp_path / "whole/ucf101.jsonl")
    measurement = {k: v for k, v in about.items() if k not in ("command", "date")}
    (tmp_path / "parts").mkdir()
    marked = first | {"psnr": 12.5}
    with RowJournal(tmp_path / "parts/ucf101.part2", measurement, PROTOCOL_KEY) as journal:
        journal.append(marked)
        journal.file.write('{"model": "blend", "cut off')
    run("ucf101", *common, tmp_path / "parts")
    assert rows_of(tmp_path / "parts/ucf101.jsonl") == [marked, second]
    assert [path.name for path in (tmp_path / "parts").iterdir()] == ["ucf101.jsonl"]


def test_kept_predictions_are_what_was_measured(data: Path, tmp_path: Path) -> None:
    """The mean of two frames, rounded, under the model's and the sample's name."""
    common = ["--path", data, "--output", tmp_path, "--model", "blend", "--keep_predictions"]
    run("vimeo90k-8bit", *common[2:], "--path", data / "vimeo90k", "--limit", 1)
    [row] = rows_of(tmp_path / "vimeo90k-8bit.jsonl")
    prediction = read_frame(tmp_path / f"predictions/vimeo90k-8bit/blend/{row['sample']}.png")
    folder = data / "vimeo90k" / Path(row["sample"]).parent
    frame0, target, frame1 = (read_frame(folder / f"im{number}.png") for number in (1, 2, 3))
    assert (prediction - (frame0 + frame1) / 2).abs().max().item() <= 0.5 / 255 + 1e-6
    error = (prediction.double() - target.double()).square().mean().item()
    assert row["psnr"] == pytest.approx(-10 * np.log10(error), abs=1e-6)


def test_expected_means_are_held_to(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    common = ["--path", data / "ucf101", "--model", "blend", "--output", tmp_path]
    assert run("ucf101", *common) == 0
    psnr = np.mean([row["psnr"] for row in rows_of(tmp_path / "ucf101.jsonl")])
    expect = tmp_path / "expect.json"

    def expecting(value: float) -> int:
        expect.write_text(json.dumps({"ucf101": {"blend": {"psnr": [value, 0.01]}}}))
        return run("ucf101", *common, "--expect", expect)

    assert expecting(psnr + 0.009) == 0
    assert "Not as expected" not in capsys.readouterr().out
    assert expecting(psnr + 0.011) == 1
    assert "Not as expected: ucf101, blend: psnr is" in capsys.readouterr().out
    for text in ('{"ucf101": {"blend": 3}}', "{", '{"ucf101": {"other": {"psnr": [1, 2]}}}'):
        expect.write_text(text)
        with pytest.raises(SystemExit):
            run("ucf101", *common, "--expect", expect)
        assert str(expect) in capsys.readouterr().err


def test_all_says_what_it_did_not_find(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data/UCF101_interp_ours").symlink_to(data / "ucf101")  # a published name
    snu = shutil.copytree(data / "snu-film", tmp_path / "data/SNU-FILM")
    (snu / snu_film.LISTS["hard-l"]).unlink()
    common = ["--model", "blend", "--limit", 1, "--output", tmp_path / "rows"]
    assert run("all", "--path", tmp_path / "data", *common) == 0
    said = capsys.readouterr().out
    missing = {line.split(":")[1].strip() for line in said.split("\n") if "Not found" in line}
    measured = {path.stem for path in (tmp_path / "rows").iterdir()}
    assert missing | measured == set(PROTOCOLS)
    assert not missing & measured
    assert {"ucf101", "snu-film-hard", "snu-film-l-extreme"} <= measured
    assert "snu-film-l-hard" in missing
    with pytest.raises(SystemExit):
        run("all", "--path", tmp_path / "rows", *common)
    assert "no data for any protocol" in capsys.readouterr().err


@pytest.mark.parametrize("prefix", ["data/SNU-FILM/", "", "/other/machine/SNU/", "absolute"])
def test_lists_of_other_machines_give_the_same_rows(
    data: Path, tmp_path: Path, prefix: str
) -> None:
    """Other prefixes, DOS line ends and blank lines change nothing."""
    root = shutil.copytree(data / "snu-film", tmp_path / "snu")
    file = root / snu_film.LISTS["hard"]
    prefix = f"{root}/" if prefix == "absolute" else prefix
    lines = [line.replace("data/SNU-FILM/", prefix) for line in read_lines(file)]
    assert all(prefix in line for line in lines)
    file.write_bytes("\r\n\r\n".join(["", *lines, "   ", ""]).encode())
    common = ["--model", "blend", "--output"]
    run("snu-film-hard", "--path", data / "snu-film", *common, tmp_path / "a")
    run("snu-film-hard", "--path", root, *common, tmp_path / "b")
    rows = rows_of(tmp_path / "a/snu-film-hard.jsonl")
    assert len(rows) == 4
    assert rows_of(tmp_path / "b/snu-film-hard.jsonl") == rows


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda path: path.unlink(), "is missing"),
        (lambda path: path.write_bytes(path.read_bytes()[:-9]), "is cut off"),
        (lambda path: cv2.imwrite(str(path), np.zeros((32, 66, 3), np.uint8)), "66x32"),
    ],
)
def test_bad_frames_are_named(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], damage: Any, message: str
) -> None:
    root = shutil.copytree(data / "snu-film", tmp_path / "snu")
    target = snu_film.find_triplets(root, "easy")[2].target
    damage(target)
    with pytest.raises(SystemExit) as ended:
        run("snu-film-easy", "--path", root, "--model", "blend", "--output", tmp_path / "rows")
    assert ended.value.code == 2
    said = capsys.readouterr().err
    assert message in said
    assert str(target) in said


def test_a_wrong_root_costs_nothing(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    common = ["--model", "no-such-model", "--output", tmp_path / "rows"]  # not even loaded
    for root, message in ((data / "xiph", "no test-hard.txt"), (tmp_path / "none", "no folder")):
        with pytest.raises(SystemExit):
            run("snu-film-hard", "--path", root, *common)
        assert message in capsys.readouterr().err
    assert not (tmp_path / "rows").exists()


def test_an_output_may_be_a_file_and_weights_random(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    output = tmp_path / "new" / "x.json"
    model = ["--model", "ifrnet_s", "--random_weights", "--limit", 1]
    assert run("ucf101", "--path", data / "ucf101", *model, "--output", output) == 0
    assert "Random weights: these scores say nothing" in capsys.readouterr().out
    [result] = read_results([output])
    assert [row["model"] for row in result.rows] == ["ifrnet_s"]
    header, _ = read(tmp_path / "new" / "x" / "ucf101.jsonl")
    assert header["random_weights"]
