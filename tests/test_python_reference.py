"""Networks of the user, named as file.py:Class or module:Class."""

import re
import sys
from pathlib import Path

import pytest
import torch

import sgm_vfi
from sgm_vfi.benchmark.__main__ import main as benchmark
from sgm_vfi.media.images import read_frame, write_frame
from sgm_vfi.model import load_interpolator
from sgm_vfi.model.fingerprint import describe_network
from sgm_vfi.model.import_by_name import PythonReferenceError, is_reference
from sgm_vfi.video.command import main as interpolate
from tests.fixtures.processes import start_quickly
from tests.fixtures.training_runs import quick_probes
from tests.fixtures.videos import moving_frames

DARK = """
from functools import partial

from sgm_vfi.model import Interpolation, Interpolator


class Dark(Interpolator):
    def __init__(self, level=0.25):
        super().__init__()
        self.level = level

    def prepare(self, frame0, frame1, flow_scale=1.0):
        return frame0

    def interpolate(self, state, time, *, explain=False):
        return Interpolation(state * 0 + self.level)


def darker():
    return Dark(0.125)


class NeedsArguments(Dark):
    def __init__(self, level):
        super().__init__(level)


number = 3
"""


@pytest.fixture
def own(workdir: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(sys, "path", list(sys.path))
    file = workdir / "own_networks.py"
    file.write_text(DARK)
    return file


@pytest.mark.parametrize("module", ["own_networks.py", "own_networks", "{absolute}"])
@pytest.mark.parametrize(("name", "level"), [("Dark", 0.25), ("darker", 0.125)])
def test_a_class_or_a_function_of_a_file_or_of_a_module(
    own: Path, module: str, name: str, level: float
) -> None:
    sys.modules.pop("own_networks", None)
    network = load_interpolator(f"{module.format(absolute=own)}:{name}")
    assert not network.training
    frame = torch.rand(1, 3, 8, 8)
    assert (network(frame, frame, torch.full((1, 1, 1, 1), 0.5)).frame == level).all()
    assert sgm_vfi.load(f"{own}:{name}")(frame, frame).max() == level
    assert f"source_code={network.source_code}" in describe_network(network)


@pytest.mark.parametrize(
    ("reference", "message"),
    [
        ("absent.py:Dark", "There is no file absent.py"),
        ("absent_module:Dark", "no module absent_module .*looked in .*absent_module.py:NAME"),
        ("own_networks.py:dark", "has no dark. Did you mean .*Dark"),
        ("own_networks.py:number", "is 3. Expected a class derived from"),
        ("own_networks.py:partial", "raised TypeError.*called without arguments"),
        ("own_networks.py:NeedsArguments", "missing 1 required positional argument: 'level'"),
        ("own_networks.py:Interpolator", "abstract"),
        ("collections:OrderedDict", "an object of type OrderedDict, expected .*Interpolator"),
        ("broken.py:Net", "broken.py could not be imported: SyntaxError"),
        ("raises.py:Net", "KeyError: 'no key'.*raises.py, line 2"),
    ],
)
def test_what_cannot_be_used_is_said(own: Path, reference: str, message: str) -> None:
    Path("broken.py").write_text("def f(:\n")
    Path("raises.py").write_text("# a comment\nraise KeyError('no key')\n")
    with pytest.raises(PythonReferenceError, match=message):
        load_interpolator(reference)


def test_files_of_weights_are_no_references(workdir: Path) -> None:
    assert is_reference("a.py:Net")
    assert is_reference("a.b:Net")
    for name in ("ours-small-1-2", "rife_v4.6", "C:\\a.pth", "a:b.pth", "sift+dis"):
        assert not is_reference(name)
    Path("odd:name").touch()
    assert not is_reference("odd:name")


def test_the_commands_take_it(
    own: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    start_quickly(monkeypatch)
    quick_probes(monkeypatch)
    frames = moving_frames(5, 24, 32)
    Path("clip").mkdir()
    for number, frame in enumerate(frames):
        write_frame(f"clip/{number}.png", frame[0])
    model = f"{own.name}:Dark"
    interpolate(["clip/0.png", "clip/1.png", "--model", model, "--output", "new.png"])
    assert (read_frame("new.png") == 64 / 255).all()
    options = ["--model", model, "--metrics", "psnr", "--device", "cpu"]
    assert benchmark(["footage", "--path", "clip", *options, "--output", "x.json"]) == 0
    assert f"| {model}" in capsys.readouterr().out
    speed = ["speed", "--model", model, "--size", "32x16", "--runs", "1", "--device", "cpu"]
    assert benchmark(speed) == 0
    row = rf"\| {re.escape(model)} \| 32x16 \| 1 \| [^|]+ \| 0 \|"
    assert re.search(row, capsys.readouterr().out)
    with pytest.raises(SystemExit):
        benchmark(["speed", "--model", "ours-small-1-3"])
    assert "Did you mean ours-small-1-" in capsys.readouterr().err
