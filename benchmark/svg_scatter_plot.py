"""Scatter plots as SVG without scripts; the pointer shows the title of a point."""

import math
from collections.abc import Mapping, Sequence
from html import escape
from typing import NamedTuple

import numpy as np

from sgm_vfi.benchmark.protocol_and_footage_samples import subsample
from sgm_vfi.media.charts import COLOURS, Axis, format_number, value_range

WIDTH, HEIGHT = 640, 360  # of the drawing, in its own units; it is as wide as the page
LEFT, RIGHT, TOP, BOTTOM = 66, 14, 14, 46  # margins
MAX_POINTS = 1500  # per series, evenly subsampled
MANY_POINTS = 200  # of a series: more are drawn smaller and paler
MIN_TREND_POINTS = 24  # fewer points have no trend line
TREND_BINS = 8
DECADE = 10  # a span of more than this ratio is shown on a logarithmic axis
MIN_LOGARITHMIC = 0.1  # on a logarithmic axis everything below is drawn here


class ScatterPoint(NamedTuple):
    """A point of a scatter plot; an infinite y is drawn at the upper edge."""

    x: float
    y: float
    title: str


def series_colour(index: int) -> str:
    """Return the colour of a series."""
    return "#{:02x}{:02x}{:02x}".format(*COLOURS[index % (len(COLOURS) - 1)])


def format_legend(names: Sequence[str]) -> str:
    """Format the names of the series with their colours."""
    entries = (
        f'<span><i style="background:{series_colour(index)}"></i>{escape(name)}</span>'
        for index, name in enumerate(names)
    )
    return f'<p class="legend">{"".join(entries)}</p>'


def plot_scatter(series: Mapping[str, Sequence[ScatterPoint]], x_name: str, y_name: str) -> str:
    """Plot the points of each series, and their medians in bins as a trend line."""
    every = [point for points in series.values() for point in points]
    x, y = build_x_axis([point.x for point in every]), build_y_axis([point.y for point in every])
    parts = [*plot_grid(x, y, x_name, y_name)]
    for index, (name, points) in enumerate(series.items()):
        crowd = ' class="crowd"' if len(points) > MANY_POINTS else ""
        parts.append(f'<g fill="{series_colour(index)}"{crowd}>')
        for place in subsample(range(len(points)), MAX_POINTS):
            parts.append(plot_point(points[place], name, x, y, 2.2 if crowd else 3.2))
        parts.append("</g>")
    parts += [
        plot_trend(points, x, y, series_colour(index))
        for index, points in enumerate(series.values())
    ]
    label = escape(f"{y_name} against {x_name}", quote=True)
    return (
        f'<div class="scroll"><svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" '
        f'aria-label="{label}">{"".join(parts)}</svg></div>'
    )


def build_x_axis(values: Sequence[float]) -> Axis:
    """Return the horizontal axis; logarithmic over more than a decade."""
    low, high = max(min(values), MIN_LOGARITHMIC), max(*values, MIN_LOGARITHMIC)
    if high > DECADE * low:
        return Axis(low / 1.1, high * 1.1, LEFT, WIDTH - RIGHT, logarithmic=True)
    return Axis(*value_range([np.array(values)], 0.04), LEFT, WIDTH - RIGHT)


def build_y_axis(values: Sequence[float]) -> Axis:
    """Return the vertical axis over the finite values."""
    finite = np.array([value for value in values if math.isfinite(value)])
    return Axis(*value_range([finite], 0.06), HEIGHT - BOTTOM, TOP)


def plot_grid(x: Axis, y: Axis, x_name: str, y_name: str) -> list[str]:
    """Plot lines and numbers at round values, and the names of the axes."""
    right, bottom = WIDTH - RIGHT, HEIGHT - BOTTOM
    parts = ['<g class="grid">']
    for value in x.ticks():
        at = float(x.to_pixels(value))
        parts.append(f'<line x1="{at:.1f}" x2="{at:.1f}" y1="{TOP}" y2="{bottom}"/>')
        parts.append(
            f'<text x="{at:.1f}" y="{bottom + 17}" class="mid">{format_number(value)}</text>'
        )
    for value in y.ticks():
        at = float(y.to_pixels(value))
        parts.append(f'<line x1="{LEFT}" x2="{right}" y1="{at:.1f}" y2="{at:.1f}"/>')
        parts.append(
            f'<text x="{LEFT - 7}" y="{at + 4:.1f}" class="end">{format_number(value)}</text>'
        )
    middle = (TOP + bottom) / 2
    parts.append(f'<text x="{(LEFT + right) / 2}" y="{HEIGHT - 8}" class="mid">{x_name}</text>')
    parts.append(
        f'<text x="13" y="{middle}" class="mid" transform="rotate(-90 13 {middle})">{y_name}</text>'
    )
    return [*parts, "</g>"]


def plot_point(point: ScatterPoint, name: str, x: Axis, y: Axis, radius: float) -> str:
    """Plot one point with its title."""
    row = TOP if math.isinf(point.y) else float(y.to_pixels(point.y))
    title = escape(f"{name}: {point.title}")
    return (
        f'<circle cx="{float(x.to_pixels(point.x)):.1f}" cy="{row:.1f}" r="{radius}">'
        f"<title>{title}</title></circle>"
    )


def plot_trend(points: Sequence[ScatterPoint], x: Axis, y: Axis, stroke: str) -> str:
    """Plot the medians of equal parts of the points along x; empty for few points."""
    finite = sorted(point[:2] for point in points if math.isfinite(point.y))
    if len(finite) < MIN_TREND_POINTS:
        return ""
    bins = [np.median(part, axis=0) for part in np.array_split(np.array(finite), TREND_BINS)]
    path = " ".join(f"{float(x.to_pixels(px)):.1f},{float(y.to_pixels(py)):.1f}" for px, py in bins)
    line = f'points="{path}"/>'
    return f'<polyline class="halo" {line}<polyline class="trend" stroke="{stroke}" {line}'
