"""The demo as its users run it: right frames, or an error that helps, and nothing half done."""

import errno
import re
import signal
import subprocess
import sys
import time
from dataclasses import asdict, replace
from pathlib import Path
from unittest.mock import patch

import cv2
import numpy as np
import pytest
import torch

from sgm_vfi import demo_2x
from sgm_vfi.media.images import read_frame, write_frame
from sgm_vfi.model.cli_options import load_network
from sgm_vfi.model.interpolator import time_like
from sgm_vfi.model.sgm.network import SGM
from sgm_vfi.model.weight_io import save_weights
from sgm_vfi.video import command
from tests.conftest import TINY, randomize_weights
from tests.fixtures.demo import run

pytestmark = pytest.mark.usefixtures("workdir")

ROOT = Path(demo_2x.__file__).resolve().parent
PYTHON = (sys.executable, str(ROOT / "demo_2x.py"))


def write_image(path: Path, samples: np.ndarray) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), samples)
    return path


def noise(seed: int, height: int = 12, width: int = 20, dtype: type = np.uint8) -> np.ndarray:
    high = np.iinfo(dtype).max
    return np.random.default_rng(seed).integers(0, high, (height, width, 3), dtype, endpoint=True)


def even(value: int, dtype: type = np.uint8, height: int = 8, width: int = 8) -> np.ndarray:
    return np.full((height, width, 3), value, dtype)


def samples(path: Path) -> np.ndarray:
    return cv2.imread(str(path), cv2.IMREAD_UNCHANGED)


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


