"""Line charts, drawn with OpenCV."""

import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

WIDTH, HEIGHT = 1100, 420  # of one chart, in pixels
LEFT, RIGHT, TOP, BOTTOM = 84, 24, 44, 46  # margins
INK, GREY, PALE = (40, 40, 40), (120, 120, 120), (228, 228, 228)
COLOURS = (  # red, green and blue; distinguishable without red or green
    (0, 114, 178),
    (213, 94, 0),
    (0, 158, 115),
    (204, 121, 167),
    (230, 159, 0),
    (86, 180, 233),
    (90, 90, 90),
)
NO_SPAN = 1e-300  # of an axis: below, its ticks are zero
SMOOTHED_OVER = 50  # a moving average takes in one in so many of a curve's points
MANY = 150  # points: beyond, a curve is drawn pale and its moving average on top
Colour = tuple[int, ...]
FONT, SIZE = cv2.FONT_HERSHEY_SIMPLEX, 0.46
FRACTION_BITS = 3  # of coordinates handed to OpenCV: eighths of a pixel


class Curve(NamedTuple):
    """Points to join; a reference is what the others are compared with, and drawn thin."""

    label: str
    x: np.ndarray
    y: np.ndarray
    is_reference: bool = False
    interval: np.ndarray | None = None  # (2, points), from and to: a bar at each point


class Axis(NamedTuple):
    """From values to pixels."""

    low: float
    high: float
    start: float  # pixel of `low`
    end: float  # pixel of `high`
    logarithmic: bool = False

    def to_pixels(self, values: np.ndarray | float) -> np.ndarray:
        if self.logarithmic:
            low, high = math.log10(self.low), math.log10(self.high)
            values = np.log10(np.maximum(values, self.low))
        else:
            low, high = self.low, self.high
        return self.start + (values - low) / (high - low) * (self.end - self.start)

    def ticks(self) -> list[float]:
        """Round values, about five of them."""
        if self.logarithmic:
            return logarithmic_ticks(self.low, self.high)
        step = round_tick_step((self.high - self.low) / 5)
        first, last = math.ceil(self.low / step - 1e-9), math.floor(self.high / step + 1e-9)
        return [number * step for number in range(first, last + 1)]


def plot_line_charts(
    charts: Mapping[str, Sequence[Curve]], logarithmic: Sequence[str] = ()
) -> np.ndarray:
    """Draw one chart below the other, over the same steps. Shapes: -> (H, W, 3), uint8, RGB."""
    everywhere = [curve.x for curves in charts.values() for curve in curves]
    x = Axis(*value_range([np.zeros(1), *everywhere], 0), LEFT, WIDTH - RIGHT)
    drawn = [plot_lines(name, curves, x, name in logarithmic) for name, curves in charts.items()]
    return np.concatenate(drawn)


def plot_lines(
    title: str, curves: Sequence[Curve], x: Axis, logarithmic: bool = False, x_name: str = "step"
) -> np.ndarray:
    """Draw curves over a common grid. Shapes: -> (HEIGHT, WIDTH, 3), uint8, RGB."""
    canvas = np.full((HEIGHT, WIDTH, 3), 255, np.uint8)
    curves = [select_drawable(curve, logarithmic) for curve in curves]
    colours = iter(COLOURS * len(curves))
    pens = [GREY if curve.is_reference else next(colours) for curve in curves]
    values = [axis_values(curve) for curve in curves]
    y = Axis(*value_range(values, 0.06, logarithmic), HEIGHT - BOTTOM, TOP, logarithmic)
    plot_grid(canvas, x, y)
    for draw in (plot_raw_points, plot_curve):
        for curve, pen in zip(curves, pens, strict=True):
            draw(canvas, curve, x, y, pen)
    put_text(canvas, title, LEFT, 28, INK, size=0.62)
    put_text(canvas, x_name, WIDTH - RIGHT - text_width(x_name), HEIGHT - 8, GREY)
    plot_legend(canvas, [curve.label for curve in curves], pens)
    return canvas


def select_drawable(curve: Curve, logarithmic: bool) -> Curve:
    """Leave out points that cannot be drawn."""
    kept = np.isfinite(curve.y) & ((curve.y > 0) | (not logarithmic))
    bars = None if curve.interval is None else curve.interval[:, kept].astype(float)
    return Curve(
        curve.label,
        curve.x[kept].astype(float),
        curve.y[kept].astype(float),
        curve.is_reference,
        bars,
    )


def axis_values(curve: Curve) -> np.ndarray:
    """The values that a chart must have room for: not what was before the first step."""
    drawn = moving_average(curve.y) if len(curve.y) > MANY else curve.y
    if curve.interval is not None:
        return np.concatenate((drawn, curve.interval.ravel()))
    return drawn[curve.x > 0] if (curve.x > 0).any() else drawn


def value_range(
    values: Sequence[np.ndarray], margin: float, logarithmic: bool = False
) -> tuple[float, float]:
    """The least and the greatest value, a little widened; values hardly apart count as one."""
    together = np.concatenate([*values, np.empty(0)])
    low, high = (together.min(), together.max()) if together.size else (0.0, 1.0)
    if logarithmic:
        return low / 1.15, high * 1.15
    if high - low < NO_SPAN:
        return low - 0.5, high + 0.5
    return low - margin * (high - low), high + margin * (high - low)


