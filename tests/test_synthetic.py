"""Synthetic scenes: their true motion is true, and they are what they are said to be."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from dataset.__main__ import main
from dataset.frames import read_frame
from dataset.synthetic import SceneMaker, Scenes, SyntheticConfig, SyntheticLoader
from dataset.synthetic.atlas import make_atlas, mirrored
from dataset.synthetic.draw import Parameters
from dataset.synthetic.masks import REACH, SHAPES, signed_distance
from dataset.synthetic.motion import Bend, Rigid
from dataset.synthetic.textures import PATTERNS, texture_tiles
from dataset.triplet import Triplet
from model.ops.warp import backward_warp

CLEAN = SyntheticConfig(
    size=(96, 128),
    curved=1.0,
    blur=0.0,
    lighting=0.0,
    grain=0.0,
    textures=16,
    texture_size=128,
    masks=20,
    mask_size=96,
)
SEEDS = [(7, number) for number in range(12)]


@pytest.fixture(scope="module")
def maker() -> SceneMaker:
    return SceneMaker(CLEAN)


@pytest.fixture(scope="module")
def scenes(maker: SceneMaker) -> Scenes:
    return maker.draw(SEEDS)


@pytest.fixture(scope="module")
def triplet(scenes: Scenes) -> Triplet:
    return scenes.triplet(truth=True)


def times(*values: float) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


def changed(maker: SceneMaker, **settings: object) -> SceneMaker:
    """The same textures and shapes under another configuration."""
    other = maker.at_size(maker.config.size)
    other.config = replace(maker.config, **settings)
    return other


# --- motion is true ------------------------------------------------------------------------------


def still(rigid: Rigid) -> Rigid:
    """The same places without any motion, upright."""
    zeros = {name: torch.zeros_like(getattr(rigid, name)) for name in Rigid._fields[1:]}
    return rigid._replace(**zeros)


def one_moving_object(maker: SceneMaker, travel: tuple[float, float]) -> Scenes:
    """A still background, and one object that only shifts, evenly, through the frame's middle."""
    drawn = changed(maker, objects=(1, 1), radius=(0.25, 0.25), nonrigid=0.0).draw([(1,)])
    place = still(drawn.parameters.motion.place)
    place.travel[0, 1] = torch.tensor(travel)
    place.middle[0, 1] = torch.tensor((64.0, 48.0))
    motion = drawn.parameters.motion._replace(
        place=place, camera=still(drawn.parameters.motion.camera)
    )
    looks = drawn.parameters.looks
    looks = looks._replace(mask=torch.zeros_like(looks.mask))  # the first tile is a smooth blob
    return Scenes(drawn.parameters._replace(motion=motion, looks=looks), drawn.maker)


def test_one_shifting_object_by_hand(maker: SceneMaker) -> None:
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


def test_what_leaves_the_frame_is_not_visible(maker: SceneMaker) -> None:
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


def test_warping_is_exact_away_from_edges(scenes: Scenes, triplet: Triplet) -> None:
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


def test_flows_compose_to_nothing(scenes: Scenes, triplet: Triplet) -> None:
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


def test_maps_are_inverse_everywhere(scenes: Scenes) -> None:
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


def test_windows_leave_nothing_out(maker: SceneMaker) -> None:
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


def test_bend_does_not_fold(maker: SceneMaker) -> None:
    """The slope of either shift stays below 1, so that no two points meet."""
    bend: Bend = maker.draw([(n,) for n in range(200)]).parameters.motion.bend
    assert (bend.amplitude * bend.frequency).max() < 0.5


def test_motion_has_acceleration_and_arcs(scenes: Scenes) -> None:
    """Half-way in time is not half-way in space, and the way there is not straight."""
    place = scenes.parameters.motion.place
    ways = [place.matrix(times(t)[:, None])[..., :2, 2] for t in (0.0, 0.5, 1.0)]
    torch.testing.assert_close(ways[2] - ways[0], place.travel)
    torch.testing.assert_close(ways[1], place.middle)
    middle = (ways[0] + ways[2]) / 2 - ways[1]
    assert (middle.norm(dim=-1) > 0.05 * place.travel.norm(dim=-1))[:, 1:].float().mean() > 0.5


