"""The trainers: one step against the published numbers, and what must hold of every run."""

import ast
import inspect
import json
import logging
import math
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from config import EXPERIMENTS as GLOBAL
from config_base import EXPERIMENTS, FLAGS, SMOKE, Experiment, TrainConfig
from config_gmflow import EXPERIMENTS as FEATURES
from dataset.triplet import Triplet
from engine.distributed import World, process_group
from engine.launch import launch
from engine.runlog import read_rows
from model import load_interpolator
from model.checkpoint import CheckpointError, read_weights, save_weights
from model.flow.gmflow import GMFlowFeatures
from model.interpolator import time_like
from model.precision import train_in_bfloat16
from model.sgm.network import SGM, SGMConfig
from model.sgm.published import to_published
from model.start import FEATURES_NETWORK, find_features, load_features, start_from
from tests.parity import recipe as parity
from tests.parity.networks import build, config_of, frames
from tests.small_runs import SIDE, here, losses, recipe, recipe_global, write_vimeo
from Trainer_base import Trainer
from Trainer_gmflow import GMFlowTrainer
from Trainer_x4k import X4KTrainer
from Trainer_zoo import ZooTrainer

GOLDEN = Path(__file__).parent / "golden"
CPU = torch.device("cpu")
LOCAL = SMOKE.model
SPARSE = replace(LOCAL, keypoint_ratio=0.5, dense_up_to=4)


@pytest.fixture(scope="module", autouse=True)
def world() -> Iterator[World]:
    with process_group(CPU) as alone:
        yield alone


@pytest.fixture(autouse=True)
def _speak(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)


