"""Recipes of features for global matching, which the second stage builds on."""

from dataclasses import replace

from sgm_vfi.config_base import (
    FLAGS,
    SHORT_TRAINING,
    SMOKE,
    SYNTHETIC_DATA,
    Experiment,
    FeaturesConfig,
    TrainConfig,
)
from sgm_vfi.dataset.data_config_and_loaders import DataConfig

__all__ = ["EXPERIMENTS", "FLAGS"]

GMFLOW = Experiment(
    name="gmflow",
    model=FeaturesConfig(),
    data=DataConfig(source="synthetic", patch_size=384, truth=True, train_scenes=32_000),
    training=TrainConfig(
        steps=50_000,
        learning_rate=4e-4,
        final_learning_rate=1e-6,
        warmup_steps=1000,
        clip_norm=1.0,
        validate_every=1,
    ),
)
EXPERIMENTS = {
    "gmflow": GMFLOW,
    "synthetic": replace(
        GMFLOW,
        name="synthetic-gmflow",
        data=replace(SYNTHETIC_DATA, any_time=False, patch_size=320),
        training=replace(
            SHORT_TRAINING,
            minutes=4,
            batch_size=16,
            learning_rate=4e-4,
            final_learning_rate=1e-6,
            ema_decay=None,
            data_dependent_init=False,
            motion_loss=0.0,
            attention_loss=0.0,
            validate_every=1000,
        ),
    ),
    "cpu": replace(
        GMFLOW,
        name="cpu-gmflow",
        data=replace(
            SYNTHETIC_DATA, any_time=False, patch_size=256, train_scenes=400, val_scenes=16
        ),
        training=replace(
            GMFLOW.training,
            minutes=25,
            batch_size=2,
            warmup_steps=50,
            val_batch_size=4,
            save_every=100,
        ),
    ),
    "smoke": replace(
        GMFLOW,
        name="smoke-gmflow",
        model=FeaturesConfig(num_layers=1),
        data=replace(SMOKE.data, truth=True),
        training=SMOKE.training,
    ),
}
