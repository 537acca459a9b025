"""Visualisation: flow colours, heat maps, captions, image grids, animations."""

import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from sgm_vfi.media.images import FrameError, as_frame, as_samples, printable_name
from sgm_vfi.storage.atomic_write import write_atomically

GAP = 8  # pixels between the pictures of a grid
FONT_SIZE = 16  # pixels
DARK = (38, 38, 38)  # of captions, red, green and blue
LIGHT = (255, 255, 255)  # of labels
EXPLANATIONS = {  # name in `Interpolation.explanation`, in the order of the steps: caption, kind
    "initial_flow": ("initial flow", "flow"),
    "difference": ("difference map", "heat"),
    "keypoints": ("key points", "points"),
    "compensation": ("compensation by global matching", "flow"),
    "merged_flow": ("merged flow", "flow"),
    "flow": ("final flow", "flow"),
    "blend": ("share of frame 0", "share"),
    "static": ("what does not move", "share"),
}


class Picture(NamedTuple):
    """An image with its caption."""

    caption: str
    image: Tensor  # (3, H, W)
    flow_range: float | None = None  # of a flow, in pixels: adds the colour wheel


def measure_flow_range(flow: Tensor) -> float:
    """Return the 99th percentile of the lengths of a flow in pixels, at least 1.

    Shapes: flow (2, H, W). Vectors that are not finite are ignored.
    """
    lengths = torch.hypot(*flow)
    lengths = lengths[lengths.isfinite()]
    if not lengths.numel():
        return 1.0
    return max(lengths.kthvalue(math.ceil(0.99 * lengths.numel())).values.item(), 1.0)


def flow_to_image(flow: Tensor, largest: float) -> Tensor:
    """Convert a flow to colours: the hue is its direction, the saturation its length.

    Right is red, down yellow-green, left cyan, up violet. Zero flow is white, `largest` pixels and
    more are fully saturated. Vectors that are not finite are black.

    Shapes: flow (2, H, W) -> (3, H, W).
    """
    u, v = flow.float()
    angle = torch.atan2(v, u) / (2 * math.pi) % 1  # of a turn, clockwise on the screen
    saturation = (torch.hypot(u, v) / largest).clamp(max=1)
    offsets = torch.tensor((5, 3, 1), dtype=u.dtype, device=u.device)[:, None, None]
    k = (offsets + 6 * angle) % 6
    colours = 1 - saturation * torch.minimum(k, 4 - k).clamp(0, 1)  # HSV to RGB at full value
    return torch.where((u.isfinite() & v.isfinite())[None], colours, 0)


def colour_wheel(size: int) -> tuple[Tensor, Tensor]:
    """Return the legend of `flow_to_image` and its mask. Shapes: (3, size, size), (size, size)."""
    along = torch.linspace(-1, 1, size)
    flow = torch.stack((along.expand(size, -1), along[:, None].expand(-1, size)))
    return flow_to_image(flow, 1.0), flow.norm(dim=0) <= 1


