"""Synthetic scenes are what they are said to be, disturbed as asked."""

import pytest
import torch

from sgm_vfi.dataset.synthetic import SceneGenerator, SyntheticConfig
from sgm_vfi.dataset.synthetic.scene_parameters import SceneParameters
from sgm_vfi.dataset.triplet import Triplet
from tests.fixtures.scenes import CLEAN, SEEDS, changed, times

# ---- what scenes are like ------------------------------------------------------------------------


def test_motion_spans_all_magnitudes(maker: SceneGenerator) -> None:
    """At 512x512: from scenes that move by less than a pixel to more than 150."""
    small = maker.with_size((64, 64)).draw([(number,) for number in range(160)])
    zero, one = (torch.full_like(small.parameters.time, t) for t in (0.0, 1.0))
    flow, _ = small.flow(small.surface(small.pose(zero)), small.pose(one))
    length = flow.norm(dim=1).flatten(1) * (512 / 64)
    largest = length.quantile(0.99, dim=1)
    assert (length < 1).float().mean() > 0.05
    assert (length > 32).float().mean() > 0.05
    assert (largest > 150).float().mean() > 0.03
    for low in (4, 16, 64):
        assert ((largest > low) & (largest <= 4 * low)).float().mean() > 0.1


def test_still_scenes_stand_still(maker: SceneGenerator) -> None:
    """All of them, or a share; what moves moves as it would without."""
    still = changed(maker, still=1.0).draw(SEEDS)
    truth = still.truth()
    assert all(flow.abs().max() < 1e-3 for flow in truth[:4])
    assert all(seen.mean() > 0.998 for seen in truth[4:])  # edges may fall to either side
    some, none = (changed(maker, still=share).draw(SEEDS * 8).parameters for share in (0.4, 0.0))
    now, before = (drawn.motion.place.travel[:, 1:] for drawn in (some, none))
    rests = (now == 0).all(-1)
    assert torch.equal(now[~rests], before[~rests])
    stands = (some.motion.camera.travel == 0).all(-1).all(-1).float().mean()
    assert rests.float().mean().item() == pytest.approx(0.4, abs=0.15)
    assert 0 < stands < 1


def test_zoom_makes_surfaces_soft(maker: SceneGenerator) -> None:
    """The fewer texels a pixel has, the smaller the differences of neighbours."""
    slopes = []
    for zoom in ((0.1, 0.15), (0.5, 1.2)):
        frame = changed(maker, zoom=zoom).draw(SEEDS).triplet().frame0
        slopes.append(frame.diff(dim=-1).abs().mean().item())
    assert slopes[0] < 0.7 * slopes[1]


def test_scenes_look_alike_at_any_size(maker: SceneGenerator) -> None:
    """Flow scales with the frame, so that motion can be measured on small ones."""
    flows = []
    for size in ((48, 64), (96, 128)):
        scene = maker.with_size(size).draw([(5, 5)])
        end = scene.pose(times(1.0))
        flows.append(scene.flow(scene.surface(scene.pose(times(0.0))), end)[0])
    lengths = [flow.norm(dim=1).flatten().quantile(0.9).item() for flow in flows]
    assert lengths[1] == pytest.approx(2 * lengths[0], rel=0.05)


def test_background_fills_every_frame(maker: SceneGenerator) -> None:
    """No pixel sees past the background, even with the fastest camera."""
    fast = changed(maker, camera=(0.15, 0.15)).draw([(number,) for number in range(40)])
    for t in (-0.1, 0.0, 1.0, 1.1):
        pose = fast.pose(torch.full_like(fast.parameters.time, t))
        x, y, in_view = pose.layer(0).frame_to_plane(fast.x, fast.y)
        assert in_view.all()
        assert x.isfinite().all()
        assert y.isfinite().all()


def test_frames_are_frames(triplet: Triplet) -> None:
    assert triplet.frame0.shape == (12, 3, 96, 128)
    for frame in triplet[:3]:
        assert frame.min() >= 0
        assert frame.max() <= 1
        assert (frame.flatten(1).std(1) > 0.03).all()
        for edge in (frame[..., 0], frame[..., -1], frame[..., 0, :], frame[..., -1, :]):
            assert (edge.flatten(1).amax(1) > 0.02).all()  # nothing empty at the border


def test_same_seed_same_scene(maker: SceneGenerator, triplet: Triplet) -> None:
    """Alone or in a batch; and no global generator is used."""
    state = torch.random.get_rng_state()
    alone = maker.draw([SEEDS[4]]).triplet(truth=True)
    assert torch.equal(torch.random.get_rng_state(), state)
    torch.testing.assert_close(alone.target[0], triplet.target[4], atol=1e-5, rtol=0)
    torch.testing.assert_close(alone.truth.flow_10[0], triplet.truth.flow_10[4], atol=1e-3, rtol=0)
    again = maker.draw(SEEDS).triplet()
    assert torch.equal(again.frame1, triplet.frame1)
    assert len({frame.sum().item() for frame in triplet.frame0}) == len(SEEDS)


