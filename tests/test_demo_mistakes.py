"""Mistakes with images: each is explained in one sentence, and nothing is written."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from sgm_vfi import demo_2x
from tests.fixtures.demo import assert_refused
from tests.fixtures.image_samples import even, noise, write_image
from tests.fixtures.processes import python

pytestmark = pytest.mark.usefixtures("workdir")


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
    "animated AVIF": ("moves.avif", r"moves\.avif is an animation that cannot be read.*magick"),
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
    assert_refused(mistaken, *MISTAKES[case], capsys)


def test_mistake_in_a_real_process(mistaken: Path) -> None:
    """One line on the error stream, nothing on the other, and a code for scripts."""
    process = python(demo_2x.__file__, "a.png", "small.png", merges=False)
    output, errors = process.communicate()
    assert process.returncode == 2
    assert errors.splitlines()[-1].startswith("demo_2x.py: error: ")
    assert errors.count("\n") == 1 + ("loading PyTorch" in errors)
    assert output == ""  # no network was built before the images were looked at