def test_without_curves_all_goes_straight_at_even_speed(maker: SceneMaker) -> None:
    """So that two frames tell the one between; the same scene otherwise."""
    straight, bowed = changed(maker, curved=0.0).draw(SEEDS), maker.draw(SEEDS)
    for part in ("place", "camera", "bend"):
        motion = getattr(straight.parameters.motion, part)
        if part == "bend":
            ways = [motion.strength(times(t)[:, None]) for t in (0.0, 0.5, 1.0)]
        else:
            ways = [motion.matrix(times(t)[:, None])[..., :2, 2] for t in (0.0, 0.5, 1.0)]
        torch.testing.assert_close((ways[0] + ways[2]) / 2, ways[1])
    for one, other in zip(straight.parameters.looks, bowed.parameters.looks, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=0)


# --- what scenes are like ------------------------------------------------------------------------


def test_motion_spans_all_magnitudes(maker: SceneMaker) -> None:
    """At 512x512: from scenes that move by less than a pixel to more than 150."""
    small = maker.at_size((64, 64)).draw([(number,) for number in range(160)])
    zero, one = (torch.full_like(small.parameters.time, t) for t in (0.0, 1.0))
    flow, _ = small.flow(small.surface(small.pose(zero)), small.pose(one))
    length = flow.norm(dim=1).flatten(1) * (512 / 64)
    largest = length.quantile(0.99, dim=1)
    assert (length < 1).float().mean() > 0.05
    assert (length > 32).float().mean() > 0.05
    assert (largest > 150).float().mean() > 0.03
    for low in (4, 16, 64):
        assert ((largest > low) & (largest <= 4 * low)).float().mean() > 0.1


def test_still_scenes_stand_still(maker: SceneMaker) -> None:
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


def test_zoom_makes_surfaces_soft(maker: SceneMaker) -> None:
    """The fewer texels a pixel has, the smaller the differences of neighbours."""
    slopes = []
    for zoom in ((0.1, 0.15), (0.5, 1.2)):
        frame = changed(maker, zoom=zoom).draw(SEEDS).triplet().frame0
        slopes.append(frame.diff(dim=-1).abs().mean().item())
    assert slopes[0] < 0.7 * slopes[1]


def test_scenes_look_alike_at_any_size(maker: SceneMaker) -> None:
    """Flow scales with the frame, so that motion can be measured on small ones."""
    flows = []
    for size in ((48, 64), (96, 128)):
        scene = maker.at_size(size).draw([(5, 5)])
        end = scene.pose(times(1.0))
        flows.append(scene.flow(scene.surface(scene.pose(times(0.0))), end)[0])
    lengths = [flow.norm(dim=1).flatten().quantile(0.9).item() for flow in flows]
    assert lengths[1] == pytest.approx(2 * lengths[0], rel=0.05)


def test_background_fills_every_frame(maker: SceneMaker) -> None:
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


def test_same_seed_same_scene(maker: SceneMaker, triplet: Triplet) -> None:
    """Alone or in a batch; and no global generator is used."""
    state = torch.random.get_rng_state()
    alone = maker.draw([SEEDS[4]]).triplet(truth=True)
    assert torch.equal(torch.random.get_rng_state(), state)
    torch.testing.assert_close(alone.target[0], triplet.target[4], atol=1e-5, rtol=0)
    torch.testing.assert_close(alone.truth.flow_10[0], triplet.truth.flow_10[4], atol=1e-3, rtol=0)
    again = maker.draw(SEEDS).triplet()
    assert torch.equal(again.frame1, triplet.frame1)
    assert len({frame.sum().item() for frame in triplet.frame0}) == len(SEEDS)


def test_number_of_objects(maker: SceneMaker) -> None:
    drawn = changed(maker, objects=(1, 3)).draw([(number,) for number in range(60)])
    counts = drawn.parameters.looks.present.sum(1) - 1
    assert set(counts.tolist()) == {1, 2, 3}


