"""Interpolation that needs no trained weights: DIS flow, mixing of warped pictures, the floors."""

from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from sgm_vfi.model.baselines.flow_blend import FlowBlend
from sgm_vfi.model.baselines.repeat_and_blend import Blend, Repeat
from sgm_vfi.model.flow.dis import MAX_REFINED_PIXELS, DISFlow
from sgm_vfi.model.flow.estimator import FlowEstimator
from sgm_vfi.model.flow.motion_hypotheses_at_time import sum_windows
from sgm_vfi.model.interpolator import time_like
from sgm_vfi.model.ops.hole_filling import fill_holes
from sgm_vfi.model.ops.warp import backward_warp

TINY_SIZES = [(1, 1), (1, 40), (40, 1), (3, 5), (17, 33), (13, 200)]  # 13 x 200 crashed OpenCV


def texture(dx: float, dy: float, size: tuple[int, int] = (96, 128), seed: int = 0) -> Tensor:
    """A picture known at every real point, moved by (dx, dy): (1, 3, H, W)."""
    generator = torch.Generator().manual_seed(seed)
    waves = torch.rand(24, 1, 1, 4, generator=generator)  # two frequencies, phase, strength
    y, x = torch.meshgrid(*(torch.arange(side, dtype=torch.float) for side in size), indexing="ij")
    turn = (waves[..., 0] - 0.5) * (x - dx) + (waves[..., 1] - 0.5) * (y - dy)
    picture = (turn + 7 * waves[..., 2]).sin() * waves[..., 3]
    return (0.5 + 0.08 * picture.unflatten(0, (3, 8)).sum(dim=1))[None]


def psnr(frame: Tensor, target: Tensor, border: int = 0) -> float:
    height, width = frame.shape[-2:]
    inner = ..., slice(border, height - border), slice(border, width - border)
    return -10 * (frame[inner] - target[inner]).square().mean().log10().item()


class KnownFlow(FlowEstimator):
    """Gives the flows that it was given, in turn."""

    def __init__(self, flow_01: Tensor, flow_10: Tensor) -> None:
        super().__init__()
        self.flows = flow_01, flow_10

    def forward(self, source: Tensor, target: Tensor) -> Tensor:
        raise AssertionError("Both directions are asked for at once.")

    def estimate_both(self, seen0: Tensor, seen1: Tensor) -> tuple[Tensor, Tensor]:
        return self.flows


@pytest.fixture
def classical() -> FlowBlend:
    return FlowBlend(DISFlow())


def test_both_directions_are_those_of_one() -> None:
    frame0, frame1 = texture(0, 0), texture(3, -2)
    flow = DISFlow()
    flow_01, flow_10 = flow.bidirectional(frame0, frame1)
    assert torch.equal(flow_01, flow(frame0, frame1))
    assert torch.equal(flow_10, flow(frame1, frame0))


@pytest.mark.parametrize("size", [(1, 1), (3, 40), (20, 17)])
@pytest.mark.parametrize("reach", [3, 7])
def test_sums_of_windows_are_those_of_an_average_pool(reach: int, size: tuple[int, int]) -> None:
    x, side = torch.rand(1, 2, *size), 2 * reach + 1
    padded = F.pad(x, [reach] * 4)
    summed = sum_windows(sum_windows(padded, reach, -1), reach, -2)
    torch.testing.assert_close(summed, side**2 * F.avg_pool2d(padded, side, stride=1))


@pytest.mark.parametrize("shift", [(3.0, -2.0), (-0.5, 0.25), (7.0, 5.0)])
def test_flow_points_from_source_to_target(shift: tuple[float, float]) -> None:
    """source(x, y) ~ target(x + u, y + v): a picture that moved right and up has u > 0 > v."""
    flow = DISFlow()(texture(0, 0), texture(*shift))
    error = flow - torch.tensor(shift).view(1, 2, 1, 1)
    assert error[..., 16:-16, 16:-16].abs().mean() < 0.1


def test_flow_is_in_pixels_of_odd_sizes_too() -> None:
    """OpenCV rounds halved sizes down and doubles the flow of what is left."""
    for size in ((67, 97), (68, 96)):
        flow = DISFlow()(texture(0, 0, size), texture(6, 0, size))
        assert (flow[:, 0, 16:-16, 16:-16] - 6).abs().mean() < 0.1


