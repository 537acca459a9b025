"""Static overlays: logos, subtitles and black bars."""

from pathlib import Path

import cv2
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from sgm_vfi.media.images import as_frame, as_samples
from sgm_vfi.video.detect_static_overlays import (
    HISTORY_FRAMES,
    BlackBars,
    OverlayTracker,
    compute_luma,
    find_black_bars,
    protect_overlays,
)
from tests.video_scenes import SIZE, draw_texture, encode_x264, pan_camera


def titled(frame: Tensor, bar: int = 0) -> Tensor:
    """With a white word in the middle, and black bars at the top and the bottom."""
    canvas = as_samples(frame[0])
    cv2.putText(canvas, "Word", (40, 60), cv2.FONT_HERSHEY_DUPLEX, 0.7, (255, 255, 255))
    if bar:
        canvas[:bar], canvas[-bar:] = 0, 0
    return as_frame(canvas)[None]


def word() -> Tensor:
    """The pixels of the word that are all white: (1, 1, 96, 128), truth values."""
    return titled(torch.zeros(1, 3, *SIZE))[:, :1] == 1


def mask_of(frames: list[Tensor]) -> Tensor:
    tracker = OverlayTracker()
    for frame in frames:
        tracker.feed(frame)
    return tracker.mask()


def moving(count: int) -> list[Tensor]:
    """What a camera sees that turns by three pixels from frame to frame."""
    return pan_camera(draw_texture(96, 256), [3] * count, width=128)


def test_a_word_over_what_moves_is_found_and_nothing_else() -> None:
    mask = mask_of([titled(frame) for frame in moving(HISTORY_FRAMES)])
    assert mask[word()].mean() > 0.5
    around = F.max_pool2d(word().float(), 5, stride=1, padding=2) == 0
    assert mask[around].mean() < 1e-3
    assert mask_of(moving(HISTORY_FRAMES)).max() == 0


def test_an_overlay_is_known_by_the_last_frames_alone() -> None:
    frames = [titled(frame) for frame in moving(HISTORY_FRAMES + 4)]
    assert torch.equal(mask_of(frames), mask_of(frames[4:]))
    assert mask_of(frames[: HISTORY_FRAMES - 1]).max() == 0


def test_a_still_background_is_no_overlay() -> None:
    still = titled(draw_texture(*SIZE))
    assert mask_of([still] * HISTORY_FRAMES).max() == 0


def test_what_flies_past_a_still_background_is_not_wiped_out() -> None:
    """Between the last two frames a ball crosses pixels that both show alike."""
    background = 1.5 * draw_texture(96, 256)
    frames = []
    for number in range(HISTORY_FRAMES):
        frame = background.clone()
        left = 2 + (HISTORY_FRAMES - 1 - number) * 30
        frame[..., 10:18, left : left + 8] = 1
        frames.append(frame)
    assert mask_of(frames)[..., 8:20, 15:27].max() == 0


def test_an_overlay_is_found_behind_a_codec(tmp_path: Path) -> None:
    frames = [titled(frame, bar=16) for frame in moving(HISTORY_FRAMES)]
    mask = mask_of(encode_x264(frames, tmp_path / "word.mp4", crf=20))
    assert mask[word()].mean() > 0.4
    assert mask[..., :16, :].min() == 1
    assert mask[..., 16:32, :].mean() < 0.05


@pytest.mark.parametrize(
    "bars", [BlackBars(0, 0, 0, 0), BlackBars(12, 10, 0, 0), BlackBars(0, 0, 7, 9)]
)
def test_black_bars_are_counted_exactly(bars: BlackBars) -> None:
    frame = draw_texture(*SIZE) + 0.1
    height, width = SIZE
    frame[..., : bars.top, :] = 0
    frame[..., height - bars.bottom :, :] = 0
    frame[..., : bars.left] = 0
    frame[..., width - bars.right :] = 0
    assert find_black_bars(compute_luma(frame)) == bars
    expected = torch.zeros(1, 1, *SIZE)
    expected[(frame == 0).all(dim=1, keepdim=True)] = 1
    assert torch.equal(mask_of([frame, frame]), expected)


def test_a_black_frame_has_no_bars_and_a_dark_one_none_it_will_lose() -> None:
    black, lit = torch.zeros(1, 3, *SIZE), draw_texture(*SIZE) + 0.1
    assert find_black_bars(compute_luma(black)) == BlackBars(0, 0, 0, 0)
    dark = lit.clone()
    dark[..., :40, :] = 0
    assert mask_of([dark, lit]).max() == 0


def test_a_protected_frame_shows_both_frames_where_the_mask_says() -> None:
    frame, frame0, frame1 = (torch.full((1, 3, 4, 4), level) for level in (0.9, 0.2, 0.4))
    mask = torch.zeros(1, 1, 4, 4)
    mask[..., 0, 0], mask[..., 0, 1] = 1, 0.5
    shown = protect_overlays(frame, frame0, frame1, 0.25, mask)
    torch.testing.assert_close(shown[0, 0, 0], torch.tensor([0.25, 0.575, 0.9, 0.9]))


def test_frames_of_two_sizes_are_refused() -> None:
    tracker = OverlayTracker()
    tracker.feed(torch.zeros(1, 3, 8, 8))
    with pytest.raises(ValueError, match=r"one size, got \(8, 10\) after \(8, 8\)"):
        tracker.feed(torch.zeros(1, 3, 8, 10))