def test_any_time_targets(maker: SceneMaker) -> None:
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


# --- disturbances --------------------------------------------------------------------------------


def test_blur_is_the_mean_of_instants(maker: SceneMaker) -> None:
    scenes = changed(maker, blur=1.0, motion=(0.2, 0.4)).draw(SEEDS[:3])
    middle = scenes.parameters.time
    shutter = scenes.parameters.disturbances.shutter
    assert (shutter > 0).all()
    instants = [scenes.sharp(middle + shutter * (k - 3.5) / 8) for k in range(8)]
    torch.testing.assert_close(scenes.frame(middle), torch.stack(instants).mean(0))
    assert (scenes.frame(middle) - scenes.sharp(middle)).abs().max() > 0.1


def test_blurred_and_sharp_scenes_share_a_batch(maker: SceneMaker) -> None:
    mixed = changed(maker, blur=0.5)
    scenes = mixed.draw(SEEDS[:6])
    blurred = scenes.parameters.disturbances.shutter > 0
    assert 0 < blurred.sum() < 6
    frame = scenes.frame(scenes.parameters.time)
    for number in range(6):
        alone = mixed.draw([SEEDS[number]])
        torch.testing.assert_close(frame[number], alone.frame(alone.parameters.time)[0])


def test_grain_is_new_in_every_frame_and_the_same_again(maker: SceneMaker) -> None:
    scenes = changed(maker, grain=1.0).draw(SEEDS[:2])
    clean = scenes.sharp(times(0.0, 0.0))
    first, second = (scenes.frame(times(t, t)) - clean for t in (0.0, 0.0))
    assert torch.equal(first, second)
    other = scenes.frame(times(1e-5, 1e-5)) - clean
    assert (first - other).std() > 0.003
    inner = (clean > 0.15) & (clean < 0.85)
    for number, strength in enumerate(scenes.parameters.disturbances.grain.tolist()):
        noise = first[number][inner[number]]
        assert noise.std().item() == pytest.approx(strength, rel=0.1)


def test_light_changes_frames_but_not_the_truth(maker: SceneMaker, triplet: Triplet) -> None:
    lit = changed(maker, lighting=1.0)
    scenes = lit.draw(SEEDS)
    light = scenes.parameters.disturbances.light
    assert (light[:, 0, 0] != light[:, 0, 1]).all()
    ratio = scenes.frame(times(*[0.0] * 12)) / scenes.sharp(times(*[0.0] * 12)).clamp(min=0.05)
    corner = light[:, 0, 0] - light[:, 1, 0] / 2 - light[:, 2, 0] / 2
    seen = scenes.sharp(times(*[0.0] * 12))[:, :, 0, 0]
    for number in range(12):
        if (seen[number] > 0.1).all() and (seen[number] < 0.6).all():
            expected = torch.full((3,), corner[number].item())
            torch.testing.assert_close(ratio[number, :, 0, 0], expected, atol=1e-3, rtol=0)


# --- surfaces and shapes -------------------------------------------------------------------------


def test_mirrors_have_no_seams() -> None:
    """Folded coordinates stay on the tile and move by no more than what was folded."""
    line = torch.linspace(-700, 700, 20001)
    folded = mirrored(line, 64)
    assert folded.min() >= 0
    assert folded.max() <= 63
    assert folded.diff().abs().max() <= line.diff().max() * 1.01
    on_tile = (line >= 0) & (line <= 63)
    torch.testing.assert_close(folded[on_tile], line[on_tile], atol=1e-4, rtol=0)


def test_atlas_reads_the_tile_that_is_asked_for() -> None:
    tiles = [np.full((4, 4, 2), number, np.float32) for number in range(5)]
    tiles[3][1, 2] = (30, 31)
    atlas = make_atlas(tiles, "cpu")
    x, y = torch.tensor([[[2.0, 9.0]], [[1.5, -3.0]]]), torch.tensor([[[1.0, 9.0]], [[1.0, 0.0]]])
    values = atlas.sample(torch.tensor([3, 3]), x, y)
    torch.testing.assert_close(values[0, :, 0], torch.tensor([[30.0, 3.0], [31.0, 3.0]]))
    torch.testing.assert_close(values[1, :, 0], torch.tensor([[16.5, 3.0], [17.0, 3.0]]))


