"""Clips: folders of frames and videos, found and kept apart."""

from pathlib import Path

import numpy as np
import pytest
import torch

from sgm_vfi.media.frame_readers import (
    ImageFolderReader,
    VideoError,
    VideoReader,
    find_frame_readers,
)
from sgm_vfi.media.images import (
    FrameError,
    write_frame,
)
from tests.fixtures.photographs import error, photograph
from tests.fixtures.videos import moving_frames, write_clip


def save(path: Path, image: np.ndarray, bits: int = 8) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    frame = torch.from_numpy(image.transpose(2, 0, 1).astype(np.float32) / np.float32(255))
    write_frame(path, frame, bits)


def test_a_folder_is_a_clip_in_natural_order(tmp_path: Path) -> None:
    for number in (1, 2, 10, 11):
        save(tmp_path / f"f{number}.png", photograph(20, 30, shift=number))
    (tmp_path / "notes.txt").touch()
    clip = ImageFolderReader("clip", tmp_path)
    assert clip.probe() == (4, 20, 30, 8)
    assert [
        error(frame, photograph(20, 30, n))
        for (_, frame), n in zip(clip.read_frames(), (1, 2, 10, 11), strict=True)
    ] == pytest.approx([0] * 4, abs=1e-4)
    (tmp_path / "f2.png").write_bytes(b"damaged")
    assert [index for index, _ in clip.read_frames({0, 2})] == [0, 2]
    with pytest.raises(FrameError, match=r"f2\.png"):
        list(clip.read_frames())


@pytest.mark.parametrize(
    ("height", "bits", "message"),
    [(21, 8, r"frame 1 is 30x21 with 8 bits, earlier ones are 30x20"), (20, 16, "with 16 bits")],
)
def test_frames_that_differ_are_no_clip(
    tmp_path: Path, height: int, bits: int, message: str
) -> None:
    save(tmp_path / "f0.png", photograph(20, 30))
    save(tmp_path / "f1.png", photograph(height, 30), bits)
    with pytest.raises(VideoError, match=message):
        list(ImageFolderReader("clip", tmp_path).read_frames())


def test_clips_are_found_wherever_they_are(tmp_path: Path) -> None:
    image = photograph(32, 48)
    for name in ("a/f1.png", "a/deep/f1.png", "b/f1.png"):
        save(tmp_path / "frames" / name, image)
    for name in ("c10.mp4", "c9.MKV", ".hidden.mp4", "a/c.mp4"):
        (tmp_path / "frames" / name).touch()
    (tmp_path / "frames" / "notes.txt").touch()

    def found(*paths: Path) -> list[tuple[str, type]]:
        return [(clip.name, type(clip)) for clip in find_frame_readers(paths)]

    root = tmp_path / "frames"
    below = [
        ("c9.MKV", VideoReader),
        ("c10.mp4", VideoReader),
        ("a", ImageFolderReader),
        ("a/c.mp4", VideoReader),
        ("a/deep", ImageFolderReader),
        ("b", ImageFolderReader),
    ]
    assert found(root) == below
    assert found(root, root / "c10.mp4") == below
    assert found(root / "b") == [("b", ImageFolderReader)]
    assert found(root / "c10.mp4") == [("c10.mp4", VideoReader)]
    assert found(root / "a", root / "a" / "deep") == [
        ("a", ImageFolderReader),
        ("c.mp4", VideoReader),
        ("deep", ImageFolderReader),
    ]


def test_two_clips_of_one_name_get_their_whole_paths(tmp_path: Path) -> None:
    for name in ("x/clip/f.png", "y/clip/f.png"):
        save(tmp_path / name, photograph(8, 9))
    clips = find_frame_readers([tmp_path / "x" / "clip", tmp_path / "y" / "clip"])
    assert [clip.name for clip in clips] == [str(clip.path) for clip in clips]
    assert len({clip.name for clip in clips}) == 2


def test_what_holds_no_clip_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(VideoError, match="no such file or folder"):
        find_frame_readers([tmp_path / "missing"])
    (tmp_path / "empty").mkdir()
    with pytest.raises(VideoError, match=r"empty holds no clips: .*\.mp4"):
        find_frame_readers([tmp_path / "empty"])
    save(tmp_path / "one.png", photograph(8, 9))
    with pytest.raises(VideoError, match=r"one\.png is one image, not a clip: name its folder"):
        find_frame_readers([tmp_path / "one.png"])


def test_cropping_is_exact(tmp_path: Path) -> None:
    options = {"preset": "ultrafast", "qp": "0"}
    whole = write_clip(tmp_path / "whole.mkv", moving_frames(2), options=options)
    options["x264-params"] = "crop-rect=10,4,2,6"  # columns and rows: left, top, right, bottom
    cropped = write_clip(tmp_path / "cropped.mkv", moving_frames(2), options=options)
    before = next(VideoReader("whole", whole).decode()).to_ndarray(format="gray")
    after = next(VideoReader("cropped", cropped).decode()).to_ndarray(format="gray")
    np.testing.assert_array_equal(after, before[4:-6, 10:-2])