def test_number_of_objects(maker: SceneGenerator) -> None:
    drawn = changed(maker, objects=(1, 3)).draw([(number,) for number in range(60)])
    counts = drawn.parameters.appearance.present.sum(1) - 1
    assert set(counts.tolist()) == {1, 2, 3}


def test_any_time_targets(maker: SceneGenerator) -> None:
    scenes = changed(maker, any_time=True).draw(SEEDS)
    triplet = scenes.triplet()
    assert 0.1 <= triplet.time.min() < 0.4
    assert 0.6 < triplet.time.max() <= 0.9
    torch.testing.assert_close(triplet.target, scenes.frame(scenes.parameters.time))
    torch.testing.assert_close(
        triplet.time.flatten().double(), scenes.parameters.time, atol=1e-6, rtol=0
    )


@pytest.mark.parametrize(
    "settings",
    [{"motion": (0.2, 0.1)}, {"motion": (0.0, 0.1)}, {"blur": 1.5}, {"size": (8, 64)}],
)
def test_impossible_configurations_are_refused(settings: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=str(next(iter(settings)))):
        SyntheticConfig(**settings)


# ---- degradations --------------------------------------------------------------------------------


def test_blur_is_the_mean_of_instants(maker: SceneGenerator) -> None:
    scenes = changed(maker, blur=1.0, motion=(0.2, 0.4)).draw(SEEDS[:3])
    middle = scenes.parameters.time
    shutter = scenes.parameters.degradations.shutter
    assert (shutter > 0).all()
    instants = [scenes.sharp(middle + shutter * (k - 3.5) / 8) for k in range(8)]
    torch.testing.assert_close(scenes.frame(middle), torch.stack(instants).mean(0))
    assert (scenes.frame(middle) - scenes.sharp(middle)).abs().max() > 0.1


def test_blurred_and_sharp_scenes_share_a_batch(maker: SceneGenerator) -> None:
    mixed = changed(maker, blur=0.5)
    scenes = mixed.draw(SEEDS[:6])
    blurred = scenes.parameters.degradations.shutter > 0
    assert 0 < blurred.sum() < 6
    frame = scenes.frame(scenes.parameters.time)
    for number in range(6):
        alone = mixed.draw([SEEDS[number]])
        torch.testing.assert_close(frame[number], alone.frame(alone.parameters.time)[0])


def test_grain_is_new_in_every_frame_and_the_same_again(maker: SceneGenerator) -> None:
    scenes = changed(maker, grain=1.0).draw(SEEDS[:2])
    clean = scenes.sharp(times(0.0, 0.0))
    first, second = (scenes.frame(times(t, t)) - clean for t in (0.0, 0.0))
    assert torch.equal(first, second)
    other = scenes.frame(times(1e-5, 1e-5)) - clean
    assert (first - other).std() > 0.003
    inner = (clean > 0.15) & (clean < 0.85)
    for number, strength in enumerate(scenes.parameters.degradations.grain.tolist()):
        noise = first[number][inner[number]]
        assert noise.std().item() == pytest.approx(strength, rel=0.1)


def test_light_changes_frames_but_not_the_truth(maker: SceneGenerator, triplet: Triplet) -> None:
    lit = changed(maker, lighting=1.0)
    scenes = lit.draw(SEEDS)
    light = scenes.parameters.degradations.light
    assert (light[:, 0, 0] != light[:, 0, 1]).all()
    ratio = scenes.frame(times(*[0.0] * 12)) / scenes.sharp(times(*[0.0] * 12)).clamp(min=0.05)
    corner = light[:, 0, 0] - light[:, 1, 0] / 2 - light[:, 2, 0] / 2
    seen = scenes.sharp(times(*[0.0] * 12))[:, :, 0, 0]
    for number in range(12):
        if (seen[number] > 0.1).all() and (seen[number] < 0.6).all():
            expected = torch.full((3,), corner[number].item())
            torch.testing.assert_close(ratio[number, :, 0, 0], expected, atol=1e-3, rtol=0)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_gpu_renders_the_same_scenes(triplet: Triplet) -> None:
    on_gpu = SceneGenerator(CLEAN, "cuda").draw(SEEDS).triplet(truth=True)
    difference = (on_gpu.target.cpu() - triplet.target).abs()
    assert difference.mean() < 1e-3
    flow = (on_gpu.truth.flow_01.cpu() - triplet.truth.flow_01).norm(dim=1)
    assert flow.quantile(0.99) < 0.05


def test_parameters_stack_scene_by_scene(maker: SceneGenerator) -> None:
    """Drawing depends on a scene's own seed alone."""
    together: SceneParameters = maker.draw(SEEDS[:3]).parameters
    alone: SceneParameters = maker.draw(SEEDS[2:3]).parameters
    assert torch.equal(together.motion.place.travel[2], alone.motion.place.travel[0])
    assert torch.equal(together.appearance.texture[2], alone.appearance.texture[0])
    assert torch.equal(together.degradations.seed[2], alone.degradations.seed[0])
