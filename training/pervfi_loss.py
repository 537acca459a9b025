"""What training a PerVFI minimises (specification 4)."""

from collections.abc import Callable

from torch import Tensor

from sgm_vfi.model.baselines.pervfi.network import PerVFITrainingOutput
from sgm_vfi.training.losses import LEVELS, laplacian_loss

Perceptual = Callable[[Tensor, Tensor], Tensor]  # two pictures in [0, 1] -> ()


def pervfi_loss(lesson: PerVFITrainingOutput, perceptual: Perceptual | None = None) -> Tensor:
    """Of PerVFI the likelihood of the truth, and how close one draw is to it; of vb the latter.

    Args:
        perceptual: distance of two pictures as a network for images sees it; None leaves it out.
    """
    if lesson.nll is None:
        loss = (lesson.picture - lesson.target).abs().mean()
        return loss + closeness(lesson, 0.2, 0.1, perceptual)
    loss = lesson.nll.mean()
    if not lesson.picture.isfinite().all():  # drawing can overflow where encoding does not
        return loss
    return loss + closeness(lesson, 0.1, 0.2, perceptual)


def closeness(
    lesson: PerVFITrainingOutput,
    band_weight: float,
    perceptual_weight: float,
    perceptual: Perceptual | None,
) -> Tensor:
    """Weighted distances of the picture from the truth."""
    loss = band_weight * band_loss(lesson.picture, lesson.target)
    if perceptual is None:
        return loss
    return loss + perceptual_weight * perceptual(lesson.picture, lesson.target)


def band_loss(prediction: Tensor, target: Tensor) -> Tensor:
    """Mean over the levels of the Laplacian pyramid. Shapes: (B, 3, H, W) twice -> ()."""
    return laplacian_loss(prediction, target) / LEVELS