@pytest.mark.parametrize("shape", list(dict.fromkeys(SHAPES)), ids=lambda shape: shape.__name__)
def test_shapes_fill_their_tile_and_stay_inside(shape: object) -> None:
    for seed in range(6):
        distance = signed_distance(shape, 64, np.random.default_rng(seed))[..., 0]
        border = np.concatenate((distance[0], distance[-1], distance[:, 0], distance[:, -1]))
        assert border.max() < 0
        assert 0.01 < (distance > 0).mean() < 0.75
        rows, columns = np.nonzero(distance > 0)
        assert max(np.ptp(rows), np.ptp(columns)) > 24


def test_shapes_are_thin_hollow_or_solid() -> None:
    """Distances tell: bars and hair have no inside to speak of, rings have a hole in the middle."""
    by_name = {shape.__name__: shape for shape in SHAPES}
    tiles = {
        name: signed_distance(shape, 64, np.random.default_rng(3))[..., 0]
        for name, shape in by_name.items()
    }
    assert tiles["bars"].max() < 0.1
    assert tiles["fence"].max() < 0.06
    assert tiles["blob"].max() > 0.2
    assert tiles["ring"][32, 32] < -0.05
    assert (tiles["ring"] > 0)[32, :32].any()
    assert (tiles["ring"] > 0)[32, 32:].any()


def test_distances_are_distances() -> None:
    """Of a disc, by hand: radius minus distance from the middle, in units of half the tile."""

    def disc(side: int, random: np.random.Generator) -> np.ndarray:
        y, x = np.mgrid[:side, :side] - (side - 1) / 2
        return (np.hypot(x, y) < side / 4).astype(np.uint8)

    distance = signed_distance(disc, 64, np.random.default_rng(0))[..., 0]
    y, x = (np.mgrid[:64, :64] - 31.5) / 32
    expected = (0.5 - np.hypot(x, y)).clip(-REACH, REACH)
    assert np.abs(distance - expected).max() < 0.02


def test_textures_have_something_to_see() -> None:
    tiles = texture_tiles(32, 64, np.random.default_rng(0))
    assert len(tiles) == 32
    for tile in tiles:
        assert tile.shape == (64, 64, 3)
        assert tile.dtype == np.float32
        assert 0 <= tile.min() < tile.max() <= 1
        assert tile.std() > 0.02
    for paint in set(PATTERNS):
        one, other = (paint(64, np.random.default_rng(seed)) for seed in (0, 1))
        assert np.abs(one - other).mean() > 0.02


# --- batches -------------------------------------------------------------------------------------


@pytest.fixture
def small_loader() -> Iterator[type]:
    def build(scenes: int, batch_size: int, **settings: object) -> SyntheticLoader:
        config = replace(CLEAN, size=(16, 16), textures=4, texture_size=32, masks=4, mask_size=24)
        return SyntheticLoader(config, scenes, batch_size, device="cpu", **settings)

    return build


def frames_of(loader: SyntheticLoader) -> set[bytes]:
    return {frame.numpy().tobytes() for batch in loader for frame in batch.frame0}


def test_loader_shards_are_disjoint_and_fresh(small_loader: type) -> None:
    loaders = [small_loader(16, 4, rank=rank, world=2) for rank in (0, 1)]
    epochs = []
    for epoch in (0, 1):
        for loader in loaders:
            loader.set_epoch(epoch)
        epochs.append([frames_of(loader) for loader in loaders])
        assert all(len(frames) == 8 for frames in epochs[-1])
    sets = [frames for epoch in epochs for frames in epoch]
    assert len(set.union(*sets)) == 32