MISTAKES = {
    "sizes": ("a.png small.png", r"a.png is 20x12, small.png is 8x8"),
    "folder of sizes": ("mixed", r"mixed/1.png is 20x12, mixed/2.png is 8x8"),
    "text": ("a.png text.png", r"text.png \(11 bytes\) is no image"),
    "empty": ("a.png empty.png", r"empty.png: the file is empty"),
    "damaged in a folder": ("damaged", r"damaged/2.png .* is no image"),
    "missing": ("a.png nowhere.png", r"nowhere.png: there is no such file or folder"),
    "one image": ("a.png", r"got one \(a.png\). Give two images or a folder"),
    "one in a folder": ("single", r"got one in single"),
    "empty folder": ("void", r"void holds no frames"),
    "no folder": ("nowhere", r"nowhere: there is no such file or folder"),
    "no video": ("nowhere.mp4", r"nowhere.mp4: there is no such file or folder"),
    "no video after all": ("film.mp4", r"film.mp4 is no video that can be read"),
    "video beside an image": ("a.png film.mp4", r"film.mp4 is a video.*Give it alone"),
    "rate of images": ("a.png b.png --fps 60", r"Only videos take --fps\. Between"),
    "dry run of images": ("a.png b.png --output c.png --dry_run", r"Only videos take --dry_run\."),
    "codec of a folder": (
        "clip --codec hevc --crf 3 --compare side --dedup --no-cuts --resume",
        r"videos take --codec, --crf, --no-cuts, --dedup, --compare, --resume\.",
    ),
    "steps of a folder": ("clip --explain", r"--explain shows the steps of one new frame"),
    "steps of an image": ("a.png b.png --output c.png --explain", r"--explain shows the steps"),
    "three images": ("a.png b.png a.png", r"Give two images, got 3"),
    "unknown model": ("a.png b.png --model nope", r"'nope'.*Known names: repeat, blend"),
    "absent weights": ("a.png b.png --exp_name ours-x", r"log/ours-x/ckpt/ours-x"),
    "text for weights": ("a.png b.png --model text.png", r"text.png .* cannot be read as weights"),
    "two models": ("a.png b.png --model blend --exp_name x", r"not allowed with"),
    "points of classical": ("a.png b.png --num_key_points 0.5", r"matches no key points"),
    "too many points": ("a.png b.png --num_key_points 2", r"share in \[0, 1\], or -1"),
    "tiles of classical": ("a.png b.png --tile 64", r"cannot be tiled"),
    "multi 1": ("a.png b.png --multi 1", r"a whole number from 2 to 1000, got '1'"),
    "multi 2.5": ("a.png b.png --multi 2.5", r"a whole number from 2 to 1000, got '2.5'"),
    "multi and time": ("a.png b.png --multi 2 --time 0.5", r"not allowed with"),
    "time 0": ("a.png b.png --time 0", r"between 0 and 1, both excluded, got 0"),
    "time 1/0": ("a.png b.png --time 1/0", r"expected a number such as 0.5 or 1/2"),
    "flow scale": ("a.png b.png --flow_scale 2", r"ratio of small whole numbers"),
    "device": ("a.png b.png --device toaster", r"no device 'toaster' here"),
    "device without values": ("a.png b.png --device meta", r"no device 'meta' here"),
    "many frames, one file": ("a.png b.png --multi 3 --output x.png", r"one frame, not 2"),
    "unwritable type": ("a.png b.png --output x.jp2", r"Cannot write x.jp2"),
    "16 bits as JPEG": ("deep.png deep2.png --output x.jpg", r"8 bits per sample, got 16"),
    "over an input": ("a.png b.png --output b.png", r"b.png is among the frames to read"),
    "below a file": ("a.png b.png --output text.png/x", r"text.png"),
    "nowhere to write": (
        "a.png b.png --output /proc/c.png",
        r"c\.png: no file can be made in /proc",
    ),
    "nowhere to write a folder": ("clip --output /proc/x", r"000001\.png: no file can be made in"),
    "default below a file": ("film", r"output/film/000001\.png: .*output/film is a file"),
    "into itself": ("clip --output clip", r"among the frames to read"),
    "pair into a video": (
        "a.png b.png --output x.mp4",
        r"in \.mp4 as files.*folder, and add --rate",
    ),
    "pair into a GIF": ("a.png b.png --output x.gif", r"name an image, ending in \.png"),
    "pair into text": ("a.png b.png --output text.txt", r"text\.txt is a file: name an image"),
    "folder into AVI": ("mixed --output x.avi", r"a video, ending in \.mp4, .*as in --rate 24"),
    "folder into AVI at a rate": ("mixed --output x.avi --rate 24", r"a video, ending in \.mp4"),
    "folder into an image": ("clip --output a.png", r"a\.png is a file: name a folder"),
    "folder as a new image": ("clip --output x.png", r"make it first"),
    "two folders": ("clip mixed", r"Got clip and mixed: give one folder, or two images"),
    "folder and image": ("clip a.png --output x.mp4", r"clip and a.png: give one folder"),
    "animated PNG": (
        "moves.png --output x.mp4",
        r"moves\.png is an animation.*Convert it to a video",
    ),
    "animated WebP": ("moves.webp", r"moves\.webp is an animation"),
    "animated AVIF": ("moves.avif", r"moves\.avif is an animation"),
    "over an input beside": (
        "pictures/comparison.jpg b.png --output pictures",
        r"among the frames",
    ),
    "among others": ("clip --output mixed", r"mixed holds 2 images .*1.png"),
}


@pytest.fixture
def mistaken(workdir: Path) -> Path:
    """Files to be used wrongly."""
    for name in ("a.png", "b.png", "single/1.png", "mixed/1.png", "damaged/1.png"):
        write_image(workdir / name, noise(0))
    for name in ("small.png", "mixed/2.png", "clip/000001.png", "clip/000003.png"):
        write_image(workdir / name, even(9))
    for name in ("deep.png", "deep2.png"):
        write_image(workdir / name, even(9, np.uint16))
    write_image(workdir / "pictures" / "comparison.jpg", noise(0))
    animation = cv2.Animation()
    animation.frames, animation.durations = [even(3), even(9)], np.array([80, 80])
    for suffix in ("png", "webp"):
        assert cv2.imwriteanimation(str(workdir / f"moves.{suffix}"), animation)
    write_image(workdir / "film" / "1.png", noise(0))
    write_image(workdir / "film" / "2.png", noise(0))
    (workdir / "output").mkdir()
    (workdir / "output" / "film").touch()
    (workdir / "moves.avif").write_bytes(b"\0\0\0\x2cftypavis")
    for name in ("text.png", "text.txt", "film.mp4", "damaged/2.png"):
        (workdir / name).write_text("hello world")
    (workdir / "empty.png").touch()
    (workdir / "void").mkdir()
    return workdir


