"""The examples of CONTRIBUTING.md run as they stand there."""

import json
import re
import runpy
import shlex
import sys
from pathlib import Path

import pytest

from sgm_vfi.cli import main
from sgm_vfi.config_base import SMOKE
from sgm_vfi.engine.config_overrides import override
from sgm_vfi.engine.runlog import read_rows
from sgm_vfi.media.images import read_frame, write_frame
from tests.fixtures.processes import ROOT
from tests.fixtures.training_runs import run_script
from tests.fixtures.videos import moving_frames, write_clip

TEXT = (ROOT / "CONTRIBUTING.md").read_text()
FILES = dict(re.findall(r"^```python (\S+)\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL))
COMMANDS = [
    line
    for block in re.findall(r"^```sh\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL)
    for line in block.splitlines()
]
QUICK = ["--device", "cpu", "--output", "."]
FEW = ["training.epochs=1", "train_scenes=4", "val_scenes=2", "scenes.textures=4", "scenes.masks=4"]


@pytest.fixture
def examples(workdir: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name, text in FILES.items():
        (workdir / name).write_text(text)
    monkeypatch.setattr(sys, "path", [str(workdir), *sys.path])
    for name in FILES:
        sys.modules.pop(Path(name).stem, None)
    return workdir


def find(words: str) -> list[str]:
    """The command with these words, without its program."""
    [line] = [line for line in COMMANDS if words in line]
    return shlex.split(line.partition("#")[0])


def test_a_network_is_trained_measured_and_used(
    examples: Path, capsys: pytest.CaptureFixture
) -> None:
    frames = moving_frames(5, 40, 56)
    write_clip(examples / "CLIP.mp4", frames)
    for name, frame in zip("AB", frames, strict=False):
        write_frame(f"{name}.png", frame[0])
    main([*find("train own --config smoke")[1:], *FEW, *QUICK])
    assert any("psnr" in row for row in read_rows(Path("log/smoke-own")))
    assert find("train own --data_path")[1:3] == ["train", "own"]
    main([*find("benchmark footage")[1:], "--metrics", "psnr", "--device", "cpu"])
    assert "my_network.py:Residual" in capsys.readouterr().out
    main(find("my_trained.py:trained")[1:])
    assert read_frame("middle.png").shape == (3, 40, 56)


def test_the_network_is_as_short_as_promised() -> None:
    assert len(FILES["my_network.py"].splitlines()) <= 30


def test_a_data_set(examples: Path, capsys: pytest.CaptureFixture) -> None:
    runpy.run_path("my_data.py")
    assert "torch.Size([4, 3, 64, 64])" in capsys.readouterr().out


@pytest.mark.parametrize("words", ["my_loss.py:gradients", "0.1*census"])
def test_a_loss(examples: Path, words: str, monkeypatch: pytest.MonkeyPatch) -> None:
    _, script, *arguments = find(words)
    run_script(monkeypatch, ROOT / script, *arguments, *FEW, *QUICK)
    assert any("loss" in row for row in read_rows(Path("log/smoke-local")))


def test_footage(examples: Path) -> None:
    """Its training is tested with the data set; here only that the command is the tested one."""
    assert find("data.source=footage")[1:4] == ["train_base.py", "--config", "smoke"]


def test_the_sweep_of_the_docs(workdir: Path, capsys: pytest.CaptureFixture) -> None:
    """Its commands take the fields that it sets, and what reads the logs prints the best score."""
    text = (ROOT / "docs" / "training.md").read_text()
    [fields] = re.findall(r"--set (name=rate-\$rate .*)", text)
    changes = dict(one.split("=") for one in fields.replace("$rate", "1e-4").split())
    assert override(SMOKE, changes).training.learning_rate == 1e-4
    [reader] = re.findall(r"<<'END'\n(.*?)^END$", text, re.MULTILINE | re.DOTALL)
    for name, scores in (("rate-1e-4", [20.0, 25.0, 24.0]), ("rate-2e-4", [19.0])):
        folder = workdir / "log" / name
        folder.mkdir(parents=True)
        rows = [{"step": 1, "loss": 0.5}, *({"step": 2, "psnr": score} for score in scores)]
        (folder / "log.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    exec(reader, {})
    assert capsys.readouterr().out.splitlines() == ["rate-1e-4 25.0", "rate-2e-4 19.0"]
