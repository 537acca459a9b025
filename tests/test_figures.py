"""Which samples are shown, their images, and scatter plots."""

import base64
import math
import re

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from skimage.data import astronaut

from sgm_vfi.benchmark.html_document import encode_data_url
from sgm_vfi.benchmark.sample_figures import (
    CROP_SIDE,
    build_figure,
    enlarge_crop,
    find_largest_error,
    rank_samples,
    select_median,
    select_worst,
)
from sgm_vfi.benchmark.svg_scatter_plot import HEIGHT, TOP, ScatterPoint, plot_scatter
from sgm_vfi.dataset.triplet import Triplet
from sgm_vfi.media.images import as_frame
from sgm_vfi.media.visualise import Picture
from sgm_vfi.model import Interpolation, time_like
from tests.fixtures.result_rows import result_of


# which samples
def test_the_worst_are_the_best_models_and_one_per_clip_and_gap() -> None:
    """m is better than n in the mean, so m's failures count; clip a has the three worst."""
    psnr = {
        "m": {("a", 1, 1): 12, ("a", 1, 2): 10, ("a", 1, 3): 11, ("b", 1, 1): 40, ("b", 2, 1): 30},
        "n": {("a", 1, 1): 1, ("a", 1, 2): 9, ("a", 1, 3): 8, ("b", 1, 1): 5, ("b", 2, 1): 29},
    }
    rows = [
        {"model": model, "clip": clip, "gap": gap, "frame": frame, "psnr": float(value)}
        for model, values in psnr.items()
        for (clip, gap, frame), value in values.items()
    ]
    result = result_of(rows)
    chosen = [
        tuple(sample["m"][key] for key in ("clip", "gap", "frame"))
        for sample in select_worst(result, 8)
    ]
    assert chosen == [("a", 1, 2), ("b", 2, 1), ("b", 1, 1)]
    assert len(select_worst(result, 2)) == 2
    assert all(list(sample) == ["m", "n"] for sample in select_worst(result, 8))
    middle = [(sample["m"]["gap"], sample["m"]["frame"]) for sample in select_median(result)]
    assert sorted(middle) == [(1, 1), (2, 1)]  # of 10, 11, 12, 40 at gap 1: 12


def test_less_lpips_is_better() -> None:
    rows = [
        {"model": "m", "protocol": "p", "sample": name, "lpips": value}
        for name, value in (("a", 0.1), ("b", 0.3), ("c", 0.2))
    ]
    assert [sample["m"]["sample"] for sample in rank_samples(result_of(rows))] == ["b", "c", "a"]


# plots
@given(st.lists(st.tuples(st.floats(0, 500), st.floats(-10, 60)), min_size=1, max_size=40))
def test_points_lie_where_their_values_say(values: list[tuple[float, float]]) -> None:
    """More motion is not further left, a higher value not further down, whatever the scale."""
    svg = plot_scatter({"m": [ScatterPoint(x, y, "") for x, y in values]}, "x", "y")
    places = np.array(re.findall(r'<circle cx="(.*?)" cy="(.*?)"', svg), dtype=float)
    assert len(places) == len(values)
    (x, y), (column, row) = np.array(values).T, places.T
    assert ((x[:, None] > x) | (column[:, None] <= column)).all()  # each point beside each other
    assert ((y[:, None] > y) | (row[:, None] >= row)).all()
    assert ((column > 0) & (column < 640)).all()
    assert ((row > 0) & (row < HEIGHT)).all()


def test_infinite_values_lie_at_the_upper_edge() -> None:
    svg = plot_scatter(
        {
            "m": [
                ScatterPoint(1, math.inf, ""),
                ScatterPoint(2, 30.0, ""),
                ScatterPoint(3, 31.0, ""),
            ]
        },
        "x",
        "y",
    )
    assert float(re.search('cy="(.*?)"', svg)[1]) == TOP
    assert "nan" not in svg
    assert "<circle" in plot_scatter({"m": [ScatterPoint(1, math.inf, "")]}, "x", "y")


def test_many_points_stay_a_small_page_and_show_a_trend() -> None:
    points = [ScatterPoint(float(n % 97), 40 - n % 97 / 10, "x" * 40) for n in range(20000)]
    svg = plot_scatter({"m": points, "n": points[:3]}, "x", "y")
    assert svg.count("<circle") == 1500 + 3
    assert svg.count('class="trend"') == 1
    assert svg.rindex("<circle") < svg.index("<polyline")  # no point hides a line
    assert len(svg) < 400_000


# pictures
def triplet_of(height: int, width: int) -> Triplet:
    frames = [as_frame(astronaut()[n : n + height, 2 * n : 2 * n + width])[None] for n in (0, 3, 6)]
    return Triplet(*frames, time_like(frames[0], 0.5))


def test_an_exhibit_shows_inputs_models_and_what_they_explain() -> None:
    triplet = triplet_of(120, 160)
    wrong = triplet.target.clone()
    wrong[..., 100:, 140:] = 1 - wrong[..., 100:, 140:]
    notes = {
        "flow": torch.randn(1, 4, 120, 160),
        "difference": torch.rand(1, 2, 120, 160),
        "blend": torch.full((1, 1, 120, 160), 0.5),  # the same everywhere: not shown
    }
    predictions = {
        "m": Interpolation(wrong, explanation=notes),
        "n": Interpolation(triplet.target.clone()),
    }
    shown = build_figure("heading", "", triplet, predictions)
    captions = {name: [p.caption for p in pictures] for name, pictures in shown.rows.items()}
    assert captions[""][:4] == ["frame before", "truth", "frame after", "before against after"]
    assert "flow" in captions[""][4]
    assert captions["m"][0] == "prediction"
    assert captions["m"][3:] == ["difference map", "final flow"]
    assert len(captions["n"]) == 3
    truth, enlarged = shown.rows[""][5].image, shown.rows["m"][2].image
    assert torch.equal(truth, enlarge_crop(triplet.target[0], (24, 64)))
    assert torch.equal(enlarged, enlarge_crop(wrong[0], (24, 64)))
    assert shown.rows["n"][1].image.max() < 0.05  # no error is black


@pytest.mark.parametrize(("height", "width"), [(97, 130), (20, 130), (3, 5)])
def test_the_square_of_most_error(height: int, width: int) -> None:
    error = torch.rand(height, width, generator=torch.Generator().manual_seed(0)) ** 8
    row, column = find_largest_error(error)
    side = [min(CROP_SIDE, height), min(CROP_SIDE, width)]
    own = error[row : row + side[0], column : column + side[1]].sum()
    every = [
        error[y : y + side[0], x : x + side[1]].sum()
        for y in range(height - side[0] + 1)
        for x in range(width - side[1] + 1)
    ]
    assert own == pytest.approx(max(every).item(), rel=1e-5)


def test_pictures_inside_the_page_are_pictures() -> None:
    image = as_frame(astronaut())
    url = encode_data_url(Picture("", image), (100, 300))
    data = np.frombuffer(base64.b64decode(url.partition(",")[2]), np.uint8)
    decoded = cv2.cvtColor(cv2.imdecode(data, cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)
    assert decoded.shape == (100, 100, 3)
    small = cv2.resize(astronaut(), (100, 100), interpolation=cv2.INTER_AREA)
    off, swapped = (np.abs(decoded.astype(float) - s).mean() for s in (small, small[..., ::-1]))
    assert off < 8 < swapped
