"""RAFT-VFI: stages on hand-computed cases, and the network on known motion."""

import itertools

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sgm_vfi.model.baselines.raft_vfi import (
    filter_flows_warp_and_blend,
    flow_reversal,
    window_attention,
)
from sgm_vfi.model.baselines.raft_vfi.network import RAFTVFI, RAFTVFIConfig
from sgm_vfi.model.baselines.repeat_and_blend import Blend
from sgm_vfi.model.flow.estimator import FlowEstimator
from sgm_vfi.model.inference.ensemble import FlipEnsemble
from sgm_vfi.model.inference.padding import Padded
from sgm_vfi.model.interpolator import time_like
from sgm_vfi.model.ops.splat import gaussian, splat_sum
from sgm_vfi.model.precision_and_compile import set_inference_precision
from tests.conftest import randomize_weights
from tests.fixtures.networks import leave_out_first_layers, small_raft_vfi


class PixelFlow(FlowEstimator):
    """Estimates the displacement of the brightest pixel, everywhere."""

    def __init__(self) -> None:
        super().__init__()
        self.calls = 0

    def forward(self, source: Tensor, target: Tensor) -> Tensor:
        self.calls += 1
        shift = brightest_pixel(target) - brightest_pixel(source)
        return shift.view(1, 2, 1, 1).expand(1, 2, *source.shape[-2:]).to(source)


