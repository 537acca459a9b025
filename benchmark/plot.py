"""Scatter plots as SVG for a page: no script, every point says what it is under the pointer."""

import math
from collections.abc import Mapping, Sequence
from html import escape
from typing import NamedTuple

import numpy as np

from sgm_vfi.benchmark.footage_samples import spread
from sgm_vfi.media.charts import COLOURS, Axis, format_number, value_range

WIDTH, HEIGHT = 640, 360  # of the drawing, in its own units; it is as wide as the page
LEFT, RIGHT, TOP, BOTTOM = 66, 14, 14, 46  # margins
MOST_POINTS = 1500  # per series, evenly picked: a page stays small
CROWD = 200  # points of a series: beyond it they are drawn smaller and paler
TREND_FROM = 24  # points: fewer show no trend
TREND_BINS = 8
DECADE = 10  # a span of more than this ratio is shown on a logarithmic axis
LEAST = 0.1  # on a logarithmic axis everything below is drawn here


class ScatterPoint(NamedTuple):
    """Of a scatter plot; y may be infinite: it is then drawn at the upper edge."""

    x: float
    y: float
    title: str


def colour(index: int) -> str:
    """The colour of a series."""
    return "#{:02x}{:02x}{:02x}".format(*COLOURS[index % (len(COLOURS) - 1)])


def legend(names: Sequence[str]) -> str:
    """Names of the series, each after its colour."""
    entries = (
        f'<span><i style="background:{colour(index)}"></i>{escape(name)}</span>'
        for index, name in enumerate(names)
    )
    return f'<p class="legend">{"".join(entries)}</p>'


def scatter(series: Mapping[str, Sequence[ScatterPoint]], x_name: str, y_name: str) -> str:
    """Points of each series, and its median over an eighth of them at a time."""
    every = [point for points in series.values() for point in points]
    x, y = x_axis([point.x for point in every]), y_axis([point.y for point in every])
    parts = [*grid_lines(x, y, x_name, y_name)]
    for index, (name, points) in enumerate(series.items()):
        crowd = ' class="crowd"' if len(points) > CROWD else ""
        parts.append(f'<g fill="{colour(index)}"{crowd}>')
        for place in spread(range(len(points)), MOST_POINTS):
            parts.append(dot(points[place], name, x, y, 2.2 if crowd else 3.2))
        parts.append("</g>")
    parts += [trend(points, x, y, colour(index)) for index, points in enumerate(series.values())]
    label = escape(f"{y_name} against {x_name}", quote=True)
    return (
        f'<div class="scroll"><svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" '
        f'aria-label="{label}">{"".join(parts)}</svg></div>'
    )


def x_axis(values: Sequence[float]) -> Axis:
    """From the least to the greatest value; logarithmic over more than a decade."""
    low, high = max(min(values), LEAST), max(*values, LEAST)
    if high > DECADE * low:
        return Axis(low / 1.1, high * 1.1, LEFT, WIDTH - RIGHT, logarithmic=True)
    return Axis(*value_range([np.array(values)], 0.04), LEFT, WIDTH - RIGHT)


def y_axis(values: Sequence[float]) -> Axis:
    """Over the finite values, with a little room."""
    finite = np.array([value for value in values if math.isfinite(value)])
    return Axis(*value_range([finite], 0.06), HEIGHT - BOTTOM, TOP)


def grid_lines(x: Axis, y: Axis, x_name: str, y_name: str) -> list[str]:
    """Lines and numbers at round values, and what the axes are."""
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


def dot(point: ScatterPoint, name: str, x: Axis, y: Axis, radius: float) -> str:
    """One point, with its title for the pointer."""
    row = TOP if math.isinf(point.y) else float(y.to_pixels(point.y))
    title = escape(f"{name}: {point.title}")
    return (
        f'<circle cx="{float(x.to_pixels(point.x)):.1f}" cy="{row:.1f}" r="{radius}">'
        f"<title>{title}</title></circle>"
    )


def trend(points: Sequence[ScatterPoint], x: Axis, y: Axis, stroke: str) -> str:
    """The median of each eighth of the points along x, joined; of few points nothing."""
    finite = sorted(point[:2] for point in points if math.isfinite(point.y))
    if len(finite) < TREND_FROM:
        return ""
    bins = [np.median(part, axis=0) for part in np.array_split(np.array(finite), TREND_BINS)]
    path = " ".join(f"{float(x.to_pixels(px)):.1f},{float(y.to_pixels(py)):.1f}" for px, py in bins)
    line = f'points="{path}"/>'
    return f'<polyline class="halo" {line}<polyline class="trend" stroke="{stroke}" {line}'
