"""The demo as its users run it: right frames, or an error that helps, and nothing half done."""

import errno
import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path
from unittest.mock import patch

import cv2
import numpy as np
import pytest
import torch

from sgm_vfi import demo_2x
from sgm_vfi.media.images import read_frame
from sgm_vfi.model.cli_options import load_network
from sgm_vfi.model.interpolator import time_like
from sgm_vfi.model.sgm.network import SGM
from sgm_vfi.model.weight_io import save_weights
from sgm_vfi.video import command
from tests.conftest import TINY, randomize_weights
from tests.fixtures.demo import run
from tests.fixtures.image_samples import even, noise, samples, write_image

pytestmark = pytest.mark.usefixtures("workdir")

ROOT = Path(demo_2x.__file__).resolve().parent
PYTHON = (sys.executable, str(ROOT / "demo_2x.py"))


@pytest.fixture
def local() -> SGM:
    """A network that knows the middle only; without matching, which takes longest."""
    return randomize_weights(SGM(replace(TINY, keypoint_ratio=None))).eval()


def saved(network: SGM) -> Path:
    path = Path("weights.safetensors")
    save_weights(network, path, {"network": "sgm", "config": asdict(network.config)})
    return path


def test_without_arguments(workdir: Path) -> None:
    """A real process, nothing else given: four files, and what made them in words."""
    done = subprocess.run(
        PYTHON, cwd=workdir, capture_output=True, text=True, check=True, timeout=120
    )
    output = workdir / "output"
    names = ["animation.webp", "comparison.jpg", "flow.jpg", "middle.png"]
    assert sorted(file.name for file in output.iterdir()) == names
    assert samples(output / "middle.png").shape == (500, 741, 3)
    assert 950 <= samples(output / "comparison.jpg").shape[1] <= 1000
    assert (output / "comparison.jpg").stat().st_size < 400_000
    assert cv2.imreadanimation(str(output / "animation.webp"))[1].frames[0].shape[:2] == (432, 640)
    for word in (" s for 1 of 741x500", *names):
        assert word in done.stdout
    is_fetched = "model   rife_v4.6 (weights: " in done.stdout  # the process sees real folders
    assert is_fetched or "model   sift+dis (needs no weights)" in done.stdout
    assert ("sgm-vfi weights fetch rife_v4.6" in done.stdout) is not is_fetched


def test_two_images_of_known_motion(workdir: Path) -> None:
    """Texture that moved by 8 pixels is found half way, where the average sees it double."""
    texture = cv2.resize(noise(0, 24, 40), (320, 192), interpolation=cv2.INTER_CUBIC)
    left, middle, right = (texture[16:-16, x : x + 256] for x in (36, 32, 28))
    write_image(workdir / "a.png", left)
    write_image(workdir / "b.png", right)
    run("a.png", "b.png", "--output", "deep/below/c.png")
    assert [file.name for file in (workdir / "deep/below").iterdir()] == ["c.png"]
    inside = np.s_[16:-16, 16:-16]  # what enters at the edges is not to be known

    def error(picture: np.ndarray) -> float:
        return np.mean((picture - middle.astype(float))[inside] ** 2)

    average = (left.astype(float) + right) / 2
    assert error(samples(workdir / "deep/below/c.png")) < error(average) / 20


def test_new_samples_are_rounded(workdir: Path) -> None:
    """1 and 4 at a quarter are 1.75, which is 2; truncated it would be 1."""
    write_image(workdir / "a.png", even(1))
    write_image(workdir / "b.png", even(4))
    run("a.png", "b.png", "--model", "blend", "--time", "1/4", "--output", "c.png")
    assert np.unique(samples(workdir / "c.png")).tolist() == [2]


def test_sixteen_bits_stay_sixteen(workdir: Path) -> None:
    write_image(workdir / "a.png", even(1001, np.uint16))
    write_image(workdir / "b.png", even(1003, np.uint16))
    run("a.png", "b.png", "--model", "blend", "--output", "c.png")
    middle = samples(workdir / "c.png")
    assert middle.dtype == np.uint16
    assert np.unique(middle).tolist() == [1002]


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_folder_becomes_denser(workdir: Path, dtype: type) -> None:
    """Natural order, given frames bit by bit, new ones at their times."""
    given = [even(value, dtype, 6, 10) for value in (30, 60, 0)]
    for name, picture in zip(("f8.png", "f9.png", "f10.png"), given, strict=True):
        write_image(workdir / "clip" / name, picture)
    (workdir / "clip" / "notes.txt").write_text("no frame")
    run("clip", "--multi", "3", "--model", "blend")
    files = sorted((workdir / "output" / "clip").iterdir())
    assert [file.name for file in files] == [f"{n:06d}.png" for n in range(1, 8)]
    values = [np.unique(samples(file)).tolist() for file in files]
    assert values == [[30], [40], [50], [60], [40], [20], [0]]
    assert samples(files[0]).dtype == dtype


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_given_frames_pass_untouched(workdir: Path, dtype: type) -> None:
    given = [noise(seed, dtype=dtype) for seed in range(3)]
    for number, picture in enumerate(given):
        write_image(workdir / "clip" / f"{number}.tif", picture)
    run("clip", "--output", "denser")
    for number, picture in enumerate(given):
        assert np.array_equal(samples(workdir / "denser" / f"{2 * number + 1:06d}.png"), picture)


