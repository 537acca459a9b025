"""Errors of all commands: one line that says what to do, and an exit status."""

import errno
from pathlib import Path

import pytest
import torch

from sgm_vfi import cli
from sgm_vfi.command_errors import REFUSED, CommandParser, describe_error, report_errors
from sgm_vfi.engine.training_command_line import launch

WRONG = {  # arguments of a command -> its name in the error
    "nonsense": "sgm-vfi",
    "interpolate --nonsense": "sgm-vfi interpolate",
    "interpolate a.mp4 --multi 1": "sgm-vfi interpolate",
    "interpolate a b c": "sgm-vfi interpolate",
    "interpolate missing.mp4": "sgm-vfi interpolate",
    "benchmark nonsense": "sgm-vfi benchmark",
    "benchmark footage": "sgm-vfi benchmark footage",
    "benchmark report missing.json": "sgm-vfi benchmark",
    "train nonsense": "python -m training",
    "train release missing.pth --recipe x": "sgm-vfi train release",
    "train curves missing": "sgm-vfi train curves",
    "dataset verify nonsense .": "sgm-vfi dataset verify",
    "dataset pack vimeo90k missing out": "sgm-vfi dataset pack",
    "weights fetch nonsense": "sgm-vfi weights",
    "export nonsense --format onnx": "sgm-vfi export",
    "export blend --format onnx --size 0x0": "sgm-vfi export",
}


def one_error_line(capsys: pytest.CaptureFixture[str]) -> str:
    said = capsys.readouterr().err
    assert said.count("\n") == 1, said
    assert "errno" not in said.lower()
    assert "usage:" not in said
    return said


@pytest.mark.parametrize("arguments", WRONG)
def test_an_error_is_one_line_that_begins_with_the_command(
    arguments: str,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as stop:
        cli.main(arguments.split())
    assert stop.value.code == REFUSED
    assert one_error_line(capsys).startswith(f"{WRONG[arguments]}: error: ")
    assert not list(tmp_path.iterdir())


def test_a_wrong_argument_says_how_to_get_help(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        CommandParser(prog="sgm-vfi x").parse_args(["--nonsense"])
    assert "sgm-vfi x -h" in one_error_line(capsys)


def test_training_refuses_in_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        launch(None, {"a": None}, description="about", arguments=["--config", "b"])
    assert stop.value.code == REFUSED
    one_error_line(capsys)


@pytest.mark.parametrize("number", [errno.ENOENT, errno.EACCES, errno.ENAMETOOLONG, errno.ENODEV])
def test_a_system_error_names_the_file_and_no_number(number: int) -> None:
    text = describe_error(OSError(number, "Reason", "the_file"))
    assert text.startswith("the_file: ")
    assert "rrno" not in text
    assert text.endswith(".")


@pytest.mark.parametrize(
    "error",
    [MemoryError(), torch.OutOfMemoryError("x"), RuntimeError("can't allocate memory: 1 byte")],
)
def test_running_out_of_memory_is_explained(
    error: Exception, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit), report_errors("sgm-vfi x"):
        raise error
    assert "memory ran out" in one_error_line(capsys)


def test_a_fault_of_the_program_keeps_its_traceback() -> None:
    with pytest.raises(RuntimeError), report_errors("sgm-vfi x"):
        raise RuntimeError("shapes differ")
