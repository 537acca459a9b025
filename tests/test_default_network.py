"""The default network: trained where weights are here, else without weights."""

from pathlib import Path

import pytest
import torch

from sgm_vfi.benchmark import footage_command as footage
from sgm_vfi.model import weight_search as weight_files
from sgm_vfi.model import zoo
from sgm_vfi.model.baselines.rife.practical_rife import PracticalRIFE
from sgm_vfi.model.weight_io import save_weights
from sgm_vfi.video import command

HAS_WEIGHTS = zoo.has_weights  # before tests replace it


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The only folder where weights are looked for."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(weight_files, "ROOT", tmp_path)
    monkeypatch.setenv("SGM_VFI_WEIGHTS", str(tmp_path / "user"))
    monkeypatch.setattr(zoo, "has_weights", HAS_WEIGHTS)
    return tmp_path


def test_without_weights_it_needs_none(folder: Path) -> None:
    assert zoo.default_interpolator() == "sift+dis"
    assert footage.default_models() == ["sift+dis"]
    assert "sgm-vfi weights fetch rife_v4.6" in zoo.describe_default()


@pytest.mark.parametrize("place", ["pretrained", "user"])
def test_fetched_weights_become_the_default(folder: Path, place: str) -> None:
    path = folder / place / "rife_v4.6.safetensors"
    save_weights(torch.nn.Conv2d(1, 1, 1), path, {})
    assert zoo.default_interpolator() == command.parse_arguments([], "").model == "rife_v4.6"
    assert footage.default_models() == ["sift+dis", "rife_v4.6"]
    assert str(path) in zoo.describe_default()


def test_fetched_weights_are_of_the_default_network(folder: Path) -> None:
    """A row of the zoo, of a network for any time."""
    assert set(zoo.FETCHED_DEFAULTS) <= set(zoo.ZOO)
    network = zoo.build_interpolator(zoo.FETCHED_DEFAULTS[0])
    assert isinstance(network, PracticalRIFE)
    assert network.any_time


@pytest.mark.usefixtures("folder")
def test_missing_weights_say_which_command_makes_them() -> None:
    commands = {
        "rife_v4.6": "sgm-vfi weights fetch rife_v4.6",
        "ours-small-1-2": "sgm-vfi train pipeline",
        "ifrnet": None,
    }
    for name, command_line in commands.items():
        with pytest.raises(FileNotFoundError) as problem:
            zoo.find_weights(name)
        message = str(problem.value)
        assert command_line is None or command_line in message
        assert ("`sgm-vfi" in message) is (command_line is not None)
