"""Contact sheets: what was predicted beside what was there."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from sgm_vfi.dataset.triplet import Triplet
from sgm_vfi.media.visualise import Picture, add_caption, heat_map, join_images, make_grid

CELL_WIDTH = 320  # pixels
ERROR_RANGE = 0.25  # of [0, 1]: an error of this size or more is shown brightest


def strip(heading: str, triplet: Triplet, predictions: Mapping[str, Tensor]) -> Tensor:
    """One triplet: inputs and truth, every prediction, and below it how far it is off.

    Errors are the mean absolute difference over the channels, black for 0, pale yellow from a
    quarter of the range.

    Args:
        predictions: frames (1, 3, H, W) by caption.

    Shapes: triplet of one sample -> (3, h, w).
    """
    frame0, target, frame1 = (frame[0].cpu() for frame in triplet[:3])
    above = [Picture("frame before", frame0), Picture("the real frame", target)]
    below = [
        Picture("frame after", frame1),
        Picture("before against after", error_map(frame0, frame1)),
    ]
    for caption, prediction in predictions.items():
        frame = prediction[0].cpu()
        above.append(Picture(caption, frame))
        below.append(Picture("its error", error_map(frame, target)))
    picture = make_grid([*above, *below], len(above), CELL_WIDTH * len(above))
    return add_caption(picture, heading, picture.shape[-1])


def error_map(frame: Tensor, other: Tensor) -> Tensor:
    """Where two frames differ. Shapes: (3, H, W) twice -> (3, H, W)."""
    return heat_map((frame - other).abs().mean(dim=0), ERROR_RANGE)


def contact_sheet(strips: Sequence[Tensor]) -> Tensor:
    """Strips of one width below each other, with a line between. Shapes: -> (3, h, w)."""
    line = torch.full((3, 2, strips[0].shape[-1]), 0.5)
    parts = [part for strip in strips for part in (line, strip)]
    return join_images(parts[1:], -2)
