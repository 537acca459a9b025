"""Real image files, written and read."""

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from torch import Tensor

from sgm_vfi.media.images import (
    IMAGE_SUFFIXES,
    FrameError,
    list_frames,
    quantise,
    read_frame,
    read_samples,
    write_frame,
)
from tests.fixtures.photographs import photograph

LOSSLESS = (".png", ".tif", ".tiff", ".bmp", ".ppm")


@pytest.fixture
def frame() -> Tensor:
    """A frame off every grid, beyond [0, 1] here and there."""
    return torch.rand(3, 12, 20, generator=torch.Generator().manual_seed(0)) * 1.1 - 0.05


@pytest.mark.parametrize("suffix", LOSSLESS)
def test_what_was_written_is_read_up_to_rounding(
    tmp_path: Path, frame: Tensor, suffix: str
) -> None:
    path = tmp_path / f"frame{suffix}"
    write_frame(path, frame)
    assert read_samples(path).dtype == np.uint8
    read = read_frame(path)
    assert read.dtype == torch.float32
    assert read.is_contiguous()
    assert torch.equal(read, quantise(frame))
    assert (read - frame.clamp(0, 1)).abs().max() <= 0.5 / 255 + 1e-6


@pytest.mark.parametrize("suffix", [".png", ".tif", ".TIFF"])
def test_sixteen_bits_stay_sixteen(tmp_path: Path, frame: Tensor, suffix: str) -> None:
    path = tmp_path / f"frame{suffix}"
    write_frame(path, frame, bits=16)
    assert read_samples(path).dtype == np.uint16
    assert torch.equal(read_frame(path), quantise(frame, 16))
    assert (read_frame(path) - frame.clamp(0, 1)).abs().max() <= 0.5 / 65535 + 1e-7


def test_sixteen_bits_are_refused_where_they_would_be_lost(tmp_path: Path, frame: Tensor) -> None:
    with pytest.raises(FrameError, match=r"\.jpg holds 8 bits.*\.png"):
        write_frame(tmp_path / "frame.jpg", frame, bits=16)
    with pytest.raises(ValueError, match="8 or 16 bits per sample, got 10"):
        write_frame(tmp_path / "frame.png", frame, bits=10)
    assert not list(tmp_path.iterdir())


def test_rounding_is_to_the_nearest_and_halves_to_even() -> None:
    levels = torch.tensor([0.5, 1.5, 2.4, 2.6, 254.5, 254.51, -3.0, 300.0])
    assert (quantise(levels / 255) * 255).round().tolist() == [0, 2, 2, 3, 254, 255, 0, 255]
    assert quantise(torch.tensor(100.9 / 255)).item() * 255 == pytest.approx(101)


def test_channels_are_red_green_blue(tmp_path: Path) -> None:
    """Pure red by OpenCV, which has blue first, and back."""
    cv2.imwrite(str(tmp_path / "red.png"), np.full((4, 5, 3), (0, 0, 255), np.uint8))
    red = read_frame(tmp_path / "red.png")
    assert [plane.unique().tolist() for plane in red] == [[1.0], [0.0], [0.0]]
    write_frame(tmp_path / "again.png", red)
    assert cv2.imread(str(tmp_path / "again.png"))[0, 0].tolist() == [0, 0, 255]