@pytest.mark.parametrize("case", MISTAKES)
def test_mistake_is_explained_and_leaves_nothing(
    mistaken: Path, case: str, capsys: pytest.CaptureFixture[str]
) -> None:
    command, message = MISTAKES[case]
    before = {file: file.stat().st_mtime_ns for file in mistaken.rglob("*")}
    with pytest.raises(SystemExit) as stop:
        run(*command.split())
    said = capsys.readouterr().err + (stop.value.code if isinstance(stop.value.code, str) else "")
    assert stop.value.code not in (0, None)
    assert re.search(message, said), said
    assert {file: file.stat().st_mtime_ns for file in mistaken.rglob("*")} == before


def test_mistake_in_a_real_process(mistaken: Path) -> None:
    """One line on the error stream, nothing on the other, and a code for scripts."""
    done = subprocess.run([*PYTHON, "a.png", "small.png"], capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].startswith("demo_2x.py: error: ")
    assert done.stderr.count("\n") == 1 + ("loading PyTorch" in done.stderr)
    assert done.stdout == ""  # no network was built before the images were looked at


def test_interrupted_folder_keeps_whole_frames(workdir: Path) -> None:
    """Ctrl-C in the middle: no traceback, every file can be read, and the same command goes on."""
    for number in range(400):
        write_image(workdir / "clip" / f"{number}.png", noise(number, 64, 64))
    process = subprocess.Popen([*PYTHON, "clip"], stderr=subprocess.PIPE, text=True)
    output = workdir / "output" / "clip"
    deadline = time.monotonic() + 60
    while not (output / "000005.png").exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "interrupted" in said
    assert "Traceback" not in said
    files = sorted(output.glob("*.png"))
    assert 5 <= len(files) < 799
    assert [file.name for file in files] == [f"{n + 1:06d}.png" for n in range(len(files))]
    assert all(samples(file).shape == (64, 64, 3) for file in files)


def interrupted_after(count: int) -> object:
    """As by a person, when so many frames were written."""
    calls = iter(range(count))

    def write(*arguments: object) -> None:
        if next(calls, None) is None:
            raise KeyboardInterrupt
        write_frame(*arguments)

    return patch("sgm_vfi.video.folder_to_folder_job.write_frame", write)