def test_flow_of_both_directions_is_each_alone() -> None:
    frame0, frame1 = texture(0, 0), texture(2, 1)
    estimator = DISFlow()
    forth, back = estimator.bidirectional(frame0, frame1)
    assert torch.equal(forth, estimator(frame0, frame1))
    assert torch.equal(back, estimator(frame1, frame0))


def test_flow_is_the_same_in_a_batch_again_and_in_threads() -> None:
    frames = torch.cat([texture(shift, shift / 2) for shift in range(5)])
    source, target = frames[:-1], frames[1:]
    estimator = DISFlow()
    flow = estimator(source, target)
    with ThreadPoolExecutor(4) as pool:
        alone = list(pool.map(estimator, source.split(1), target.split(1)))
    assert torch.equal(flow, torch.cat(alone))


@pytest.mark.parametrize("size", TINY_SIZES)
def test_flow_of_tiny_frames(size: tuple[int, int]) -> None:
    frames = torch.rand(2, 2, 3, *size, generator=torch.Generator().manual_seed(0))
    flow = DISFlow()(*frames)
    assert flow.shape == (2, 2, *size)
    assert flow.isfinite().all()
    assert not DISFlow()(frames[0], frames[0]).any()


def test_flow_of_large_frames_is_right_without_refinement() -> None:
    generator, size = torch.Generator().manual_seed(0), (MAX_REFINED_PIXELS // 1024 + 2, 1030)
    octaves = [torch.rand(1, 3, 2**n, 2**n, generator=generator) for n in range(2, 9)]
    picture = sum(F.interpolate(noise, size, mode="bicubic") for noise in octaves) / len(octaves)
    source, target = picture[..., 6:], picture[..., :-6]
    flow = DISFlow()(source, target)
    assert torch.equal(flow, DISFlow(refinements=0)(source, target))
    inner = flow[..., 16:-16, 16:-16]
    assert (inner - torch.tensor([6.0, 0.0]).view(2, 1, 1)).abs().mean() < 0.1


def test_flow_refuses_what_opencv_would_crash_on() -> None:
    with pytest.raises(ValueError, match="patch_size is 4 to 16"):
        DISFlow(patch_size=32)
    with pytest.raises(ValueError, match="finest_scale is 0 to 4"):
        DISFlow(finest_scale=-1)


@pytest.mark.parametrize("shift", [(4.0, 2.0), (3.0, -1.0), (1.3, 0.6), (-9.0, 5.0)])
@pytest.mark.parametrize("time", [0.5, 0.25])
def test_moving_texture(classical: FlowBlend, shift: tuple[float, float], time: float) -> None:
    frame0, frame1 = texture(0, 0), texture(*shift)
    frame = classical(frame0, frame1, time_like(frame0, time)).frame
    target = texture(time * shift[0], time * shift[1])
    assert psnr(frame, target, border=16) > 35
    assert psnr(frame, target, border=16) > psnr(torch.lerp(frame0, frame1, time), target, 16)


def test_time_moves_an_object_along_its_way(classical: FlowBlend) -> None:
    """A bright disc goes 20 pixels right: where its weight is tells the time."""
    y, x = torch.meshgrid(torch.arange(96.0), torch.arange(128.0), indexing="ij")

    def disc(centre: float) -> Tensor:
        distance = ((x - centre) ** 2 + (y - 48) ** 2).sqrt()
        return 0.2 + 0.6 * torch.sigmoid(16 - distance).expand(1, 3, -1, -1)

    frame0, frame1 = disc(40), disc(60)
    for time in (0.25, 0.5, 0.75):
        weight = classical(frame0, frame1, time_like(frame0, time)).frame[0, 0] - 0.2
        centre = (weight * x).sum() / weight.sum()
        assert centre == pytest.approx(40 + 20 * time, abs=0.5)
        assert weight[48, round(40 + 20 * time)] > 0.5  # moved, not faded in and out


@pytest.mark.parametrize("size", [(96, 128), (1040, 1024)], ids=["half", "quarter"])
@pytest.mark.parametrize("pan", [0.0, 8.0])
def test_what_moves_farther_than_it_is_wide_is_whole_half_way(
    size: tuple[int, int], pan: float
) -> None:
    """In front of a background that both frames show there, and no ghost stays where it was.

    Motion is known. Both frames agree on the background half way as well; but where the object was
    at either end it covered the background, so it is in front.
    """
    radius, way = size[0] / 9, size[0] / 2
    y, x = torch.meshgrid(*(torch.arange(side, dtype=torch.float) for side in size), indexing="ij")

    def inside(time: float, more: float = 0.0) -> Tensor:
        centre = (size[1] - way) / 2 + way * time
        distance = (x - centre).square() + (y - size[0] / 2).square()
        return (distance < (radius + more) ** 2).float()[None, None]

    def scene(time: float) -> Tensor:
        dark, bright = (
            0.5 * texture(pan * time, 0, size),
            0.5 + 0.5 * texture(way * time, 0, size, 1),
        )
        return torch.lerp(dark, bright, inside(time))

    def flow(time: float, sign: float) -> Tensor:
        right = torch.lerp(torch.full_like(x, pan), torch.full_like(x, way), inside(time))
        return torch.cat((sign * right, torch.zeros_like(right)), dim=1)

    ends, target = (scene(0), scene(1)), scene(0.5)
    frame = FlowBlend(KnownFlow(flow(0, 1), flow(1, -1)))(*ends, time_like(target, 0.5)).frame
    for time, least in ((0, 25), (0.5, 20), (1, 25)):
        there = inside(time, -0.25 * radius)
        error = ((frame - target).square() * there).sum() / (3 * there.sum())
        assert -10 * error.log10() > least, time


def test_identical_frames_stay(classical: FlowBlend) -> None:
    frame = texture(0, 0)
    between = classical(frame, frame, time_like(frame, 0.3)).frame
    torch.testing.assert_close(between, frame, atol=1e-4, rtol=0)


def test_time_backwards_is_the_other_way_round(classical: FlowBlend) -> None:
    frame0, frame1 = texture(0, 0), texture(5, 3, seed=1)
    there = classical(frame0, frame1, time_like(frame0, 0.3)).frame
    back = classical(frame1, frame0, time_like(frame0, 0.7)).frame
    torch.testing.assert_close(there, back, atol=1e-4, rtol=0)


def test_one_preparation_serves_many_times_and_samples(classical: FlowBlend) -> None:
    frame0 = torch.cat((texture(0, 0), texture(0, 0, seed=1)))
    frame1 = torch.cat((texture(3, 1), texture(-2, 4, seed=1)))
    state = classical.prepare(frame0, frame1)
    times = torch.tensor([0.25, 0.6]).view(2, 1, 1, 1)
    first, second = classical.interpolate(state, times).frame
    classical.interpolate(state, time_like(frame0, 0.5))
    assert torch.equal(classical.interpolate(state, times).frame[0], first)
    for i, together in enumerate((first, second)):
        alone = classical(frame0[i : i + 1], frame1[i : i + 1], times[i : i + 1]).frame[0]
        torch.testing.assert_close(together, alone, atol=1e-5, rtol=0)


@pytest.mark.parametrize("size", TINY_SIZES)
@pytest.mark.parametrize("flow_scale", [1.0, 0.5, 0.125])
def test_tiny_and_odd_sizes(classical: FlowBlend, size: tuple[int, int], flow_scale: float) -> None:
    frame0, frame1 = torch.rand(2, 1, 3, *size, generator=torch.Generator().manual_seed(0))
    result = classical(frame0, frame1, time_like(frame0, 0.5), flow_scale, explain=True)
    for name, channels in (("flow", 4), ("initial_flow", 4), ("difference", 2), ("blend", 1)):
        assert result.explanation[name].shape == (1, channels, *size)
        assert result.explanation[name].isfinite().all()
    assert result.frame.shape == frame0.shape
    assert result.frame.min() >= 0
    assert result.frame.max() <= 1


def test_flow_scale_estimates_motion_on_smaller_frames(classical: FlowBlend) -> None:
    """Motion too large for the frames as they are is found on smaller ones, and scaled back."""
    smooth = {"size": (192, 256)}
    frame0, frame1 = texture(0, 0, **smooth), texture(8, 4, **smooth)
    asked = []
    classical.flow.register_forward_pre_hook(lambda _, inputs: asked.append(inputs[0].shape[-2:]))
    result = classical(frame0, frame1, time_like(frame0, 0.5), 0.5, explain=True)
    assert set(asked) == {(96, 128)}
    assert psnr(result.frame, texture(4, 2, **smooth), border=24) > 32
    flow = result.explanation["initial_flow"][..., 24:-24, 24:-24].mean(dim=(0, 2, 3))
    torch.testing.assert_close(flow, torch.tensor([-4.0, -2, 4, 2]), atol=0.2, rtol=0)


def test_explanation_says_where_both_halves_come_from(classical: FlowBlend) -> None:
    frame0, frame1 = texture(0, 0), texture(6, -2)
    notes = classical(frame0, frame1, time_like(frame0, 0.25), explain=True).explanation
    inner = ..., slice(24, -24), slice(24, -24)
    flow = notes["flow"][inner].mean(dim=(0, 2, 3))
    torch.testing.assert_close(flow, torch.tensor([-1.5, 0.5, 4.5, -1.5]), atol=0.3, rtol=0)
    assert notes["blend"][inner].mean() == pytest.approx(0.75, abs=0.02)
    assert classical(frame0, frame1, time_like(frame0, 0.25)).explanation is None


def test_what_enters_the_frame_comes_from_the_frame_that_shows_it() -> None:
    """The camera moves 16 pixels: the border that frame 0 lacks is as good as the middle."""
    frame0, frame1 = texture(0, 0), texture(-16, 0)
    flow = torch.tensor([-16.0, 0]).view(1, 2, 1, 1).expand(1, 2, 96, 128)
    net = FlowBlend(KnownFlow(flow, -flow))
    result = net(frame0, frame1, time_like(frame0, 0.5), explain=True)
    target = texture(-8, 0)
    assert psnr(result.frame[..., -8:], target[..., -8:]) > 32
    assert psnr(torch.lerp(frame0, frame1, 0.5)[..., -8:], target[..., -8:]) < 20
    assert result.explanation["blend"][..., -4:].max() < 0.05
    assert result.explanation["blend"][..., :4].min() > 0.95


def test_object_before_a_background() -> None:
    """A square passes over a still background; with its true flow it leaves no ghost behind."""
    ground, square = texture(0, 0, seed=1), texture(0, 0, (32, 32), seed=2)

    def scene(left: int) -> Tensor:
        picture = ground.clone()
        picture[..., 32:64, left : left + 32] = square
        return picture

    flow_01, flow_10 = torch.zeros(2, 1, 2, 96, 128)
    flow_01[:, 0, 32:64, 24:56], flow_10[:, 0, 32:64, 56:88] = 32, -32
    net = FlowBlend(KnownFlow(flow_01, flow_10))
    frame0, frame1, target = scene(24), scene(56), scene(40)
    frame = net(frame0, frame1, time_like(frame0, 0.5)).frame
    assert psnr(frame, target) > psnr((frame0 + frame1) / 2, target) + 5
    assert psnr(frame[..., 36:60, 44:68], target[..., 36:60, 44:68]) > 30


def test_holes_are_filled_from_around() -> None:
    values = torch.zeros(1, 2, 7, 10)
    weight = torch.zeros(1, 1, 7, 10)
    assert not fill_holes(values, weight).any()
    values[..., 2, 3], weight[..., 2, 3] = 5, 1
    torch.testing.assert_close(
        fill_holes(values, weight), torch.full_like(values, 5), atol=1e-3, rtol=0
    )
    values[..., 6, 9], weight[..., 6, 9] = 1, 1
    filled = fill_holes(values, weight)
    assert filled[0, 0, 2, 3] == 5
    assert filled[0, 0, 6, 9] == 1
    assert filled[0, 0, 1, 2] > 4  # nearer to the first
    assert filled[0, 0, 6, 8] < 2
    assert filled.min() >= 1 - 1e-3
    assert filled.max() <= 5 + 1e-3


def test_bicubic_warp_keeps_more_detail() -> None:
    frame, target = texture(0, 0), texture(-0.5, 0)
    flow = torch.tensor([0.5, 0]).view(1, 2, 1, 1).expand(1, 2, 96, 128)
    sharp = backward_warp(frame, flow, mode="bicubic")
    assert psnr(sharp, target, 4) > psnr(backward_warp(frame, flow), target, 4) + 6
    torch.testing.assert_close(backward_warp(frame, 0 * flow, mode="bicubic"), frame)


def test_repeat_shows_the_nearer_frame_and_blend_a_mean() -> None:
    frame0, frame1 = torch.rand(2, 3, 3, 2, 2)
    time = torch.tensor([0.25, 0.5, 0.75]).view(3, 1, 1, 1)
    nearer = torch.stack((frame0[0], frame0[1], frame1[2]))
    assert torch.equal(Repeat()(frame0, frame1, time).frame, nearer)
    mean = (1 - time) * frame0 + time * frame1
    torch.testing.assert_close(Blend()(frame0, frame1, time).frame, mean)
    notes = Blend()(frame0, frame1, time, explain=True).explanation
    torch.testing.assert_close(notes["blend"], (1 - time).expand(3, 1, 2, 2))
    assert not notes["flow"].any()
