"""Real image and video files, written and read."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

import av
import cv2
import numpy as np
import pytest
import torch
from av.video.reformatter import ColorRange
from skimage.data import astronaut
from torch import Tensor

from dataset.clips import (
    MATRIX_UNSPECIFIED,
    ClipError,
    FrameFolder,
    Video,
    clips_in,
    to_samples,
)
from dataset.frames import (
    IMAGE_SUFFIXES,
    FrameError,
    list_frames,
    quantise,
    read_frame,
    read_samples,
    write_frame,
)

LOSSLESS = (".png", ".tif", ".tiff", ".bmp", ".ppm")


@pytest.fixture
def frame() -> Tensor:
    """A frame off every grid, beyond [0, 1] here and there."""
    return torch.rand(3, 12, 20, generator=torch.Generator().manual_seed(0)) * 1.1 - 0.05


def photograph(height: int, width: int, shift: int = 0) -> np.ndarray:
    """A cut of a photograph, (H, W, 3), RGB bytes; `shift` moves it to the left."""
    return np.ascontiguousarray(astronaut()[:height, 100 + shift : 100 + shift + width])


# images
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
    with pytest.raises(OSError, match="disk full"):
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


# videos
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


def error(frame: Tensor, image: np.ndarray) -> float:
    """Mean absolute difference in levels of 255."""
    return np.abs(frame.movedim(0, -1).numpy() * 255 - image).mean().item()


@pytest.mark.parametrize("span", [ColorRange.MPEG, ColorRange.JPEG])
@pytest.mark.parametrize("matrix", LUMA)
@pytest.mark.parametrize("pixels", ["yuv420p", "yuv444p", "yuv420p10le"])
def test_video_colours_are_those_of_the_stream(
    tmp_path: Path, pixels: str, matrix: int, span: int
) -> None:
    """The right matrix and range bring saturated colours back; a wrong one is 7 levels off."""
    path = write_video(tmp_path / "v.mp4", [patches()], pixels=pixels, matrix=matrix, span=span)
    video = Video("v", path)
    assert video.survey() == (1, 48, 160, 16 if pixels.endswith("10le") else 8)
    [(_, frame)] = video.frames()
    for number, colour in enumerate(PATCHES):
        inner = frame[:, 8:-8, 32 * number + 8 : 32 * number + 24]
        assert (inner.mean(dim=(1, 2)) * 255 - torch.tensor(colour)).abs().max() < 2.6


@pytest.mark.parametrize(("height", "matrix", "other"), [(576, 5, 1), (720, 1, 5)])
def test_untagged_video_is_read_as_players_do(height: int, matrix: int, other: int) -> None:
    def worst(actual: int) -> float:
        picture = encoded(patches(height), "yuv444p", actual, ColorRange.MPEG)
        picture.colorspace = MATRIX_UNSPECIFIED
        return np.abs(to_samples(picture).astype(float) - patches(height)).max()

    assert worst(matrix) <= 2
    assert worst(other) > 5


def write_turned(path: Path, image: np.ndarray, matrix: tuple[float, ...]) -> Video:
    """A video with (a, b, c, d) in its track header: it shows (x, y) at (ax + cy, bx + dy)."""
    data = write_video(path, [image], pixels="yuv444p").read_bytes()
    identity, turned = (
        b"".join(round(65536 * value).to_bytes(4, "big", signed=True) for value in row)
        for row in ((1, 0, 0, 0, 1, 0), (*matrix[:2], 0, *matrix[2:], 0))
    )
    head, box, tail = data.partition(b"tkhd")
    assert identity in tail
    path.write_bytes(head + box + tail.replace(identity, turned, 1))
    return Video("v", path)


@pytest.mark.parametrize(
    ("matrix", "quarters"),
    [((1, 0, 0, 1), 0), ((0, 1, -1, 0), -1), ((-1, 0, 0, -1), 2), ((0, -1, 1, 0), 1)],
)
def test_rotation_is_honoured(tmp_path: Path, matrix: tuple[int, ...], quarters: int) -> None:
    """To the right becomes down where (1, 0) is shown at (0, 1): a quarter clockwise."""
    image = photograph(48, 80)
    video = write_turned(tmp_path / "v.mp4", image, matrix)
    expected = np.rot90(image, quarters)
    assert video.survey() == (1, *expected.shape[:2], 8)
    assert error(next(video.frames())[1], expected) < 2


def test_a_video_askew_is_refused(tmp_path: Path) -> None:
    video = write_turned(tmp_path / "v.mp4", photograph(48, 80), (0.8, 0.6, -0.6, 0.8))
    with pytest.raises(ClipError, match="whole quarters"):
        video.survey()


def test_frames_of_a_video_come_in_order_one_by_one(tmp_path: Path) -> None:
    """B frames are stored out of order; only wanted frames come, with their own numbers."""
    images = [photograph(64, 80, shift=4 * number) for number in range(12)]
    video = Video("v", write_video(tmp_path / "v.mp4", images))
    assert video.survey() == (12, 64, 80, 8)
    every = list(video.frames())
    assert [index for index, _ in every] == list(range(12))
    for index, frame in every:
        errors = [error(frame, image) for image in images]
        assert np.argmin(errors) == index
        assert errors[index] < 8
    some = list(video.frames({3, 4, 11}))
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
    assert Video("v", path).survey().num_frames == 20
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    with pytest.raises(ClipError, match=r"Cannot decode .*v\.mp4 beyond its first \d+ frames"):
        Video("v", path).survey()


def test_a_video_with_damage_inside_is_an_error(tmp_path: Path) -> None:
    images = [photograph(96, 128, shift=4 * number) for number in range(20)]
    path = write_video(tmp_path / "v.mp4", images, options={"movflags": "faststart"})
    data = bytearray(path.read_bytes())
    middle = slice(len(data) // 2, len(data) // 2 + 2000)
    data[middle] = bytes(byte ^ 0x5A for byte in data[middle])
    path.write_bytes(data)
    with pytest.raises(ClipError, match=r"Cannot decode .*v\.mp4"):
        list(Video("v", path).frames())


def test_a_container_that_promises_more_is_spoken_of(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Cut between two frames, so that none is damaged."""
    images = [photograph(96, 128, shift=4 * number) for number in range(20)]
    path = write_video(tmp_path / "v.mp4", images, options={"movflags": "faststart"})
    with av.open(path) as container:
        packets = [packet for packet in container.demux() if packet.size]
    assert Video("v", path).survey().num_frames == 20
    assert not caplog.records
    path.write_bytes(path.read_bytes()[: packets[12].pos])
    assert Video("v", path).survey().num_frames == 12
    assert "gave 12 of the 20 frames it promises" in caplog.text


