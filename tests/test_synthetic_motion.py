"""The true motion of synthetic scenes is true."""

import torch

from sgm_vfi.dataset.synthetic import SceneBatch, SceneGenerator
from sgm_vfi.dataset.synthetic.layer_motion import NonRigidMotion, ProjectiveMotion
from sgm_vfi.dataset.triplet import Triplet
from sgm_vfi.model.ops.warp import backward_warp
from tests.fixtures.scenes import CLEAN, SEEDS, changed, times


def still(rigid: ProjectiveMotion) -> ProjectiveMotion:
    """The same places without any motion, upright."""
    zeros = {name: torch.zeros_like(getattr(rigid, name)) for name in ProjectiveMotion._fields[1:]}
    return rigid._replace(**zeros)


def one_moving_object(maker: SceneGenerator, travel: tuple[float, float]) -> SceneBatch:
    """A still background, and one object that only shifts, evenly, through the frame's middle."""
    drawn = changed(maker, objects=(1, 1), radius=(0.25, 0.25), nonrigid=0.0).draw([(1,)])
    place = still(drawn.parameters.motion.place)
    place.travel[0, 1] = torch.tensor(travel)
    place.middle[0, 1] = torch.tensor((64.0, 48.0))
    motion = drawn.parameters.motion._replace(
        place=place, camera=still(drawn.parameters.motion.camera)
    )
    appearance = drawn.parameters.appearance
    smooth_blob = torch.zeros_like(appearance.mask)  # the first tile
    appearance = appearance._replace(mask=smooth_blob)
    return SceneBatch(
        drawn.parameters._replace(motion=motion, appearance=appearance), drawn.generator
    )


def test_one_shifting_object_by_hand(maker: SceneGenerator) -> None:
    """An object goes 8 px right and 4 px up; all the rest follows without any rendering."""
    scenes = one_moving_object(maker, (8.0, -4.0))
    truth = scenes.triplet(truth=True).truth
    front = {t: scenes.surface(scenes.pose(times(t))).layer == 1 for t in (0.0, 0.5, 1.0)}
    assert 300 < front[0.0].sum() < 2000
    assert torch.equal(front[1.0], front[0.0].roll((-4, 8), (1, 2)))
    assert torch.equal(front[0.5], front[0.0].roll((-2, 4), (1, 2)))

    expected = torch.tensor((8.0, -4.0)).view(1, 2, 1, 1) * front[0.0][:, None]
    torch.testing.assert_close(truth.flow_01, expected, atol=1e-4, rtol=0)
    back = torch.tensor((-4.0, 2.0)).view(1, 2, 1, 1) * front[0.5][:, None]
    torch.testing.assert_close(truth.flow_t0, back, atol=1e-4, rtol=0)
    # Hidden in frame 1 is the background that the object covers there, and nothing else.
    covered = front[1.0] & ~front[0.0]
    assert torch.equal(truth.visible_01[:, 0] == 0, covered)


def test_what_leaves_the_frame_is_not_visible(maker: SceneGenerator) -> None:
    scenes = one_moving_object(maker, (120.0, 0.0))
    truth = scenes.triplet(truth=True).truth
    inside = scenes.surface(scenes.pose(times(0.0))).layer == 1
    columns = scenes.x.expand_as(inside)
    gone = inside & (columns + 120 > 127)
    assert gone.any()
    assert (truth.visible_01[:, 0][gone] == 0).all()
    assert (truth.visible_01[:, 0][inside & ~gone] == 1).all()


def test_true_flow_warps_to_the_true_frame(triplet: Triplet) -> None:
    """Outside occlusions, one frame warped by the flow is the other; inside them it is not."""
    truth = triplet.truth
    for start, end, flow, visible in (
        (triplet.frame0, triplet.frame1, truth.flow_01, truth.visible_01),
        (triplet.frame1, triplet.frame0, truth.flow_10, truth.visible_10),
        (triplet.target, triplet.frame0, truth.flow_t0, truth.visible_t0),
        (triplet.target, triplet.frame1, truth.flow_t1, truth.visible_t1),
    ):
        error = (backward_warp(end, flow) - start).abs().mean(1, keepdim=True)
        seen, hidden = error[visible > 0].mean(), error[visible == 0].mean()
        assert seen < 0.01
        assert hidden > 8 * seen
        assert seen < (start - end).abs().mean() / 4
        assert 0.6 < visible.mean() < 0.99


def test_warping_is_exact_away_from_edges(scenes: SceneBatch, triplet: Triplet) -> None:
    """The little that warping leaves is resampling; the surfaces themselves agree to 0.01 px."""
    poses = [scenes.pose(torch.full_like(scenes.parameters.time, t)) for t in (0.0, 1.0)]
    here, there = (scenes.surface(pose) for pose in poses)
    flow, visible = scenes.flow(here, poses[1])
    for plane in "xy":
        values = getattr(there, plane)[:, None]
        read = backward_warp(values, flow)[:, 0]
        same = backward_warp((there.layer[:, None] == 0).float(), flow)[:, 0] == 1
        same &= (visible[:, 0] > 0) & (here.layer == 0)
        error = (read - getattr(here, plane)).abs()[same]
        assert len(error) > 20_000
        assert error.quantile(0.99) < 0.01


