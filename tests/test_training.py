"""The training loop: what must hold of every run, undisturbed, stopped or in trouble."""

import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from sgm_vfi.dataset.triplet import Triplet
from sgm_vfi.engine.runlog import read_rows
from sgm_vfi.model import load_interpolator
from sgm_vfi.model.sgm.network import SGM
from sgm_vfi.model.weight_io import read_weights
from sgm_vfi.Trainer_base import Trainer
from sgm_vfi.Trainer_x4k import X4KTrainer
from tests.fixtures.training_runs import (
    SIDE,
    losses,
    recipe,
    recipe_global,
    run_in,
    same,
    some_batch,
    weights_of,
    write_vimeo,
)

pytestmark = pytest.mark.usefixtures("world", "info_logs")


def test_rates_scale_only_when_asked(tmp_path: Path) -> None:
    common = {"warmup_steps": 0, "learning_rate": 1e-3, "batch_size": 2}
    plain = Trainer(recipe(**common), run_in(tmp_path / "a"))
    scaled = Trainer(recipe(**common, reference_batch_size=8), run_in(tmp_path / "b"))
    assert plain.learning_rate() == 1e-3
    assert scaled.learning_rate() == pytest.approx(1e-3 * 2 / 8)


def test_a_run_learns_validates_and_leaves_weights(tmp_path: Path) -> None:
    trainer = Trainer(recipe(epochs=2, validate_first=True), run_in(tmp_path / "smoke-local"))
    trainer.fit()
    rows = read_rows(trainer.run.folder)
    assert [row["step"] for row in rows if "loss" in row] == list(range(1, 9))
    assert [row["step"] for row in rows if "psnr" in row] == [0, 4, 8]
    ckpt = trainer.run.folder / "ckpt"
    batch = some_batch()
    expected = trainer.model.eval()(batch.frame0, batch.frame1, batch.time).frame
    for file in ("smoke-local.safetensors", "last.pth"):
        network = load_interpolator(ckpt / file)
        assert torch.equal(network(batch.frame0, batch.frame1, batch.time).frame, expected)
    assert isinstance(load_interpolator(ckpt / "best.pth"), SGM)
    metadata = read_weights(ckpt / "smoke-local.safetensors").metadata
    assert metadata["recipe"]["training"]["epochs"] == 2


def test_validation_is_the_mean_over_all_samples(tmp_path: Path) -> None:
    """3 samples in batches of 2 and 1: not the mean of batch means."""
    trainer = Trainer(recipe(), run_in(tmp_path))
    result = trainer.validate()
    values = []
    for batch in trainer.validation:
        frame = trainer.model(batch.frame0, batch.frame1, batch.time).frame
        errors = (frame - batch.target).square().flatten(1).mean(1)
        values += (-10 * errors.log10()).tolist()
    assert len(values) == 3
    assert result["psnr"] == pytest.approx(sum(values) / 3, abs=1e-4)


def test_equal_frames_count_as_a_hundred_decibels(tmp_path: Path) -> None:
    trainer = Trainer(recipe(), run_in(tmp_path))
    batch = some_batch()
    perfect = trainer.forward_batch(trainer.model.eval(), batch)._replace(frame=batch.target)
    metrics = trainer.validation_metrics(lambda *inputs: perfect, batch)
    assert metrics[:, 0].tolist() == [100.0, 100.0]


def test_accumulating_equals_a_larger_batch(tmp_path: Path) -> None:
    curves = []
    for name, changes in (("a", {"batch_size": 4}), ("b", {"batch_size": 1, "accumulate": 4})):
        trainer = Trainer(recipe(steps=2, warmup_steps=1, **changes), run_in(tmp_path / name))
        trainer.fit()
        curves.append(losses(tmp_path / name))
    for one, other in zip(*curves, strict=True):
        assert one == pytest.approx(other, rel=2e-3)


def test_resuming_gives_the_bits_of_a_run_never_stopped(tmp_path: Path) -> None:
    """With everything that has a memory: rescaling, an average of the weights, clipping."""
    changes = {"epochs": 2, "batch_size": 1, "ema_decay": 0.9, "clip_norm": 1.0}
    experiment = recipe_global(**changes, scales=(1.0, 1.5), scale_probabilities=(0.5, 0.5))
    experiment = replace(experiment, data=replace(experiment.data, train_scenes=2))
    whole = X4KTrainer(experiment, run_in(tmp_path / "whole"))
    whole.fit()

    class Crash(Exception):
        pass

    first = X4KTrainer(experiment, run_in(tmp_path / "parts"))
    learn = first.train_step

    def crash(*batches: Triplet) -> None:
        learn(*batches)
        first.step_log.flush()
        if first.step == 3:
            raise Crash

    first.train_step = crash
    with pytest.raises(Crash):
        first.fit()
    assert [row[0] for row in losses(tmp_path / "parts")] == [1, 2, 3]
    torch.rand(7)  # nothing hangs on the global generators
    second = X4KTrainer(experiment, run_in(tmp_path / "parts", resume=True))
    assert second.step == 2  # saved after the validation that ended the first epoch
    second.fit()
    assert losses(tmp_path / "parts") == losses(tmp_path / "whole")
    assert same(weights_of(whole.model), weights_of(second.model))
    assert same(weights_of(whole.ema_model), weights_of(second.ema_model))
    assert not same(weights_of(whole.ema_model), weights_of(whole.model))
    scores = [[r for r in read_rows(tmp_path / n) if "psnr" in r] for n in ("whole", "parts")]
    assert scores[0] == scores[1]