def test_scenes_grow_in_variety(small_loader: type) -> None:
    """At first one surface that moves as a whole; in the end, and in validation, what is asked."""
    config = replace(CLEAN, growing=4, still=0.5, nonrigid=1.0, objects=(2, 6))
    first, half, last = (config.at_epoch(epoch) for epoch in (0, 2, 4))
    assert (first.objects, first.still, first.nonrigid) == ((0, 0), 0, 0)
    assert (half.objects, half.still, half.nonrigid) == ((1, 3), 0.25, 0.5)
    assert last == config
    least, most = config.camera
    assert first.camera == pytest.approx(((least * most) ** 0.5, most))
    assert least < half.camera[0] < first.camera[0]

    loaders = [small_loader(4, 4, training=training) for training in (True, False)]
    for loader in loaders:
        loader.maker.config = replace(loader.maker.config, growing=1)
        alone = {frame for epoch in (0, 1, 0) for frame in frames_at(loader, epoch)}
        assert len(alone) == (8 if loader.sampler.training else 4)
    grown, plain = small_loader(4, 4), small_loader(4, 4)
    grown.maker.config = replace(grown.maker.config, growing=1)
    assert frames_at(grown, 0).isdisjoint(frames_at(plain, 0))
    assert frames_at(grown, 1) == frames_at(plain, 1)


def frames_at(loader: SyntheticLoader, epoch: int) -> set[bytes]:
    loader.set_epoch(epoch)
    return frames_of(loader)


def test_validation_scenes_are_fixed_and_held_back(small_loader: type) -> None:
    validation = small_loader(10, 4, training=False)
    assert [len(batch.time) for batch in validation] == [4, 4, 2]
    assert len(validation) == 3
    first = frames_of(validation)
    validation.set_epoch(1)
    assert frames_of(validation) == first
    training = small_loader(12, 4)
    assert not frames_of(training) & first
    shards = [frames_of(small_loader(10, 4, rank=r, world=3, training=False)) for r in range(3)]
    assert sorted(map(len, shards)) == [3, 3, 4]
    assert set.union(*shards) == first


def test_loader_resumes_and_gives_truth(small_loader: type) -> None:
    loader = small_loader(16, 4, truth=True, seed=9)
    loader.set_epoch(2)
    whole = list(loader)
    assert len(whole) == len(loader) == 4
    loader.set_epoch(2, start=3)
    rest = list(loader)
    assert len(rest) == len(loader) == 1
    assert torch.equal(rest[0].frame1, whole[3].frame1)
    assert torch.equal(rest[0].truth.flow_t1, whole[3].truth.flow_t1)
    assert rest[0].truth.visible_10.shape == (4, 1, 16, 16)


def test_loader_refuses_to_give_nothing(small_loader: type) -> None:
    with pytest.raises(ValueError, match="Ask for 8 or more"):
        small_loader(7, 4, world=2)


def test_sheet_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["sheet", str(tmp_path / "sheet.png"), "--scenes", "1", "--size", "32x24"]
    assert main(arguments) == 0
    assert "1 scenes" in capsys.readouterr().out
    picture = read_frame(tmp_path / "sheet.png")
    assert picture.shape[2] >= 1500
    assert picture.std() > 0.1


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_gpu_renders_the_same_scenes(triplet: Triplet) -> None:
    on_gpu = SceneMaker(CLEAN, "cuda").draw(SEEDS).triplet(truth=True)
    difference = (on_gpu.target.cpu() - triplet.target).abs()
    assert difference.mean() < 1e-3
    flow = (on_gpu.truth.flow_01.cpu() - triplet.truth.flow_01).norm(dim=1)
    assert flow.quantile(0.99) < 0.05


def test_parameters_stack_scene_by_scene(maker: SceneMaker) -> None:
    """Drawing depends on a scene's own seed alone."""
    together: Parameters = maker.draw(SEEDS[:3]).parameters
    alone: Parameters = maker.draw(SEEDS[2:3]).parameters
    assert torch.equal(together.motion.place.travel[2], alone.motion.place.travel[0])
    assert torch.equal(together.looks.texture[2], alone.looks.texture[0])
    assert torch.equal(together.disturbances.seed[2], alone.disturbances.seed[0])
