"""The stages of `sgm-vfi train pipeline`, for a GPU, for a CPU and for tests."""

from dataclasses import dataclass, field, replace
from typing import Any, Final

from sgm_vfi.config import SMOKE as SMOKE_MATCHING
from sgm_vfi.config import SYNTHETIC_HALF
from sgm_vfi.config_base import CPU_SMALL, SMOKE, SYNTHETIC_SMALL, Experiment
from sgm_vfi.model.sgm.network import SGMConfig
from sgm_vfi.training.sgm import LocalBranchTrainer, SparseMatchingTrainer
from sgm_vfi.training.stop_unhealthy_run import Expectation

FEATURES: Final = "gmflow_refine"  # published weights: sgm-vfi weights fetch gmflow_refine


@dataclass(frozen=True, kw_only=True)
class Stage:
    """One stage of training.

    Args:
        release: name of the weights that ship.
        share: of the training time.
        batch_sizes: that are measured, in increasing order.
        min_steps: that the batch size must leave.
        expected: for the self-check; its speed is filled in.
        check_after: seconds after which the stage checks itself.
    """

    release: str
    trainer: Any  # a Trainer
    experiment: Experiment
    share: float
    batch_sizes: tuple[int, ...]
    min_steps: int
    expected: Expectation = field(default_factory=lambda: Expectation(samples_per_second=0))
    check_after: float = 60.0


LOCAL = Stage(
    release="ours-local-small",
    trainer=LocalBranchTrainer,
    experiment=replace(SYNTHETIC_SMALL, name="pipeline-local"),
    share=0.6,
    batch_sizes=(16, 32, 64, 128),
    min_steps=2000,
)
MATCHING = Stage(
    release="ours-small",
    trainer=SparseMatchingTrainer,
    experiment=replace(
        SYNTHETIC_HALF,
        name="pipeline-matching",
        model=replace(SYNTHETIC_HALF.model, features=FEATURES),
        features=FEATURES,
    ),
    share=0.4,
    batch_sizes=(8, 16, 32, 64),
    min_steps=600,
    expected=Expectation(
        samples_per_second=0, max_loss_ratio=1.1
    ),  # it starts from trained weights
)

# Other programs use a CPU, too.
CPU_EXPECTATION = Expectation(
    samples_per_second=0, min_speed=0.2, max_waiting=0.5, max_loss_ratio=1.1, min_steps=10
)
CPU_MODEL = SGMConfig(channels=8, depths=(1, 1, 1, 2), keypoint_ratio=None, any_time=True)
CPU_LOCAL = replace(
    LOCAL,
    experiment=replace(
        CPU_SMALL,
        name="pipeline-local",
        model=CPU_MODEL,
        data=replace(CPU_SMALL.data, val_scenes=16),
    ),
    share=0.5,
    batch_sizes=(2, 4, 8),
    min_steps=150,
    expected=replace(CPU_EXPECTATION, max_loss_ratio=1.0),
)
CPU_MATCHING = replace(
    MATCHING,
    experiment=replace(
        CPU_SMALL,
        name="pipeline-matching",
        model=replace(CPU_MODEL, keypoint_ratio=1 / 2, dense_up_to=4, features=FEATURES),
        data=replace(CPU_SMALL.data, val_scenes=8, patch_size=64),
        training=replace(CPU_SMALL.training, attention_loss=0.0),
        features=FEATURES,
    ),
    share=0.5,
    batch_sizes=(2, 4),
    min_steps=60,
    expected=CPU_EXPECTATION,
)

SMOKE_LOCAL = replace(
    CPU_LOCAL,
    experiment=replace(SMOKE, name="pipeline-local"),
    batch_sizes=(2,),
    min_steps=1,
    expected=replace(CPU_EXPECTATION, max_loss_ratio=10.0, min_steps=2),
    check_after=0.5,
)
SMOKE_STAGES = (
    SMOKE_LOCAL,
    replace(
        SMOKE_LOCAL,
        release="ours-small",
        trainer=SparseMatchingTrainer,
        experiment=replace(SMOKE_MATCHING, name="pipeline-matching"),
        share=0.4,
    ),
)
PIPELINES = {"gpu": (LOCAL, MATCHING), "cpu": (CPU_LOCAL, CPU_MATCHING), "smoke": SMOKE_STAGES}
