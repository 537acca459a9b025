"""Training loss of RIFE (its paper, section 3.3)."""

from collections.abc import Callable

from torch import Tensor

from sgm_vfi.model.baselines.rife.network import RIFETrainingOutput
from sgm_vfi.training.loss_functions import laplacian_loss

DISTILLATION_WEIGHT = 0.01  # RIFE_m: the authors' advice is 0.005 or 0.002
BETTER = 0.01  # mean difference of colours by which the teacher must be nearer to the truth
SMALLEST = 1e-12  # of a squared distance: the root of zero has no gradient


def rife_loss(
    output: RIFETrainingOutput,
    distillation: float = DISTILLATION_WEIGHT,
    frame_loss: Callable[[Tensor, Tensor], Tensor] = laplacian_loss,
) -> Tensor:
    """Losses of the student's and the teacher's frame, and of distillation. Shapes: -> ().

    Args:
        distillation: weight of the distillation loss.
        frame_loss: of a frame, given the true one.
    """
    student = frame_loss(output.frame, output.target)
    teacher = frame_loss(output.teacher_merged, output.target)
    return student + teacher + distillation * distillation_loss(output)


def distillation_loss(output: RIFETrainingOutput) -> Tensor:
    """Distance of each block's flow from the teacher's, where the teacher's frame is better.

    Neither the teacher nor the blends receive gradients from it. Shapes: -> ().
    """
    taught = output.teacher_motion.flow.detach()
    wrong = colour_distance(output.teacher_merged, output.target) + BETTER
    loss = taught.new_zeros(())
    for motion, merged in zip(output.motions, output.merged, strict=True):
        is_better = colour_distance(merged, output.target) > wrong
        squared = (taught - motion.flow).square().mean(dim=1, keepdim=True)
        loss = loss + (squared.clamp(min=SMALLEST).sqrt() * is_better).mean()
    return loss


def colour_distance(frame: Tensor, target: Tensor) -> Tensor:
    """Mean absolute difference of colours. Shapes: (B, 3, H, W) twice -> (B, 1, H, W)."""
    return (frame - target).abs().mean(dim=1, keepdim=True)
