"""Panels of images that show a sample and the outputs of a network during training."""

from torch import Tensor

from sgm_vfi.dataset.triplet import Triplet
from sgm_vfi.media.visualise import (
    Picture,
    flow_to_image,
    heat_map,
    make_grid,
    measure_flow_range,
    visualise_explanation,
)

LARGEST_ERROR = 0.2  # that the error's picture tells apart


def interpolation_panel(batch: Triplet, frame: Tensor, notes: dict[str, Tensor]) -> Tensor:
    """Draw the first sample of a batch, the prediction, its error and the intermediate maps.

    Shapes: frame (B, 3, H, W), notes as a network explains itself, (B, C, H, W) -> (3, h, w).
    """
    frame0, target, frame1, frame = (
        part[0].cpu() for part in (batch.frame0, batch.target, batch.frame1, frame)
    )
    error = (frame - target).abs().mean(dim=0)
    pictures = [
        Picture("frame 0", frame0),
        Picture("truth", target),
        Picture("frame 1", frame1),
        Picture("both frames, averaged", (frame0 + frame1) / 2),
        Picture("prediction", frame),
        Picture(f"error, white at {LARGEST_ERROR}", heat_map(error, LARGEST_ERROR)),
    ]
    first = {name: note[0].cpu() for name, note in notes.items()}
    return make_grid(pictures + visualise_explanation(first, frame0), columns=3)


def flow_panel(batch: Triplet, flow: Tensor) -> Tensor:
    """Draw the first sample of a batch, its true flow, the flow found and the visible error.

    Shapes: flow (B, 2, H, W), from frame 0 to frame 1 -> (3, h, w).
    """
    assert batch.truth is not None
    true, seen, found = (
        part[0].cpu() for part in (batch.truth.flow_01, batch.truth.visible_01, flow)
    )
    length = measure_flow_range(true)
    error = (found - true).norm(dim=0) * seen[0]
    pictures = [
        Picture("frame 0", batch.frame0[0]),
        Picture("frame 1", batch.frame1[0]),
        Picture("visible in both", seen.expand(3, -1, -1)),
        Picture("true flow", flow_to_image(true, length), length),
        Picture("flow found", flow_to_image(found, length), length),
        Picture("error, white at 16 px", heat_map(error, 16)),
    ]
    return make_grid(pictures, columns=3)
