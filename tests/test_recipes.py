"""What recipes may add to the published ones: known motion, a clock, a first look."""

import math
from dataclasses import replace
from itertools import count
from pathlib import Path

import pytest
import torch
from torch import Tensor

from sgm_vfi.config import EXPERIMENTS as GLOBAL
from sgm_vfi.config_base import EXPERIMENTS, Experiment, TrainConfig
from sgm_vfi.dataset.synthetic import SceneGenerator, SyntheticConfig
from sgm_vfi.dataset.triplet import Triplet
from sgm_vfi.engine.distributed import World
from sgm_vfi.engine.schedule import TimeBudget
from sgm_vfi.model.flow.gmflow_features import GMFlowFeatures
from sgm_vfi.model.ops.window_partition import attention_window_mask
from sgm_vfi.model.sgm.local_encoder import CrossFrameBlock
from sgm_vfi.model.sgm.network import SGM, SGMConfig
from sgm_vfi.Trainer_base import Trainer
from sgm_vfi.Trainer_x4k import X4KTrainer
from sgm_vfi.training.loss_functions import motion_error
from sgm_vfi.training.matching_features_recipes import EXPERIMENTS as FEATURES
from sgm_vfi.training.motion_supervision import MotionSupervision, attention_match_error
from sgm_vfi.training.sgm_data_dependent_init import data_dependent_init
from tests.fixtures.training_runs import SIDE, losses, recipe, recipe_global, run_in

pytestmark = pytest.mark.usefixtures("world")
TINY = SGMConfig(channels=4, depths=(1, 1, 1, 2), keypoint_ratio=None)
FAINT = 1e-6  # what lengths of nothing count: see end_point_error


@pytest.fixture(scope="module")
def batch() -> Triplet:
    config = SyntheticConfig(size=(SIDE, SIDE), textures=12, texture_size=256, masks=16)
    return SceneGenerator(config).draw([(7, number) for number in range(4)]).triplet(truth=True)


def knowing(experiment: Experiment, **training: object) -> Experiment:
    """A recipe that learns from true motion, too."""
    return replace(
        experiment,
        data=replace(experiment.data, truth=True),
        training=replace(experiment.training, **{"motion_loss": 0.1} | training),
    )


# ---- known motion -------------------------------------------------------------------------------


def test_error_of_motion_by_hand(batch: Triplet) -> None:
    """The truth has none, where it is hidden nothing counts, and a shift counts its length."""
    flow, visible = batch.target_flow()
    guess = flow.clone().requires_grad_()
    assert motion_error({"flow": guess}, flow, visible) < 2 * FAINT**0.5
    hidden = (flow + 1000 * (1 - visible)).requires_grad_()
    assert motion_error({"flow": hidden}, flow, visible) < 2 * FAINT**0.5
    shifted = (flow + torch.tensor((3.0, 4.0, 3.0, 4.0)).view(1, 4, 1, 1)).requires_grad_()
    error = motion_error({"flow": shifted, "blend": flow, "initial_flow": flow}, flow, visible)
    assert error.item() == pytest.approx(5 * visible.mean().item(), rel=1e-2)


def test_motion_is_that_of_the_target(batch: Triplet) -> None:
    flow, visible = batch.target_flow()
    truth = batch.truth
    assert torch.equal(flow[:, :2], truth.flow_t0)
    assert torch.equal(flow[:, 2:], truth.flow_t1)
    assert torch.equal(visible[:, 1:2], truth.visible_t0)
    assert torch.equal(visible[:, 2:3], truth.visible_t1)
    with pytest.raises(ValueError, match=r"data\.truth=true"):
        batch._replace(truth=None).target_flow()


