"""Training runs small enough for tests."""

import os
import runpy
import signal
import socket
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from torch import Tensor, nn

from sgm_vfi.config import SMOKE as SMOKE_GLOBAL
from sgm_vfi.config_base import SMOKE, Experiment
from sgm_vfi.dataset.triplet import Triplet
from sgm_vfi.engine.distributed import World
from sgm_vfi.engine.launch import Run
from sgm_vfi.engine.runlog import read_rows
from sgm_vfi.model.interpolator import time_like

ROOT = Path(__file__).resolve().parent.parent
SIDE = 64  # pixels: the smallest frames that the loss takes
PLAIN = replace(SMOKE.data.scenes, textures=8, texture_size=64, masks=8, mask_size=48)
LOCAL = SMOKE.model
SPARSE = replace(LOCAL, keypoint_ratio=0.5, dense_up_to=4)


def recipe(base: Experiment = SMOKE, *, data: dict[str, Any] | None = None, **training: Any) -> Any:
    """A recipe of two-sample steps at 64 x 64, on small textures, quiet, changed as asked."""
    few = {"train_scenes": 8, "val_scenes": 3, "scenes": PLAIN}
    quiet = {"validate_first": False, "picture_every": 1000, "log_every": 1, "epochs": 1}
    return replace(
        base,
        data=replace(base.data, **(few | (data or {}))),
        training=replace(base.training, **(quiet | training)),
    )


def recipe_global(**training: Any) -> Any:
    """The same of the second stage, at one size, matching sparsely."""
    return recipe(
        SMOKE_GLOBAL,
        data={"patch_size": SIDE},
        **({"scales": (1.0,), "chances": (1.0,)} | training),
    )


def here(folder: Path, **options: Any) -> Run:
    """A run in this process."""
    folder.mkdir(parents=True, exist_ok=True)
    return Run(folder, World(), torch.device("cpu"), **options)


def write_vimeo(root: Path, triplets: int, side: int = SIDE) -> Path:
    """A Vimeo90K of grey noise whose mean tells which triplet it is: 10, 20, 30, ..."""
    random = np.random.default_rng(0)
    names = [f"00001/{number:04d}" for number in range(1, triplets + 1)]
    for number, name in enumerate(names, start=1):
        folder = root / "sequences" / name
        folder.mkdir(parents=True)
        noise = random.integers(-8, 9, (3, side, side, 1)).repeat(3, axis=-1)
        noise -= noise.mean(axis=(1, 2, 3), keepdims=True).round().astype(int)
        for frame in range(3):
            image = (10 * number + noise[frame]).clip(0, 255).astype(np.uint8)
            cv2.imwrite(str(folder / f"im{frame + 1}.png"), image)
    for split in ("train", "test"):
        (root / f"tri_{split}list.txt").write_text("\n".join(names) + "\n")
    return root


def losses(run: Path) -> list[tuple[float, ...]]:
    """Step, loss, gradient norm and rate of every logged step."""
    names = ("step", "loss", "gradient_norm", "learning_rate")
    return [tuple(row[name] for name in names) for row in read_rows(run) if "loss" in row]


def some_batch(side: int = SIDE, batch: int = 2) -> Triplet:
    generator = torch.Generator().manual_seed(0)
    coarse = torch.rand(3, batch, 3, side // 8, side // 8, generator=generator)
    first, middle, last = (nn.functional.interpolate(c, scale_factor=8) for c in coarse)
    return Triplet(first, middle, last, time_like(first, 0.5))


def weights_of(model: nn.Module) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def same(a: dict[str, Tensor], b: dict[str, Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def quick_probes(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a machine allows is measured by small work: good for any number but the true one."""
    monkeypatch.setattr("sgm_vfi.benchmark.timing.PROBE", (4, 16, 16))
    monkeypatch.setattr("sgm_vfi.benchmark.timing.PROBE_BYTES", 2**16)


def run_script(monkeypatch: pytest.MonkeyPatch, script: Path | str, *arguments: object) -> None:
    """Run a script in this process, as Python does it from a shell."""
    monkeypatch.setattr(sys, "argv", [str(script), *map(str, arguments)])
    monkeypatch.setattr(sys, "path", [str(Path(script).resolve().parent), *sys.path])
    runpy.run_path(str(script), run_name="__main__")


def start(script: Path | str, *arguments: str, processes: int = 1, restarts: int = 0) -> Any:
    """Start a training script, under torchrun where there are several processes."""
    launcher: list[str] = []
    if processes > 1:
        launcher += ["-m", "torch.distributed.run", "--standalone"]
        launcher += [f"--nproc_per_node={processes}", f"--max-restarts={restarts}"]
    return python(*launcher, str(script), *arguments)


def start_as_ranks(*command: object, processes: int, cwd: Path | None = None) -> list[Any]:
    """Start what torchrun would, without the process that watches over them."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        place = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free.getsockname()[1])}
    place |= {"WORLD_SIZE": str(processes)}
    return [
        python(*command, cwd=cwd, RANK=str(rank), LOCAL_RANK=str(rank), **place)
        for rank in range(processes)
    ]


def python(*arguments: object, cwd: Path | None = None, **variables: str) -> Any:
    """Start Python, on one thread, in an environment with these variables."""
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"} | variables
    return subprocess.Popen(
        [sys.executable, *map(str, arguments)],
        cwd=cwd,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=environment,
        start_new_session=True,  # so that all of it can be ended
    )


def outcome(process: Any, patience: float = 120) -> tuple[int, str]:
    """Wait for a run; give its exit code and what it said. One that hangs is ended."""
    try:
        output, _ = process.communicate(timeout=patience)
    except subprocess.TimeoutExpired:
        process.terminate()  # torchrun then ends its processes, which are in groups of their own
        try:
            output, _ = process.communicate(timeout=40)
        except subprocess.TimeoutExpired as error:
            os.killpg(process.pid, signal.SIGKILL)
            output = error.stdout
        raise AssertionError(f"Still running after {patience} seconds:\n{output}") from None
    return process.returncode, output