def plot_grid(canvas: np.ndarray, x: Axis, y: Axis) -> None:
    """Lines and numbers at round values."""
    for value in x.ticks():
        column = round(float(x.to_pixels(value)))
        cv2.line(canvas, (column, TOP), (column, HEIGHT - BOTTOM), PALE, 1)
        text = format_number(value)
        put_text(canvas, text, column - text_width(text) // 2, HEIGHT - BOTTOM + 20, GREY)
    for value in y.ticks():
        row = round(float(y.to_pixels(value)))
        cv2.line(canvas, (LEFT, row), (WIDTH - RIGHT, row), PALE, 1)
        text = format_number(value)
        put_text(canvas, text, LEFT - 10 - text_width(text), row + 5, GREY)
    cv2.rectangle(canvas, (LEFT, TOP), (WIDTH - RIGHT, HEIGHT - BOTTOM), GREY, 1)


def plot_raw_points(canvas: np.ndarray, curve: Curve, x: Axis, y: Axis, colour: Colour) -> None:
    """Of many points, show every one, pale."""
    if len(curve.y) > MANY:
        pale = tuple(int(200 + 0.2 * level) for level in colour)
        plot_polyline(canvas, x.to_pixels(curve.x), y.to_pixels(curve.y), pale, 1)


def plot_curve(canvas: np.ndarray, curve: Curve, x: Axis, y: Axis, colour: Colour) -> None:
    """Join the points; of many, their moving average."""
    is_dense = len(curve.y) > MANY
    columns, rows = (
        x.to_pixels(curve.x),
        y.to_pixels(moving_average(curve.y) if is_dense else curve.y),
    )
    plot_polyline(canvas, columns, rows, colour, 1 if curve.is_reference else 2)
    if not is_dense and (not curve.is_reference or len(curve.y) == 1):  # one point is no line
        inside = (rows >= TOP) & (rows <= HEIGHT - BOTTOM)
        for column, row in zip(columns[inside], rows[inside], strict=True):
            cv2.circle(canvas, (round(column), round(row)), 3, colour, -1, cv2.LINE_AA)
    if curve.interval is not None:
        for column, low, high in zip(columns, *y.to_pixels(curve.interval), strict=True):
            plot_polyline(canvas, np.array([column, column]), np.array([low, high]), colour, 1)


def plot_polyline(
    canvas: np.ndarray, columns: np.ndarray, rows: np.ndarray, colour: Colour, thickness: int
) -> None:
    """Draw an open line through points given in pixels; what leaves the frame is cut off."""
    inside = canvas[TOP : HEIGHT - BOTTOM, LEFT : WIDTH - RIGHT]
    points = np.stack((columns - LEFT, rows - TOP), axis=-1) * 2**FRACTION_BITS
    points = points.round().clip(-(2**24), 2**24).astype(np.int32)
    part = np.ascontiguousarray(inside)
    cv2.polylines(part, [points], False, colour, thickness, cv2.LINE_AA, FRACTION_BITS)
    inside[...] = part


def moving_average(values: np.ndarray) -> np.ndarray:
    """A centred moving average over a fiftieth of the points; shorter at the ends."""
    reach = max(len(values) // SMOOTHED_OVER // 2, 1)
    sums = np.concatenate(([0.0], np.cumsum(values)))
    places = np.arange(len(values))
    starts, ends = np.maximum(places - reach, 0), np.minimum(places + reach + 1, len(values))
    return (sums[ends] - sums[starts]) / (ends - starts)


def plot_legend(canvas: np.ndarray, labels: Sequence[str], pens: Sequence[Colour]) -> None:
    """Names of the curves at the upper right."""
    right = WIDTH - RIGHT
    for label, pen in reversed(list(zip(labels, pens, strict=True))):
        left = right - text_width(label)
        put_text(canvas, label, left, 28, INK)
        cv2.line(canvas, (left - 30, 24), (left - 8, 24), pen, 3, cv2.LINE_AA)
        right = left - 46


def round_tick_step(least: float) -> float:
    """The smallest of 1, 2, 2.5, 5 times a power of ten that is no smaller than `least`."""
    power = 10.0 ** math.floor(math.log10(least))
    return next(factor * power for factor in (1, 2, 2.5, 5, 10) if factor * power >= least * 0.999)


def logarithmic_ticks(low: float, high: float) -> list[float]:
    """Powers of ten; over less than two decades also 2, 3 and 5 times these."""
    decades = math.log10(high / low)
    factors = (1,) if decades > 3 else (1, 2, 5) if decades > 1 else (1, 1.5, 2, 3, 4, 5, 6, 8)
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    every = [factor * 10.0**power for power in powers for factor in factors]
    return [value for value in every if low <= value <= high]


def format_number(value: float) -> str:
    """A short number: 20000 as 20k, 0.30000000000000004 as 0.3."""
    if abs(value) >= 10_000:
        return f"{value / 1000:g}k"
    return f"{value:.6g}" if abs(value) > 1e-9 else "0"


def put_text(
    canvas: np.ndarray,
    text: str,
    left: int,
    baseline: int,
    colour: Colour,
    size: float = SIZE,
) -> None:
    cv2.putText(canvas, text, (left, baseline), FONT, size, colour, 1, cv2.LINE_AA)


def text_width(text: str, size: float = SIZE) -> int:
    return cv2.getTextSize(text, FONT, size, 1)[0][0]


def write_png(path: Path, picture: np.ndarray) -> None:
    """Write a picture beside its place and move it there. Shapes: (H, W, 3), uint8, RGB."""
    if path.suffix.lower() != ".png":
        raise ValueError(f"Plots are PNG files, got {path}.")
    data = cv2.imencode(".png", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))[1].tobytes()
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        beside.write_bytes(data)
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)
