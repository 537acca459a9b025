"""What tests share."""

import gc
import logging
import os
import shutil
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
import torch

from sgm_vfi.dataset.stand_in_data_sets import write_stand_in
from sgm_vfi.dataset.synthetic import SceneBatch, SceneGenerator, textures
from sgm_vfi.dataset.triplet import Triplet
from sgm_vfi.engine.distributed import World, process_group
from sgm_vfi.model import zoo
from sgm_vfi.model.sgm.network import SGM, SGMConfig
from tests.fixtures.data_sets import SCENES, SIZES, SMALL
from tests.fixtures.scenes import CLEAN, SEEDS

if "PYTEST_XDIST_WORKER" in os.environ:  # tests run side by side: one thread each, or they wait
    os.environ["OMP_NUM_THREADS"] = "1"  # of processes that tests start
    torch.set_num_threads(1)

TINY = SGMConfig(channels=4, depths=(1, 1, 1, 2), keypoint_ratio=0.25, dense_up_to=8)


SLOWEST = (  # files that take longest: begun first, so that none is waited for at the end
    "test_parity",
    "test_parity_zoo",
    "test_zoo",
    "test_export",
    "test_runner",
    "test_resume",
    "test_splat_kernel",
    "test_training",
    "test_pervfi_loss",
    "test_training_step",
    "test_precision",
    "test_devices",
    "test_training_speed",
    "test_raft_vfi",
)


def pytest_collection() -> None:
    """Collect no garbage while modules are imported, of which there is none."""
    gc.disable()


def pytest_collection_finish() -> None:
    """Keep what was imported out of all later collections of garbage, which it made slow."""
    gc.freeze()
    gc.enable()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The slowest files come first, then those about videos, then the others as they were."""
    order = {name: place for place, name in enumerate(SLOWEST)}

    def place(item: pytest.Item) -> int:
        name = item.path.stem
        return order.get(name, len(SLOWEST) + (not name.startswith("test_video")))

    items.sort(key=place)


def randomize_weights(net: torch.nn.Module, seed: int = 0) -> torch.nn.Module:
    """Random weights strong enough that motion, masks and matches are not all alike."""
    generator = torch.Generator().manual_seed(seed)
    for name, weight in net.named_parameters():
        noise = torch.randn(weight.shape, generator=generator)
        if weight.ndim > 1:
            gain = 0.3 if "unet.output" in name else 1.5
            weight.data.copy_(noise * gain / weight[0].numel() ** 0.5)
        elif name.endswith("bias"):
            weight.data.copy_(0.1 * noise)
    return net


@pytest.fixture(scope="session", autouse=True)
def no_fsync() -> Iterator[None]:
    """Do not wait for the disk: only a loss of power would show the difference."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda descriptor: None)
        yield


@pytest.fixture(scope="session", autouse=True)
def photographs_read_once() -> Iterator[None]:
    """Read the photographs of synthetic textures once, not for every generator of scenes."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(textures, "read_photograph", cache(textures.read_photograph))
        yield


@pytest.fixture(autouse=True)
def no_fetched_default(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the default network independent of the weights that somebody has fetched."""
    monkeypatch.setattr(zoo, "has_weights", lambda name: False)


@pytest.fixture
def workdir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of the test's own to work in."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def tiny() -> SGM:
    """The smallest SGM there is, in evaluation mode."""
    return randomize_weights(SGM(TINY)).eval()


@pytest.fixture
def pair() -> tuple[torch.Tensor, torch.Tensor]:
    """Two smooth random frames, 96 x 96: high enough for TINY to match sparsely."""
    generator = torch.Generator().manual_seed(1)
    coarse = torch.rand(2, 1, 3, 12, 12, generator=generator)
    frames = [torch.nn.functional.interpolate(c, scale_factor=8, mode="bilinear") for c in coarse]
    return frames[0], frames[1]


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    """This process, in a group of its own."""
    with process_group(torch.device("cpu")) as alone:
        yield alone


@pytest.fixture
def info_logs(caplog: pytest.LogCaptureFixture) -> None:
    """What runs say is heard."""
    caplog.set_level(logging.INFO)


@pytest.fixture(scope="session")
def trees(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """One miniature tree per data set, written by our own writer; never changed by a test."""
    folder = tmp_path_factory.mktemp("trees")
    for name, size in SIZES.items():
        write_stand_in(name, folder / name, scenes=SCENES[name], size=size, config=SMALL)
    write_stand_in(
        "vimeo90k-septuplets", folder / "septuplets", scenes=4, size=(48, 80), config=SMALL
    )
    return {path.name: path for path in folder.iterdir()}


@pytest.fixture
def vimeo(trees: dict[str, Path], tmp_path: Path) -> Path:
    """A copy of the miniature Vimeo90K, to be damaged."""
    return shutil.copytree(trees["vimeo90k"], tmp_path / "vimeo90k")


@pytest.fixture(scope="session")
def maker() -> SceneGenerator:
    """Of clean scenes; never changed by a test."""
    return SceneGenerator(CLEAN)


@pytest.fixture(scope="session")
def scenes(maker: SceneGenerator) -> SceneBatch:
    return maker.draw(SEEDS)


@pytest.fixture(scope="session")
def triplet(scenes: SceneBatch) -> Triplet:
    return scenes.triplet(truth=True)