@pytest.mark.parametrize("depth", [np.uint8, np.uint16])
def test_grey_becomes_three_equal_channels(tmp_path: Path, depth: type) -> None:
    grey = np.arange(20, dtype=depth).reshape(4, 5) * (np.iinfo(depth).max // 19)
    cv2.imwrite(str(tmp_path / "grey.png"), grey)
    expected = torch.from_numpy(grey.astype(np.float32) / np.float32(np.iinfo(depth).max))
    assert torch.equal(read_frame(tmp_path / "grey.png"), expected.expand(3, -1, -1))


@pytest.mark.parametrize("suffix", [".png", ".tiff", ".webp"])
def test_alpha_is_dropped_where_opaque_and_refused_elsewhere(tmp_path: Path, suffix: str) -> None:
    image = np.dstack((photograph(8, 10), np.full((8, 10), 255, np.uint8)))
    path = tmp_path / f"alpha{suffix}"
    lossless = [cv2.IMWRITE_WEBP_QUALITY, 101]
    cv2.imwrite(str(path), cv2.cvtColor(image, cv2.COLOR_RGBA2BGRA), lossless)
    expected = torch.from_numpy(image[..., :3].transpose(2, 0, 1).astype(np.float32) / 255)
    torch.testing.assert_close(read_frame(path), expected)
    image[3, 4, 3] = 17
    cv2.imwrite(str(path), cv2.cvtColor(image, cv2.COLOR_RGBA2BGRA), lossless)
    with pytest.raises(FrameError, match=r"alpha.*transparent in parts \(alpha down to 17 of 255"):
        read_frame(path)


def test_exif_orientation_is_honoured(tmp_path: Path) -> None:
    """Orientation 6: the camera was turned, the stored rows are columns from right to left."""
    stored = np.zeros((16, 32, 3), np.uint8)
    stored[:, :16] = 255  # left half white
    jpeg = cv2.imencode(".jpg", stored)[1].tobytes()
    tag = b"\x12\x01" + b"\x03\x00" + b"\x01\x00\x00\x00" + b"\x06\x00\x00\x00"
    exif = b"Exif\x00\x00" + b"II*\x00\x08\x00\x00\x00" + b"\x01\x00" + tag + b"\x00" * 4
    segment = b"\xff\xe1" + (len(exif) + 2).to_bytes(2, "big") + exif
    (tmp_path / "turned.jpg").write_bytes(jpeg[:2] + segment + jpeg[2:])
    frame = read_frame(tmp_path / "turned.jpg")
    assert frame.shape == (3, 32, 16)
    assert frame[:, :16].mean() > 0.99
    assert frame[:, 16:].mean() < 0.01


def test_names_may_hold_any_character(tmp_path: Path, frame: Tensor) -> None:
    path = tmp_path / "Größe 日本 [1] %04d.png"
    write_frame(path, frame)
    assert torch.equal(read_frame(path), quantise(frame))
    assert list_frames(tmp_path) == [path]


@pytest.mark.parametrize("suffix", [*LOSSLESS, ".jpg", ".webp", ".jp2", ".avif"])
@pytest.mark.parametrize("share", [0.02, 0.5, 0.95])
def test_a_truncated_image_is_an_error(tmp_path: Path, suffix: str, share: float) -> None:
    data = cv2.imencode(suffix, photograph(64, 80))[1].tobytes()
    path = tmp_path / f"cut{suffix}"
    path.write_bytes(data)
    assert read_frame(path).shape == (3, 64, 80)
    path.write_bytes(data[: int(share * len(data))])
    with pytest.raises(FrameError, match=r"cut\..* bytes\).*truncated or damaged"):
        read_frame(path)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda path: None, "there is no such file"),
        (lambda path: path.mkdir(), "it is a folder"),
        (lambda path: path.touch(), "the file is empty"),
        (lambda path: path.write_text("no image at all"), "no image that OpenCV can read"),
        (lambda path: path.write_bytes(float_image()), "float32 samples"),
    ],
)
def test_what_is_no_image_is_an_error(
    tmp_path: Path, make: Callable[[Path], object], message: str
) -> None:
    path = tmp_path / "frame.tiff"
    make(path)
    with pytest.raises(FrameError, match=message) as caught:
        read_frame(path)
    assert str(path) in str(caught.value)


def float_image() -> bytes:
    return cv2.imencode(".tiff", np.zeros((4, 5, 3), np.float32))[1].tobytes()


@pytest.mark.parametrize("name", ["frame", "frame.gif", "frame.png.txt"])
def test_a_name_without_a_format_is_refused(tmp_path: Path, frame: Tensor, name: str) -> None:
    with pytest.raises(FrameError, match=r"images are written as \.png"):
        write_frame(tmp_path / name, frame)


def test_what_is_no_frame_is_not_written(tmp_path: Path, frame: Tensor) -> None:
    for wrong in (frame[None], frame[:1], (frame * 255).to(torch.int32)):
        with pytest.raises(ValueError, match=r"\(3, H, W\) in \[0, 1\], got"):
            write_frame(tmp_path / "frame.png", wrong)
    frame[1, 2, 3] = torch.nan
    with pytest.raises(ValueError, match="not numbers"):
        write_frame(tmp_path / "frame.png", frame)
    with pytest.raises(FrameError, match="no folder"):
        write_frame(tmp_path / "missing" / "frame.png", torch.zeros(3, 4, 5))
    assert not list(tmp_path.iterdir())


def test_a_failed_write_leaves_the_file_as_it_was(
    tmp_path: Path, frame: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "frame.png"
    write_frame(path, frame)
    before = path.read_bytes()

    def half(self: Path, data: bytes) -> int:
        with self.open("wb") as file:
            file.write(data[: len(data) // 2])
        raise OSError("disk full")

    monkeypatch.setattr(Path, "write_bytes", half)
    with pytest.raises(FrameError, match=r"frame\.png: disk full"):
        write_frame(path, 1 - frame)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_frames_are_listed_in_natural_order(tmp_path: Path) -> None:
    names = ["Frame1.PNG", "frame2.jpg", "frame10.png", "frame010b.webp", "frame11.tif", "x.bmp"]
    for name in (*reversed(names), ".hidden.png", "notes.txt", "clip.mp4"):
        (tmp_path / name).touch()
    (tmp_path / "folder.png").mkdir()
    assert [path.name for path in list_frames(tmp_path)] == names


def test_a_folder_without_frames_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FrameError, match=r"holds no frames: looked for files ending in \.png"):
        list_frames(tmp_path)
    with pytest.raises(FrameError, match="there is no such file or folder"):
        list_frames(tmp_path / "missing")
    (tmp_path / "file").touch()
    with pytest.raises(FrameError, match="it is a file"):
        list_frames(tmp_path / "file")


def test_every_listed_suffix_can_be_read(tmp_path: Path) -> None:
    for suffix in IMAGE_SUFFIXES:
        flags = cv2.COLOR_RGB2GRAY if suffix == ".pgm" else cv2.COLOR_RGB2BGR
        data = cv2.imencode(suffix, cv2.cvtColor(photograph(32, 40), flags))[1]
        (tmp_path / f"frame{suffix}").write_bytes(data.tobytes())
        assert read_frame(tmp_path / f"frame{suffix}").shape == (3, 32, 40)
