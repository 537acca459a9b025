"""Frames of real video files: their colours, turns and damage."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

import av
import numpy as np
import pytest
import torch
from av.video.reformatter import ColorRange

from sgm_vfi.media.colour_matrices import UNSPECIFIED
from sgm_vfi.media.frame_readers import VideoReader, to_rgb_samples
from sgm_vfi.media.open_local_media import VideoError
from sgm_vfi.video.source_video import probe_video
from tests.fixtures.photographs import error, photograph

LUMA = {1: (0.2126, 0.0722), 5: (0.299, 0.114), 9: (0.2627, 0.0593)}  # of red and blue
PATCHES = [(230, 20, 30), (20, 220, 40), (30, 40, 240), (240, 240, 20), (128, 128, 128)]


def patches(height: int = 48, side: int = 32) -> np.ndarray:
    """Upright bars of strong colours, (H, W, 3)."""
    return np.concatenate([np.full((height, side, 3), c, np.uint8) for c in PATCHES], axis=1)


def encoded(image: np.ndarray, pixels: str, matrix: int, span: int) -> av.VideoFrame:
    """RGB bytes to a picture by the equations of the standards, 4:2:0 or 4:4:4."""
    bits = 10 if "10le" in pixels else 8
    share_red, share_blue = LUMA[matrix]
    red, green, blue = np.moveaxis(image / 255, -1, 0)
    y = share_red * red + (1 - share_red - share_blue) * green + share_blue * blue
    chroma = (blue - y) / (2 - 2 * share_blue), (red - y) / (2 - 2 * share_red)
    if "420" in pixels:
        chroma = tuple(plane[::2, ::2] for plane in chroma)
    if span == ColorRange.MPEG:
        planes = [16 + 219 * y, *(128 + 224 * plane for plane in chroma)]
        planes = [plane * 2 ** (bits - 8) for plane in planes]
    else:
        top = 2**bits - 1
        planes = [top * y, *(2 ** (bits - 1) + top * plane for plane in chroma)]
    picture = av.VideoFrame(image.shape[1], image.shape[0], pixels)
    for plane, values in zip(picture.planes, planes, strict=True):
        kind = np.dtype(np.uint8 if bits == 8 else np.uint16)
        rows = np.zeros((plane.height, plane.line_size // kind.itemsize), kind)
        rows[:, : values.shape[1]] = values.round()
        plane.update(rows.tobytes())
    picture.colorspace, picture.color_range = matrix, span
    return picture


def write_video(
    path: Path,
    images: Sequence[np.ndarray],
    *,
    codec: str = "libx264",
    pixels: str = "yuv420p",
    matrix: int = 1,
    span: int = ColorRange.MPEG,
    options: Mapping[str, str] = MappingProxyType({}),
) -> Path:
    """Encode RGB images, tagged with their colour matrix (by its number in H.273) and range."""
    with av.open(path, "w", options=dict(options)) as container:
        stream = container.add_stream(codec, rate=25)
        stream.height, stream.width = images[0].shape[:2]
        stream.pix_fmt = pixels
        stream.options = {"crf": "1", "g": "5"} if codec == "libx264" else {}
        stream.codec_context.colorspace, stream.codec_context.color_range = matrix, span
        for number, image in enumerate(images):
            picture = encoded(image, pixels, matrix, span)
            picture.pts = number
            container.mux(stream.encode(picture))
        container.mux(stream.encode())
    return path


@pytest.mark.parametrize("span", [ColorRange.MPEG, ColorRange.JPEG])
@pytest.mark.parametrize("matrix", LUMA)
@pytest.mark.parametrize("pixels", ["yuv420p", "yuv444p", "yuv420p10le"])
def test_video_colours_are_those_of_the_stream(
    tmp_path: Path, pixels: str, matrix: int, span: int
) -> None:
    """The right matrix and range bring saturated colours back; a wrong one is 7 levels off."""
    path = write_video(tmp_path / "v.mp4", [patches()], pixels=pixels, matrix=matrix, span=span)
    video = VideoReader("v", path)
    assert video.probe() == (1, 48, 160, 16 if pixels.endswith("10le") else 8)
    [(_, frame)] = video.read_frames()
    for number, colour in enumerate(PATCHES):
        inner = frame[:, 8:-8, 32 * number + 8 : 32 * number + 24]
        assert (inner.mean(dim=(1, 2)) * 255 - torch.tensor(colour)).abs().max() < 2.6


@pytest.mark.parametrize(("height", "matrix", "other"), [(576, 5, 1), (720, 1, 5)])
def test_untagged_video_is_read_as_players_do(height: int, matrix: int, other: int) -> None:
    def worst(actual: int) -> float:
        picture = encoded(patches(height), "yuv444p", actual, ColorRange.MPEG)
        picture.colorspace = UNSPECIFIED
        return np.abs(to_rgb_samples(picture).astype(float) - patches(height)).max()

    assert worst(matrix) <= 2
    assert worst(other) > 5


@pytest.mark.parametrize(("matrix", "name"), [(8, "YCgCo"), (10, "BT.2020 with"), (14, "ICtCp")])
def test_an_unsupported_matrix_is_named(tmp_path: Path, matrix: int, name: str) -> None:
    path = tmp_path / "v.mp4"
    with av.open(path, "w") as container:
        stream = container.add_stream("libx264", rate=25, width=64, height=48)
        stream.codec_context.colorspace = matrix
        container.mux([*stream.encode(av.VideoFrame(64, 48)), *stream.encode()])
    message = rf"v\.mp4 has colour matrix {matrix} \({name}.*supported are 1 \(BT\.709\).*ffmpeg -i"
    with pytest.raises(VideoError, match=message):
        VideoReader("v", path).probe()
    with pytest.raises(VideoError, match=message):
        probe_video(path, lambda decoded: (x.picture.reformat(8, 8, "rgb24") for x in decoded))


def write_turned(path: Path, image: np.ndarray, matrix: tuple[float, ...]) -> VideoReader:
    """A video with (a, b, c, d) in its track header: it shows (x, y) at (ax + cy, bx + dy)."""
    data = write_video(path, [image], pixels="yuv444p").read_bytes()
    identity, turned = (
        b"".join(round(65536 * value).to_bytes(4, "big", signed=True) for value in row)
        for row in ((1, 0, 0, 0, 1, 0), (*matrix[:2], 0, *matrix[2:], 0))
    )
    head, box, tail = data.partition(b"tkhd")
    assert identity in tail
    path.write_bytes(head + box + tail.replace(identity, turned, 1))
    return VideoReader("v", path)


@pytest.mark.parametrize(
    ("matrix", "quarters"),
    [((1, 0, 0, 1), 0), ((0, 1, -1, 0), -1), ((-1, 0, 0, -1), 2), ((0, -1, 1, 0), 1)],
)
def test_rotation_is_honoured(tmp_path: Path, matrix: tuple[int, ...], quarters: int) -> None:
    """To the right becomes down where (1, 0) is shown at (0, 1): a quarter clockwise."""
    image = photograph(48, 80)
    video = write_turned(tmp_path / "v.mp4", image, matrix)
    expected = np.rot90(image, quarters)
    assert video.probe() == (1, *expected.shape[:2], 8)
    assert error(next(video.read_frames())[1], expected) < 2


def test_a_video_askew_is_refused(tmp_path: Path) -> None:
    video = write_turned(tmp_path / "v.mp4", photograph(48, 80), (0.8, 0.6, -0.6, 0.8))
    with pytest.raises(VideoError, match="multiples of 90 degrees"):
        video.probe()


def test_frames_of_a_video_come_in_order_one_by_one(tmp_path: Path) -> None:
    """B frames are stored out of order; only wanted frames come, with their own numbers."""
    images = [photograph(64, 80, shift=4 * number) for number in range(12)]
    video = VideoReader("v", write_video(tmp_path / "v.mp4", images))
    assert video.probe() == (12, 64, 80, 8)
    every = list(video.read_frames())
    assert [index for index, _ in every] == list(range(12))
    for index, frame in every:
        errors = [error(frame, image) for image in images]
        assert np.argmin(errors) == index
        assert errors[index] < 8
    some = list(video.read_frames({3, 4, 11}))
    assert [index for index, _ in some] == [3, 4, 11]
    assert all(torch.equal(frame, every[index][1]) for index, frame in some)


@pytest.mark.parametrize("share", [0.3, 0.9])
@pytest.mark.parametrize("codec", ["libx264", "mpeg4", "mjpeg"])
@pytest.mark.parametrize("options", [{}, {"movflags": "faststart"}])
def test_a_truncated_video_is_an_error(
    tmp_path: Path, share: float, codec: str, options: dict[str, str]
) -> None:
    """With its index at the end nothing can be read; with it in front all but the last frames.

    The decoders differ: one refuses half a packet, one passes over it in silence.
    """
    images = [photograph(96, 128, shift=4 * number) for number in range(20)]
    pixels = "yuvj420p" if codec == "mjpeg" else "yuv420p"
    path = write_video(tmp_path / "v.mp4", images, codec=codec, pixels=pixels, options=options)
    assert VideoReader("v", path).probe().num_frames == 20
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    with pytest.raises(VideoError, match=r"Cannot decode .*v\.mp4 beyond its first \d+ frames"):
        VideoReader("v", path).probe()


def test_a_video_with_damage_inside_is_an_error(tmp_path: Path) -> None:
    images = [photograph(96, 128, shift=4 * number) for number in range(20)]
    path = write_video(tmp_path / "v.mp4", images, options={"movflags": "faststart"})
    data = bytearray(path.read_bytes())
    middle = slice(len(data) // 2, len(data) // 2 + 2000)
    data[middle] = bytes(byte ^ 0x5A for byte in data[middle])
    path.write_bytes(data)
    with pytest.raises(VideoError, match=r"Cannot decode .*v\.mp4"):
        list(VideoReader("v", path).read_frames())


def test_a_container_that_promises_more_is_spoken_of(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Cut between two frames, so that none is damaged."""
    images = [photograph(96, 128, shift=4 * number) for number in range(20)]
    path = write_video(tmp_path / "v.mp4", images, options={"movflags": "faststart"})
    with av.open(path) as container:
        packets = [packet for packet in container.demux() if packet.size]
    assert VideoReader("v", path).probe().num_frames == 20
    assert not caplog.records
    path.write_bytes(path.read_bytes()[: packets[12].pos])
    assert VideoReader("v", path).probe().num_frames == 12
    assert "gave 12 of the 20 frames it promises" in caplog.text


@pytest.mark.parametrize("content", [b"", b"no video at all", None])
def test_what_is_no_video_is_an_error(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "v.mp4"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(VideoError, match=r"Cannot decode .*v\.mp4"):
        VideoReader("v", path).probe()


def test_a_file_with_sound_alone_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "sound.mkv"
    with av.open(path, "w") as container:
        stream = container.add_stream("pcm_s16le", rate=8000)
        sound = av.AudioFrame.from_ndarray(np.zeros((1, 800), np.int16), "s16", "mono")
        sound.sample_rate = 8000
        container.mux(stream.encode(sound))
    with pytest.raises(VideoError, match="holds no video stream"):
        VideoReader("v", path).probe()
