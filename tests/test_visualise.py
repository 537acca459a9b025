"""Pictures show what they claim to."""

from pathlib import Path

import cv2
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from sgm_vfi.media.images import FrameError
from sgm_vfi.media.visualise import (
    FONT_SIZE,
    GAP,
    Picture,
    add_caption,
    add_colour_wheel,
    colour_wheel,
    fit_to_box,
    flow_to_image,
    heat_map,
    make_grid,
    mark_keypoints,
    measure_flow_range,
    visualise_explanation,
    visualise_pair,
    write_animation,
)

STRIP = FONT_SIZE * 3 // 2  # rows of a caption


def noise(*shape: int) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(0))


def vector(u: float, v: float) -> Tensor:
    return torch.tensor((u, v), dtype=torch.float32).view(2, 1, 1)


@pytest.mark.parametrize(
    ("u", "v", "colour"),
    [
        (4, 0, (1, 0, 0)),  # right: red
        (0, 4, (0.5, 1, 0)),  # down: yellow-green
        (-4, 0, (0, 1, 1)),  # left: cyan
        (0, -4, (0.5, 0, 1)),  # up: violet
        (2, 0, (1, 0.5, 0.5)),  # half as long: half as saturated
        (400, 0, (1, 0, 0)),  # longer than the scale: no more than full
        (0, 0, (1, 1, 1)),  # still: white
        (float("nan"), 1, (0, 0, 0)),
        (1, float("inf"), (0, 0, 0)),
    ],
)
def test_flow_colours_by_hand(u: float, v: float, colour: tuple[float, ...]) -> None:
    shown = flow_to_image(vector(u, v), largest=4.0).flatten().tolist()
    assert shown == pytest.approx(colour, abs=1e-5)


@given(angle=st.floats(0, 6.28))
def test_opposite_motions_have_complementary_colours(angle: float) -> None:
    flow = torch.polar(torch.tensor(1.0), torch.tensor(angle))
    ahead = vector(flow.real.item(), flow.imag.item())
    both = flow_to_image(ahead, 1.0) + flow_to_image(-ahead, 1.0)
    torch.testing.assert_close(both, torch.ones(3, 1, 1), atol=1e-4, rtol=0)


def test_longest_leaves_out_the_odd_ones() -> None:
    """One vector in a hundred may be longer; what is not finite does not count at all."""
    flow = torch.zeros(2, 10, 20)
    flow[0] = 5
    flow[:, 0, 0] = 1000
    assert measure_flow_range(flow) == 5
    flow[:, 0, 1] = torch.tensor((float("inf"), float("nan")))
    assert measure_flow_range(flow) == 5
    assert measure_flow_range(torch.zeros(2, 3, 3)) == 1
    assert measure_flow_range(torch.full((2, 3, 3), float("nan"))) == 1


def test_the_legend_is_the_wheel_in_its_corner() -> None:
    picture = torch.full((3, 200, 300), 0.5)
    shown = add_colour_wheel(picture, 12.4)
    changed = (shown - picture).abs().amax(dim=0) > 0.01
    assert changed[: 200 - 50 - GAP - 2 * FONT_SIZE].sum() == 0
    assert changed[:, : 300 - 50 - GAP - 2 * FONT_SIZE].sum() == 0
    wheel, inside = colour_wheel(50)
    inner = inside & (flow_radius(50) < 0.9)  # without the line around it
    corner = shown[:, 200 - 50 - GAP : 200 - GAP, 300 - 50 - GAP : 300 - GAP]
    torch.testing.assert_close(corner[:, inner], wheel[:, inner], atol=1 / 255, rtol=0)
    assert (picture == 0.5).all()  # the argument is not drawn upon


def flow_radius(size: int) -> Tensor:
    along = torch.linspace(-1, 1, size)
    return torch.hypot(along[None], along[:, None])


def test_no_legend_where_there_is_no_room() -> None:
    picture = noise(3, 100, 20)
    assert torch.equal(add_colour_wheel(picture, 1.0), picture)


def test_heat_grows_brighter() -> None:
    shown = heat_map(torch.tensor([[-1.0, 0, 1, 2, 3, 4, 9, float("nan")]]), largest=4)
    brightness = shown.mean(dim=0)[0]
    assert (brightness[1:6].diff() > 0.05).all()
    assert brightness[1] < 0.01
    assert brightness[5] > 0.7
    assert brightness[0] == brightness[1] == brightness[7]
    assert brightness[6] == brightness[5]


def test_points_are_yellow_on_grey() -> None:
    frame = noise(3, 4, 5)
    chosen = torch.zeros(4, 5, dtype=torch.bool)
    chosen[1, 2] = True
    shown = mark_keypoints(frame, chosen)
    assert shown[:, 1, 2].tolist() == pytest.approx([1, 0.8, 0])
    torch.testing.assert_close(shown[:, ~chosen], (frame.mean(0) / 2)[~chosen].expand(3, -1))


