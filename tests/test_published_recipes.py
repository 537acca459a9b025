"""The published recipes, and what no recipe may say."""

import json
from dataclasses import asdict, replace

import pytest

from sgm_vfi.config import EXPERIMENTS as GLOBAL
from sgm_vfi.config_base import EXPERIMENTS, SMOKE, TrainConfig
from sgm_vfi.training.matching_features_recipes import EXPERIMENTS as FEATURES


def test_recipes_are_the_published_ones() -> None:
    """Specification 3.1, 3.2 and 3.4."""
    first, second = EXPERIMENTS["ours-local-small"], GLOBAL["ours-small-1-2"]
    assert (first.training.epochs, first.training.warmup_steps) == (300, 2000)
    assert (second.training.epochs, second.training.warmup_steps) == (100, 1000)
    assert (first.data.patch_size, second.data.patch_size) == (256, 512)
    assert (first.training.validate_every, second.training.validate_every) == (3, 2)
    assert second.training.validate_first
    assert (second.training.scales, second.training.scale_probabilities) == (
        (1, 0.5, 0.25),
        (0.5, 0.25, 0.25),
    )
    for training in (first.training, second.training):
        assert (training.learning_rate, training.final_learning_rate) == (2e-4, 2e-5)
        assert (training.weight_decay, training.betas) == (1e-4, (0.9, 0.999))
        assert training.batch_size == 8
        assert training.precision == "float32"
        assert (training.clip_norm, training.ema_decay, training.accumulate) == (None, None, 1)


@pytest.mark.parametrize(
    ("name", "channels", "ratio"),
    [
        ("ours-small-1-2", 16, 0.5),
        ("ours-small-1-4", 16, 0.25),
        ("ours-small-1-8", 16, 0.125),
        ("ours-small-dense", 16, 1.0),
        ("ours-base-1-2", 32, 0.5),
    ],
)
def test_second_stage_recipes(name: str, channels: int, ratio: float) -> None:
    experiment = GLOBAL[name]
    assert experiment.name == name
    assert (experiment.model.channels, experiment.model.keypoint_ratio) == (channels, ratio)
    local = EXPERIMENTS[experiment.start_from].model
    assert replace(experiment.model, keypoint_ratio=None) == local


def test_recipes_survive_json() -> None:
    for experiment in (*EXPERIMENTS.values(), *GLOBAL.values(), *FEATURES.values()):
        assert json.loads(json.dumps(asdict(experiment)))["name"] == experiment.name


def test_recipes_refuse_what_contradicts_itself() -> None:
    with pytest.raises(ValueError, match=r"model\.any_time is False, data\.any_time is True"):
        replace(SMOKE, data=replace(SMOKE.data, any_time=True))
    with pytest.raises(ValueError, match="need the same length"):
        TrainConfig(scales=(1.0, 0.5))
    with pytest.raises(ValueError, match="Only synthetic scenes"):
        replace(SMOKE.data, source="vimeo90k", truth=True)
    with pytest.raises(ValueError, match=r"data\.patch_size"):
        replace(SMOKE.data, scenes=replace(SMOKE.data.scenes, size=(128, 128)))
