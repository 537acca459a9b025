"""Recipes of the second stage, sparse global matching."""

from dataclasses import replace

from sgm_vfi.config_base import (
    CPU_SMALL,
    FLAGS,
    FOOTAGE_LIKE_SCENES,
    SHORT_TRAINING,
    SYNTHETIC_DATA,
    TINY,
    Experiment,
    TrainConfig,
)
from sgm_vfi.config_base import SMOKE as SMOKE_LOCAL
from sgm_vfi.dataset.data_config_and_loaders import DataConfig
from sgm_vfi.model.sgm.network import SGM_BASE, SGM_SMALL

__all__ = ["EXPERIMENTS", "FLAGS"]

SMALL_HALF = Experiment(
    name="ours-small-1-2",
    model=replace(SGM_SMALL, keypoint_ratio=1 / 2),
    data=DataConfig(source="x4k1000fps", patch_size=512),
    training=TrainConfig(
        epochs=100,
        warmup_steps=1000,
        scales=(1.0, 0.5, 0.25),
        scale_probabilities=(0.5, 0.25, 0.25),
        validate_first=True,
        validate_every=2,
        val_batch_size=1,
    ),
    start_from="ours-local-small",
)
SMALL_QUARTER = replace(
    SMALL_HALF, name="ours-small-1-4", model=replace(SGM_SMALL, keypoint_ratio=1 / 4)
)
SMALL_EIGHTH = replace(
    SMALL_HALF, name="ours-small-1-8", model=replace(SGM_SMALL, keypoint_ratio=1 / 8)
)
SMALL_DENSE = replace(
    SMALL_HALF, name="ours-small-dense", model=replace(SGM_SMALL, keypoint_ratio=1.0)
)
BASE_HALF = replace(
    SMALL_HALF,
    name="ours-base-1-2",
    model=replace(SGM_BASE, keypoint_ratio=1 / 2),
    start_from="ours-local-base",
)
SYNTHETIC_HALF = Experiment(  # on scenes made here, in minutes, after the same of the first stage
    name="synthetic-small-1-2",
    model=replace(SGM_SMALL, keypoint_ratio=1 / 2, any_time=True),
    data=replace(SYNTHETIC_DATA, patch_size=384),
    training=replace(
        SHORT_TRAINING,
        minutes=8,
        batch_size=16,
        learning_rate=2e-4,
        attention_loss=0.0,
        motion_until=1.0,
        scales=(1.0, 2 / 3),
        scale_probabilities=(0.5, 0.5),
        validate_first=True,
        val_batch_size=20,
    ),
    start_from="synthetic-local-small",
    features="synthetic-gmflow",
)
CPU_HALF = replace(  # after the same of the features and of the first stage
    SYNTHETIC_HALF,
    name="cpu-small-1-2",
    model=replace(SYNTHETIC_HALF.model, dense_up_to=24),  # sparse and dense, at the sizes below
    data=replace(CPU_SMALL.data, patch_size=224, val_scenes=32, scenes=FOOTAGE_LIKE_SCENES),
    training=replace(
        CPU_SMALL.training,
        minutes=32,
        batch_size=4,
        learning_rate=4e-4,
        freeze_local_branch=False,  # there was little time to learn: all goes on
        motion_loss=0.03,
        attention_loss=0.1,
        scales=(1.0, 5 / 7),
        scale_probabilities=(0.5, 0.5),
        validate_first=True,
        validate_every=1,
        val_batch_size=4,
    ),
    start_from="cpu-local-small",
    features="cpu-gmflow",
)
SMOKE = replace(
    SMOKE_LOCAL,
    name="smoke-global",
    model=replace(TINY, keypoint_ratio=1 / 2, dense_up_to=4),  # sparse at this small size, too
    data=replace(SMOKE_LOCAL.data, patch_size=128),
    training=replace(SMOKE_LOCAL.training, scales=(1.0, 0.5), scale_probabilities=(0.5, 0.5)),
    allow_random_features=True,  # --set start_from=smoke-local begins where that one ended
)
EXPERIMENTS = {
    **{
        recipe.name: recipe
        for recipe in (SMALL_HALF, SMALL_QUARTER, SMALL_EIGHTH, SMALL_DENSE, BASE_HALF)
    },
    "synthetic": SYNTHETIC_HALF,
    "cpu": CPU_HALF,
    "smoke": SMOKE,
}
