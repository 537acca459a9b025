"""Line charts and histograms."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sgm_vfi.media.charts import (
    Axis,
    Curve,
    axis_values,
    histogram_edges,
    logarithmic_ticks,
    moving_average,
    plot_histograms,
    plot_line_charts,
    plot_lines,
)


def test_curve_goes_through_its_points() -> None:
    """A rising line: its pixels lie on the straight line between its ends."""
    x = Axis(0, 100, 84, 1076)
    line = plot_lines("line", [Curve("a", np.array([1e-9, 100.0]), np.array([0.0, 1.0]))], x)
    blue = (line == (0, 114, 178)).all(axis=-1)
    blue[:44] = False  # the legend
    rows, columns = blue.nonzero()
    y = Axis(-0.06, 1.06, 420 - 46, 44)
    expected = y.to_pixels((columns - 84) / (1076 - 84))
    assert np.abs(rows - expected).max() < 5  # the marks at the ends are wider than the line
    assert len(rows) > 900


def test_the_untrained_network_does_not_flatten_the_chart() -> None:
    """A first score of 3 among 28 and 29: these two lie far apart, the line comes from below."""
    x = Axis(0, 2, 84, 1076)
    drawn = plot_lines("psnr", [Curve("a", np.arange(3.0), np.array([3.0, 28.0, 29.0]))], x)
    blue = (drawn == (0, 114, 178)).all(axis=-1)
    assert blue[420 - 46 - 2, 100:580].any()
    rows = [blue[44:, column].nonzero()[0].mean() for column in (590, 1070)]
    assert rows[0] - rows[1] > 250


def test_a_point_beyond_the_axis_is_marked_at_its_end() -> None:
    """A triangle of the curve's colour, above and below, and the value beside it."""
    x = Axis(0, 2, 84, 1076)
    for first, row in ((3.0, 420 - 46 - 9), (90.0, 44 + 9)):
        curve = Curve("a", np.arange(3.0), np.array([first, 28.0, 29.0]))
        drawn = plot_lines("psnr", [curve], x)
        assert (drawn[row, 91] == (0, 114, 178)).all()
        inside = plot_lines("psnr", [curve._replace(y=np.array([28.5, 28.0, 29.0]))], x)
        assert not (inside[row, 91] == (0, 114, 178)).all()
        text = slice(row - 16, row + 20), slice(100, 140)
        assert (drawn[text] == (120, 120, 120)).all(axis=-1).sum() > 5


def test_charts_of_one_point_or_constant_values_or_nothing() -> None:
    one = Curve("a", np.array([5.0]), np.array([2.0]))
    reference = one._replace(label="b", is_reference=True)
    for curve in (one, reference):  # one point is no line, and yet seen, beside the grid's lines
        drawn = plot_lines("x", [curve], Axis(4, 6, 84, 1076))
        assert (drawn[209 - 2, 580 + 2] < 200).any()
    hardly = Curve("c", np.array([1.0, 2.0]), np.array([0.0, 5e-324]))  # a fifth of it is zero
    assert plot_line_charts({"x": [hardly]}).shape == (420, 1100, 3)
    assert plot_line_charts({"x": [one]}, logarithmic=("x",)).shape == (420, 1100, 3)
    assert plot_line_charts({"x": [one._replace(y=np.array([np.nan]))]}).shape == (420, 1100, 3)


@given(st.floats(1e-8, 1e6), st.floats(1.01, 1e5))
def test_ticks_lie_inside_and_are_few(low: float, ratio: float) -> None:
    for ticks in (Axis(low, low * ratio, 0, 1).ticks(), logarithmic_ticks(low, low * ratio)):
        assert len(ticks) <= 14
        assert all(low * (1 - 1e-6) <= tick <= low * ratio * (1 + 1e-6) for tick in ticks)


def test_smoothing_keeps_straight_lines_and_means() -> None:
    line = np.arange(500.0)
    assert np.allclose(moving_average(line)[20:-20], line[20:-20])
    noise = np.random.default_rng(0).normal(size=500)
    assert moving_average(noise).std() < 0.5 * noise.std()


def test_bars_are_as_high_as_there_are_values() -> None:
    """The part covers the whole where they agree; both colours' areas are as their counts."""
    whole = [0.5] * 6 + [9.5] * 3 + [10.0]
    chart = plot_histograms({"title": {"all": whole, "part": whole[6:]}})
    blue, orange = ((chart == np.array(c, np.uint8)).all(-1) for c in ((0, 114, 178), (213, 94, 0)))
    inside = np.zeros_like(blue)
    inside[44:374] = True
    left, right = np.arange(1100) < 500, np.arange(1100) > 600
    assert (orange & inside & left).sum() == 0
    assert (blue & inside & right).sum() == 0
    columns = [(blue & inside)[:, left].sum(0).max(), (orange & inside)[:, right].sum(0).max()]
    assert columns[0] / columns[1] == pytest.approx(6 / 4, rel=0.02)


@given(st.lists(st.floats(0, 1e4), min_size=2, max_size=300))
def test_bins_hold_every_value(values: list[float]) -> None:
    edges = histogram_edges(values)
    assert np.histogram(values, edges)[0].sum() == len(values)
    assert 5 <= len(edges) <= 31


def test_axes_hold_every_point_of_a_dense_curve() -> None:
    """The y axis holds a single spike among many points, not only their moving average."""
    values = np.zeros(400)
    values[200] = 1.0
    assert axis_values(Curve("a", np.arange(1.0, 401.0), values)).max() == 1
