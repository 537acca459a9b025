"""Where training starts from: weights of earlier stages, features, our own or published."""

from dataclasses import asdict, replace
from pathlib import Path

import pytest
import torch

from sgm_vfi.engine.runlog import read_rows
from sgm_vfi.model.flow.gmflow_features import GMFlowFeatures
from sgm_vfi.model.sgm.checkpoint_names import to_published
from sgm_vfi.model.sgm.network import SGM
from sgm_vfi.model.weight_io import CheckpointError, save_weights
from sgm_vfi.Trainer_x4k import X4KTrainer
from sgm_vfi.training.matching_features import GMFlowTrainer, flow_metrics
from sgm_vfi.training.matching_features_recipes import EXPERIMENTS as FEATURES
from sgm_vfi.training.start_weights import (
    FEATURES_NETWORK,
    find_features,
    load_features,
    load_start_weights,
)
from tests.fixtures.training_runs import LOCAL, SPARSE, recipe, recipe_global, run_in, same

pytestmark = pytest.mark.usefixtures("world", "info_logs")

# ---- where training starts from ------------------------------------------------------------------


def test_second_stage_starts_from_the_first(tmp_path: Path) -> None:
    local = SGM(LOCAL)
    save_weights(local, tmp_path / "local.safetensors", {"config": asdict(LOCAL)})
    features = GMFlowFeatures()
    save_weights(features, tmp_path / "f.safetensors", {"network": FEATURES_NETWORK})
    experiment = replace(
        recipe_global(),
        start_from=str(tmp_path / "local.safetensors"),
        features=str(tmp_path / "f.safetensors"),
        allow_random_features=False,
    )
    network = X4KTrainer(experiment, run_in(tmp_path / "run")).model
    state = network.state_dict()
    assert all(torch.equal(state[name], tensor) for name, tensor in local.state_dict().items())
    assert same(network.gmflow.state_dict(), features.state_dict())


def test_a_complete_checkpoint_brings_its_own_features(tmp_path: Path) -> None:
    source = SGM(SPARSE)
    save_weights(source, tmp_path / "whole.safetensors", {"config": asdict(SPARSE)})
    network = SGM(SPARSE)
    assert load_start_weights(network, str(tmp_path / "whole.safetensors"))
    assert same(network.state_dict(), source.state_dict())


def test_weights_of_another_colour_order_or_shape_are_refused(tmp_path: Path) -> None:
    other = replace(LOCAL, colour_order="bgr")
    save_weights(SGM(other), tmp_path / "bgr.safetensors", {"config": asdict(other)})
    with pytest.raises(CheckpointError, match=r"model\.colour_order=bgr"):
        load_start_weights(SGM(LOCAL), str(tmp_path / "bgr.safetensors"))
    wider = replace(LOCAL, channels=8)
    save_weights(SGM(wider), tmp_path / "wide.safetensors", {"config": asdict(wider)})
    with pytest.raises(CheckpointError, match="another shape"):
        load_start_weights(SGM(LOCAL), str(tmp_path / "wide.safetensors"))


def test_random_features_are_never_used_in_silence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sgm_vfi.model.weight_search.ROOT", tmp_path)
    experiment = replace(recipe_global(), allow_random_features=False)
    with pytest.raises(FileNotFoundError, match=r"gmflow_sintel-0c07dcb3\.pth.*train gmflow"):
        X4KTrainer(experiment, run_in(tmp_path / "run"))


def test_published_features_come_before_our_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sgm_vfi.model.weight_search.ROOT", tmp_path)
    ours = tmp_path / "log" / "gmflow" / "ckpt" / "gmflow.safetensors"
    features = GMFlowFeatures()
    save_weights(features, ours, {"network": FEATURES_NETWORK})
    assert find_features() == ours
    state = {
        to_published(f"gmflow.{name}").removeprefix("gmflow."): tensor + 1
        for name, tensor in features.state_dict().items()
    }
    published = tmp_path / "pretrained" / "gmflow_sintel-0c07dcb3.pth"
    published.parent.mkdir()
    torch.save({"model": state | {"upsampler.0.bias": torch.zeros(1)}}, published)
    assert find_features() == published
    fresh = GMFlowFeatures()
    load_features(fresh)
    for name, tensor in features.state_dict().items():
        assert torch.equal(fresh.state_dict()[name], tensor + 1)


# ---- features of our own -------------------------------------------------------------------------


def test_features_learn_to_match(tmp_path: Path) -> None:
    experiment = recipe(
        FEATURES["smoke"],
        data={"train_scenes": 24, "truth": True},
        validate_first=True,
        learning_rate=4e-4,
        warmup_steps=2,
    )
    trainer = GMFlowTrainer(experiment, run_in(tmp_path))
    trainer.fit()
    before, after = [row["error"] for row in read_rows(tmp_path) if "error" in row]
    assert after < 0.6 * before
    trainer.step_log.flush()
    fresh = GMFlowFeatures(num_layers=1)
    load_features(fresh, str(tmp_path / "ckpt" / f"{experiment.name}.safetensors"))
    assert same(fresh.state_dict(), trainer.model.state_dict())


def test_the_true_flow_has_no_loss(tmp_path: Path) -> None:
    trainer = GMFlowTrainer(recipe(FEATURES["smoke"], data={"truth": True}), run_in(tmp_path))
    batch = next(iter(trainer.validation))
    true, visible = batch.downsampled_flow(8)
    hidden = torch.where(visible == 1, 0.0, 1000.0)  # what is hidden does not count
    assert trainer.loss(true + hidden, batch) == 0
    assert flow_metrics(true + hidden, batch).tolist() == [[1.0, 0.0]] * len(batch.frame0)
    off = trainer.loss(true + torch.tensor([3.0, -4.0])[:, None, None], batch)
    assert off.item() == pytest.approx(7, rel=1e-4)
    errors = flow_metrics(true + torch.tensor([3.0, -4.0])[:, None, None], batch)
    assert errors[:, 1].tolist() == pytest.approx([8 * 5.0] * len(errors), rel=1e-4)
