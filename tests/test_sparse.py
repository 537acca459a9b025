"""Sparse global matching without trained weights: points, matches, the flow that begins there."""

from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from sgm_vfi.model.flow import sift_dis as sparse
from sgm_vfi.model.flow.dis import DISFlow, to_grey_uint8
from sgm_vfi.model.flow.sift_dis import (
    KeyPoints,
    Matches,
    SIFTDISFlow,
    densify_matches,
    filter_matches,
    match_keypoints,
)

FAR = 90  # pixels, of an object 28 pixels wide: on small frames it is lost


def noise(size: tuple[int, int], seed: int, grain: int = 4) -> Tensor:
    """Soft spots, each unlike the others. Shapes: -> (1, 3, *size)."""
    coarse = [side // grain + 2 for side in size]
    spots = torch.rand(1, 3, *coarse, generator=torch.Generator().manual_seed(seed))
    return F.interpolate(spots, size=size, mode="bicubic").clamp(0, 1)


def scene(place: int) -> Tensor:
    """A small textured square, `place` pixels from the left, before a still background."""
    frame = 0.4 + 0.2 * noise((128, 208), seed=1, grain=16)
    frame[:, :, 50:78, place : place + 28] = noise((28, 28), seed=2)
    return frame


@pytest.fixture(scope="module")
def pair() -> tuple[Tensor, Tensor]:
    return scene(40), scene(40 + FAR)


def on_object(flow: Tensor) -> Tensor:
    return flow[0, :, 54:74, 44:64].flatten(1)


def test_a_small_thing_that_moves_far_is_found(pair: tuple[Tensor, Tensor]) -> None:
    true = torch.tensor([[float(FAR)], [0.0]])
    missed, found = (on_object(f(*pair)) - true for f in (DISFlow(), SIFTDISFlow()))
    assert missed.norm(dim=0).median() > 20
    assert found.norm(dim=0).median() < 0.5
    rest = SIFTDISFlow()(*pair)[0, :, :40].norm(dim=0)
    assert rest.median() < 0.1


def test_a_start_is_taken_only_where_it_fits(pair: tuple[Tensor, Tensor]) -> None:
    """The true motion mends what the search misses; a wrong one changes little elsewhere."""
    plain = DISFlow()(*pair)
    start = torch.zeros_like(plain)
    start[:, 0] = FAR
    flow = DISFlow()(*pair, start)
    assert (on_object(flow)[0] - FAR).abs().median() < 0.5
    assert (flow - plain)[..., :40, :].norm(dim=1).median() < 0.1


def some_points() -> tuple[KeyPoints, KeyPoints]:
    """40 points, and 33 that look like some of them, more or less."""
    random = torch.Generator().manual_seed(0)
    descriptors = F.normalize(torch.rand(40, 128, generator=random), dim=1)
    points0 = KeyPoints(torch.rand(40, 2, generator=random), descriptors)
    other = descriptors[torch.randperm(40, generator=random)[:33]]
    unlike = torch.linspace(0, 0.1, 33)[:, None]
    other = F.normalize(other + unlike * torch.randn(33, 128, generator=random), dim=1)
    return points0, KeyPoints(torch.rand(33, 2, generator=random), other)


def test_matches_are_those_of_the_definition(monkeypatch: pytest.MonkeyPatch) -> None:
    """Mutual nearest neighbours that both pass the ratio test, one point after the other."""
    monkeypatch.setattr(sparse, "ROWS", 7)  # blocks that do not divide the number of points
    points0, points1 = some_points()
    distance = torch.cdist(points0.descriptors.double(), points1.descriptors.double())

    def nearest(distances: Tensor) -> tuple[int, float]:
        first, second = distances.argsort()[:2].tolist()
        return first, float(distances[first] / distances[second])

    expected = set()
    for row in range(40):
        column, ratio = nearest(distance[row])
        back, ratio_too = nearest(distance[:, column])
        worse = max(ratio, ratio_too)
        if worse < sparse.RATIO and back == row:
            pair = torch.cat((points0.places[row], points1.places[column]))
            expected.add((*pair.tolist(), worse < sparse.CLEAR_RATIO))
    found = match_keypoints(points0, points1)
    assert 10 < len(expected) < 33
    assert len({clear for *_, clear in expected}) == 2
    places = torch.cat((found.places0, found.places1), dim=1).tolist()
    both = zip(places, found.clear.tolist(), strict=True)
    assert {(*pair, clear) for pair, clear in both} == expected


def test_matches_do_not_depend_on_which_frame_comes_first() -> None:
    """Points that lie on each other, of several directions, among them."""
    points0, points1 = some_points()
    points0.places[1::2] = points0.places[::2]
    points1.places[1:32:2] = points1.places[:32:2]
    forth, back = match_keypoints(points0, points1), match_keypoints(points1, points0)
    assert len(forth.places0) > 10
    assert torch.equal(forth.places0, back.places1)
    assert torch.equal(forth.places1, back.places0)


def test_a_match_that_goes_its_own_way_is_dropped_unless_it_is_clear() -> None:
    y, x = torch.meshgrid(torch.arange(5.0), torch.arange(5.0), indexing="ij")
    places = 10 * torch.stack((x, y), dim=-1).flatten(0, 1)
    ways = torch.tensor((30.0, 5.0)) + torch.rand(25, 2, generator=torch.Generator().manual_seed(0))
    ways[12] = torch.tensor((-40.0, 20.0))
    clear = torch.zeros(25, dtype=torch.bool)
    kept = filter_matches(Matches(places, places + ways, clear))
    others = torch.arange(25) != 12
    assert torch.equal(kept.places0, places[others])
    assert torch.equal(kept.places1, (places + ways)[others])
    few = Matches(places[:3], ways[:3], clear[:3])
    assert not len(filter_matches(few).places0)  # too few to witness anything
    clear[12] = True
    assert torch.equal(filter_matches(Matches(places, places + ways, clear)).places0, places)
    clear[0] = True
    assert torch.equal(filter_matches(few).places0, places[:1])


def test_every_pixel_begins_at_its_nearest_match() -> None:
    random = torch.Generator().manual_seed(1)
    places = torch.stack(
        (torch.rand(9, generator=random) * 40, torch.rand(9, generator=random) * 30)
    )
    places, ways = places.T.round(), torch.randn(9, 2, generator=random)
    clear = torch.zeros(9, dtype=torch.bool)
    flow = densify_matches(Matches(places, places + ways, clear), (31, 41))
    y, x = torch.meshgrid(torch.arange(31.0), torch.arange(41.0), indexing="ij")
    distance = torch.cdist(torch.stack((x, y), dim=-1).flatten(0, 1), places)
    taken = (flow.flatten(1).T[:, None] - ways).norm(dim=-1).argmin(dim=1)
    slack = distance.gather(1, taken[:, None])[:, 0] - distance.amin(dim=1)
    assert slack.max() < 1  # OpenCV's distances are within a few per cent
    assert not densify_matches(Matches(places[:0], ways[:0], clear[:0]), (4, 5)).any()


def test_points_lie_where_the_picture_says() -> None:
    """A picture moved by whole pixels has the same points, moved by as much."""
    frame = noise((96, 128), seed=3)
    moved = frame.roll((6, -9), dims=(2, 3))
    found = [sparse.find_keypoints(*to_grey_uint8(x, (0, 0, 0, 0))) for x in (frame, moved)]
    for both in zip(*found, strict=True):
        assert len(match_keypoints(*both).places0) > 10
    places0, places1, _ = sparse.match_frames(*found)
    ways = places1 - places0
    assert len(ways) > 50
    torch.testing.assert_close(
        ways.median(dim=0).values, torch.tensor((-9.0, 6.0)), atol=0.1, rtol=0
    )


def test_points_of_large_frames_are_those_of_halved_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    """Four pixels alike are one of half the size; their places are those of the large frame."""
    [small] = to_grey_uint8(noise((96, 128), seed=3), (0, 0, 0, 0))
    large = small.repeat(2, axis=0).repeat(2, axis=1)
    expected = sparse.find_keypoints(small)
    monkeypatch.setattr(sparse, "MAX_PIXELS", small.size)
    found = sparse.find_keypoints(large)
    assert len(found) == len(expected) == sparse.NUM_SIZES
    assert len(found[0].places) > 50
    assert torch.equal(found[0].descriptors, expected[0].descriptors)
    torch.testing.assert_close(found[0].places, 2 * expected[0].places + 0.5)


def test_flow_is_the_same_in_a_batch_and_in_threads() -> None:
    frames = torch.cat([noise((64, 80), seed) for seed in (4, 4, 5)])
    frames[1] = frames[1].roll(5, dims=-1)
    estimator = SIFTDISFlow()
    source, target = frames, frames.roll(1, dims=0)
    together = estimator.bidirectional(source, target)
    with ThreadPoolExecutor(3) as pool:
        alone = list(pool.map(estimator.bidirectional, source.split(1), target.split(1)))
    for direction in (0, 1):
        assert torch.equal(together[direction], torch.cat([flows[direction] for flows in alone]))
    assert torch.equal(together[1], estimator(target, source))


@pytest.mark.parametrize("size", [(1, 1), (1, 40), (15, 15), (16, 90), (33, 17)])
def test_frames_of_any_size(size: tuple[int, int]) -> None:
    frames = torch.rand(2, 1, 3, *size, generator=torch.Generator().manual_seed(0))
    flow = SIFTDISFlow()(*frames)
    assert flow.shape == (1, 2, *size)
    assert flow.isfinite().all()
    plain = torch.full_like(frames[0], 0.5)
    assert not SIFTDISFlow()(plain, plain).any()
    assert not SIFTDISFlow()(frames[0], frames[0]).any()