def test_flows_compose_to_nothing(scenes: SceneBatch, triplet: Triplet) -> None:
    """There and back again is where one was, for all that is visible there."""
    truth = triplet.truth
    pose = scenes.pose(torch.zeros_like(scenes.parameters.time))
    there = scenes.surface(scenes.pose(torch.ones_like(scenes.parameters.time))).layer
    here = scenes.surface(pose).layer
    back = truth.flow_01 + backward_warp(truth.flow_10, truth.flow_01)
    # Bilinear reading mixes two motions at an edge: compare where all of it is one layer.
    alike = torch.ones_like(here, dtype=torch.bool)
    for layer in range(CLEAN.objects[1] + 1):
        share = backward_warp((there == layer)[:, None].float(), truth.flow_01)[:, 0]
        alike &= (here != layer) | (share > 0.999)
    inside = alike & (truth.visible_01[:, 0] > 0)
    assert inside.float().mean() > 0.6
    assert back.norm(dim=1)[inside].quantile(0.999) < 0.05


def test_flow_through_the_target_is_the_flow(triplet: Triplet) -> None:
    """From the target: to frame 1 is to frame 0 and from there to frame 1, for what both see."""
    truth = triplet.truth
    via = truth.flow_t0 + backward_warp(truth.flow_01, truth.flow_t0)
    both = (truth.visible_t0 * truth.visible_t1)[:, 0] > 0
    error = (via - truth.flow_t1).norm(dim=1)[both]
    assert error.quantile(0.9) < 0.05


def test_maps_are_inverse_everywhere(scenes: SceneBatch) -> None:
    """Plane -> frame -> plane -> frame, with bending, turning and perspective: within 0.01 px."""
    bend = scenes.parameters.motion.bend
    assert (bend.amplitude > 1).any()
    for t in (0.0, 0.3, 1.0):
        pose = scenes.pose(torch.full_like(scenes.parameters.time, t))
        for layer in range(CLEAN.objects[1] + 1):
            single = pose.layer(layer)
            x, y, in_view = single.frame_to_plane(scenes.x, scenes.y)
            back_x, back_y = single.plane_to_frame(x, y)
            near = in_view & (x.abs() < 200) & (y.abs() < 200)
            error = torch.hypot(back_x - scenes.x, back_y - scenes.y)[near]
            assert error.numel() == 0 or error.max() < 0.01


def test_windows_leave_nothing_out(maker: SceneGenerator) -> None:
    """Outside the window in which a layer is rendered, it is nowhere to be seen."""
    wide = changed(maker, motion=(0.1, 0.6), nonrigid=1.0)
    for number in range(12):
        scene = wide.draw([SEEDS[number]])
        pair = scene.subset([0, 0])
        pose = pair.pose(times(0.1, 0.9))
        for layer in range(1, CLEAN.objects[1] + 1):
            x, y, in_view = pose.layer(layer).frame_to_plane(pair.x, pair.y)
            outside = pair.opacity(layer, x, y, in_view)
            for copy, t in enumerate((0.1, 0.9)):
                part = scene.window(layer, scene.parameters.motion.matrix(times(t)))
                if part is not None:
                    outside[copy][part] = 0
            assert not outside.any()


def test_bend_does_not_fold(maker: SceneGenerator) -> None:
    """The slope of either shift stays below 1, so that no two points meet."""
    bend: NonRigidMotion = maker.draw([(n,) for n in range(200)]).parameters.motion.bend
    assert (bend.amplitude * bend.frequency).max() < 0.5


def test_motion_has_acceleration_and_arcs(scenes: SceneBatch) -> None:
    """Half-way in time is not half-way in space, and the way there is not straight."""
    place = scenes.parameters.motion.place
    ways = [place.matrix(times(t)[:, None])[..., :2, 2] for t in (0.0, 0.5, 1.0)]
    torch.testing.assert_close(ways[2] - ways[0], place.travel)
    torch.testing.assert_close(ways[1], place.middle)
    middle = (ways[0] + ways[2]) / 2 - ways[1]
    assert (middle.norm(dim=-1) > 0.05 * place.travel.norm(dim=-1))[:, 1:].float().mean() > 0.5


def test_without_curves_all_goes_straight_at_even_speed(maker: SceneGenerator) -> None:
    """So that two frames tell the one between; the same scene otherwise."""
    straight, bowed = changed(maker, curved=0.0).draw(SEEDS), maker.draw(SEEDS)
    for part in ("place", "camera", "bend"):
        motion = getattr(straight.parameters.motion, part)
        if part == "bend":
            ways = [motion.strength(times(t)[:, None]) for t in (0.0, 0.5, 1.0)]
        else:
            ways = [motion.matrix(times(t)[:, None])[..., :2, 2] for t in (0.0, 0.5, 1.0)]
        torch.testing.assert_close((ways[0] + ways[2]) / 2, ways[1])
    for one, other in zip(straight.parameters.appearance, bowed.parameters.appearance, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=0)
