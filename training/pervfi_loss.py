"""Training loss of PerVFI."""

from collections.abc import Callable

from torch import Tensor

from sgm_vfi.model.baselines.pervfi.network import PerVFITrainingOutput
from sgm_vfi.training.loss_functions import LEVELS, laplacian_loss

Perceptual = Callable[[Tensor, Tensor], Tensor]  # two pictures in [0, 1] -> ()


def pervfi_loss(output: PerVFITrainingOutput, perceptual: Perceptual | None = None) -> Tensor:
    """Negative log likelihood of the target plus the distance of a sample; of vb the latter only.

    Args:
        perceptual: perceptual loss; None leaves it out.
    """
    if output.nll is None:
        loss = (output.picture - output.target).abs().mean()
        return loss + sample_distance(output, 0.2, 0.1, perceptual)
    loss = output.nll.mean()
    if not output.picture.isfinite().all():  # drawing can overflow where encoding does not
        return loss
    return loss + sample_distance(output, 0.1, 0.2, perceptual)


def sample_distance(
    output: PerVFITrainingOutput,
    band_weight: float,
    perceptual_weight: float,
    perceptual: Perceptual | None,
) -> Tensor:
    """Weighted distances of the sample from the target."""
    loss = band_weight * band_loss(output.picture, output.target)
    if perceptual is None:
        return loss
    return loss + perceptual_weight * perceptual(output.picture, output.target)


def band_loss(prediction: Tensor, target: Tensor) -> Tensor:
    """Mean over the levels of the Laplacian pyramid. Shapes: (B, 3, H, W) twice -> ()."""
    return laplacian_loss(prediction, target) / LEVELS