def test_interrupted_folder_goes_on(workdir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """From the last given frame on, with the frames of one uninterrupted run and no trace."""
    for number in range(5):
        write_image(workdir / "clip" / f"{number}.png", noise(number))
    command = ("clip", "--multi", "3", "--model", "blend", "--output")
    run(*command, "whole")
    with interrupted_after(8), pytest.raises(SystemExit):
        run(*command, "out")
    kept = {file: file.stat().st_mtime_ns for file in sorted((workdir / "out").glob("*.png"))[:6]}
    run(*command, "out")
    assert "resume  after out/000006.png" in capsys.readouterr().out
    assert {file: file.stat().st_mtime_ns for file in kept} == kept
    names = sorted(file.name for file in (workdir / "out").iterdir())
    assert names == sorted(file.name for file in (workdir / "whole").iterdir())
    assert all(
        np.array_equal(samples(workdir / "out" / x), samples(workdir / "whole" / x)) for x in names
    )


def test_unfinished_folder_is_not_mixed_with_another_run(workdir: Path) -> None:
    """Another network, other times, other frames: refused, and nothing is touched."""
    for number in range(4):
        write_image(workdir / "clip" / f"{number}.png", even(50 * number))
    with interrupted_after(4), pytest.raises(SystemExit):
        run("clip", "--model", "blend")
    before = {file: file.stat().st_mtime_ns for file in (workdir / "output/clip").iterdir()}
    with pytest.raises(
        SystemExit, match=r"other settings: .*model \(blend .*now repeat.*delete output/clip"
    ):
        run("clip", "--model", "repeat")
    with pytest.raises(SystemExit, match=r"times \(\[0\.5\], now \[0\.25\]\)"):
        run("clip", "--model", "blend", "--time", "1/4")
    write_image(workdir / "clip" / "3.png", even(160))
    with pytest.raises(SystemExit, match=r"frames \(4 files, \w+, now 4 files, \w+\)"):
        run("clip", "--model", "blend")
    assert {file: file.stat().st_mtime_ns for file in before} == before


def test_full_disk_is_explained_and_leaves_what_is_done(workdir: Path) -> None:
    """The file that there is no room for is missing, and the same command goes on from it."""
    for number in range(3):
        write_image(workdir / "clip" / f"{number}.png", noise(number))
    write = Path.write_bytes

    def full(path: Path, data: bytes) -> int:
        if path.name.startswith(".000004."):
            raise OSError(errno.ENOSPC, "No space left on device", str(path))
        return write(path, data)

    message = r"^demo_2x.py: error: The disk is full\..*kept in output/clip: make room.* goes on\.$"
    with patch.object(Path, "write_bytes", full), pytest.raises(SystemExit, match=message):
        run("clip")
    files = sorted(file.name for file in (workdir / "output" / "clip").iterdir())
    assert files == ["000001.png", "000002.png", "000003.png"]
    run("clip")
    assert len(list((workdir / "output" / "clip").iterdir())) == 5
    with (
        patch.object(Path, "write_bytes", side_effect=OSError(errno.EIO, "Input/output error")),
        pytest.raises(SystemExit, match=r"Cannot write c\.png: Input/output error\.$"),
    ):
        run("clip/0.png", "clip/1.png", "--output", "c.png")


def test_frames_of_an_earlier_run_do_not_count_as_done(workdir: Path) -> None:
    for number in range(4):
        write_image(workdir / "clip" / f"{number}.png", even(50 * number))
    run("clip", "--model", "repeat")
    with interrupted_after(4), pytest.raises(SystemExit):
        run("clip", "--model", "blend", "--overwrite")
    run("clip", "--model", "blend")
    values = [samples(workdir / f"output/clip/{n:06d}.png")[0, 0, 0] for n in range(1, 8)]
    assert values == [0, 25, 50, 75, 100, 125, 150]


def test_a_folder_may_be_called_as_it_likes_once_it_is_there(workdir: Path) -> None:
    """A suffix is a mistake only where it would make a folder that looks like a file."""
    for name in ("clip/1.png", "clip/2.png"):
        write_image(workdir / name, noise(0))
    for name in ("run.mp4", "run.png"):
        (workdir / name).mkdir()
    run("clip", "--model", "blend", "--output", "run.png")
    run("clip/1.png", "clip/2.png", "--model", "blend", "--output", "run.mp4")
    assert len(list((workdir / "run.png").iterdir())) == 3
    assert samples(workdir / "run.mp4" / "middle.png").shape == (12, 20, 3)


def test_a_finished_folder_is_replaced_on_request_only(workdir: Path) -> None:
    for number in range(3):
        write_image(workdir / "clip" / f"{number}.png", noise(number))
    run("clip", "--multi", "3")
    before = [samples(file) for file in sorted((workdir / "output" / "clip").iterdir())]
    with pytest.raises(SystemExit, match=r"000001\.png exists already.*with --overwrite"):
        run("clip", "--multi", "3")
    run("clip", "--multi", "3", "--overwrite")
    after = [samples(file) for file in sorted((workdir / "output" / "clip").iterdir())]
    assert len(before) == 7
    assert all(map(np.array_equal, before, after))
    with pytest.raises(SystemExit, match=r"holds 2 images .*000006.png"):
        run("clip", "--multi", "2")  # would leave two of the seven behind


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
        run("-h")
    assert stop.value.code == 0
    said = capsys.readouterr().out
    for word in ("FOLDER", "--multi", "--time", "--exp_name", "--flow_scale", "ours-small-1-2"):
        assert word in said
