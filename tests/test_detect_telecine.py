"""Telecine is told apart from interlaced and from progressive video."""

from itertools import pairwise
from pathlib import Path

import av
import pytest
import torch
from torch import Tensor

from sgm_vfi.video.av_frames import to_video_frame
from sgm_vfi.video.colour_conversion import PLANE_LAYOUTS, PixelFormat
from sgm_vfi.video.source_video import probe_video
from tests.fixtures.videos import moving_frames, write_clip

pytestmark = pytest.mark.usefixtures("workdir")


def weave(top: Tensor, bottom: Tensor) -> Tensor:
    """A frame of two fields. Shapes: (1, 3, H, W)."""
    frame = top.clone()
    frame[..., 1::2, :] = bottom[..., 1::2, :]
    return frame


def telecine(film: list[Tensor]) -> list[Tensor]:
    """3:2 pulldown: AA BB BC CD DD."""
    frames = []
    for place in range(0, len(film) - 3, 4):
        a, b, c, d = film[place : place + 4]
        frames += [weave(a, a), weave(b, b), weave(b, c), weave(c, d), weave(d, d)]
    return frames


def write_interlaced(path: Path, frames: list[Tensor]) -> Path:
    """Encode frames as pairs of fields, with some loss."""
    height, width = frames[0].shape[-2:]
    with av.open(path, "w") as container:
        options = {"x264-params": "tff=1", "crf": "20", "preset": "ultrafast"}
        stream = container.add_stream(
            "libx264", rate=30, width=width, height=height, pix_fmt="yuv420p", options=options
        )
        for number, frame in enumerate(frames):
            picture = to_video_frame(frame, PixelFormat(PLANE_LAYOUTS["yuv420p"], 6))
            picture.pts = number
            container.mux(stream.encode(picture))
        container.mux(stream.encode(None))
    return path


@pytest.mark.parametrize("still", [0, 12])
def test_telecined_film_gets_the_hint_to_restore_it(still: int) -> None:
    """Also where nothing moves for a while."""
    film = moving_frames(24)
    film = [*film[:8], *[film[8]] * still, *film[8:]]
    path = write_interlaced(Path("film.mkv"), telecine(film))
    notes = probe_video(path).notes
    assert any("telecined" in note and "fieldmatch,decimate" in note for note in notes)
    assert not any("interlaced" in note for note in notes)


def test_interlaced_footage_is_interlaced() -> None:
    moments = moving_frames(60, step=1)
    frames = [weave(*fields) for fields in zip(moments[0::2], moments[1::2], strict=True)]
    notes = probe_video(write_interlaced(Path("field.mkv"), frames)).notes
    assert any("interlaced" in note and "bwdif" in note for note in notes)
    assert not any("telecined" in note for note in notes)


@pytest.mark.parametrize("pix_fmt", ["yuv420p", "yuv444p10le", "gbrp10le"])
def test_progressive_video_is_neither(pix_fmt: str) -> None:
    frames = moving_frames(20)
    twos = [frame for frame in frames for _ in range(2)]
    noisy = [frame + 0.01 * torch.randn_like(frame) for frame in frames]
    for number, clip in enumerate((frames, twos, noisy)):
        path = write_clip(Path(f"{number}.mkv"), clip, codec="ffv1", pix_fmt=pix_fmt)
        notes = probe_video(path).notes
        assert not any("telecined" in note or "interlaced" in note for note in notes)


def test_fields_of_telecined_film_repeat() -> None:
    """The clip of the test is what it is called."""
    frames = telecine(moving_frames(8))
    tops = [torch.equal(a[..., ::2, :], b[..., ::2, :]) for a, b in pairwise(frames)]
    bottoms = [torch.equal(a[..., 1::2, :], b[..., 1::2, :]) for a, b in pairwise(frames)]
    assert [k + 1 for k, same in enumerate(tops) if same] == [2, 7]
    assert [k + 1 for k, same in enumerate(bottoms) if same] == [4, 9]
