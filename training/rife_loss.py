"""What training RIFE minimises (its paper, section 3.3)."""

from torch import Tensor

from sgm_vfi.model.baselines.rife.network import RIFETrainingOutput
from sgm_vfi.training.losses import laplacian_loss

DISTILLATION_WEIGHT = 0.01  # RIFE_m: the authors' advice is 0.005 or 0.002
BETTER = 0.01  # mean difference of colours by which the teacher must be nearer to the truth
SMALLEST = 1e-12  # of a squared distance: the root of zero has no gradient


def rife_loss(lesson: RIFETrainingOutput, distillation: float = DISTILLATION_WEIGHT) -> Tensor:
    """Of the student's frame, of the teacher's, and of what they say of the motion. Shapes: -> ().

    Args:
        distillation: weight of the last one.
    """
    student = laplacian_loss(lesson.frame, lesson.target)
    teacher = laplacian_loss(lesson.teacher_merged, lesson.target)
    return student + teacher + distillation * distillation_loss(lesson)


def distillation_loss(lesson: RIFETrainingOutput) -> Tensor:
    """Distance of each block's flow from the teacher's, where the teacher does better.

    The teacher does not learn from it, nor is it a reason to blend worse. Shapes: -> ().
    """
    taught = lesson.teacher_motion.flow.detach()
    wrong = colour_distance(lesson.teacher_merged, lesson.target) + BETTER
    loss = taught.new_zeros(())
    for motion, merged in zip(lesson.motions, lesson.merged, strict=True):
        is_better = colour_distance(merged, lesson.target) > wrong
        squared = (taught - motion.flow).square().mean(dim=1, keepdim=True)
        loss = loss + (squared.clamp(min=SMALLEST).sqrt() * is_better).mean()
    return loss


def colour_distance(frame: Tensor, target: Tensor) -> Tensor:
    """Shapes: (B, 3, H, W) twice -> (B, 1, H, W)."""
    return (frame - target).abs().mean(dim=1, keepdim=True)
