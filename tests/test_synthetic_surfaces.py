"""What synthetic scenes are made of: shapes, textures and how they are read."""

import numpy as np
import pytest
import torch

from sgm_vfi.dataset.synthetic import textures
from sgm_vfi.dataset.synthetic.shapes import REACH, SHAPES, signed_distance
from sgm_vfi.dataset.synthetic.textures import (
    PATTERNS,
    build_atlas,
    draw_texture_tiles,
    mirror_coordinates,
)


def test_mirrors_have_no_seams() -> None:
    """Folded coordinates stay on the tile and move by no more than what was folded."""
    line = torch.linspace(-700, 700, 20001)
    folded = mirror_coordinates(line, 64)
    assert folded.min() >= 0
    assert folded.max() <= 63
    assert folded.diff().abs().max() <= line.diff().max() * 1.01
    on_tile = (line >= 0) & (line <= 63)
    torch.testing.assert_close(folded[on_tile], line[on_tile], atol=1e-4, rtol=0)


def test_atlas_reads_the_tile_that_is_asked_for() -> None:
    tiles = [np.full((4, 4, 2), number, np.float32) for number in range(5)]
    tiles[3][1, 2] = (30, 31)
    atlas = build_atlas(tiles, "cpu")
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
    tiles = draw_texture_tiles(32, 64, np.random.default_rng(0))
    assert len(tiles) == 32
    for tile in tiles:
        assert tile.shape == (64, 64, 3)
        assert tile.dtype == np.float32
        assert 0 <= tile.min() < tile.max() <= 1
        assert tile.std() > 0.02
    for paint in set(PATTERNS):
        one, other = (paint(64, np.random.default_rng(seed)) for seed in (0, 1))
        assert np.abs(one - other).mean() > 0.02


def test_only_the_photographs_that_are_shown_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    read = []
    exact = textures.read_photograph
    monkeypatch.setattr(textures, "read_photograph", lambda path: read.append(path) or exact(path))
    draw_texture_tiles(5, 32, np.random.default_rng(0))
    assert [path.name for path in read] == list(textures.PHOTOGRAPHS[:3])
