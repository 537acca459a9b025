"""Recipes of the other networks."""

from dataclasses import dataclass, replace
from typing import Any

from sgm_vfi.config_base import FLAGS, SMOKE, Experiment, TrainConfig
from sgm_vfi.dataset.data_config_and_loaders import DataConfig
from sgm_vfi.model.baselines.ifrnet.network import IFRNET, IFRNET_LARGE, IFRNET_SMALL, IFRNetConfig
from sgm_vfi.model.baselines.pervfi.network import PERVFI, PERVFI_VB
from sgm_vfi.model.baselines.rife.network import RIFE_BASE, RIFE_M, RIFEConfig

__all__ = ["EXPERIMENTS", "FLAGS"]


@dataclass(frozen=True, kw_only=True)
class ZooExperiment(Experiment):
    """One run of a network that learns from more than its result."""

    model: Any = RIFE_BASE  # RIFEConfig, IFRNetConfig or PerVFIConfig
    distillation: float = 0.01  # weight, in the loss, of what a teacher or a label says of motion
    labels: str | None = None  # flow network that says the motion where the data does not
    perceptual: str | None = None  # torchvision's file of VGG19, whose judgement PerVFI's loss has

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.labels is not None and self.data.source == "synthetic" and not self.data.truth:
            raise ValueError(
                f"Scenes made here know their motion; {self.labels} need not guess it: add "
                f"--set data.truth=true."
            )


# Published: 51,312 triplets (the code keeps 5 % of them back), on 4 processes.
RIFE = ZooExperiment(
    name="rife",
    data=DataConfig(patch_size=224),
    training=TrainConfig(
        batch_size=16,
        learning_rate=3e-4,
        final_learning_rate=3e-6,
        reference_batch_size=64,
        weight_decay=1e-3,
        validate_every=5,
    ),
)
RIFE_ANY_TIME = replace(
    RIFE,
    name="rife_m",
    model=RIFE_M,
    data=replace(RIFE.data, any_time=True),  # of septuplets
    distillation=0.005,  # or 0.002, its authors say
)
TINY_RIFE = RIFEConfig(channels=(16, 12, 8), context_channels=4)
SMOKE_RIFE = ZooExperiment(
    name="smoke-rife", model=TINY_RIFE, data=SMOKE.data, training=SMOKE.training
)
SMOKE_RIFE_M = replace(
    SMOKE_RIFE,
    name="smoke-rife_m",
    model=replace(TINY_RIFE, any_time=True),
    data=replace(SMOKE.data, any_time=True),
)

# Published: on 4 processes; labels made once and kept, of whole frames. Here they are made anew for
# every crop. On scenes made here they are the truth: --synthetic --set data.truth=true.
IFRNET_TRAINING = ZooExperiment(
    name="ifrnet",
    model=IFRNET,
    data=DataConfig(patch_size=224, augmentation="ifrnet"),
    training=TrainConfig(
        batch_size=6,
        learning_rate=1e-4,
        final_learning_rate=1e-5,
        warmup_steps=0,
        weight_decay=0,
        validate_every=1,
        val_batch_size=16,
    ),
    labels="liteflownet",
)
IFRNET_SMALL_TRAINING = replace(IFRNET_TRAINING, name="ifrnet_s", model=IFRNET_SMALL)
IFRNET_LARGE_TRAINING = replace(IFRNET_TRAINING, name="ifrnet_l", model=IFRNET_LARGE)
# Published: on 4 processes, 2 windows and their 7 targets a step; here 14 targets of any windows.
IFRNET_GOPRO = replace(
    IFRNET_TRAINING,
    name="ifrnet_gopro",
    model=replace(IFRNET, any_time=True),
    data=replace(IFRNET_TRAINING.data, source="gopro", any_time=True),
    training=replace(
        IFRNET_TRAINING.training, epochs=600, batch_size=14, validate_every=8, val_batch_size=7
    ),
    labels=None,
)
IFRNET_GOPRO_SMALL = replace(
    IFRNET_GOPRO, name="ifrnet_s_gopro", model=replace(IFRNET_SMALL, any_time=True)
)
IFRNET_GOPRO_LARGE = replace(
    IFRNET_GOPRO, name="ifrnet_l_gopro", model=replace(IFRNET_LARGE, any_time=True)
)
SMOKE_IFRNET = ZooExperiment(
    name="smoke-ifrnet",
    model=IFRNetConfig(widths=(8, 8, 8, 8), side_channels=4),
    data=replace(SMOKE.data, truth=True),
    training=SMOKE.training,
)
SMOKE_IFRNET_ANY_TIME = replace(
    SMOKE_IFRNET,
    name="smoke-ifrnet_gopro",
    model=replace(SMOKE_IFRNET.model, any_time=True),
    data=replace(SMOKE.data, any_time=True),
)

# Published: on 2 processes, in half precision, with flows kept from RAFT and from GMFlow, one of
# them by chance; here they are estimated anew for every crop, by one network. Published losses
# have a perceptual part: --set perceptual=FILE adds it. Without the flow network's weights there is
# OpenCV's flow: --set model.estimator=dis.
PERVFI_TRAINING = ZooExperiment(
    name="pervfi",
    model=PERVFI,
    data=DataConfig(augmentation="pervfi"),
    training=TrainConfig(
        epochs=96,
        batch_size=8,
        schedule="one_cycle",
        learning_rate=5e-4,
        weight_decay=1e-2,
        clip_norm=0.1,
        seed=42,
    ),
)
PERVFI_VB_TRAINING = replace(
    PERVFI_TRAINING,
    name="pervfi_vb",
    model=PERVFI_VB,
    training=replace(PERVFI_TRAINING.training, epochs=64),
)
SMOKE_PERVFI = ZooExperiment(
    name="smoke-pervfi",
    model=replace(PERVFI, estimator="dis"),  # which needs no weights
    data=SMOKE.data,
    training=SMOKE.training,
)
SMOKE_PERVFI_VB = replace(
    SMOKE_PERVFI, name="smoke-pervfi_vb", model=replace(PERVFI_VB, estimator="dis")
)

EXPERIMENTS = {
    recipe.name: recipe
    for recipe in (
        RIFE,
        RIFE_ANY_TIME,
        IFRNET_TRAINING,
        IFRNET_SMALL_TRAINING,
        IFRNET_LARGE_TRAINING,
        IFRNET_GOPRO,
        IFRNET_GOPRO_SMALL,
        IFRNET_GOPRO_LARGE,
        PERVFI_TRAINING,
        PERVFI_VB_TRAINING,
        SMOKE_RIFE,
        SMOKE_RIFE_M,
        SMOKE_IFRNET,
        SMOKE_IFRNET_ANY_TIME,
        SMOKE_PERVFI,
        SMOKE_PERVFI_VB,
    )
}
