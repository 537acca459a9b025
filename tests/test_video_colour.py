"""Samples to RGB and back: the identity, the standard's numbers, and what FFmpeg makes of them."""

from pathlib import Path

import av
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from sgm_vfi.media.colour_matrices import MATRICES
from sgm_vfi.video.av_frames import read_planes, to_video_frame
from sgm_vfi.video.colour_conversion import PLANE_LAYOUTS, PixelFormat, shared_overshoot
from tests.fixtures.demo import run


def noise(pixel_format: PixelFormat, height: int, width: int, seed: int = 0) -> list[Tensor]:
    """Any samples, most of which are no colours in RGB."""
    generator = torch.Generator().manual_seed(seed)
    dtype = torch.uint8 if pixel_format.layout.bits == 8 else torch.int32
    layout = pixel_format.layout
    chroma = (-(-height // layout.step_y), -(-width // layout.step_x))
    sizes = [(height, width), chroma, chroma]
    return [
        torch.randint(0, pixel_format.max_value + 1, size, generator=generator, dtype=dtype)
        for size in sizes
    ]


@settings(deadline=None, max_examples=60)
@given(
    pix_fmt=st.sampled_from(sorted(PLANE_LAYOUTS)),
    matrix=st.sampled_from(sorted(MATRICES)),
    is_full_range=st.booleans(),
    half_height=st.integers(1, 7),
    width=st.integers(1, 15),
    seed=st.integers(0, 99),
)
def test_there_and_back_is_the_identity(
    pix_fmt: str, matrix: int, is_full_range: bool, half_height: int, width: int, seed: int
) -> None:
    """Bit by bit, for any samples up to 12 bits; to 1 of 65535 at 16."""
    pixel_format = PixelFormat(PLANE_LAYOUTS[pix_fmt], matrix, is_full_range)
    planes = noise(pixel_format, 2 * half_height, width, seed)
    back = pixel_format.to_planes(pixel_format.to_rgb(planes))
    for plane, other in zip(planes, back, strict=True):
        assert plane.dtype == other.dtype
        assert (plane.int() - other.int()).abs().max() <= (pixel_format.layout.bits > 12)


def test_an_odd_last_row_is_nearly_kept() -> None:
    """Half of what its chroma stands for lies outside of the picture."""
    pixel_format = PixelFormat(PLANE_LAYOUTS["yuv420p"])
    smooth = torch.linspace(0.3, 0.6, 7)[:, None].expand(3, 7, 4)[None]
    planes = pixel_format.to_planes(smooth)
    back = pixel_format.to_planes(pixel_format.to_rgb(planes))
    assert all((a.int() - b.int()).abs().max() <= 1 for a, b in zip(planes, back, strict=True))


@pytest.mark.parametrize(
    ("matrix", "is_full_range", "rgb", "samples"),
    [
        (1, False, (1, 1, 1), (235, 128, 128)),
        (1, False, (0, 0, 0), (16, 128, 128)),
        (1, True, (1, 1, 1), (255, 128, 128)),
        (1, False, (1, 0, 0), (63, 102, 240)),  # 16 + 219 * 0.2126; 128 - 224 * 0.1146
        (6, False, (1, 0, 0), (81, 90, 240)),
        (6, False, (0, 0, 1), (41, 240, 110)),
        (9, False, (0, 1, 0), (164, 47, 25)),
        (6, True, (0, 1, 0), (150, 44, 21)),
    ],
)
def test_colours_of_the_standards(
    matrix: int, is_full_range: bool, rgb: tuple[int, ...], samples: tuple[int, ...]
) -> None:
    pixel_format = PixelFormat(PLANE_LAYOUTS["yuv444p"], matrix, is_full_range)
    frame = torch.tensor(rgb, dtype=torch.float32).view(1, 3, 1, 1)
    assert tuple(int(plane) for plane in pixel_format.to_planes(frame)) == samples
    planes = [torch.tensor([[value]], dtype=torch.uint8) for value in samples]
    torch.testing.assert_close(pixel_format.to_rgb(planes), frame, atol=0.005, rtol=0)


@pytest.mark.parametrize("pix_fmt", ["yuv444p", "yuv420p", "yuv422p10le", "gbrp"])
@pytest.mark.parametrize("matrix", [1, 5])
def test_ffmpeg_sees_the_same(pix_fmt: str, matrix: int) -> None:
    """swscale reads our samples as the colours that they stand for.

    On a gentle ramp: it takes chroma to sit half a pixel further to the right than the standards.
    """
    pixel_format = PixelFormat(PLANE_LAYOUTS[pix_fmt], matrix, is_full_range=pix_fmt == "gbrp")
    ramp = torch.linspace(0.35, 0.65, 32)
    frame = torch.stack((ramp.expand(16, 32), 0.9 - 0.5 * ramp.expand(16, 32),
                         torch.full((16, 32), 0.4)))[None]  # fmt: skip
    picture = to_video_frame(frame, pixel_format)
    full = 2 if pixel_format.is_full_range else 1
    rgb = picture.reformat(format="rgb24", src_colorspace=matrix, src_color_range=full,
                           dst_color_range=2, interpolation=0x2 | 0x40000 | 0x2000)  # fmt: skip
    theirs = torch.from_numpy(rgb.to_ndarray().astype(np.float32)).movedim(-1, 0)[None] / 255
    ours = pixel_format.to_rgb(read_planes(picture, pixel_format.layout))
    assert (ours - theirs).abs().max() <= 3.5 / 255  # of another matrix: 10 and more
    assert (ours - frame).abs().max() <= 3.5 / 255


def test_a_palette_becomes_rgb() -> None:
    picture = av.VideoFrame.from_ndarray(np.full((4, 6, 3), 200, np.uint8))
    planes = read_planes(picture, PLANE_LAYOUTS["gbrp"])
    assert [plane.shape for plane in planes] == [(4, 6)] * 3
    assert {int(value) for plane in planes for value in plane.flatten()} == {200}


def test_shared_excess_by_hand() -> None:
    """Above one and below zero, as far as both frames are; of one alone nothing."""
    frame0 = torch.tensor([1.2, 1.3, -0.1, -0.3, 0.5, 1.2, -0.2])
    frame1 = torch.tensor([1.1, 0.9, -0.2, -0.3, 1.5, 1.2, 1.2])
    wanted = torch.tensor([0.1, 0, -0.1, -0.3, 0, 0.2, 0])
    torch.testing.assert_close(shared_overshoot(frame0, frame1), wanted)


def write_native(
    path: Path, pix_fmt: str, pixels: list[np.ndarray], colour_range: int = 0, **options: str
) -> Path:
    """A lossless video of samples as they are."""
    height, width = pixels[0].shape[:2]
    size = {"height": height, "width": width}
    with av.open(path, "w") as container:
        stream = container.add_stream("ffv1", rate=25, pix_fmt=pix_fmt, options=options, **size)
        stream.codec_context.color_range = colour_range
        for number, samples in enumerate(pixels):
            picture = av.VideoFrame(width, height, pix_fmt)
            picture.planes[0].update(samples)
            picture.pts = number
            container.mux(stream.encode(picture))
        container.mux(stream.encode(None))
    return path


@pytest.mark.parametrize(
    ("name", "dtype", "colour_range", "options", "becomes", "shown_range"),
    [
        ("gray", np.uint8, 0, ("--lossless",), "yuv420p", 2),
        ("gray", np.uint8, 1, ("--lossless",), "yuv420p", 1),
        ("gray", np.uint8, 2, ("--codec", "ffv1"), "yuv420p", 2),
        ("gray10le", np.uint16, 0, ("--codec", "ffv1"), "yuv420p10le", 2),
    ],
)
def test_grey_stays_as_bright_without_a_byte_for_colours(
    workdir: Path,
    capsys: pytest.CaptureFixture[str],
    name: str,
    dtype: type,
    colour_range: int,
    options: tuple[str, ...],
    becomes: str,
    shown_range: int,
) -> None:
    """Luma has the grey's samples, every level of them, and the file's own name is said."""
    levels = 256 if dtype == np.uint8 else 1024
    ramp = (np.arange(48 * 64).reshape(48, 64) % levels).astype(dtype)
    clip = write_native(workdir / "in.mkv", name, [ramp, ramp], colour_range)
    run(clip, *options, "--model", "blend", "--output", "out.mkv")
    said = capsys.readouterr().out
    assert f"64x48 {name}, ffv1" in said
    assert f"pixels become {becomes}, without colours as they were" in said
    with av.open("out.mkv") as container:
        for picture in container.decode(video=0):
            assert picture.format.name.replace("yuvj", "yuv") == becomes
            assert picture.color_range == shown_range
            luma, *chroma = (np.frombuffer(plane, dtype) for plane in picture.planes)
            rows = luma.reshape(48, -1)[:, :64]
            assert np.array_equal(rows, ramp)
            grey = 2 ** (picture.format.components[0].bits - 1)
            assert all((plane.reshape(24, -1)[:, :32] == grey).all() for plane in chroma)


def test_packed_colours_are_called_by_their_name(
    workdir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (48, 64, 4), np.uint8)
    clip = write_native(workdir / "in.mkv", "bgr0", [noise, noise])
    run(clip, "--dry_run", "--model", "blend", "--output", "out.mkv")
    said = capsys.readouterr().out
    assert "64x48 bgr0, ffv1" in said
    assert "pixels become yuv420p; they were bgr0, which few players show as h264" in said
    assert "gbrp" not in said