@pytest.mark.parametrize("stage", ["local", "global"])
def test_known_motion_moves_what_finds_motion(stage: str, tmp_path: Path, batch: Triplet) -> None:
    """And nothing that is frozen, nor the synthesis, which has no part in it."""
    kind, experiment = (Trainer, recipe()) if stage == "local" else (X4KTrainer, recipe_global())
    trainer = kind(knowing(experiment), run_in(tmp_path))
    prediction = trainer.forward_batch(trainer.network.train(), batch)
    motion_error(prediction.explanation, *batch.target_flow()).backward()
    moved = {name for name, weight in trainer.model.named_parameters() if weight.grad is not None}
    parts = {name.partition(".")[0] for name in moved}
    assert parts == ({"encoder", "local_flow"} if stage == "local" else {"matching"})


def test_known_motion_fades_and_adds_nothing_in_the_end(tmp_path: Path, batch: Triplet) -> None:
    config = TrainConfig(motion_loss=0.1, motion_until=0.5)
    assert [config.motion_weight(progress) for progress in (0, 0.25, 0.5, 1)] == [1, 0.5, 0, 0]
    trainer = Trainer(knowing(recipe(steps=4), motion_until=0.5), run_in(tmp_path))
    prediction = trainer.forward_batch(trainer.network.train(), batch)
    plain = Trainer.loss(trainer, prediction._replace(explanation=None), batch)
    assert trainer.loss(prediction, batch) > plain
    trainer.step = 2
    assert trainer.loss(prediction, batch) == plain


def test_published_recipes_know_nothing_of_motion_or_minutes() -> None:
    for name in ("ours-local-small", "ours-local-base"):
        training = EXPERIMENTS[name].training
        assert (training.motion_loss, training.minutes, training.data_dependent_init) == (
            0,
            None,
            False,
        )
        assert (training.attention_loss, training.freeze_local_branch) == (0, True)


@pytest.mark.parametrize("told", ["motion_loss", "attention_loss"])
def test_motion_is_learnt_from_scenes_that_know_theirs(told: str) -> None:
    experiment = recipe()
    with pytest.raises(ValueError, match=rf"{told}': 0\.1.*data\.truth=true"):
        replace(experiment, training=replace(experiment.training, **{told: 0.1}))


def moved(right: float, height: int = 7, width: int = 14) -> tuple[Tensor, Tensor]:
    """Cells of one pair that all move so far to the right, and can be seen."""
    flow = torch.zeros(2, 2, height, width)
    flow[0, 0], flow[1, 0] = right, -right
    return flow, torch.ones(2, 1, height, width)


ENTROPY = -(0.75 * math.log(0.75) + 0.25 * math.log(0.25))


@pytest.mark.parametrize(("right", "nats"), [(1.0, 0.0), (2.25, 4 * ENTROPY / 4.75)])
def test_error_of_a_search_by_hand(right: float, nats: float) -> None:
    """Nothing where attention is where it should be; between cells, what bilinear shares leave.

    Of a window's row, 2.25 to the right: four cells land between two others, the fifth
    three quarters on the last one, the rest outside.
    """
    block = CrossFrameBlock(32, 7, shift=0)
    row, column = torch.arange(49) // 7, torch.arange(49) % 7
    there = column + torch.tensor((right, -right))[:, None]  # (2, T)
    share = (1 - (there[..., None] - column).abs()).clamp(min=0) * (row[:, None] == row)
    block.attention.scores = lambda windows: share.log().clamp(min=-40)[:, None, None]
    error = attention_match_error(block, torch.zeros(2, 2, 49, 32), None, *moved(right))
    assert error.item() == pytest.approx(nats, abs=1e-5)


def test_a_search_counts_what_it_could_have_found() -> None:
    """Even attention misses by ln 49; cells that are hidden, or leave the window, do not count."""
    for shift in (0, 3):
        block, windows = CrossFrameBlock(32, 7, shift), torch.zeros(2, 2, 49, 32)
        even = attention_match_error(block, windows, None, *moved(2.0))
        assert even.item() == pytest.approx(math.log(49), rel=1e-5)
        flow, visible = moved(2.0)
        assert attention_match_error(block, windows, None, flow, 0 * visible) == 0
        assert attention_match_error(block, windows, None, *moved(50.0)) == 0
        mask = attention_window_mask(7, 14, 7, shift, torch.device("cpu"))
        if mask is not None:  # fewer cells may be looked at
            assert attention_match_error(block, windows, mask, flow, visible) < even - 0.1
    padded, mask = (
        torch.zeros(2, 4, 49, 32),
        attention_window_mask(12, 12, 7, 3, torch.device("cpu")),
    )
    some_blocked = attention_match_error(
        CrossFrameBlock(32, 7, 3), padded, mask, *moved(1.0, 12, 12)
    )
    assert 1 < some_blocked < math.log(49)


