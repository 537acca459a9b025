"""Line charts and histograms, drawn with OpenCV; axes and tick labels for other charts."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from sgm_vfi.media.images import printable_name
from sgm_vfi.storage.atomic_write import write_atomically

WIDTH, HEIGHT = 1100, 420  # of one chart, in pixels
LEFT, RIGHT, TOP, BOTTOM = 84, 24, 44, 46  # margins
INK, GREY, PALE = (40, 40, 40), (120, 120, 120), (228, 228, 228)
COLOURS = (  # RGB; distinguishable for readers with colour blindness
    (0, 114, 178),
    (213, 94, 0),
    (0, 158, 115),
    (204, 121, 167),
    (230, 159, 0),
    (86, 180, 233),
    (90, 90, 90),
)
MIN_RANGE = 1e-300  # a smaller range of values counts as one value
AVERAGING_SHARE = 50  # the moving average covers one in this many points
DENSE = 150  # a curve of more points is drawn pale, with its moving average on top
MAX_BINS = 30  # of a histogram
Colour = tuple[int, ...]
FONT, FONT_SCALE, TITLE_SCALE = cv2.FONT_HERSHEY_SIMPLEX, 0.46, 0.62
FRACTION_BITS = 3  # of coordinates in OpenCV: eighths of a pixel


class Curve(NamedTuple):
    """Points joined by a line; a reference curve is drawn thin and grey."""

    label: str
    x: np.ndarray
    y: np.ndarray
    is_reference: bool = False
    interval: np.ndarray | None = None  # (2, points), low and high: an error bar at each point


class Axis(NamedTuple):
    """A linear or logarithmic map from values to pixels."""

    low: float
    high: float
    start: float  # pixel of `low`
    end: float  # pixel of `high`
    logarithmic: bool = False

    def to_pixels(self, values: np.ndarray | float) -> np.ndarray:
        """Map values to pixel coordinates."""
        values = np.asarray(values)
        low, high = self.low, self.high
        if self.logarithmic:
            values = np.log10(np.maximum(values, low))
            low, high = math.log10(low), math.log10(high)
        return np.asarray(self.start + (values - low) / (high - low) * (self.end - self.start))

    def ticks(self) -> list[float]:
        """Return about five round values."""
        if self.logarithmic:
            return logarithmic_ticks(self.low, self.high)
        step = round_tick_step((self.high - self.low) / 5)
        first, last = math.ceil(self.low / step - 1e-9), math.floor(self.high / step + 1e-9)
        return [number * step for number in range(first, last + 1)]


def plot_line_charts(
    charts: Mapping[str, Sequence[Curve]], logarithmic: Sequence[str] = (), x_name: str = "step"
) -> np.ndarray:
    """Plot one chart below the other over the same steps. Shapes: -> (H, W, 3), uint8, RGB."""
    steps = [curve.x for curves in charts.values() for curve in curves]
    x = Axis(*value_range([np.zeros(1), *steps], 0), LEFT, WIDTH - RIGHT)
    return np.concatenate(
        [
            plot_lines(name, curves, x, name in logarithmic, x_name)
            for name, curves in charts.items()
        ]
    )


def plot_lines(
    title: str, curves: Sequence[Curve], x: Axis, logarithmic: bool = False, x_name: str = "step"
) -> np.ndarray:
    """Plot curves over a common grid. Shapes: -> (HEIGHT, WIDTH, 3), uint8, RGB."""
    curves = [select_drawable(curve, logarithmic) for curve in curves]
    colours = iter(COLOURS * len(curves))
    pens = [GREY if curve.is_reference else next(colours) for curve in curves]
    values = [axis_values(curve) for curve in curves]
    y = Axis(*value_range(values, 0.06, logarithmic), HEIGHT - BOTTOM, TOP, logarithmic)
    canvas = plot_frame(title, x, y, x_name)
    for plot in (plot_raw_points, plot_curve):
        for curve, pen in zip(curves, pens, strict=True):
            plot(canvas, curve, x, y, pen)
    plot_legend(canvas, [curve.label for curve in curves], pens)
    return canvas


def plot_histograms(charts: Mapping[str, Mapping[str, Sequence[float]]]) -> np.ndarray:
    """Plot one histogram of values in pixels per title. Shapes: -> (H, W, 3), uint8, RGB.

    Each chart maps a label to values. The first set comes first, its subsets are drawn over it.
    """
    return np.concatenate([plot_histogram(title, sets) for title, sets in charts.items()])


def plot_histogram(title: str, sets: Mapping[str, Sequence[float]]) -> np.ndarray:
    """Plot the histograms of a set and its subsets. Shapes: -> (HEIGHT, WIDTH, 3), uint8, RGB."""
    edges = histogram_edges(next(iter(sets.values())))
    counts = [np.histogram(values, edges)[0] for values in sets.values()]
    x = Axis(0.0, edges[-1], LEFT, WIDTH - RIGHT)
    y = Axis(0.0, 1.08 * counts[0].max(), HEIGHT - BOTTOM, TOP)
    canvas = plot_frame(title, x, y, "px")
    columns = x.to_pixels(edges).round().astype(int)
    for colour, heights in zip(COLOURS, counts, strict=False):
        rows = y.to_pixels(heights).round().astype(int)
        for left, right, row, height in zip(columns, columns[1:], rows, heights, strict=False):
            if height:
                corner, opposite = (left + 2, row), (right - 2, HEIGHT - BOTTOM - 1)
                cv2.rectangle(canvas, corner, opposite, colour, cv2.FILLED)
    labels = [f"{name}: {len(values)}" for name, values in sets.items()]
    plot_legend(canvas, labels, COLOURS[: len(labels)])
    return canvas


def histogram_edges(values: Sequence[float]) -> np.ndarray:
    """Return the edges of equal bins from zero to the largest value; more values, more bins."""
    num_bins = min(MAX_BINS, max(4, round(2 * math.sqrt(len(values)))))
    return np.linspace(0.0, max(*values, 1e-3), num_bins + 1)


def plot_frame(title: str, x: Axis, y: Axis, x_name: str) -> np.ndarray:
    """Return an empty chart with title and grid. Shapes: -> (HEIGHT, WIDTH, 3), uint8, RGB."""
    canvas = np.full((HEIGHT, WIDTH, 3), 255, np.uint8)
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
    put_text(canvas, title, LEFT, 28, INK, TITLE_SCALE)
    put_text(canvas, x_name, WIDTH - RIGHT - text_width(x_name), HEIGHT - 8, GREY)
    return canvas


def select_drawable(curve: Curve, logarithmic: bool) -> Curve:
    """Drop points that are not finite or, on a logarithmic axis, not positive."""
    kept = np.isfinite(curve.y) & ((curve.y > 0) | (not logarithmic))
    interval = None if curve.interval is None else curve.interval[:, kept].astype(float)
    x, y = curve.x[kept].astype(float), curve.y[kept].astype(float)
    return curve._replace(x=x, y=y, interval=interval)


def axis_values(curve: Curve) -> np.ndarray:
    """Return the values that the y axis must hold: all but those of the untrained network.

    Those are marked at the end of the axis.
    """
    if curve.interval is not None:
        return np.concatenate((curve.y, curve.interval.ravel()))
    return curve.y[curve.x > 0] if (curve.x > 0).any() else curve.y


def value_range(
    values: Sequence[np.ndarray], margin: float, logarithmic: bool = False
) -> tuple[float, float]:
    """Return the smallest and largest value, widened by a margin."""
    joined = np.concatenate([*values, np.empty(0)])
    low, high = (joined.min(), joined.max()) if joined.size else (0.0, 1.0)
    if logarithmic:
        return low / 1.15, high * 1.15
    if high - low < MIN_RANGE:
        return low - 0.5, high + 0.5
    return low - margin * (high - low), high + margin * (high - low)


def plot_raw_points(canvas: np.ndarray, curve: Curve, x: Axis, y: Axis, colour: Colour) -> None:
    """Draw all points of a dense curve in a pale colour."""
    if len(curve.y) > DENSE:
        pale = tuple(int(200 + 0.2 * level) for level in colour)
        plot_polyline(canvas, x.to_pixels(curve.x), y.to_pixels(curve.y), pale, 1)


def plot_curve(canvas: np.ndarray, curve: Curve, x: Axis, y: Axis, colour: Colour) -> None:
    """Join the points of a curve, or the moving average of a dense one."""
    is_dense = len(curve.y) > DENSE
    columns = x.to_pixels(curve.x)
    rows = y.to_pixels(moving_average(curve.y) if is_dense else curve.y)
    plot_polyline(canvas, columns, rows, colour, 1 if curve.is_reference else 2)
    if not is_dense and (not curve.is_reference or len(curve.y) == 1):  # one point is no line
        inside = (rows >= TOP) & (rows <= HEIGHT - BOTTOM)
        mark_points_outside(canvas, curve, columns, rows, colour)
        for column, row in zip(columns[inside], rows[inside], strict=True):
            cv2.circle(canvas, (round(column), round(row)), 3, colour, -1, cv2.LINE_AA)
    if curve.interval is not None:
        for column, low, high in zip(columns, *y.to_pixels(curve.interval), strict=True):
            plot_polyline(canvas, np.array([column, column]), np.array([low, high]), colour, 1)


def mark_points_outside(
    canvas: np.ndarray, curve: Curve, columns: np.ndarray, rows: np.ndarray, colour: Colour
) -> None:
    """Mark points beyond the y axis by a triangle at its end, and write their values."""
    for column, row, value in zip(columns, rows, curve.y, strict=True):
        if TOP <= row <= HEIGHT - BOTTOM:
            continue
        end, way = (TOP, 1) if row < TOP else (HEIGHT - BOTTOM, -1)
        left = min(max(round(column), LEFT + 7), WIDTH - RIGHT - 7)
        tip, base = end + 3 * way, end + 13 * way
        corners = np.array([[left, tip], [left - 6, base], [left + 6, base]])
        cv2.fillPoly(canvas, [corners], colour, cv2.LINE_AA)
        put_text(canvas, f"{value:.4g}", left + 10, base + (14 if way > 0 else -4), GREY)


def plot_polyline(
    canvas: np.ndarray, columns: np.ndarray, rows: np.ndarray, colour: Colour, thickness: int
) -> None:
    """Draw an open line through points given in pixels, clipped to the frame of the chart."""
    inside = canvas[TOP : HEIGHT - BOTTOM, LEFT : WIDTH - RIGHT]
    points = np.stack((columns - LEFT, rows - TOP), axis=-1) * 2**FRACTION_BITS
    points = points.round().clip(-(2**24), 2**24).astype(np.int32)
    part = np.ascontiguousarray(inside)
    cv2.polylines(part, [points], False, colour, thickness, cv2.LINE_AA, FRACTION_BITS)
    inside[...] = part


def moving_average(values: np.ndarray) -> np.ndarray:
    """Return a centred moving average; its window is shorter at the ends."""
    reach = max(len(values) // AVERAGING_SHARE // 2, 1)
    sums = np.concatenate(([0.0], np.cumsum(values)))
    centres = np.arange(len(values))
    starts, ends = np.maximum(centres - reach, 0), np.minimum(centres + reach + 1, len(values))
    return (sums[ends] - sums[starts]) / (ends - starts)


def plot_legend(canvas: np.ndarray, labels: Sequence[str], pens: Sequence[Colour]) -> None:
    """Write the labels of the curves at the upper right."""
    right = WIDTH - RIGHT
    for label, pen in reversed(list(zip(labels, pens, strict=True))):
        left = right - text_width(label)
        put_text(canvas, label, left, 28, INK)
        cv2.line(canvas, (left - 30, 24), (left - 8, 24), pen, 3, cv2.LINE_AA)
        right = left - 46


def round_tick_step(least: float) -> float:
    """Return the smallest of 1, 2, 2.5, 5 times a power of ten that is at least `least`."""
    power = 10.0 ** math.floor(math.log10(least))
    return next(factor * power for factor in (1, 2, 2.5, 5, 10) if factor * power >= least * 0.999)


def logarithmic_ticks(low: float, high: float) -> list[float]:
    """Return powers of ten and, over few decades, multiples of them."""
    decades = math.log10(high / low)
    factors = (1,) if decades > 3 else (1, 2, 5) if decades > 1 else (1, 1.5, 2, 3, 4, 5, 6, 8)
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    ticks = [factor * 10.0**power for power in powers for factor in factors]
    return [value for value in ticks if low <= value <= high]


def format_number(value: float) -> str:
    """Format a tick label: 20000 as 20k, 0.30000000000000004 as 0.3."""
    if abs(value) >= 10_000:
        return f"{value / 1000:g}k"
    return f"{value:.6g}" if abs(value) > 1e-9 else "0"


def put_text(
    canvas: np.ndarray,
    text: str,
    left: int,
    baseline: int,
    colour: Colour,
    scale: float = FONT_SCALE,
) -> None:
    """Write text whose baseline starts at (left, baseline)."""
    cv2.putText(canvas, printable_name(text), (left, baseline), FONT, scale, colour, 1, cv2.LINE_AA)


def text_width(text: str) -> int:
    """Return the width of a text in pixels."""
    return cv2.getTextSize(printable_name(text), FONT, FONT_SCALE, 1)[0][0]


def write_png(path: Path, image: np.ndarray) -> None:
    """Write a PNG file atomically and make its folder. Shapes: (H, W, 3), uint8, RGB."""
    if path.suffix.lower() != ".png":
        raise ValueError(f"Plots are PNG files, got {path}.")
    path.parent.mkdir(parents=True, exist_ok=True)
    _, data = cv2.imencode(".png", cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
    write_atomically(path, data.tobytes())
