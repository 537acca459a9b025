"""How values are distributed in a set and in parts of it, as a chart."""

import math
from collections.abc import Mapping, Sequence

import cv2
import numpy as np

from sgm_vfi.media.charts import (
    BOTTOM,
    COLOURS,
    GREY,
    HEIGHT,
    INK,
    LEFT,
    RIGHT,
    TOP,
    WIDTH,
    Axis,
    plot_grid,
    plot_legend,
    put_text,
    text_width,
)

MOST_BINS = 30


def draw_distributions(charts: Mapping[str, Mapping[str, Sequence[float]]]) -> np.ndarray:
    """Draw one histogram per title, below each other. Shapes: -> (H, W, 3), uint8, RGB.

    Of a set and parts of it, the set comes first: the parts are drawn over it, in bins of its own.
    """
    return np.concatenate([draw(title, sets) for title, sets in charts.items()])


def draw(title: str, sets: Mapping[str, Sequence[float]]) -> np.ndarray:
    """Shapes: -> (h, W, 3), uint8, RGB."""
    canvas = np.full((HEIGHT, WIDTH, 3), 255, np.uint8)
    edges = bins(next(iter(sets.values())))
    counts = [np.histogram(values, edges)[0] for values in sets.values()]
    x = Axis(0.0, edges[-1], LEFT, WIDTH - RIGHT)
    y = Axis(0.0, 1.08 * counts[0].max(), HEIGHT - BOTTOM, TOP)
    plot_grid(canvas, x, y)
    for colour, heights in zip(COLOURS, counts, strict=False):
        for left, right, height in zip(edges[:-1], edges[1:], heights, strict=True):
            corner = (round(float(x.to_pixels(left))) + 2, round(float(y.to_pixels(float(height)))))
            opposite = (round(float(x.to_pixels(right))) - 2, HEIGHT - BOTTOM - 1)
            if height:
                cv2.rectangle(canvas, corner, opposite, colour, cv2.FILLED)
    put_text(canvas, title, LEFT, 28, INK, size=0.62)
    put_text(canvas, "px", WIDTH - RIGHT - text_width("px"), HEIGHT - 8, GREY)
    labels = [f"{name}: {len(values)}" for name, values in sets.items()]
    plot_legend(canvas, labels, COLOURS[: len(labels)])
    return canvas


def bins(values: Sequence[float]) -> np.ndarray:
    """Edges of equal bins from zero up; the more values, the more of them."""
    number = min(MOST_BINS, max(4, round(2 * math.sqrt(len(values)))))
    return np.linspace(0.0, max(*values, 1e-3), number + 1)
