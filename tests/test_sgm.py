"""SGM-VFI: what must hold for any weights."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from sgm_vfi.model.inference.tiling import Tiled
from sgm_vfi.model.interpolator import time_like
from sgm_vfi.model.ops.resize import resize
from sgm_vfi.model.ops.splat import splat
from sgm_vfi.model.ops.warp import backward_warp
from sgm_vfi.model.sgm.difference_map import difference_map
from sgm_vfi.model.sgm.flow_compensation import (
    match_globally,
    replace_unmatched,
    select_keypoints,
    shift_to_time,
)
from sgm_vfi.model.sgm.flow_merge import FlowMerge
from sgm_vfi.model.sgm.network import SGM
from sgm_vfi.training.loss_functions import interpolation_loss, laplacian_loss, laplacian_pyramid
from tests.conftest import TINY, randomize_weights

Frames = tuple[Tensor, Tensor]


def test_results_do_not_depend_on_what_was_run_before(tiny: SGM) -> None:
    """Sizes of equal padded area, where a cache keyed by area would hand out the wrong mask."""
    torch.manual_seed(0)
    one, other = torch.rand(2, 1, 3, 144, 80), torch.rand(2, 1, 3, 80, 144)  # at 1/8: 21 x 14
    time = time_like(one[0], 0.5)
    with torch.no_grad():
        first = tiny(*one, time).frame
        tiny(*other, time)
        again = tiny(*one, time).frame
        fresh = randomize_weights(SGM(TINY)).eval()
        assert torch.equal(tiny(*other, time).frame, fresh(*other, time).frame)
    assert torch.equal(first, again)


def test_one_preparation_serves_every_time(tiny: SGM, pair: Frames) -> None:
    with torch.no_grad():
        state = tiny.prepare(*pair)
        frames = [tiny.interpolate(state, time_like(pair[0], t)).frame for t in (0.25, 0.5, 0.75)]
        alone = tiny(*pair, time_like(pair[0], 0.25)).frame
    assert torch.equal(frames[0], alone)
    assert (frames[0] - frames[2]).abs().max() > 1e-3


def test_each_sample_of_a_batch_has_its_own_time(tiny: SGM, pair: Frames) -> None:
    """In double precision: which cells are matched must not hang on the last bit."""
    tiny.double()
    times = torch.tensor([0.2, 0.7], dtype=torch.double).view(2, 1, 1, 1)
    both = [torch.cat((frame, frame.flip(3))).double() for frame in pair]
    with torch.no_grad():
        together = tiny(*both, times).frame
        alone = [tiny(*(f[i : i + 1] for f in both), times[i : i + 1]).frame for i in range(2)]
    torch.testing.assert_close(together, torch.cat(alone), atol=1e-9, rtol=0)


def test_double_precision_is_single_precision_and_more(pair: Frames) -> None:
    """Without matching, whose choices hang on last bits. A mask has the type of its queries."""
    local = randomize_weights(SGM(replace(TINY, keypoint_ratio=None))).eval()
    time = time_like(pair[0], 0.5)
    with torch.no_grad():
        single = local(*pair, time).frame
        double = local.double()(*(x.double() for x in (*pair, time))).frame
    assert double.dtype == torch.double
    torch.testing.assert_close(double.float(), single, atol=1e-4, rtol=0)  # single errs by 6e-6


def test_colours_are_turned_at_the_door(tiny: SGM, pair: Frames) -> None:
    """Weights for BGR see BGR, whoever calls with RGB."""
    blue_first = randomize_weights(SGM(replace(TINY, colour_order="bgr"))).eval()
    time = time_like(pair[0], 0.5)
    with torch.no_grad():
        inside = tiny(pair[0].flip(1), pair[1].flip(1), time).frame.flip(1)
        assert torch.equal(blue_first(*pair, time).frame, inside)


def test_tiles_equal_the_whole_frame(tiny: SGM) -> None:
    """In double precision, where a halo too small by one pixel would show."""
    tiny.double()
    torch.manual_seed(0)
    frames = torch.rand(2, 1, 3, 192, 192, dtype=torch.double)  # halos end in it, on each side
    time = time_like(frames[0], 0.5)
    with torch.no_grad():
        whole = tiny(*frames, time).frame
        tiled = Tiled(tiny, tile=96)(*frames, time).frame
    torch.testing.assert_close(tiled, whole, atol=1e-9, rtol=0)


def test_all_key_points_are_dense_matching(pair: Frames) -> None:
    """The shortest way round the selection gives what the selection of everything gives."""
    dense = randomize_weights(SGM(replace(TINY, keypoint_ratio=1.0))).eval()
    features = torch.randn(2, 128, 34, 12)
    everything = torch.arange(34 * 12).expand(2, -1)
    torch.testing.assert_close(match_globally(features), match_globally(features, everything))
    with torch.no_grad():
        out = dense(*pair, time_like(pair[0], 0.5), explain=True)
    assert out.explanation is not None
    assert out.explanation["keypoints"].min() == 1


def test_no_key_points_leave_the_local_flow(pair: Frames) -> None:
    none = randomize_weights(SGM(replace(TINY, keypoint_ratio=0.0))).eval()
    with torch.no_grad():
        out = none(*pair, time_like(pair[0], 0.5), explain=True)
    assert out.explanation is not None
    assert out.explanation["keypoints"].max() == 0
    assert out.explanation["compensation"].abs().max() == 0


def test_explanation_is_of_the_frame_and_changes_nothing(tiny: SGM) -> None:
    frames = torch.rand(2, 1, 3, 192, 96)  # half of it is still matched sparsely
    time = time_like(frames[0], 0.5)
    with torch.no_grad():
        plain, told = tiny(*frames, time, 0.5), tiny(*frames, time, 0.5, explain=True)
    assert torch.equal(plain.frame, told.frame)
    assert plain.explanation is None
    assert told.explanation is not None
    channels = {name: picture.shape[1] for name, picture in told.explanation.items()}
    assert channels == {
        "initial_flow": 4,
        "difference": 2,
        "keypoints": 2,
        "compensation": 4,
        "merged_flow": 4,
        "flow": 4,
        "blend": 1,
    }
    assert all(picture.shape[-2:] == (192, 96) for picture in told.explanation.values())
    share = told.explanation["keypoints"].mean().item()
    assert share == pytest.approx(0.25, abs=1 / (12 * 6))


def test_refused_sizes_and_scales(tiny: SGM) -> None:
    time = torch.full((1, 1, 1, 1), 0.5)
    with pytest.raises(ValueError, match="divisible by 16, got 40x48"):
        tiny(torch.rand(1, 3, 40, 48), torch.rand(1, 3, 40, 48), time)
    frames = torch.rand(2, 1, 3, 48, 48)
    with pytest.raises(ValueError, match="divisible by 64, got 48x48"):
        tiny(*frames, time, 1 / 4)
    for scale in (0, 1.5, 0.37):
        with pytest.raises(ValueError, match="flow_scale is a ratio"):
            tiny(*frames, time, scale)
    with pytest.raises(ValueError, match="Divide bytes by 255"):
        tiny(*(frames * 255).byte(), time)
    with pytest.raises(ValueError, match="two frames of one shape"):
        tiny(frames[0], torch.rand(1, 3, 64, 48), time)
    with pytest.raises(ValueError, match="share in"):
        replace(TINY, keypoint_ratio=1.5)


# --- step 1


def test_difference_is_zero_where_the_motion_is_right() -> None:
    """A picture moved by (4, -2): its true flow leaves nothing to repair, a wrong one does."""
    torch.manual_seed(0)
    wide = torch.rand(1, 3, 60, 80)
    frame0, frame1 = wide[..., 10:50, 10:70], wide[..., 12:52, 6:66]
    frames = torch.cat((frame0, frame1))
    moved = torch.tensor([-2.0, 1.0, 2.0, -1.0]).view(1, 4, 1, 1).expand(1, 4, 40, 60)
    for flow, low, high in ((moved, 0, 1e-5), (torch.zeros_like(moved), 0.5, 3)):
        warped = backward_warp(frames, torch.cat(flow.chunk(2, dim=1)))
        inside = difference_map(frames, warped, flow)[..., 8:-8, 8:-8]
        assert low <= inside.max() <= high


def test_difference_against_its_definition() -> None:
    """Six warps and six softmax splats with metric one, as the paper states it."""
    torch.manual_seed(0)
    frame0, frame1 = torch.rand(2, 1, 3, 24, 32)
    flow = 4 * torch.randn(1, 4, 3, 4).repeat_interleave(8, 2).repeat_interleave(8, 3)
    flow0, flow1 = flow.chunk(2, dim=1)
    weight = torch.full((1, 1, 24, 32), torch.e)

    def send(image: Tensor, back: Tensor, onward: Tensor) -> Tensor:
        return splat(backward_warp(image, back), onward, weight)[0]

    ones = torch.ones(1, 1, 24, 32)
    error1 = (send(frame0, flow0, flow1) - frame1).abs().sum(1, keepdim=True)
    error1 = error1 * (send(ones, flow0, flow1) != 0)
    error0 = (send(frame1, flow1, flow0) - frame0).abs().sum(1, keepdim=True)
    error0 = error0 * (send(ones, flow1, flow0) != 0)
    expected = torch.cat((send(error1, flow1, flow0), send(error0, flow0, flow1)))
    frames = torch.cat((frame0, frame1))
    warped = backward_warp(frames, torch.cat((flow0, flow1)))
    torch.testing.assert_close(difference_map(frames, warped, flow), expected, atol=2e-5, rtol=0)


# --- step 2


def test_ties_go_to_the_first_cell() -> None:
    importance = torch.tensor([[3.0, 1, 3], [2, 3, 2]]).view(1, 1, 2, 3)
    assert select_keypoints(importance, 4).tolist() == [[0, 2, 4, 3]]


def test_sparse_matches_are_the_dense_ones_at_key_points() -> None:
    torch.manual_seed(0)
    features = torch.randn(2, 16, 6, 9)
    keypoints = torch.stack([torch.randperm(54)[:13] for _ in range(2)])
    dense, sparse = (
        match_globally(features).flatten(2),
        match_globally(features, keypoints).flatten(2),
    )
    mask = torch.zeros(2, 1, 54).scatter(2, keypoints[:, None], 1)
    torch.testing.assert_close(sparse, dense * mask)
    assert torch.equal(sparse == 0, (mask == 0).expand_as(sparse))


def matched_at(*points: tuple[int, int, int, float, float]) -> Tensor:
    """Matches, zero but at (direction, y, x, u, v). Shapes: -> (2, 2, 6, 8)."""
    matched = torch.zeros(2, 2, 6, 8)
    for direction, y, x, u, v in points:
        matched[direction, :, y, x] = torch.tensor([u, v])
    return matched


HALF = torch.full((1, 1, 1, 1), 0.5)


def test_a_match_moves_half_way_and_points_both_ways() -> None:
    """0 -> 1 by (4, 2) from (1, 1): at t = 1/2 it stands at (3, 2) and has (2, 1) to go."""
    shifted = shift_to_time(matched_at((0, 1, 1, 4, 2)), HALF)
    expected = torch.zeros(1, 4, 6, 8)
    expected[0, 2:, 2, 3] = torch.tensor([2.0, 1.0])
    torch.testing.assert_close(shifted, expected, atol=1e-6, rtol=0)
    backwards = shift_to_time(matched_at((1, 3, 5, -4, -2)), HALF)
    expected = torch.zeros(1, 4, 6, 8)
    expected[0, :2, 2, 3] = torch.tensor([-2.0, -1.0])
    torch.testing.assert_close(backwards, expected, atol=1e-6, rtol=0)


def test_matches_are_asked_for_at_their_time() -> None:
    """At t = 1/4 a match 0 -> 1 by (4, 4) has gone (1, 1) and has (3, 3) to go."""
    shifted = shift_to_time(matched_at((0, 1, 1, 4, 4)), torch.full((1, 1, 1, 1), 0.25))
    assert shifted[0, 2:, 2, 2].tolist() == pytest.approx([3, 3], abs=1e-5)


def test_a_match_between_cells_keeps_its_value_but_not_its_rim() -> None:
    """Landing between two cells fills both; asked for one cell only the fuller one stays."""
    matched = matched_at((0, 1, 1, 4.5, 2))
    spread = shift_to_time(matched, HALF)
    assert spread[0, 2, 2, 3:5].tolist() == pytest.approx([2.25, 2.25], rel=1e-5)
    kept = shift_to_time(matched, HALF, count=1)
    assert kept[0, 2, 2, 3:5].tolist() == pytest.approx([2.25, 0], rel=1e-5)
    assert (kept != 0).sum() == 2  # both components of one cell


def test_matches_that_leave_the_frame_are_gone() -> None:
    shifted = shift_to_time(matched_at((0, 0, 0, -8, -8), (0, 5, 7, 1, 1)), HALF)
    assert shifted[0, 2:, 0, 0].abs().max() == 0
    assert shifted[0, 2, 5, 7] == pytest.approx(0.5, rel=1e-5)  # half of it is still inside


def test_two_matches_on_one_cell_are_averaged() -> None:
    shifted = shift_to_time(matched_at((0, 2, 1, 4, 2), (0, 2, 5, -4, 2)), HALF)
    assert shifted[0, 2:, 3, 3].tolist() == pytest.approx([0, 1], abs=1e-6)


def test_counting_more_cells_than_were_hit_changes_nothing() -> None:
    matched = matched_at((0, 1, 1, 4, 2))
    assert torch.equal(shift_to_time(matched, HALF, count=40), shift_to_time(matched, HALF))


def test_exact_zero_means_no_match_component_by_component() -> None:
    local = torch.full((1, 4, 6, 8), 7.0)
    filled = replace_unmatched(shift_to_time(matched_at((0, 1, 1, 0, 2)), HALF), local)
    assert filled[0, 2:, 2, 1].tolist() == pytest.approx([7, 1], abs=1e-5)


# --- step 3


def test_merging_stays_within_what_it_is_given() -> None:
    """Inside the map: a convex combination of the candidates around each cell."""
    torch.manual_seed(0)
    merge = FlowMerge(feature_channels=5)
    merge.logits[2].weight.data.normal_(std=2)
    local, compensated = torch.randn(2, 1, 4, 6, 7)
    merged = merge(local, compensated, torch.randn(1, 5, 6, 7))[..., 1:-1, 1:-1]
    candidates = torch.cat((local, compensated)).unfold(2, 3, 1).unfold(3, 3, 1).flatten(4)
    low, high = candidates.amin(dim=(0, 4)), candidates.amax(dim=(0, 4))
    assert ((merged >= low - 1e-6) & (merged <= high + 1e-6)).all()


def test_untrained_merge_is_the_mean_of_both_neighbourhoods() -> None:
    """Outside the map flows count as zero, so a corner keeps 4 of 9 shares."""
    merge = FlowMerge(feature_channels=5)
    for weight in merge.parameters():
        weight.data.zero_()
    flow = torch.ones(1, 4, 6, 7)
    merged = merge(flow, flow, torch.randn(1, 5, 6, 7)).detach()
    assert merged[0, 0, 2, 2] == pytest.approx(1)
    assert merged[0, 0, 0, 0] == pytest.approx(4 / 9)
    assert merged[0, 0, 0, 3] == pytest.approx(6 / 9)


# --- training


def test_what_the_matching_branch_teaches(tiny: SGM, pair: Frames) -> None:
    """Its own layers and, through the final flow, the rest; never the features it matches."""
    tiny.train()
    frames = pair
    prediction = tiny(*frames, time_like(pair[0], 0.5))
    assert len(prediction.merged) == 3
    interpolation_loss(prediction, frames[0]).backward()
    learns = {name for name, p in tiny.named_parameters() if p.grad is not None and p.grad.any()}
    for part in ("encoder", "local_flow.0", "local_flow.1", "synthesis.unet", "matching.merge"):
        assert any(name.startswith(part) for name in learns), part
    assert not any(name.startswith("gmflow") for name in learns)


def test_training_mode_refuses_a_reduced_flow(tiny: SGM) -> None:
    frames = torch.rand(2, 1, 3, 64, 64)
    with pytest.raises(ValueError, match="full size"):
        tiny.train()(*frames, time_like(frames[0], 0.5), 0.5)


def test_loss_sees_structure_but_no_constant_offset() -> None:
    torch.manual_seed(0)
    image, other = torch.rand(2, 1, 3, 64, 96)
    assert laplacian_loss(image, image + 0.3) < 1e-5
    assert laplacian_loss(image, other) > 0.1
    torch.testing.assert_close(
        laplacian_loss(3 * image, 3 * other), 3 * laplacian_loss(image, other)
    )


def test_pyramid_level_against_its_definition() -> None:
    """The whole 5 x 5 kernel at once, on an image with zeros between the samples."""
    torch.manual_seed(0)
    image = torch.rand(1, 1, 64, 64)
    taps = torch.tensor([1.0, 4, 6, 4, 1])
    kernel = (taps[:, None] * taps / 256)[None, None]

    def blur(x: Tensor) -> Tensor:
        return torch.conv2d(torch.nn.functional.pad(x, (2, 2, 2, 2), mode="reflect"), kernel)

    low = blur(image)[..., ::2, ::2]
    spread = torch.zeros_like(image)
    spread[..., ::2, ::2] = low
    torch.testing.assert_close(laplacian_pyramid(image)[0], image - 4 * blur(spread))


@pytest.mark.parametrize("size", [(64, 80), (32, 64)])
def test_loss_refuses_sizes_it_would_misalign(size: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="divisible by 32, at least 64"):
        laplacian_loss(torch.rand(1, 3, *size), torch.rand(1, 3, *size))


def test_resize_of_difference_keeps_the_grid(tiny: SGM) -> None:
    """Cells and pixels line up: the map at 1/8 has one value a cell."""
    assert resize(torch.rand(1, 1, 272, 96), 1 / 8).shape[-2:] == (34, 12)