def test_attention_learns_to_search(batch: Triplet) -> None:
    """Told where cells go, it finds them; a first look finds more than even attention does."""
    torch.manual_seed(0)
    network = SGM(replace(TINY, channels=16, keypoint_ratio=None)).train()  # four heads
    known = MotionSupervision(network, flows=0.0, attention=1.0)
    maps = batch.target_flow(), batch.downsampled_flow(8)

    def missed() -> Tensor:
        return known(network(*batch.inputs(), explain=True).explanation, *maps)

    even = missed().item()
    data_dependent_init(network, *batch.inputs())
    first = missed().item()
    assert first < even - 0.3
    optimiser = torch.optim.Adam(network.encoder.parameters(), lr=2e-3)
    for _ in range(12):
        optimiser.zero_grad()
        missed().backward()
        optimiser.step()
    assert missed().item() < first - 0.3
    assert all(w.grad is None for w in (*network.synthesis.parameters(),))


def test_attention_is_told_where_there_is_some() -> None:
    with pytest.raises(ValueError, match=r"GMFlowFeatures has no .*attention_loss=0"):
        MotionSupervision(GMFlowFeatures(num_layers=1), flows=0.0, attention=1.0)


# ---- the clock ----------------------------------------------------------------------------------


def test_a_run_ends_when_its_time_is_up(tmp_path: Path) -> None:
    """A tick a step, 120 ticks: the rate falls over the time, whatever number of steps it is."""
    experiment = recipe(minutes=2, warmup_steps=0, steps=10_000, log_every=1)
    experiment = replace(experiment, data=replace(experiment.data, train_scenes=2, val_scenes=1))
    experiment = replace(experiment, training=replace(experiment.training, validate_every=1000))
    trainer = Trainer(experiment, run_in(tmp_path))
    ticks = count(step=8)
    trainer.time_budget = TimeBudget(2, trainer.world, lambda: next(ticks))
    trainer.fit()
    rates = [row[3] for row in losses(tmp_path)]
    assert trainer.step == trainer.total_steps == 120 // 8
    assert rates == sorted(rates, reverse=True)
    assert rates[0] > 10 * rates[-1] * 0.9
    assert rates[-1] < 2 * experiment.training.final_learning_rate


def test_time_goes_on_where_a_run_was_stopped() -> None:
    now = [100.0]
    clock = TimeBudget(1, World(), lambda: now[0])
    assert clock.total_steps(0, 7) == 7  # nothing is known yet
    now[0] += 15
    assert clock.total_steps(10, 7) == 40
    state = clock.state_dict()
    now[0] = 5000
    later = TimeBudget(1, World(), lambda: now[0])
    later.load_state_dict(state)
    now[0] += 15
    assert later.total_steps(30, 40) == 60
    now[0] += 90
    assert later.total_steps(61, 60) == 61  # over
    assert TimeBudget(None, World()).total_steps(61, 70) == 70


@pytest.mark.parametrize(
    "name", ["steps", "val_batch_size", "validate_every", "panel_every", "motion_until"]
)
def test_nothing_is_done_every_no_steps(name: str) -> None:
    with pytest.raises(ValueError, match=rf"training\.{name} is .*, got 0"):
        TrainConfig(**{name: 0})


def test_minutes_are_more_than_none() -> None:
    with pytest.raises(ValueError, match=r"training\.minutes is more than 0, got 0"):
        TrainConfig(minutes=0)


# ---- a first look -------------------------------------------------------------------------------


