"""What every command sets before PyTorch is imported, and what it prints at once."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from sgm_vfi.startup import SPIN_COUNT, limit_spinning

ROOT = Path(__file__).resolve().parent.parent
COMMANDS = {  # command -> the code that starts it
    "demo_2x.py": "runpy.run_path('demo_2x.py')",
    "sgm-vfi": "import sgm_vfi.cli",
    "train_base.py": "runpy.run_path('train_base.py')",
    "train_x4k.py": "runpy.run_path('train_x4k.py')",
    "python -m benchmark": "runpy.run_module('benchmark')",
    "python -m training": "runpy.run_module('training')",
    "python -m dataset": "runpy.run_module('dataset')",
    "benchmark/Xiph.py": "runpy.run_path('benchmark/Xiph.py', run_name='__main__')",
}
PROGRAM = """
import os, runpy, sys
class Torch:
    def find_spec(self, name, path=None, target=None):
        if name == "torch":
            print(os.environ.get("GOMP_SPINCOUNT"), os.environ.get("OMP_WAIT_POLICY"))
            os._exit(0)
sys.meta_path.insert(0, Torch())
{start}
print(os.environ.get("GOMP_SPINCOUNT"), os.environ.get("OMP_WAIT_POLICY"))
"""


@pytest.mark.parametrize("command", COMMANDS)
def test_spinning_is_limited_before_pytorch_is_imported(command: str) -> None:
    """OpenMP reads the variable when PyTorch loads it: the environment at that moment counts."""
    environment = {
        k: v for k, v in os.environ.items() if k not in ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY")
    }
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM.format(start=COMMANDS[command])],
        cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert done.stdout.split() == [SPIN_COUNT, "None"], done.stderr


@pytest.mark.parametrize("given", [{"GOMP_SPINCOUNT": "7"}, {"OMP_WAIT_POLICY": "active"}])
def test_the_choice_of_the_user_stays(given: dict[str, str]) -> None:
    environment = dict(given)
    limit_spinning(environment)
    assert environment == given


def test_a_command_prints_a_line_before_it_imports_pytorch() -> None:
    program = PROGRAM.format(start="from sgm_vfi import demo_2x; demo_2x.main([])")
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=60
    )
    assert done.stderr == "demo_2x.py: loading PyTorch ...\n"
