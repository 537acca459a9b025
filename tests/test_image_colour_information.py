"""Colour profiles: new frames show the colours of the given ones."""

import struct
import zlib
from functools import cache
from pathlib import Path

import pytest
import torch
from PIL import Image, ImageCms

from sgm_vfi.media.image_colour_information import (
    MAX_PROFILE,
    find_common_colours,
    find_common_profile,
    read_profile,
)
from sgm_vfi.media.images import FrameError, read_frame, write_frame
from sgm_vfi.media.png_colour_chunks import insert_chunks, read_colour_chunks
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
    for name, own in (
        ("a", profile()),
        ("b", None),
        ("c", profile()),
        ("d", profile()[:20] + b"damaged" * 40),
    ):
        write_frame(f"{name}.jpg", torch.rand(3, 8, 8), profile=own)
    a, b, c, d = (workdir / f"{name}.jpg" for name in "abcd")
    assert find_common_profile([a, b], workdir / "x.png") is None
    assert "different colour profiles" in caplog.text
    caplog.clear()
    assert find_common_profile([a, b, c], workdir / "x.png") is None
    assert "a.jpg and " + str(b) in caplog.text
    assert find_common_profile([a, c], workdir / "x.tif") is None
    assert "not kept in .tif files" in caplog.text
    assert find_common_profile([d, d], workdir / "x.png") is None
    assert "unless they are damaged" in caplog.text
    assert find_common_profile([], workdir / "x.png") is None


def state(path: Path, *chunks: tuple[str, bytes]) -> Path:
    """Add chunks to a PNG file."""
    path.write_bytes(insert_chunks(path.read_bytes(), chunks))
    return path


GAMMA = ("gAMA", struct.pack(">I", 100000))
PQ = ("cICP", bytes([9, 16, 0, 1]))


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("folder", [False, True])
def test_chunks_of_png_are_kept(workdir: Path, bits: int, folder: bool) -> None:
    """Other programs read them from new frames; the pixels do not change."""
    (workdir / "given").mkdir()
    for name in "ab":
        write_frame(f"given/{name}.png", torch.full((3, 16, 16), 0.25), bits)
        state(workdir / "given" / f"{name}.png", PQ, GAMMA)
    inputs = ["given"] if folder else ["given/a.png", "given/b.png"]
    run(*inputs, "--model", "blend", "--output", "out")
    written = sorted((workdir / "out").glob("*.png"))
    assert len(written) == (3 if folder else 1)
    for path in written:
        assert read_colour_chunks(path) == (PQ, GAMMA)
        assert torch.equal(read_frame(path), read_frame("given/a.png"))
    if bits == 8:
        assert Image.open(written[0]).info["gamma"] == 1


def test_chunks_that_are_not_kept_are_named(
    workdir: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for name in "abc":
        write_frame(f"{name}.png", torch.rand(3, 8, 8))
    a, b = (state(workdir / f"{name}.png", GAMMA) for name in "ab")
    assert find_common_colours([a, b], workdir / "x.png") == (None, (GAMMA,))
    assert not caplog.text
    assert find_common_colours([a, b, workdir / "c.png"], workdir / "x.png") == (None, ())
    assert "c.png states other colours (nothing) than" in caplog.text
    assert find_common_colours([a, b], workdir / "x.jpg") == (None, ())
    assert "states colours (gAMA) that .jpg files cannot" in caplog.text


def test_a_profile_of_another_colour_space_is_dropped(
    workdir: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A file of RGB samples never claims CMYK or grey."""
    cmyk = profile()[:16] + b"CMYK" + profile()[20:]
    samples = torch.rand(2, 16, 16, 3).mul(255).byte().numpy()
    for name, picture in zip("ab", samples, strict=True):
        Image.fromarray(picture).convert("CMYK").save(f"{name}.jpg", icc_profile=cmyk)
        Image.fromarray(picture).convert("CMYK").save(f"plain_{name}.jpg")
    run("a.jpg", "b.jpg", "--model", "blend", "--output", "out.png")
    assert stated_by(workdir / "out.png") is None
    assert "states a colour profile for CMYK" in caplog.text
    assert "a.jpg holds CMYK" in caplog.text
    caplog.clear()
    run("plain_a.jpg", "plain_b.jpg", "--model", "blend", "--output", "plain.png")
    assert "plain_a.jpg holds CMYK" in caplog.text
    Image.fromarray(samples[0]).save("rgb.png")
    for mode in ("CMYK", "LAB", "YCbCr"):  # also of other images than the first
        caplog.clear()
        Image.fromarray(samples[0]).convert(mode).save(f"{mode}.tiff")
        find_common_colours([workdir / "rgb.png", workdir / f"{mode}.tiff"], workdir / "x.png")
        expected = {"CMYK": "CMYK", "LAB": "CIELab", "YCbCr": ""}[mode]
        assert (f"{mode}.tiff holds {expected}" in caplog.text) == bool(expected)


@pytest.mark.parametrize("mode", ["L", "I;16", "1"])
def test_a_transparent_grey_level_is_refused(workdir: Path, mode: str) -> None:
    """As the transparency of palette and colour images is; a level that does not occur is fine."""
    levels = torch.arange(64).reshape(8, 8).numpy().astype("uint16" if mode == "I;16" else "uint8")
    picture = Image.fromarray(levels)
    picture = (
        picture.point(lambda level: level // 32 * 255).convert("1") if mode == "1" else picture
    )
    picture.save("frame.png", transparency=1)
    with pytest.raises(FrameError, match=r"transparent in parts \(where it has grey level"):
        read_frame("frame.png")
    if mode != "1":
        picture.save("frame.png", transparency=200)
        assert read_frame("frame.png").shape == (3, 8, 8)


def test_a_profile_that_unpacks_to_gigabytes_is_not_kept(
    workdir: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write_frame("a.png", torch.rand(3, 8, 8))
    bomb = ("iCCP", b"x\0\0" + zlib.compress(bytes(4 * MAX_PROFILE)))
    path = state(workdir / "a.png", bomb)
    assert len(read_profile(path) or b"") == MAX_PROFILE
    assert find_common_colours([path], workdir / "x.png").profile is None
    assert "states a colour profile" in caplog.text