def looked(batch: Triplet) -> SGM:
    torch.manual_seed(0)
    network = SGM(TINY).train()
    data_dependent_init(network, batch.frame0, batch.frame1, batch.time)
    return network


def test_a_first_look_sets_every_layer(batch: Triplet) -> None:
    """Each channel of each layer has mean 0 and deviation 1 then, but for what is said."""
    network, seen = looked(batch), {}

    def note(name: str, axis: int) -> object:
        def hook(layer: object, inputs: object, output: Tensor) -> None:
            values = output.movedim(axis, 0).flatten(1)
            seen.setdefault(name, (values.mean(1).abs().max(), values.std(1)))

        return hook

    for name, layer in network.named_modules():
        if isinstance(layer, torch.nn.Conv2d | torch.nn.ConvTranspose2d):
            layer.register_forward_hook(note(name, 1))
        elif isinstance(layer, torch.nn.Linear) and name.rpartition(".")[2] == "project":
            layer.register_forward_hook(note(name, -1))
    with torch.no_grad():
        network(batch.frame0, batch.frame1, batch.time)
    assert len(seen) > 20
    for name, (mean, deviation) in seen.items():
        expected = 0.1 if ".output" in name else 1.0
        assert mean < 1e-3, name
        torch.testing.assert_close(
            deviation, torch.full_like(deviation, expected), rtol=1e-2, atol=1e-3
        )


def test_a_first_look_is_blind_to_brightness_and_the_same_again(batch: Triplet) -> None:
    one, other = looked(batch), looked(batch)
    for mine, theirs in zip(one.state_dict().values(), other.state_dict().values(), strict=True):
        assert torch.equal(mine, theirs)
    first = one.encoder.look.block1[0]
    frame = torch.rand(1, 3, 16, 16)
    inner = (slice(None), slice(None), slice(1, -1), slice(1, -1))
    torch.testing.assert_close(first(frame)[inner], first(frame + 0.3)[inner], rtol=0, atol=1e-4)


def test_a_run_begins_with_a_first_look(tmp_path: Path) -> None:
    """Fresh runs only: resumed ones have their weights."""
    plain = Trainer(recipe(), run_in(tmp_path / "plain"))
    trainer = Trainer(recipe(data_dependent_init=True, steps=2), run_in(tmp_path / "looked"))
    name = "local_flow.0.head.0.0.weight"
    assert not torch.equal(plain.model.state_dict()[name], trainer.model.state_dict()[name])
    trainer.fit()
    again = Trainer(
        recipe(data_dependent_init=True, steps=2), run_in(tmp_path / "looked", resume=True)
    )
    for mine, theirs in zip(again.model.parameters(), trainer.model.parameters(), strict=True):
        assert torch.equal(mine, theirs)


# ---- recipes on scenes made here ----------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "matching", "minutes"),
    [("synthetic", "synthetic", 28), ("cpu", "cpu", 100)],
)
def test_recipes_of_minutes_build_on_one_another(name: str, matching: str, minutes: float) -> None:
    """In the order of their names on the command line: half an hour on a GPU, or an evening."""
    features, local, whole = FEATURES[matching], EXPERIMENTS[name], GLOBAL[name]
    assert (whole.start_from, whole.features) == (local.name, features.name)
    dense_up_to = local.model.dense_up_to
    assert replace(whole.model, keypoint_ratio=None, dense_up_to=dense_up_to) == local.model
    assert local.model.any_time
    assert sum(stage.training.minutes for stage in (features, local, whole)) <= minutes
    assert features.training.attention_loss == 0  # none between frames
    assert not (
        whole.training.attention_loss and whole.training.freeze_local_branch
    )  # stays as it is
    for stage in (features, local, whole):
        sizes = [stage.data.patch_size * scale for scale in stage.training.scales]
        assert all(size == int(size) and size % 32 == 0 for size in sizes)
        assert stage.data.source == "synthetic"
        assert stage.training.final_learning_rate <= stage.training.learning_rate / 40