@pytest.mark.parametrize("content", [b"", b"no video at all", None])
def test_what_is_no_video_is_an_error(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "v.mp4"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ClipError, match=r"Cannot decode .*v\.mp4"):
        Video("v", path).survey()


def test_a_file_with_sound_alone_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "sound.mkv"
    with av.open(path, "w") as container:
        stream = container.add_stream("pcm_s16le", rate=8000)
        sound = av.AudioFrame.from_ndarray(np.zeros((1, 800), np.int16), "s16", "mono")
        sound.sample_rate = 8000
        container.mux(stream.encode(sound))
    with pytest.raises(ClipError, match="holds no video stream"):
        Video("v", path).survey()


# clips
def save(path: Path, image: np.ndarray, bits: int = 8) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    frame = torch.from_numpy(image.transpose(2, 0, 1).astype(np.float32) / np.float32(255))
    write_frame(path, frame, bits)


def test_a_folder_is_a_clip_in_natural_order(tmp_path: Path) -> None:
    for number in (1, 2, 10, 11):
        save(tmp_path / f"f{number}.png", photograph(20, 30, shift=number))
    (tmp_path / "notes.txt").touch()
    clip = FrameFolder("clip", tmp_path)
    assert clip.survey() == (4, 20, 30, 8)
    assert [
        error(frame, photograph(20, 30, n))
        for (_, frame), n in zip(clip.frames(), (1, 2, 10, 11), strict=True)
    ] == pytest.approx([0] * 4, abs=1e-4)
    (tmp_path / "f2.png").write_bytes(b"damaged")
    assert [index for index, _ in clip.frames({0, 2})] == [0, 2]
    with pytest.raises(FrameError, match=r"f2\.png"):
        list(clip.frames())


@pytest.mark.parametrize(
    ("height", "bits", "message"),
    [(21, 8, r"frame 1 is 30x21 with 8 bits, earlier ones are 30x20"), (20, 16, "with 16 bits")],
)
def test_frames_that_differ_are_no_clip(
    tmp_path: Path, height: int, bits: int, message: str
) -> None:
    save(tmp_path / "f0.png", photograph(20, 30))
    save(tmp_path / "f1.png", photograph(height, 30), bits)
    with pytest.raises(ClipError, match=message):
        list(FrameFolder("clip", tmp_path).frames())


def test_clips_are_found_wherever_they_are(tmp_path: Path) -> None:
    image = photograph(32, 48)
    for name in ("a/f1.png", "a/deep/f1.png", "b/f1.png"):
        save(tmp_path / "frames" / name, image)
    for name in ("c10.mp4", "c9.MKV", ".hidden.mp4", "a/c.mp4"):
        (tmp_path / "frames" / name).touch()
    (tmp_path / "frames" / "notes.txt").touch()

    def found(*paths: Path) -> list[tuple[str, type]]:
        return [(clip.name, type(clip)) for clip in clips_in(paths)]

    root = tmp_path / "frames"
    below = [
        ("c9.MKV", Video),
        ("c10.mp4", Video),
        ("a", FrameFolder),
        ("a/c.mp4", Video),
        ("a/deep", FrameFolder),
        ("b", FrameFolder),
    ]
    assert found(root) == below
    assert found(root, root / "c10.mp4") == below
    assert found(root / "b") == [("b", FrameFolder)]
    assert found(root / "c10.mp4") == [("c10.mp4", Video)]
    assert found(root / "a", root / "a" / "deep") == [
        ("a", FrameFolder),
        ("c.mp4", Video),
        ("deep", FrameFolder),
    ]


def test_two_clips_of_one_name_get_their_whole_paths(tmp_path: Path) -> None:
    for name in ("x/clip/f.png", "y/clip/f.png"):
        save(tmp_path / name, photograph(8, 9))
    clips = clips_in([tmp_path / "x" / "clip", tmp_path / "y" / "clip"])
    assert [clip.name for clip in clips] == [str(clip.path) for clip in clips]
    assert len({clip.name for clip in clips}) == 2


def test_what_holds_no_clip_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ClipError, match="no such file or folder"):
        clips_in([tmp_path / "missing"])
    (tmp_path / "empty").mkdir()
    with pytest.raises(ClipError, match=r"empty holds no clips: .*\.mp4"):
        clips_in([tmp_path / "empty"])
    save(tmp_path / "one.png", photograph(8, 9))
    with pytest.raises(ClipError, match=r"one\.png is one image, not a clip: name its folder"):
        clips_in([tmp_path / "one.png"])