def test_times_between_two_images(workdir: Path) -> None:
    write_image(workdir / "a.png", even(0))
    write_image(workdir / "b.png", even(200))
    asked = ("--time", "3/4", "--time", "0.1")
    run("a.png", "b.png", *asked, "--model", "blend", "--output", "x", "--flow_scale", "1/2")
    assert np.unique(samples(workdir / "x" / "between_1.png")).tolist() == [20]
    assert np.unique(samples(workdir / "x" / "between_2.png")).tolist() == [150]


def test_fixed_time_network_recurses_and_says_so(
    workdir: Path, local: SGM, capsys: pytest.CaptureFixture[str]
) -> None:
    """Quarters come from halves: the middle of frame 0 and the middle frame is the first."""
    for name, seed in (("a", 0), ("b", 1)):
        write_image(workdir / f"{name}.png", noise(seed, 16, 32))
    run("a.png", "b.png", "--model", saved(local), "--multi", "4", "--output", "x", "--explain")
    assert "to within 1/64, by halving" in capsys.readouterr().out
    assert (workdir / "x" / "explain.jpg").is_file()
    frame0, frame1 = (read_frame(workdir / f"{name}.png")[None] for name in "ab")
    half = time_like(frame0, 0.5)
    with torch.inference_mode():
        middle = local(frame0, frame1, half).frame
        first = local(frame0, middle, half).frame
    for number, expected in ((1, first), (2, middle)):
        written = read_frame(workdir / "x" / f"between_{number}.png")
        torch.testing.assert_close(written, expected[0], atol=0.51 / 255, rtol=0)


def test_fixed_time_network_at_its_time_needs_no_recursion(
    workdir: Path, local: SGM, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, seed in (("a", 0), ("b", 1)):
        write_image(workdir / f"{name}.png", noise(seed, 17, 33))
    options = ("--tile", "16", "--flip_ensemble")
    run("a.png", "b.png", "--model", saved(local), *options, "--output", "c.png")
    assert "halving" not in capsys.readouterr().out
    assert samples(workdir / "c.png").shape == (17, 33, 3)


@pytest.mark.parametrize(("share", "ratio"), [("-1", 1), ("1/8", 1 / 8), (None, 1 / 4)])
def test_key_points_reach_the_network(
    workdir: Path, tiny: SGM, share: str | None, ratio: float
) -> None:
    asked = [] if share is None else ["--num_key_points", share]
    network = load_network(command.parse_arguments(["--model", str(saved(tiny)), *asked], ""))
    assert network.inner.config.keypoint_ratio == ratio


@pytest.mark.parametrize("size", [(1, 1), (1, 300), (300, 1), (3, 2)])
def test_smallest_frames(workdir: Path, size: tuple[int, int]) -> None:
    for name in "ab":
        write_image(workdir / f"{name}.png", even(77, np.uint8, *size))
    run("a.png", "b.png", "--output", "x", "--explain")
    middle = samples(workdir / "x" / "middle.png")
    assert middle.shape == (*size, 3)
    assert np.unique(middle).tolist() == [77]


def test_running_out_of_memory_says_what_helps(
    workdir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise torch.OutOfMemoryError

    monkeypatch.setattr(command, "interpolate_pair", fail)
    with pytest.raises(SystemExit, match=r"memory ran out.*--flow_scale 1/2"):
        run("--device", "cpu")


@pytest.mark.parametrize(
    ("inputs", "then"), [(("a.png", "b.png"), "begins again"), (("clip",), "goes on")]
)
def test_what_the_same_command_does_after_ctrl_c(
    inputs: tuple[str, ...], then: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with (
        patch("sgm_vfi.video.command.run", side_effect=KeyboardInterrupt),
        pytest.raises(SystemExit) as stop,
    ):
        run(*inputs)
    assert stop.value.code == 130
    assert f"The same command {then}." in capsys.readouterr().err


def test_errors_of_the_system_come_without_their_numbers() -> None:
    failed = OSError(errno.EACCES, "Permission denied", "a.png")
    with (
        patch("sgm_vfi.video.command.run", side_effect=failed),
        pytest.raises(SystemExit, match=r"^demo_2x.py: error: a\.png: permission is denied\."),
    ):
        run("a.png", "b.png")


def test_help_names_every_option(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        run("--help_all")
    assert stop.value.code == 0
    said = capsys.readouterr().out
    for word in ("FOLDER", "--multi", "--time", "--exp_name", "--flow_scale", "ours-small-1-2"):
        assert word in said
