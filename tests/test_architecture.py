"""Who may import whom, and what a file may be called."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
MAY_IMPORT = {  # room or module -> what it may import of ours
    "storage": set(),  # files that survive crashes: what all other rooms write with
    "media": {"storage"},
    "model": {"storage"},
    "engine": {"storage"},
    "dataset": {"media", "storage"},
    "benchmark": {"model", "dataset", "engine", "media", "storage"},
    "video": {"model", "dataset", "engine", "media", "storage"},
    "app": {"model", "media", "video"},
    "training": {
        *("model", "dataset", "engine", "media", "benchmark", "storage"),
        *("config_base", "config", "Trainer_base", "Trainer_x4k"),  # its command starts them
    },
    "config_base": {"model", "dataset"},
    "config": {"model", "dataset", "config_base"},
    "Trainer_base": {"training"},
    "Trainer_x4k": {"training"},
    "train_base": {"engine", "config_base", "Trainer_base"},
    "train_x4k": {"engine", "config", "Trainer_x4k"},
    "demo_2x": {"video"},
    "cli": set(),
}
INSIDE_MODEL = {  # room -> rooms of model/ that it may import
    "ops": {"ops"},
    "layers": {"layers", "ops", "weight_io"},
    "flow": {"flow", "layers", "ops", "weight_io", "weight_search"},
    "sgm": {"sgm", "flow", "layers", "ops", "interpolator", "weight_io"},
    "baselines": {"baselines", "flow", "layers", "ops", "interpolator", "weight_io"},
    "inference": {"inference", "interpolator", "ops"},
}
PACKAGE = "sgm_vfi"
NAMELESS = {"utils", "util", "misc", "helpers", "common", "tools"}


def imports(file: Path) -> set[str]:
    """Modules of this package that a file imports, with dots, without the package's name."""
    names = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module == PACKAGE:
            names |= {f"{PACKAGE}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module)
    return {n.removeprefix(f"{PACKAGE}.") for n in names if n.startswith(f"{PACKAGE}.")}


def files_of(layer: str) -> list[Path]:
    return [*ROOT.glob(f"{layer}.py"), *ROOT.glob(f"{layer}/**/*.py")]


@pytest.mark.parametrize("layer", MAY_IMPORT)
def test_imports_point_downwards(layer: str) -> None:
    for file in files_of(layer):
        ours = {name.partition(".")[0] for name in imports(file)} & MAY_IMPORT.keys()
        upward = ours - MAY_IMPORT[layer] - {layer}
        assert not upward, f"{file.name} imports {upward}, which sits above {layer}"


@pytest.mark.parametrize("room", INSIDE_MODEL)
def test_imports_inside_the_model_point_downwards(room: str) -> None:
    files = list((ROOT / "model" / room).glob("**/*.py"))
    assert files
    for file in files:
        used = {n.split(".")[1] for n in imports(file) if n.startswith("model.")}
        assert used <= INSIDE_MODEL[room], f"{file.name} imports {used - INSIDE_MODEL[room]}"


@pytest.mark.parametrize("script", ["demo_2x.py", "train_base.py"])
def test_commands_start_at_once(script: str) -> None:
    """Without torchvision and the compiler, which take as long as all else together."""
    program = (
        f"import runpy, sys; runpy.run_path({script!r}); "
        "sys.exit(' '.join({'torchvision', 'torch._dynamo'} & sys.modules.keys()))"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True)
    assert done.stderr.strip() == ""


def tracked() -> list[Path]:
    listed = subprocess.run(
        ["git", "ls-files", "*.py"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return [ROOT / name for name in listed.stdout.split()]


def test_files_have_names_and_one_idea_each() -> None:
    for file in tracked():
        assert file.stem not in NAMELESS
        if "tests" not in file.parts:
            lines = len(file.read_text().splitlines())
            assert lines <= 300, f"{file.relative_to(ROOT)} has {lines} lines"