def brightest_pixel(frame: Tensor) -> Tensor:
    """(x, y) of the brightest pixel."""
    index = frame[0].sum(dim=0).argmax()
    return torch.stack((index % frame.shape[-1], index // frame.shape[-1]))


def texture_at(x: int, y: int, height: int = 64, width: int = 96) -> Tensor:
    """A texture with a bright pixel at (x, y); the texture moves with the pixel."""
    generator = torch.Generator().manual_seed(3)
    coarse = torch.rand(1, 3, height // 4, width // 4, generator=generator)
    frame = 0.8 * F.interpolate(coarse, size=(height, width), mode="bicubic").clamp(0, 1)
    frame[..., 20, 30] = 1
    return frame.roll((y - 20, x - 30), dims=(2, 3))


def pure_motion(flow: FlowEstimator | None = None, order: str = "rgb") -> RAFTVFI:
    """The network without corrections and without a static layer: pure motion."""
    net = small_raft_vfi(order)
    for layer in (*(stage.output for stage in net.refinement), net.synthesis.unet.output):
        nn.init.zeros_(layer.weight)
        nn.init.zeros_(layer.bias)
    nn.init.zeros_(net.synthesis.static[-1].weight)
    nn.init.constant_(net.synthesis.static[-1].bias, -30)
    net.flow = flow or net.flow
    return net


# motion
@pytest.mark.parametrize("time", [0.25, 0.5, 0.75])
def test_displacement_with_constant_acceleration(time: float) -> None:
    """After p(t) = v t + a t^2, from where it is at -1 and at 1."""
    speed, gain = torch.rand(2, 1, 2, 3, 4) * 10 - 5
    at = torch.full((1, 1, 1, 1), time)
    way = flow_reversal.displacement_at(speed + gain, at, gain - speed)
    torch.testing.assert_close(way, speed * time + gain * time**2)
    torch.testing.assert_close(flow_reversal.displacement_at(speed, at), speed * time)


def test_gaussian_corners_by_hand() -> None:
    """One pixel that lands at (2.25, 1): four weights, by the squared distance."""
    source, flow = torch.zeros(1, 1, 4, 5), torch.zeros(1, 2, 4, 5)
    source[0, 0, 1, 1], flow[0, 0, 1, 1] = 2, 1.25
    expected = torch.zeros(4, 5)
    for row, column, distance in ((1, 2, 0.0625), (1, 3, 0.5625), (2, 2, 1.0625), (2, 3, 1.5625)):
        expected[row, column] = 2 * torch.tensor(-distance).exp()
    landed = splat_sum(source, flow, kernel=gaussian)[0, 0]
    torch.testing.assert_close(landed, expected)


def test_reversed_uniform_flow_is_its_negative() -> None:
    """A uniform motion leads straight back wherever something arrived."""
    flow = torch.tensor([6.0, -3.0]).view(1, 2, 1, 1).expand(1, 2, 33, 40)
    back = flow_reversal.reverse_flow(flow)
    assert back.shape == flow.shape
    torch.testing.assert_close(back[..., :-6, 9:], -flow[..., :-6, 9:])


def test_reversal_reads_every_third_pixel() -> None:
    """Motion on the others goes unseen, and 3 x 3 pixels, about, share a vector."""
    flow = torch.full((1, 2, 32, 33), 50.0)
    flow[..., ::3, ::3] = 0
    assert flow_reversal.reverse_flow(flow).abs().max() == 0


def test_only_holes_are_filled_from_neighbours() -> None:
    flow, guess = torch.full((1, 2, 16, 16), 4.0), torch.full((1, 2, 16, 16), 100.0)
    weight = torch.ones(1, 1, 16, 16)
    torch.testing.assert_close(flow_reversal.fill_from_neighbours(flow, weight, guess), flow)
    weight[..., 8, 8] = 0
    filled = flow_reversal.fill_from_neighbours(flow, weight, guess)
    others = weight.expand_as(flow) > 0
    assert torch.equal(filled[others], flow[others])
    assert (filled[~others] > 4).all()  # the guess has its share in the mean,
    assert (filled[~others] <= 4 + 96 / 49 + 1e-5).all()  # a small one


# attention
@pytest.mark.parametrize("shifted", [False, True])
def test_window_attention_equals_attention_per_window(shifted: bool) -> None:
    """Equal to attention in each window by itself; shifted, those at the edges are smaller."""
    torch.manual_seed(0)
    layer = randomize_weights(
        window_attention.WindowLayer(4, window_attention.WindowAttention(4), shifted)
    )
    nn.init.normal_(layer.attention.offset_bias)
    grid = torch.randn(1, 8, 12, 4)
    expected = torch.empty_like(grid)
    start = 2 if shifted else 4
    edges = ([0, *range(start, side, 4), side] for side in (8, 12))
    for (top, bottom), (left, right) in itertools.product(*map(itertools.pairwise, edges)):
        window = grid[:, top:bottom, left:right]
        expected[:, top:bottom, left:right] = window + slow_attention(layer, window)
    expected = expected + layer.mlp(layer.norm2(expected))
    torch.testing.assert_close(layer(grid), expected, atol=1e-5, rtol=1e-5)


def slow_attention(layer: window_attention.WindowLayer, window: Tensor) -> Tensor:
    """Pixel by pixel and head by head."""
    height, width, channels = window.shape[1:]
    half = channels // 2
    query, key, value = layer.attention.query_key_value(layer.norm1(window)).chunk(3, dim=-1)
    bias = layer.attention.offset_bias.view(7, 7, 2)
    seen = torch.zeros_like(window)
    cells = list(itertools.product(range(height), range(width)))
    for (y, x), h in itertools.product(cells, range(2)):
        part = slice(h * half, (h + 1) * half)
        logits = torch.stack(
            [
                query[0, y, x, part] @ key[0, v, u, part] / half**0.5
                + bias[y - v + 3, x - u + 3, h]
                for v, u in cells
            ]
        )
        values = torch.stack([value[0, v, u, part] for v, u in cells])
        seen[0, y, x, part] = logits.softmax(dim=0) @ values
    return layer.attention.project(seen)


def test_coarse_windows_surround_the_fine_ones() -> None:
    """The 8 x 8 pixels around a window, in means of four; at an edge, reflected."""
    features = torch.rand(1, 2, 12, 16)
    windows = window_attention.coarse_windows(features)
    assert windows.shape == (1, 12, 16, 2)
    around = F.avg_pool2d(features[..., 2:10, 2:10], 2)  # of the window in row 1, column 1
    torch.testing.assert_close(windows[0, 5], around[0].flatten(1).T)
    corner = F.avg_pool2d(features, 2)[..., [1, 0, 1, 2], :][..., [1, 0, 1, 2]]
    torch.testing.assert_close(windows[0, 0], corner[0].flatten(1).T)


def test_shifted_windows_mask_coarse_pixels_across_the_edge() -> None:
    """In the last window after a shift each quarter comes from another corner of the map."""
    sees = (window_attention.coarse_mask(8, 8, torch.zeros(1)) == 0).view(4, 4, 4, 4, 4)
    last = sees[3]  # rows and columns of the fine pixel, then of the coarse one
    assert last[0, 0, 1, 1]  # in the same quarter
    assert last[3, 3, 2, 2]
    assert not last[0, 0, 2].any()
    assert not last[0, 0, :, 2].any()
    assert not (last[0, 0] & last[3, 3]).any()
    first = sees[0]
    assert first[0, 0, :3, :3].all()  # whole, with what it mirrors
    assert torch.equal(first[0, 0], first[3, 3])


# synthesis
def test_gradient_and_dilation_by_hand() -> None:
    ramp = torch.arange(5.0).expand(1, 1, 4, 5) * 3
    torch.testing.assert_close(
        filter_flows_warp_and_blend.gradient_magnitude(ramp)[0, 0, 1, 1:4], torch.full((3,), 6.0)
    )
    dot = torch.zeros(1, 1, 15, 15)
    dot[..., 7, 7] = 0.6
    expected = torch.zeros(1, 1, 15, 15)
    expected[..., 3:12, 3:12] = 0.6
    assert torch.equal(filter_flows_warp_and_blend.dilate(dot), expected)


def test_static_content_is_cross_faded() -> None:
    frame0, frame1, flow = *torch.rand(2, 1, 3, 8, 8), 9 * torch.rand(1, 2, 8, 8)
    mask, static = torch.full((1, 1, 8, 8), 0.3), torch.ones(1, 1, 8, 8)
    layers = filter_flows_warp_and_blend.SynthesisOutput(flow, flow, mask, static)
    frame = filter_flows_warp_and_blend.compose(frame0, frame1, layers, time_like(frame0, 0.25))
    torch.testing.assert_close(frame, 0.75 * frame0 + 0.25 * frame1)
    share = filter_flows_warp_and_blend.blend_weight(torch.tensor(0.5), torch.tensor(0.25))
    torch.testing.assert_close(share, torch.tensor(0.75))


# network
@pytest.mark.parametrize(("flow_scale", "step"), [(1.0, 6), (0.5, 12)])
def test_known_motion_is_halved(flow_scale: float, step: int) -> None:
    """In the middle of the way everything is in the middle, whatever size motion is found at."""
    net = pure_motion(PixelFlow())
    height, width = 128, 192
    frames = [texture_at(x, 40, height, width) for x in (60, 60 + step // 2, 60 + step)]
    frame0, middle, frame1 = frames
    with torch.inference_mode():
        result = net(frame0, frame1, time_like(frame0, 0.5), flow_scale, explain=True)
    inner = (..., slice(24, -24), slice(36, -36))
    torch.testing.assert_close(result.frame[inner], middle[inner], atol=1e-4, rtol=0)
    assert result.explanation["flow"][inner][:, 0].unique().tolist() == [-step / 2]
    assert result.explanation["flow"][inner][:, 2].unique().tolist() == [step / 2]
    assert result.explanation["static"].max() < 1e-6


def test_context_frames_change_the_speed() -> None:
    """What was 3 pixels behind and goes on by 9 has gone by 3 when half of the time is over."""
    net = pure_motion(PixelFlow())
    before, frame0, frame1, after = (texture_at(x, 30) for x in (27, 30, 39, 54))
    with torch.inference_mode():
        state = net.prepare(frame0, frame1, before=before, after=after)
        half = time_like(frame0, 0.5)
        way = net.flows_at(state, half)[0, :, 30, 48]
        uniform = net.flows_at(net.prepare(frame0, frame1), half)[0, :, 30, 48]
    assert way[0] == pytest.approx(-3, abs=1)  # of a third of the size: steps of a pixel
    assert way.tolist() != uniform.tolist()
    assert uniform[0] == pytest.approx(-4.5, abs=1e-3)


def test_one_context_frame_counts_as_none() -> None:
    net = pure_motion(PixelFlow())
    frame0, frame1, after = (texture_at(x, 30) for x in (30, 36, 50))
    state = net.prepare(frame0, frame1, after=after)
    assert state.context_flows is None
    with pytest.raises(ValueError, match="two frames of one shape"):
        net.prepare(frame0, frame1, after=after[..., :32], before=frame0)


def test_wrappers_pass_on_context_frames() -> None:
    """Padded by their edges, and turned, like the frames that they are around."""
    net = pure_motion()
    frames = [
        F.interpolate(texture_at(x, 30), size=(50, 70), mode="area") for x in (27, 30, 39, 54)
    ]
    before, frame0, frame1, after = (F.pad(x, (13, 13, 7, 7), mode="replicate") for x in frames)
    padded, both_ways = Padded(net), Padded(FlipEnsemble(net))
    half = time_like(frame0, 0.5)
    around = {"before": frames[0], "after": frames[3]}
    with torch.inference_mode():
        expected = net.interpolate(
            net.prepare(frame0, frame1, before=before, after=after), half
        ).frame
        state = padded.prepare(frames[1], frames[2], **around)
        assert torch.equal(padded.interpolate(state, half).frame, expected[..., 7:57, 13:83])
        turned = [frame.flip(-2, -1) for frame in frames]
        mirrored = {"before": turned[0], "after": turned[3]}
        frame = both_ways.interpolate(both_ways.prepare(frames[1], frames[2], **around), half).frame
        again = both_ways.interpolate(
            both_ways.prepare(turned[1], turned[2], **mirrored), half
        ).frame
    torch.testing.assert_close(frame, again.flip(-2, -1))
    assert padded.uses_context_frames
    assert both_ways.uses_context_frames


def test_two_frame_networks_refuse_context_frames() -> None:
    frames = torch.rand(2, 1, 3, 16, 16)
    assert not Padded(Blend()).uses_context_frames
    with pytest.raises(TypeError, match="unexpected keyword argument 'before'"):
        Padded(Blend()).prepare(*frames, before=frames[0])


def test_bgr_weights_take_rgb_frames() -> None:
    frame0, frame1 = texture_at(30, 30), texture_at(33, 30)
    half = time_like(frame0, 0.25)
    rgb, bgr = pure_motion(order="rgb"), pure_motion(order="bgr")
    with torch.inference_mode():
        turned = bgr(frame0.flip(1), frame1.flip(1), half).frame.flip(1)
        assert torch.equal(rgb(frame0, frame1, half).frame, turned)
    with pytest.raises(ValueError, match="'rgb' or 'bgr', got 'yuv'"):
        RAFTVFIConfig(colour_order="yuv")


def test_each_sample_has_its_own_time() -> None:
    net = pure_motion()
    frame0, frame1 = torch.rand(2, 2, 3, 32, 64)
    times = torch.tensor([0.25, 0.75]).view(2, 1, 1, 1)
    with torch.inference_mode():
        both = net(frame0, frame1, times).frame
        for sample in range(2):
            part = slice(sample, sample + 1)
            alone = net(frame0[part], frame1[part], times[part]).frame
            torch.testing.assert_close(both[part], alone, atol=1e-4, rtol=0)


def test_gradients_reach_every_part() -> None:
    """What is given back can be learnt from, down to the flow's network."""
    net = randomize_weights(RAFTVFI(RAFTVFIConfig(iterations=1))).train()
    frames = torch.rand(2, 1, 3, 32, 32)
    net(*frames, time_like(frames[0], 0.25)).frame.square().mean().backward()
    still = [name for name, weight in net.named_parameters() if weight.grad is None]
    assert still == []


def test_half_precision_is_close() -> None:
    torch.manual_seed(0)
    full, half = (RAFTVFI(RAFTVFIConfig(iterations=1)) for _ in range(2))
    for network in (full.eval(), half):
        leave_out_first_layers(network)
    half.load_state_dict(full.state_dict())
    set_inference_precision(half.eval(), "bf16")
    frames = torch.rand(2, 1, 3, 32, 64)
    time = time_like(frames[0], 0.5)
    with torch.inference_mode():
        exact, rounded = full(*frames, time), half(*frames, time, explain=True)
    assert all(note.dtype == torch.float32 for note in rounded.explanation.values())
    assert 0 < (exact.frame - rounded.frame).abs().mean() < 0.01