def add_colour_wheel(picture: Tensor, largest: float) -> Tensor:
    """Draw the colour wheel and its radius into the lower right corner, if it fits.

    Shapes: (3, H, W) -> the same.
    """
    height, width = picture.shape[-2:]
    size = min(height, width) // 4
    if size < 2 * FONT_SIZE:
        return picture
    wheel, inside = colour_wheel(size)
    top, left = height - size - GAP, width - size - GAP
    picture = picture.cpu().clone()
    corner = picture[:, top : top + size, left : left + size]
    corner[:, inside] = wheel[:, inside]
    canvas = as_samples(picture)
    centre = (left + size // 2, top + size // 2)
    cv2.circle(canvas, centre, size // 2, DARK, 1, cv2.LINE_AA)
    text = f"{largest:.0f} px"
    _write(canvas, text, centre[0] - _text_width(text) // 2, top - FONT_SIZE // 2, DARK)
    return as_frame(canvas)


def heat_map(values: Tensor, largest: float = 1.0) -> Tensor:
    """Convert a map to colours from black (0) over red to pale yellow (`largest`).

    Shapes: (H, W) -> (3, H, W).
    """
    level = as_samples((values / largest).nan_to_num()[None].expand(3, -1, -1))
    coloured = cv2.applyColorMap(np.ascontiguousarray(level[..., 0]), cv2.COLORMAP_INFERNO)
    return as_frame(cv2.cvtColor(coloured, cv2.COLOR_BGR2RGB))


def visualise_explanation(
    notes: dict[str, Tensor], frame: Tensor, largest: float | None = None
) -> list[Picture]:
    """Visualise each explanation, in the order of the network's steps.

    Of maps towards frame 0 and frame 1, the first is shown. All flows share one scale.

    Args:
        notes: `Interpolation.explanation` of one sample: (C, H, W) each.
        frame: (3, H, W), the background of key points.
        largest: flow length in pixels of full saturation; None measures it.
    """
    largest = largest or measure_explanation_range(notes)
    pictures = []
    for name in sorted(notes, key=list(EXPLANATIONS).index):
        caption, kind = EXPLANATIONS[name]
        note = notes[name]
        if kind == "flow":
            pictures.append(Picture(caption, flow_to_image(note[:2], largest), largest))
        elif kind == "points":
            pictures.append(Picture(caption, mark_keypoints(frame, note[0] > 0)))
        else:
            brightest = 1.0 if kind == "share" else max(note[0].max().item(), 1e-6)
            pictures.append(Picture(caption, heat_map(note[0], brightest)))
    return pictures


def measure_explanation_range(notes: dict[str, Tensor]) -> float:
    """Return the largest `measure_flow_range` of the flows in an explanation."""
    flows = [note[:2] for name, note in notes.items() if EXPLANATIONS[name][1] == "flow"]
    return max(map(measure_flow_range, flows), default=1.0)


def mark_keypoints(frame: Tensor, chosen: Tensor) -> Tensor:
    """Mark key points on a dimmed grey frame. Shapes: (3, H, W), (H, W) -> (3, H, W)."""
    grey = frame.mean(dim=0, keepdim=True) / 2
    return torch.where(chosen, frame.new_tensor((1.0, 0.8, 0.0))[:, None, None], grey)


def fit_to_box(picture: Tensor, width: int, height: int, *, enlarge: bool = True) -> Tensor:
    """Resize a picture to the largest size that fits a box; enlarged pixels stay sharp squares.

    Shapes: (3, H, W) -> (3, h, w), h <= height, w <= width, neither below 1.
    """
    scale = min(width / picture.shape[-1], height / picture.shape[-2])
    if scale == 1 or (scale > 1 and not enlarge):
        return picture
    size = [max(1, round(side * scale)) for side in picture.shape[-2:]]
    if scale > 1:
        return F.interpolate(picture[None], size=size, mode="nearest-exact")[0]
    smaller = F.interpolate(
        picture[None], size=size, mode="bilinear", antialias=True, align_corners=False
    )
    return smaller[0].clamp(0, 1)


def add_caption(picture: Tensor, caption: str, width: int) -> Tensor:
    """Centre a picture in a white column below its caption.

    Shapes: (3, H, W) -> (3, H + 1.5 lines, width), width >= W.
    """
    height, own = picture.shape[-2:]
    top, left = FONT_SIZE * 3 // 2, (width - own) // 2
    canvas = np.full((top + height, width, 3), 255, np.uint8)
    canvas[top:, left : left + own] = as_samples(picture)
    _write(canvas, caption, left, FONT_SIZE, DARK)
    return as_frame(canvas)


def add_label(picture: Tensor, text: str, *, at_right: bool = False) -> Tensor:
    """Write a label on a dark background into an upper corner.

    Shapes: (3, H, W) -> the same, on the CPU.
    """
    height, width = picture.shape[-2:]
    size = max(height // 30, FONT_SIZE * 3 // 4)
    space = size // 2
    rows = min(size + 2 * space, height)
    canvas = as_samples(picture[:, :rows])
    along = min(_text_width(text, size) + 2 * space, width)
    left = width - along if at_right else 0
    canvas[:, left : left + along] //= 4
    _write(canvas, text, left + space, space + size * 5 // 6, LIGHT, size)
    return torch.cat((as_frame(canvas), picture[:, rows:].cpu()), dim=1)


def make_grid(pictures: Sequence[Picture], columns: int, width: int = 1000) -> Tensor:
    """Arrange pictures of one size row by row, each below its caption.

    Shapes: -> (3, h, about `width`).
    """
    cell = (width - GAP * (columns - 1)) // columns
    cells = []
    for caption, image, length in pictures:
        image = fit_to_box(image.cpu(), cell, 2 * cell)
        image = image if length is None else add_colour_wheel(image, length)
        cells.append(add_caption(image, caption, cell))
    blank = torch.ones_like(cells[0])
    cells += [blank] * (-len(cells) % columns)
    rows = [join_images(cells[i : i + columns], -1) for i in range(0, len(cells), columns)]
    return join_images(rows, -2)


def join_images(pictures: Sequence[Tensor], axis: int) -> Tensor:
    """Join pictures horizontally (axis -1) or vertically (-2) with white gaps."""
    shape = list(pictures[0].shape)
    shape[axis] = GAP
    gap = torch.ones(shape)
    parts = [part for picture in pictures for part in (gap, picture)]
    return torch.cat(parts[1:], axis)


def visualise_pair(
    frame0: Tensor, frame1: Tensor, frame: Tensor, caption: str, notes: dict[str, Tensor]
) -> dict[str, Tensor]:
    """Visualise an interpolated frame; return images by name.

    `comparison`: the three frames, the average of both inputs and the flows. `flow`: the flows
    alone. `explain`: every step of the network. Without flows there is only `comparison`.

    Shapes: frames (3, H, W); notes as in `visualise_explanation`.
    """
    flows = []
    if "flow" in notes:
        length = measure_flow_range(notes["flow"].unflatten(0, (2, 2)).movedim(1, 0).flatten(1, 2))
        flows = [
            Picture(f"flow to frame {number}", flow_to_image(flow, length), length)
            for number, flow in enumerate(notes["flow"].split(2))
        ]
    new = Picture(caption, frame)
    average = Picture("average of both frames", (frame0 + frame1) / 2)
    row = [Picture("frame 0", frame0), new, Picture("frame 1", frame1)]
    pictures = {"comparison": make_grid([*row, average, *flows], columns=3)}
    if flows:
        pictures["flow"] = make_grid(flows, columns=2)
        pictures["explain"] = make_grid([*visualise_explanation(notes, frame0), new], columns=3)
    return pictures


def write_animation(path: Path, frames: Iterable[Tensor], milliseconds: int) -> None:
    """Write an endless animation as WebP.

    Shapes: frames (3, H, W).
    """
    if path.suffix != ".webp":
        raise FrameError(f"Cannot write {path}: animations are written as .webp.")
    animation = cv2.Animation()
    animation.frames = [cv2.cvtColor(as_samples(frame), cv2.COLOR_RGB2BGR) for frame in frames]
    animation.durations = [milliseconds] * len(animation.frames)
    animation.loop_count = 0  # for ever
    done, data = cv2.imencodeanimation(".webp", animation, [cv2.IMWRITE_WEBP_QUALITY, 80])
    if not done:
        raise FrameError(f"OpenCV could not encode {path}.")
    write_atomically(path, data.tobytes())


def _write(
    canvas: np.ndarray,
    text: str,
    x: int,
    y: int,
    colour: tuple[int, int, int],
    size: int = FONT_SIZE,
) -> None:
    """Write text into an RGB canvas; (x, y) is its lower left corner."""
    cv2.putText(canvas, printable_name(text), (x, y), colour, cv2.FontFace("sans"), size, 500)


def _text_width(text: str, size: int = FONT_SIZE) -> int:
    box = cv2.getTextSize((0, 0), printable_name(text), (0, 0), cv2.FontFace("sans"), size, 500)
    return box[2]
