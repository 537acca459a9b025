"""Random shapes of foreground objects, as signed distances."""

from collections.abc import Callable

import cv2
import numpy as np

SUPERSAMPLING = 4  # of shapes before distances are measured
REACH = 0.25  # distances are clipped here, in units of half a tile

ShapeFunction = Callable[[int, np.random.Generator], np.ndarray]


def draw_mask_tiles(count: int, side: int, random: np.random.Generator) -> list[np.ndarray]:
    """Draw the signed distances to the edges of `count` random shapes, positive inside.

    The unit is half a tile; a shape fills most of its tile and never touches its edge.

    Shapes: -> (side, side, 1) float32 each.
    """
    shapes = list(SHAPES)
    return [signed_distance(shapes[number % len(shapes)], side, random) for number in range(count)]


def signed_distance(shape: ShapeFunction, side: int, random: np.random.Generator) -> np.ndarray:
    """Draw a shape and measure the distance to its edge. Shapes: -> (side, side, 1)."""
    large = side * SUPERSAMPLING
    drawn = shape(large, random)
    margin = large // 32
    drawn[:margin], drawn[-margin:], drawn[:, :margin], drawn[:, -margin:] = 0, 0, 0, 0
    inside = cv2.distanceTransform(drawn, cv2.DIST_L2, 5)
    outside = cv2.distanceTransform(1 - drawn, cv2.DIST_L2, 5)
    distance: np.ndarray = (inside - outside) * (2 / large)
    small = cv2.resize(distance, (side, side), interpolation=cv2.INTER_AREA)
    return small.clip(-REACH, REACH)[..., None]


def blank_mask(side: int) -> np.ndarray:
    """Return an empty mask. Shapes: -> (side, side), uint8."""
    return np.zeros((side, side), np.uint8)


def blob_outline(side: int, random: np.random.Generator, roughness: float) -> np.ndarray:
    """Draw a closed smooth curve around the middle. Shapes: -> (points, 2), in pixels."""
    angle = np.linspace(0, 2 * np.pi, 256, endpoint=False)
    radius = np.ones_like(angle)
    for wave in range(2, 7):
        strength = roughness * random.normal() / wave
        radius += strength * np.cos(wave * angle + random.uniform(0, 2 * np.pi))
    radius = radius.clip(0.25, None)
    radius *= 0.45 / radius.max()
    points = np.stack((np.cos(angle) * radius, np.sin(angle) * radius), axis=-1)
    return (points + 0.5) * side


def fill_outline(mask: np.ndarray, outline: np.ndarray, value: int = 1) -> np.ndarray:
    """Fill a closed curve in a mask."""
    cv2.fillPoly(mask, [outline.round().astype(np.int32)], value)
    return mask


def blob(side: int, random: np.random.Generator) -> np.ndarray:
    """Draw a smooth solid shape."""
    return fill_outline(blank_mask(side), blob_outline(side, random, 0.5))


def polygon(side: int, random: np.random.Generator) -> np.ndarray:
    """Draw a polygon, convex or not."""
    corners = int(random.integers(3, 9))
    angle = (np.arange(corners) + random.uniform(-0.3, 0.3, corners)) * (2 * np.pi / corners)
    radius = random.uniform(0.2, 0.45, corners)
    radius *= 0.45 / radius.max()
    outline = np.stack((np.cos(angle) * radius, np.sin(angle) * radius), axis=-1)
    return fill_outline(blank_mask(side), (outline + 0.5) * side)


def ring(side: int, random: np.random.Generator) -> np.ndarray:
    """Draw a blob with a hole."""
    outline = blob_outline(side, random, 0.4)
    hole = (outline - side / 2) * random.uniform(0.5, 0.88) + side / 2
    return fill_outline(fill_outline(blank_mask(side), outline), hole, 0)


def bars(side: int, random: np.random.Generator) -> np.ndarray:
    """Draw thin straight bars."""
    mask = blank_mask(side)
    for _ in range(int(random.integers(1, 5))):
        angle = random.uniform(0, np.pi)
        reach = np.array((np.cos(angle), np.sin(angle))) * random.uniform(0.25, 0.38)
        middle = random.uniform(0.42, 0.58, 2)
        start, end = ((middle + sign * reach) * side for sign in (-1, 1))
        thickness = int(side * random.uniform(0.012, 0.06)) + 1
        cv2.line(mask, start.astype(int).tolist(), end.astype(int).tolist(), 1, thickness)
    return mask


def fence(side: int, random: np.random.Generator) -> np.ndarray:
    """Draw a grid of bars."""
    mask = blank_mask(side)
    low, high = int(0.06 * side), int(0.94 * side)
    thickness = int(side * random.uniform(0.012, 0.03)) + 1
    for place in np.linspace(low, high, int(random.integers(3, 9))).astype(int).tolist():
        cv2.line(mask, (place, low), (place, high), 1, thickness)
    for place in np.linspace(low, high, int(random.integers(2, 5))).astype(int).tolist():
        cv2.line(mask, (low, place), (high, place), 1, thickness)
    return mask


def hair(side: int, random: np.random.Generator) -> np.ndarray:
    """Draw curved strands from one root."""
    mask = blank_mask(side)
    way = np.linspace(0, 1, 40)[:, None]
    root = np.array((0.5, 0.5)) + random.uniform(-0.04, 0.04, 2)
    for _ in range(int(random.integers(10, 26))):
        angle, length = random.uniform(0, 2 * np.pi), random.uniform(0.22, 0.4)
        along = np.array((np.cos(angle), np.sin(angle)))
        bend = np.array((-along[1], along[0])) * random.normal(0, 0.1)
        points = (root + length * along * way + bend * way**2) * side
        cv2.polylines(mask, [points.round().astype(np.int32)], False, 1, int(side * 0.012) + 1)
    cv2.circle(mask, (root * side).astype(int).tolist(), int(side * random.uniform(0, 0.12)), 1, -1)
    return mask


def letter(side: int, random: np.random.Generator) -> np.ndarray:
    """Draw a large letter."""
    mask = blank_mask(side)
    text = chr(int(random.integers(ord("A"), ord("Z") + 1)))
    font, thickness = cv2.FONT_HERSHEY_DUPLEX, int(side * random.uniform(0.03, 0.09))
    (width, height), _ = cv2.getTextSize(text, font, 1, 1)
    scale = 0.75 * side / max(width, height)
    place = int((side - width * scale) / 2), int((side + height * scale) / 2)
    cv2.putText(mask, text, place, font, scale, 1, thickness, cv2.LINE_8)
    return mask


# The smooth solid shape is the most frequent.
SHAPES = (blob, polygon, blob, ring, bars, blob, hair, polygon, fence, letter)