def test_resuming_in_the_middle_of_an_epoch_sees_each_sample_once(tmp_path: Path) -> None:
    seen: list[Tensor] = []

    class Watching(Trainer):
        def prepare_batch(self, batch: Triplet) -> Triplet:
            seen.extend(batch.target)
            return batch

    experiment = recipe(save_every=3)
    trainer = Watching(experiment, run_in(tmp_path))
    trainer.total_steps = 3
    trainer.train_epoch()
    resumed = Watching(experiment, run_in(tmp_path, resume=True))
    assert (resumed.step, resumed.epoch, resumed.samples_seen) == (3, 0, 6)
    resumed.train_epoch()
    assert len({sample.numpy().tobytes() for sample in seen}) == len(seen) == 8


def test_a_batch_of_nan_is_skipped_and_reported(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Also where only the loss is not finite; the weights go on as if it had not been."""

    class Unlucky(Trainer):
        def prepare_batch(self, batch: Triplet) -> Triplet:
            worst = {1: math.nan, 2: math.inf}.get(self.step)
            return batch if worst is None else batch._replace(target=batch.target + worst)

    trainer = Unlucky(recipe(warmup_steps=0), run_in(tmp_path))
    trainer.fit()
    rows = [row for row in read_rows(tmp_path) if "loss" in row]
    assert [row.get("skipped", False) for row in rows] == [False, True, True, False]
    assert rows[1]["loss"] is None
    assert "Step 2 skipped" in caplog.text
    assert all(weight.isfinite().all() for weight in trainer.model.parameters())


def test_a_run_that_only_skips_stops_and_keeps_its_weights(tmp_path: Path) -> None:
    class Hopeless(Trainer):
        def prepare_batch(self, batch: Triplet) -> Triplet:
            return batch._replace(frame0=batch.frame0 * math.nan)

    trainer = Hopeless(recipe(max_skipped=3), run_in(tmp_path))
    before = weights_of(trainer.model)
    with pytest.raises(FloatingPointError, match="3 steps in a row"):
        trainer.fit()
    assert same(before, weights_of(trainer.model))


def test_a_file_that_vanishes_stops_in_good_order(tmp_path: Path) -> None:
    """What was learnt is saved; with the file back the curve is that of a run without trouble."""
    root = write_vimeo(tmp_path / "vimeo", 4)
    files = {"source": "vimeo90k", "train_path": str(root), "val_path": str(root), "workers": 0}
    experiment = recipe(data={**files, "patch_size": SIDE}, batch_size=1, epochs=2)
    Trainer(experiment, run_in(tmp_path / "whole")).fit()
    trainer = Trainer(experiment, run_in(tmp_path / "parts"))
    file = root / "sequences" / "00001" / "0003" / "im2.png"
    image = file.read_bytes()
    file.unlink()
    with pytest.raises(RuntimeError, match=r"No data for step \d: .*0003/im2\.png.*--resume"):
        trainer.fit()
    assert trainer.step < 4
    file.write_bytes(image)
    resumed = Trainer(experiment, run_in(tmp_path / "parts", resume=True))
    assert resumed.step == trainer.step
    resumed.fit()
    assert losses(tmp_path / "parts") == losses(tmp_path / "whole")


def test_rescaling_shows_all_sizes_as_often_as_asked(tmp_path: Path) -> None:
    trainer = X4KTrainer(recipe_global(), run_in(tmp_path))
    trainer.config = replace(
        trainer.config, scales=(1.0, 0.5, 0.25), scale_probabilities=(0.5, 0.25, 0.25)
    )
    batch = some_batch()
    sides = [trainer.prepare_batch(batch).frame0.shape[-1] for _ in range(400)]
    shares = [sides.count(side) / 400 for side in (SIDE, SIDE // 2, SIDE // 4)]
    assert shares == pytest.approx([0.5, 0.25, 0.25], abs=0.08)


def test_the_first_batch_can_be_learnt_by_heart(tmp_path: Path) -> None:
    """`overfit` shows one batch of validation again and again, and is measured on it."""
    data = {"overfit": 12, "val_scenes": 1}
    trainer = Trainer(
        recipe(data=data, batch_size=1, learning_rate=1e-3, warmup_steps=1, validate_first=True),
        run_in(tmp_path),
    )
    trainer.fit()
    before, after = [row["psnr"] for row in read_rows(tmp_path) if "psnr" in row]
    assert after > before + 5
    (batch,) = trainer.validation
    assert all(torch.equal(batch.target, shown.target) for shown in trainer.loader)


def test_panels_are_drawn(tmp_path: Path) -> None:
    trainer = X4KTrainer(recipe_global(steps=1, panel_every=1), run_in(tmp_path))
    trainer.fit()
    assert (tmp_path / "panel.png").stat().st_size > 10_000
