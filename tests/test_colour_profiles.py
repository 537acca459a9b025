"""Colour profiles: new frames show the colours of the given ones."""

from functools import cache
from pathlib import Path

import pytest
import torch
from PIL import Image, ImageCms

from sgm_vfi.media.colour_profiles import find_common_profile, read_profile
from sgm_vfi.media.images import read_frame, write_frame
from tests.fixtures.demo import run


@cache
def profile() -> bytes:
    """The same one each time: it tells the second it was made in."""
    return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def stated_by(path: Path) -> bytes | None:
    """Read by another library."""
    return Image.open(path).info.get("icc_profile")


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp"])
def test_a_frame_states_its_profile(workdir: Path, suffix: str) -> None:
    path, frame = workdir / f"frame{suffix}", torch.rand(3, 8, 8)
    write_frame(path, frame, profile=profile())
    assert read_profile(path) == stated_by(path) == profile()
    plain = workdir / f"plain{suffix}"
    write_frame(plain, frame)
    assert read_profile(plain) is stated_by(plain) is None
    assert torch.equal(read_frame(path), read_frame(plain))


def test_sixteen_bits_as_well(workdir: Path) -> None:
    write_frame("frame.png", torch.rand(3, 8, 8), 16, profile())
    assert read_profile(workdir / "frame.png") == profile()


@pytest.mark.parametrize("folder", [False, True])
def test_new_frames_state_that_of_the_given_ones(workdir: Path, folder: bool) -> None:
    (workdir / "given").mkdir()
    for name in "ab":
        write_frame(f"given/{name}.png", torch.rand(3, 16, 16), profile=profile())
    inputs = ["given"] if folder else ["given/a.png", "given/b.png"]
    run(*inputs, "--model", "blend", "--output", "out")
    written = sorted((workdir / "out").glob("*.png"))
    assert len(written) == (3 if folder else 1)
    assert {stated_by(path) for path in written} == {profile()}


def test_what_is_not_kept_is_said(workdir: Path, caplog: pytest.LogCaptureFixture) -> None:
    for name, own in (("a", profile()), ("b", None), ("c", profile()), ("d", b"damaged" * 40)):
        write_frame(f"{name}.jpg", torch.rand(3, 8, 8), profile=own)
    a, b, c, d = (workdir / f"{name}.jpg" for name in "abcd")
    assert find_common_profile([a, b], workdir / "x.png") is None
    assert "different colour profiles" in caplog.text
    assert find_common_profile([a, c], workdir / "x.tif") is None
    assert "not kept in .tif files" in caplog.text
    assert find_common_profile([d, d], workdir / "x.png") is None
    assert "unless they are damaged" in caplog.text
    assert find_common_profile([], workdir / "x.png") is None