@given(
    height=st.integers(1, 60),
    width=st.integers(1, 60),
    box=st.tuples(st.integers(1, 90), st.integers(1, 90)),
)
@settings(deadline=None)
def test_fitted_fills_the_box_one_way(height: int, width: int, box: tuple[int, int]) -> None:
    columns, rows = box
    shape = fit_to_box(noise(3, height, width), columns, rows).shape
    assert shape[1] <= rows
    assert shape[2] <= columns
    assert shape[1] == rows or shape[2] == columns
    scale = min(columns / width, rows / height)
    assert shape[1:] == (max(1, round(height * scale)), max(1, round(width * scale)))


def test_fitted_enlarges_pixels_to_squares_or_not_at_all() -> None:
    small = noise(3, 2, 2)
    assert torch.equal(
        fit_to_box(small, 6, 9), small.repeat_interleave(3, 1).repeat_interleave(3, 2)
    )
    assert torch.equal(fit_to_box(small, 6, 9, enlarge=False), small)


def test_fitted_reduces_to_the_mean_of_what_it_covers() -> None:
    stripes = torch.tensor([0.0, 1.0]).repeat(40).expand(3, 80, 80)
    assert fit_to_box(stripes, 8, 8)[:, :, 1:-1].sub(0.5).abs().max() < 0.05


def test_captions_stand_above_untouched_pictures() -> None:
    picture = (noise(3, 20, 100) * 255).round() / 255
    shown = add_caption(picture, "flow to frame 0", 120)
    assert shown.shape == (3, 20 + STRIP, 120)
    torch.testing.assert_close(shown[:, STRIP:, 10:110], picture)
    assert shown[:, :STRIP].min() < 0.3  # there is text
    assert add_caption(picture, "", 120)[:, :STRIP].min() == 1


def test_grid_puts_pictures_row_by_row() -> None:
    cell = (96 - 2 * GAP) // 3
    colours = torch.eye(3).repeat(2, 1)[:5]
    pictures = [Picture("", colour.view(3, 1, 1).expand(3, 8, cell)) for colour in colours]
    shown = make_grid(pictures, columns=3, width=96)
    row = STRIP + 8
    assert shown.shape == (3, 2 * row + GAP, 3 * cell + 2 * GAP)
    for number, colour in enumerate(colours):
        y = number // 3 * (row + GAP) + row - 1
        x = number % 3 * (cell + GAP) + cell // 2
        assert shown[:, y, x].tolist() == colour.tolist()
    assert shown[:, row + GAP :, 2 * (cell + GAP) :].min() == 1  # no sixth picture


def test_explanations_come_in_the_order_of_the_steps() -> None:
    """All flows share a scale: the longest of them all is fully coloured, a shorter one is not."""
    notes = {
        "blend": torch.full((1, 8, 8), 0.5),
        "flow": vector(3, 0).repeat(2, 8, 8),
        "keypoints": torch.ones(2, 8, 8),
        "initial_flow": vector(6, 0).repeat(2, 8, 8),
    }
    pictures = visualise_explanation(notes, noise(3, 8, 8))
    captions = [picture.caption for picture in pictures]
    assert captions == ["initial flow", "key points", "final flow", "share of frame 0"]
    assert pictures[0].image[:, 0, 0].tolist() == pytest.approx([1, 0, 0])
    assert pictures[2].image[:, 0, 0].tolist() == pytest.approx([1, 0.5, 0.5])
    assert [picture.flow_range for picture in pictures] == [6, None, 6, None]


def test_pair_pictures_show_both_flows_on_one_scale() -> None:
    """By hand: 8 px to the right towards frame 0, 2 px to the left towards frame 1."""
    frames = noise(3, 3, 30, 40)
    flow = torch.cat((vector(8, 0), vector(-2, 0))).expand(4, 30, 40)
    pictures = visualise_pair(*frames, "new", {"flow": flow})
    assert set(pictures) == {"comparison", "flow", "explain"}
    left, right = pictures["flow"][:, STRIP + 40, 40], pictures["flow"][:, STRIP + 40, 560]
    assert left.tolist() == pytest.approx([1, 0, 0], abs=0.01)
    assert right.tolist() == pytest.approx([0.75, 1, 1], abs=0.01)
    assert set(visualise_pair(*frames, "new", {})) == {"comparison"}


def test_animation_keeps_frames_colours_and_pace(tmp_path: Path) -> None:
    file = tmp_path / "swing.webp"
    colours = torch.tensor([(0.9, 0.1, 0.1), (0.1, 0.9, 0.1), (0.1, 0.1, 0.9)])
    frames = [colour.view(3, 1, 1).expand(3, 32, 48) for colour in colours]
    write_animation(file, frames, milliseconds=80)
    assert [entry.name for entry in tmp_path.iterdir()] == [file.name]
    done, animation = cv2.imreadanimation(str(file))
    assert done
    assert list(animation.durations) == [80] * 3
    assert animation.loop_count == 0  # endless
    for frame, colour in zip(animation.frames, colours, strict=True):
        blue, green, red = frame[16, 24, :3] / 255
        assert (red, green, blue) == pytest.approx(colour.tolist(), abs=0.1)


def test_animation_is_webp_only(tmp_path: Path) -> None:
    with pytest.raises(FrameError, match=r"swing\.gif.*\.webp"):
        write_animation(tmp_path / "swing.gif", [noise(3, 8, 8)] * 2, milliseconds=80)
