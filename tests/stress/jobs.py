"""Small jobs of every kind that goes on after a crash, each run in the current folder."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple
from unittest.mock import patch

import torch

from sgm_vfi import demo_2x
from sgm_vfi.benchmark.__main__ import main as run_benchmark
from sgm_vfi.config_base import EXPERIMENTS, FLAGS
from sgm_vfi.engine.training_command_line import launch
from sgm_vfi.media.images import write_frame
from sgm_vfi.storage.file_identity import hash_path
from sgm_vfi.Trainer_base import Trainer
from tests.fixtures.training_runs import SIDE, losses, write_vimeo
from tests.fixtures.videos import decode_samples, moving_frames, read_timestamps, write_clip

FRAMES = 16
BLEND = ("--model", "blend")
TRAINING = {
    "source": "vimeo90k",
    "workers": 0,
    "epochs": 2,
    "save_every": 1,
    "log_every": 1,
    "panel_every": 1000,
    "validate_first": "false",
    "val_batch_size": 2,
}


class Job(NamedTuple):
    """A kind of job."""

    prepare: Callable[[Path], object]  # writes the inputs into a folder
    run: Callable[[Path], int | None]  # gives the command, on these inputs
    read_result: Callable[[Path], Any]  # of the folder in which it ran


def write_input_clip(folder: Path) -> None:
    """Write a video with sound."""
    write_clip(folder / "in.mp4", moving_frames(FRAMES, 48, 64), audio=FRAMES / 25)


def write_input_images(folder: Path) -> None:
    """Write a folder of images."""
    (folder / "clip").mkdir()
    for number, frame in enumerate(moving_frames(6, 32, 48)):
        write_frame(folder / f"clip/{number}.png", frame[0])


def interpolate(inputs: Path, source: str, *options: object) -> None:
    """Run `sgm-vfi interpolate`."""
    demo_2x.main([str(inputs / source), *BLEND, *map(str, options)])


def read_video(file: Path) -> Any:
    """Return all pictures and their times."""
    return decode_samples(file), read_timestamps(file)


def measure(inputs: Path, *arguments: object) -> int:
    """Run `sgm-vfi benchmark`."""
    with patch("sgm_vfi.benchmark.row_files.git_commit", lambda: "as it is"):
        return run_benchmark([*map(str, arguments), "--device", "cpu"])


def read_report(file: Path) -> Any:
    """Return the rows and the means of a report of footage."""
    report = json.loads(file.read_text())
    return report["rows"], report["means"]


def train(inputs: Path) -> None:
    """Train for a few steps, or go on with it."""
    settings = [f"{name}={value}" for name, value in TRAINING.items()]
    options = ("--batch_size", "2", "--patch_size", str(SIDE), "--resume", "--device", "cpu")
    launch(
        Trainer,
        EXPERIMENTS,
        FLAGS,
        arguments=["--config", "smoke", "--data_path", str(inputs), *options, "--set", *settings],
    )


def read_run(folder: Path) -> Any:
    """Return the curve and the weights of a training run."""
    run = folder / "log/smoke-local"
    state = torch.load(run / "ckpt/last.pth", weights_only=True)["model"]
    weights = {name: tensor.numpy().tobytes() for name, tensor in state.items()}
    return losses(run), weights, hash_path(run / "ckpt/smoke-local.safetensors")


VIDEO = ("in.mp4", "--segment_frames", 4, "--output")
JOBS = {
    "video": Job(
        write_input_clip,
        lambda inputs: interpolate(inputs, *VIDEO, "out.mp4"),
        lambda folder: read_video(folder / "out.mp4"),
    ),
    "lossless": Job(
        write_input_clip,
        lambda inputs: interpolate(inputs, *VIDEO, "out.mkv", "--lossless", "--compare", "side"),
        lambda folder: [read_video(folder / name) for name in ("out.mkv", "out_compare.mkv")],
    ),
    "pictures": Job(  # of a video
        write_input_clip,
        lambda inputs: interpolate(inputs, *VIDEO, "frames"),
        lambda folder: hash_path(folder / "frames"),
    ),
    "folder": Job(
        write_input_images,
        lambda inputs: interpolate(inputs, "clip", "--multi", 3, "--output", "frames"),
        lambda folder: hash_path(folder / "frames"),
    ),
    "footage": Job(
        write_input_clip,
        lambda inputs: measure(
            inputs,
            *("footage", "--path", inputs / "in.mp4", "--model", "repeat", "blend"),
            *("--metrics", "psnr", "--output", "r.json"),
        ),
        lambda folder: read_report(folder / "r.json"),
    ),
    "protocol": Job(
        lambda folder: write_vimeo(folder, 6, 32),
        lambda inputs: measure(
            inputs,
            *("vimeo90k", "--path", inputs, "--model", "repeat", "blend", "--output", "out"),
        ),
        lambda folder: (folder / "out/vimeo90k.jsonl").read_text().split("\n")[1:],
    ),
    "training": Job(lambda folder: write_vimeo(folder, 4), train, read_run),
}