def some_batch(side: int = SIDE, batch: int = 2) -> Triplet:
    generator = torch.Generator().manual_seed(0)
    coarse = torch.rand(3, batch, 3, side // 8, side // 8, generator=generator)
    first, middle, last = (nn.functional.interpolate(c, scale_factor=8) for c in coarse)
    return Triplet(first, middle, last, time_like(first, 0.5))


def weights_of(model: nn.Module) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def same(a: dict[str, Tensor], b: dict[str, Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


# ---- one step of each stage ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "trainer_class", "published"),
    [
        ("train_local", Trainer, EXPERIMENTS["ours-local-small"]),
        ("train_global", X4KTrainer, GLOBAL["ours-small-1-2"]),
    ],
)
def test_a_step_has_the_published_loss_and_gradients(
    tmp_path: Path, name: str, trainer_class: type[Trainer], published: Experiment
) -> None:
    """The loop's own step, with the published recipe, on the golden frames and weights."""
    case = json.loads((GOLDEN / "cases.json").read_text())[name]
    golden = json.loads((GOLDEN / case["file"]).read_text())
    experiment = replace(
        published,
        model=config_of(case),
        data=recipe().data,
        start_from=None,
        allow_random_features=True,
    )
    trainer = trainer_class(experiment, here(tmp_path))
    trainer.model.load_state_dict(build(config_of(case), CPU).state_dict())
    trainer.model.train()
    trainer.step = case["step"]

    norms: dict[str, float | None] = {}
    move = trainer.optimizer.step

    def spy(rate: float) -> Tensor:
        for key, weight in trainer.model.named_parameters():
            norms[to_published(key)] = None if weight.grad is None else weight.grad.norm().item()
        return move(rate)

    trainer.optimizer.step = spy
    frame0, frame1 = frames(case, CPU)
    target = torch.from_numpy(parity.target(case["frames"]))
    trainer.train_step(Triplet(frame0, target, frame1, time_like(frame0, 0.5)))
    trainer.records.report()

    ((_, loss, norm, rate),) = losses(tmp_path)
    assert loss == pytest.approx(golden["loss"], abs=1e-5)
    assert norm == pytest.approx(golden["gradient_norm_total"], rel=2e-3)
    assert rate == pytest.approx(golden["learning_rate"], abs=1e-12)
    assert {key for key, value in norms.items() if value is None} == set(golden["frozen"])
    for key, stored in golden["gradient"].items():
        assert norms[key] == pytest.approx(stored["norm"], rel=2e-3), key
    after = {to_published(key): value for key, value in trainer.model.named_parameters()}
    for key, stored in golden["after_step"].items():
        assert after[key].double().norm().item() == pytest.approx(stored["norm"], rel=1e-4), key


@pytest.mark.parametrize("keep_local", [True, False])
def test_second_stage_moves_what_it_is_to_move(keep_local: bool, tmp_path: Path) -> None:
    """Matching and the context network, as published; or all but the features."""
    experiment = recipe_global(steps=2, warmup_steps=1, keep_local=keep_local)
    trainer = X4KTrainer(experiment, here(tmp_path))
    before = weights_of(trainer.model)
    trainer.fit()
    after = trainer.model.state_dict()
    moved = {name for name, tensor in before.items() if not torch.equal(tensor, after[name])}
    published = {n for n in before if n.startswith(("matching.", "synthesis.context."))}
    expected = published if keep_local else {n for n in before if not n.startswith("gmflow.")}
    assert moved == expected


def test_second_stage_changes_hooks_only() -> None:
    """The two trainers stay one loop: everything X4KTrainer defines is a hook."""
    own = {name for name, value in vars(X4KTrainer).items() if inspect.isfunction(value)}
    assert own <= {"prepare", "trainable"}


def test_every_stage_changes_hooks_only() -> None:
    """A hook says so in the base class."""
    hooks = {
        name
        for name, value in vars(Trainer).items()
        if inspect.isfunction(value) and (value.__doc__ or "").startswith("Hook:")
    }
    for stage in (X4KTrainer, GMFlowTrainer, ZooTrainer):
        own = {name for name, value in vars(stage).items() if inspect.isfunction(value)}
        assert own <= hooks


# ---- recipes -------------------------------------------------------------------------------------


def test_recipes_are_the_published_ones() -> None:
    """Specification 3.1, 3.2 and 3.4."""
    first, second = EXPERIMENTS["ours-local-small"], GLOBAL["ours-small-1-2"]
    assert (first.training.epochs, first.training.warmup_steps) == (300, 2000)
    assert (second.training.epochs, second.training.warmup_steps) == (100, 1000)
    assert (first.data.patch_size, second.data.patch_size) == (256, 512)
    assert (first.training.validate_every, second.training.validate_every) == (3, 2)
    assert second.training.validate_first
    assert (second.training.scales, second.training.chances) == ((1, 0.5, 0.25), (0.5, 0.25, 0.25))
    for training in (first.training, second.training):
        assert (training.learning_rate, training.final_learning_rate) == (2e-4, 2e-5)
        assert (training.weight_decay, training.betas) == (1e-4, (0.9, 0.999))
        assert training.batch_size == 8
        assert training.precision == "float32"
        assert (training.clip_norm, training.average_decay, training.accumulate) == (None, None, 1)


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
    with pytest.raises(ValueError, match="Every scale has its chance"):
        TrainConfig(scales=(1.0, 0.5))
    with pytest.raises(ValueError, match="Only synthetic scenes"):
        replace(SMOKE.data, source="vimeo90k", truth=True)
    with pytest.raises(ValueError, match=r"data\.patch_size"):
        replace(SMOKE.data, scenes=replace(SMOKE.data.scenes, size=(128, 128)))


def test_rates_scale_only_when_asked(tmp_path: Path) -> None:
    common = {"warmup_steps": 0, "learning_rate": 1e-3, "batch_size": 2}
    plain = Trainer(recipe(**common), here(tmp_path / "a"))
    scaled = Trainer(recipe(**common, reference_batch=8), here(tmp_path / "b"))
    assert plain.learning_rate() == 1e-3
    assert scaled.learning_rate() == pytest.approx(1e-3 * 2 / 8)


# ---- the loop ------------------------------------------------------------------------------------


def test_a_run_learns_validates_and_leaves_weights(tmp_path: Path) -> None:
    trainer = Trainer(recipe(epochs=2, validate_first=True), here(tmp_path / "smoke-local"))
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
    trainer = Trainer(recipe(), here(tmp_path))
    result = trainer.validate()
    values = []
    for batch in trainer.validation:
        frame = trainer.model(batch.frame0, batch.frame1, batch.time).frame
        errors = (frame - batch.target).square().flatten(1).mean(1)
        values += (-10 * errors.log10()).tolist()
    assert len(values) == 3
    assert result["psnr"] == pytest.approx(sum(values) / 3, abs=1e-4)


def test_equal_frames_count_as_a_hundred_decibels(tmp_path: Path) -> None:
    trainer = Trainer(recipe(), here(tmp_path))
    batch = some_batch()
    perfect = trainer.predict(trainer.model.eval(), batch)._replace(frame=batch.target)
    assert trainer.scores(perfect, batch)[:, 0].tolist() == [100.0, 100.0]


def test_accumulating_equals_a_larger_batch(tmp_path: Path) -> None:
    curves = []
    for name, changes in (("a", {"batch_size": 4}), ("b", {"batch_size": 1, "accumulate": 4})):
        trainer = Trainer(recipe(steps=4, warmup_steps=1, **changes), here(tmp_path / name))
        trainer.fit()
        curves.append(losses(tmp_path / name))
    for one, other in zip(*curves, strict=True):
        assert one == pytest.approx(other, rel=2e-3)


def test_resuming_gives_the_bits_of_a_run_never_stopped(tmp_path: Path) -> None:
    """With everything that has a memory: rescaling, an average of the weights, clipping."""
    changes = {"epochs": 2, "batch_size": 1, "average_decay": 0.9, "clip_norm": 1.0}
    experiment = recipe_global(**changes, scales=(1.0, 1.5), chances=(0.5, 0.5))
    experiment = replace(experiment, data=replace(experiment.data, train_scenes=4))
    whole = X4KTrainer(experiment, here(tmp_path / "whole"))
    whole.fit()

    class Crash(Exception):
        pass

    first = X4KTrainer(experiment, here(tmp_path / "parts"))
    learn = first.train_step

    def crash(*batches: Triplet) -> None:
        learn(*batches)
        first.records.report()
        if first.step == 5:
            raise Crash

    first.train_step = crash
    with pytest.raises(Crash):
        first.fit()
    assert [row[0] for row in losses(tmp_path / "parts")] == [1, 2, 3, 4, 5]
    torch.rand(7)  # nothing hangs on the global generators
    second = X4KTrainer(experiment, here(tmp_path / "parts", resume=True))
    assert second.step == 4  # saved after the validation that ended the first epoch
    second.fit()
    assert losses(tmp_path / "parts") == losses(tmp_path / "whole")
    assert same(weights_of(whole.model), weights_of(second.model))
    assert same(weights_of(whole.measured), weights_of(second.measured))
    assert not same(weights_of(whole.measured), weights_of(whole.model))
    scores = [[r for r in read_rows(tmp_path / n) if "psnr" in r] for n in ("whole", "parts")]
    assert scores[0] == scores[1]


def test_resuming_in_the_middle_of_an_epoch_sees_each_sample_once(tmp_path: Path) -> None:
    seen: list[Tensor] = []

    class Watching(Trainer):
        def prepare(self, batch: Triplet) -> Triplet:
            seen.extend(batch.target)
            return batch

    experiment = recipe(save_every=3)
    trainer = Watching(experiment, here(tmp_path))
    trainer.total_steps = 3
    trainer.train_epoch()
    resumed = Watching(experiment, here(tmp_path, resume=True))
    assert (resumed.step, resumed.epoch, resumed.seen) == (3, 0, 6)
    resumed.train_epoch()
    assert len({sample.numpy().tobytes() for sample in seen}) == len(seen) == 8


def test_a_batch_of_nan_is_skipped_and_reported(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Also where only the loss is not finite; the weights go on as if it had not been."""

    class Unlucky(Trainer):
        def prepare(self, batch: Triplet) -> Triplet:
            worst = {1: math.nan, 2: math.inf}.get(self.step)
            return batch if worst is None else batch._replace(target=batch.target + worst)

    trainer = Unlucky(recipe(warmup_steps=0), here(tmp_path))
    trainer.fit()
    rows = [row for row in read_rows(tmp_path) if "loss" in row]
    assert [row.get("skipped", False) for row in rows] == [False, True, True, False]
    assert rows[1]["loss"] is None
    assert "Step 2 skipped" in caplog.text
    assert all(weight.isfinite().all() for weight in trainer.model.parameters())


def test_a_run_that_only_skips_stops_and_keeps_its_weights(tmp_path: Path) -> None:
    class Hopeless(Trainer):
        def prepare(self, batch: Triplet) -> Triplet:
            return batch._replace(frame0=batch.frame0 * math.nan)

    trainer = Hopeless(recipe(max_skipped=3), here(tmp_path))
    before = weights_of(trainer.model)
    with pytest.raises(FloatingPointError, match="3 steps in a row"):
        trainer.fit()
    assert same(before, weights_of(trainer.model))


def test_a_file_that_vanishes_stops_in_good_order(tmp_path: Path) -> None:
    """What was learnt is saved; with the file back the curve is that of a run without trouble."""
    root = write_vimeo(tmp_path / "vimeo", 4)
    files = {"source": "vimeo90k", "train_path": str(root), "val_path": str(root), "workers": 0}
    experiment = recipe(data={**files, "patch_size": SIDE}, batch_size=1, epochs=2)
    Trainer(experiment, here(tmp_path / "whole")).fit()
    trainer = Trainer(experiment, here(tmp_path / "parts"))
    file = root / "sequences" / "00001" / "0003" / "im2.png"
    image = file.read_bytes()
    file.unlink()
    with pytest.raises(RuntimeError, match=r"No data for step \d: .*0003/im2\.png.*--resume"):
        trainer.fit()
    assert trainer.step < 4
    file.write_bytes(image)
    resumed = Trainer(experiment, here(tmp_path / "parts", resume=True))
    assert resumed.step == trainer.step
    resumed.fit()
    assert losses(tmp_path / "parts") == losses(tmp_path / "whole")


def test_rescaling_shows_all_sizes_as_often_as_asked(tmp_path: Path) -> None:
    trainer = X4KTrainer(recipe_global(), here(tmp_path))
    trainer.config = replace(trainer.config, scales=(1.0, 0.5, 0.25), chances=(0.5, 0.25, 0.25))
    batch = some_batch()
    sides = [trainer.prepare(batch).frame0.shape[-1] for _ in range(400)]
    shares = [sides.count(side) / 400 for side in (SIDE, SIDE // 2, SIDE // 4)]
    assert shares == pytest.approx([0.5, 0.25, 0.25], abs=0.08)


def test_the_first_batch_can_be_learnt_by_heart(tmp_path: Path) -> None:
    """`overfit` shows one batch of validation again and again, and is measured on it."""
    data = {"overfit": 12, "val_scenes": 1}
    trainer = Trainer(
        recipe(data=data, batch_size=1, learning_rate=1e-3, warmup_steps=1, validate_first=True),
        here(tmp_path),
    )
    trainer.fit()
    before, after = [row["psnr"] for row in read_rows(tmp_path) if "psnr" in row]
    assert after > before + 5
    (batch,) = trainer.validation
    assert all(torch.equal(batch.target, shown.target) for shown in trainer.loader)


def test_panels_are_drawn(tmp_path: Path) -> None:
    trainer = X4KTrainer(recipe_global(steps=1, picture_every=1), here(tmp_path))
    trainer.fit()
    assert (tmp_path / "panel.png").stat().st_size > 10_000


# ---- faster arithmetic ---------------------------------------------------------------------------


@pytest.mark.parametrize("config", [LOCAL, SPARSE], ids=["local", "sparse"])
def test_bfloat16_is_close_and_leaves_flows_alone(config: SGMConfig) -> None:
    torch.manual_seed(0)
    exact = SGM(config).train()
    mixed = SGM(config).train()
    mixed.load_state_dict(exact.state_dict())
    train_in_bfloat16(mixed.trunks())
    batch = some_batch()
    seen = []
    for part in (mixed.encoder.look.block1, mixed.local_flow[0].output):
        part.register_forward_hook(lambda _, inputs, output: seen.append(output.dtype))
    results = []
    for network in (exact, mixed):
        out = network(batch.frame0, batch.frame1, batch.time)
        loss = (out.frame - batch.target).abs().mean()
        loss.backward()
        assert all(picture.dtype == torch.float32 for picture in (out.frame, *out.merged))
        norms = [w.grad.norm() for w in network.parameters() if w.grad is not None]
        results.append((loss.item(), torch.stack(norms).norm().item()))
    assert results[1] == pytest.approx(results[0], rel=0.02)
    assert results[1][0] != results[0][0]
    assert seen == [torch.bfloat16, torch.float32]


def test_bfloat16_ends_where_training_ends() -> None:
    """In evaluation mode nothing differs, to the bit."""
    exact, mixed = SGM(SPARSE).eval(), SGM(SPARSE).eval()
    mixed.load_state_dict(exact.state_dict())
    train_in_bfloat16(mixed.trunks())
    batch = some_batch()
    frames = [net(batch.frame0, batch.frame1, batch.time).frame for net in (exact, mixed)]
    assert torch.equal(*frames)


def test_options_train_to_about_the_same_loss(tmp_path: Path) -> None:
    curves = {}
    for name, options in {
        "plain": {},
        "bfloat16": {"precision": "bfloat16"},
        "channels_last": {"channels_last": True},
    }.items():
        Trainer(recipe(**options), here(tmp_path / name)).fit()
        curves[name] = [row[1] for row in losses(tmp_path / name)]
    assert curves["channels_last"] == pytest.approx(curves["plain"], rel=1e-3)
    assert curves["bfloat16"] == pytest.approx(curves["plain"], rel=0.05)


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
    network = X4KTrainer(experiment, here(tmp_path / "run")).model
    state = network.state_dict()
    assert all(torch.equal(state[name], tensor) for name, tensor in local.state_dict().items())
    assert same(network.gmflow.state_dict(), features.state_dict())


def test_a_complete_checkpoint_brings_its_own_features(tmp_path: Path) -> None:
    source = SGM(SPARSE)
    save_weights(source, tmp_path / "whole.safetensors", {"config": asdict(SPARSE)})
    network = SGM(SPARSE)
    assert start_from(network, str(tmp_path / "whole.safetensors"))
    assert same(network.state_dict(), source.state_dict())


def test_weights_of_another_colour_order_or_shape_are_refused(tmp_path: Path) -> None:
    other = replace(LOCAL, colour_order="bgr")
    save_weights(SGM(other), tmp_path / "bgr.safetensors", {"config": asdict(other)})
    with pytest.raises(CheckpointError, match=r"model\.colour_order=bgr"):
        start_from(SGM(LOCAL), str(tmp_path / "bgr.safetensors"))
    wider = replace(LOCAL, channels=8)
    save_weights(SGM(wider), tmp_path / "wide.safetensors", {"config": asdict(wider)})
    with pytest.raises(CheckpointError, match="another shape"):
        start_from(SGM(LOCAL), str(tmp_path / "wide.safetensors"))


def test_random_features_are_never_used_in_silence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("model.start.ROOT", tmp_path)
    experiment = replace(recipe_global(), allow_random_features=False)
    with pytest.raises(FileNotFoundError, match=r"gmflow_sintel-0c07dcb3\.pth.*train_gmflow\.py"):
        X4KTrainer(experiment, here(tmp_path / "run"))


def test_published_features_come_before_our_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("model.start.ROOT", tmp_path)
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
    trainer = GMFlowTrainer(experiment, here(tmp_path))
    trainer.fit()
    before, after = [row["error"] for row in read_rows(tmp_path) if "error" in row]
    assert after < 0.6 * before
    trainer.records.report()
    fresh = GMFlowFeatures(num_layers=1)
    load_features(fresh, str(tmp_path / "ckpt" / f"{experiment.name}.safetensors"))
    assert same(fresh.state_dict(), trainer.model.state_dict())


def test_the_true_flow_has_no_loss(tmp_path: Path) -> None:
    trainer = GMFlowTrainer(recipe(FEATURES["smoke"], data={"truth": True}), here(tmp_path))
    batch = next(iter(trainer.validation))
    true, visible = batch.cells(8)
    hidden = torch.where(visible == 1, 0.0, 1000.0)  # what is hidden does not count
    assert trainer.loss(true + hidden, batch) == 0
    assert trainer.scores(true + hidden, batch).tolist() == [[1.0, 0.0]] * len(batch.frame0)
    off = trainer.loss(true + torch.tensor([3.0, -4.0])[:, None, None], batch)
    assert off.item() == pytest.approx(7, rel=1e-4)
    errors = trainer.scores(true + torch.tensor([3.0, -4.0])[:, None, None], batch)
    assert errors[:, 1].tolist() == pytest.approx([8 * 5.0] * len(errors), rel=1e-4)


# ---- the command line ----------------------------------------------------------------------------


class Recorder:
    """Stands in for a trainer: what reached it is what counts."""

    last: "Recorder"

    def __init__(self, experiment: Experiment, run: Any) -> None:
        self.experiment, self.goes_on, self.run = experiment, run.goes_on, run
        Recorder.last = self

    def fit(self) -> None:
        self.run.store.save_last({"step": 1})


def command(folder: Path, *arguments: str) -> Recorder:
    launch(
        Recorder,
        EXPERIMENTS,
        FLAGS,
        arguments=[*arguments, "--output", str(folder), "--device", "cpu"],
    )
    return Recorder.last


@pytest.fixture
def _no_group(monkeypatch: pytest.MonkeyPatch, world: World) -> None:
    """The module's process group is there already."""
    from contextlib import nullcontext

    monkeypatch.setattr("engine.launch.process_group", lambda device: nullcontext(world))


@pytest.mark.usefixtures("_no_group")
def test_flags_set_fields(tmp_path: Path) -> None:
    flags = ["--batch_size", "3", "--data_path", "/v", "--patch_size", "128", "--need_patch"]
    got = command(tmp_path, *flags, "--set", "epochs=7", "model.channels=8").experiment
    assert got.training.batch_size == 3
    assert (got.data.train_path, got.data.val_path) == ("/v", "/v")
    assert (got.data.patch_size, got.data.need_patch) == (128, True)
    assert (got.training.epochs, got.model.channels) == (7, 8)
    split = command(
        tmp_path / "x", "--train_data_path", "/t", "--val_data_path", "/w", "--synthetic"
    )
    data = split.experiment.data
    assert (data.train_path, data.val_path, data.source) == ("/t", "/w", "synthetic")
    saved = json.loads((tmp_path / "log" / got.name / "config.json").read_text())
    assert saved["recipe"]["training"]["epochs"] == 7


@pytest.mark.usefixtures("_no_group")
def test_a_run_is_not_overwritten_by_accident(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    command(tmp_path, "--config", "smoke")
    with pytest.raises(SystemExit) as stop:
        command(tmp_path, "--config", "smoke")
    assert stop.value.code == 2
    assert "--resume goes on" in caplog.text
    assert command(tmp_path, "--config", "smoke", "--resume").goes_on
    with pytest.raises(SystemExit):
        command(tmp_path, "--config", "smoke", "--resume", "--set", "learning_rate=1e-3")
    assert "recipe.training.learning_rate: 0.0002 was, 0.001 is asked for" in caplog.text
    changed = command(
        tmp_path, "--config", "smoke", "--resume", "--set", "learning_rate=1e-3", "--allow_changes"
    )
    assert changed.goes_on
    assert not command(tmp_path, "--config", "smoke", "--overwrite").goes_on
    assert not command(tmp_path / "new", "--config", "smoke", "--resume").goes_on


@pytest.mark.usefixtures("_no_group")
def test_a_field_may_be_named_by_its_end(tmp_path: Path) -> None:
    run = command(tmp_path, "--config", "smoke", "--set", "scenes.motion=0.1,0.2", "grain=0")
    scenes = run.experiment.data.scenes
    assert (scenes.motion, scenes.grain) == ((0.1, 0.2), 0)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--set", "otion=1"), "no field otion"),
        (("--set", "epochz=1"), "no field epochz"),
        (("--set", "epochs"), "FIELD=VALUE"),
        (("--config", "nothing"), "ours-local-small"),
        (("--device", "warp"), "warp"),
        pytest.param(
            ("--device", "cuda"),
            "no GPU",
            marks=pytest.mark.skipif(torch.cuda.is_available(), reason="there is one"),
        ),
    ],
)
def test_bad_arguments_are_refused(
    arguments: tuple[str, ...], words: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    with pytest.raises(SystemExit):
        launch(Recorder, EXPERIMENTS, FLAGS, arguments=[*arguments, "--output", str(tmp_path)])
    assert words in capsys.readouterr().err


def test_entry_points_do_nothing_when_imported() -> None:
    for name in ("train_base", "train_x4k", "train_gmflow"):
        tree = ast.parse((Path(__file__).parent.parent / f"{name}.py").read_text())
        kinds = {type(node) for node in tree.body}
        assert kinds <= {ast.Expr, ast.ImportFrom, ast.If}
