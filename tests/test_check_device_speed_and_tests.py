"""The check of a device: every part runs for itself, and its commands are accepted."""

import json
import time
from pathlib import Path

import pytest

from sgm_vfi.benchmark import check_device_speed_and_tests
from sgm_vfi.benchmark.__main__ import COMMANDS, main
from sgm_vfi.benchmark.check_device_speed_and_tests import CheckPart, list_parts

# A process that survives the kill, as it is in a session of its own, and holds what it inherited.
HANGS = """
import subprocess, sys, time
print('begun', flush=True)
subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(20)'], start_new_session=True)
time.sleep(60)
"""


def test_a_part_that_fails_or_hangs_does_not_stop_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    checks = (
        CheckPart("hangs", ("-c", HANGS), 8),
        CheckPart("fails", ("-c", "raise SystemExit(3)"), 100),
        CheckPart("works", ("-c", "print('| figure |')"), 100),
        CheckPart("late", ("-c", ""), 0),
    )
    monkeypatch.setattr(check_device_speed_and_tests, "list_parts", lambda device: iter(checks))
    file = tmp_path / "check.json"
    start = time.monotonic()
    assert main(["device_check", "--device", "cpu", "--output", str(file), "--minutes", "0.5"]) == 1
    assert time.monotonic() - start < 15
    parts = json.loads(file.read_text())["parts"]
    found = {part["name"]: part["result"] for part in parts}
    assert parts[0]["output"] == "begun"
    assert found["hangs"].startswith("stopped after")
    assert found["fails"] == "failed (exit 3)"
    assert (found["works"], found["late"]) == ("passed", "no time left")
    text = file.with_suffix(".md").read_text()
    assert "| fails | failed (exit 3) |" in text
    assert "\n| figure |\n" in text
    assert {path.name for path in tmp_path.iterdir()} == {"check.json", "check.md"}
    assert "works: passed" in capsys.readouterr().out


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_every_command_is_accepted(device: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only parsed here: `--device cpu` runs all of them at tiny sizes."""
    called = []
    for name in ("speed", "splat", "operations"):
        monkeypatch.setattr(COMMANDS[name], "run", lambda args, name=name: called.append(name))
    parts = list(list_parts(device))
    for part in parts:
        if "benchmark" in part.arguments:
            arguments = part.arguments[part.arguments.index("benchmark") + 1 :]
            assert main(["cpu" if one == "cuda" else one for one in arguments]) == 0
        for argument in part.arguments:
            assert not argument.endswith(".py") or Path(argument).is_file()
    assert called.count("speed") == (3 if device == "cpu" else 6)
    assert {"splat", "operations"} <= set(called)


def test_operations_equal_plain_pytorch(capsys: pytest.CaptureFixture[str]) -> None:
    main(["operations", "--size", "64x40", "--runs", "1", "--device", "cpu"])
    names = [line.split("|")[1].strip() for line in capsys.readouterr().out.splitlines()[2:]]
    assert names == ["global matching", "attention", "instance norm and ReLU"]
