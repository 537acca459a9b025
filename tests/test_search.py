"""Step 0 without learning: what the search finds, which matches may replace it, how both begin."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from sgm_vfi.config_base import SMOKE
from sgm_vfi.engine.distributed import process_group
from sgm_vfi.model import load_interpolator
from sgm_vfi.model.flow.motion_hypotheses import BidirectionalMotion, Layer
from sgm_vfi.model.interpolator import time_like
from sgm_vfi.model.layers.synthesis_unet import blend
from sgm_vfi.model.ops.resize import resize_flow
from sgm_vfi.model.ops.warp import warp_pair
from sgm_vfi.model.sgm.flow_head import expand_motion
from sgm_vfi.model.sgm.flow_merge import FlowMatching, refine_input
from sgm_vfi.model.sgm.network import SGM, SGM_SEARCHED, SGM_SMALL, SGMConfig
from sgm_vfi.model.sgm.searched_flow import FlowSearch, likeliest
from sgm_vfi.Trainer_base import Trainer
from sgm_vfi.Trainer_x4k import X4KTrainer
from tests.small_runs import here, recipe, recipe_global

SIZE = (128, 160)
SHIFT = (9.0, -6.0)
TINY = SGMConfig(
    channels=4, depths=(1, 1, 1, 0), initial_flow="searched", keypoint_ratio=None, any_time=True
)
MATCHING = replace(TINY, keypoint_ratio=1 / 2, dense_up_to=4)


def moved(shift: tuple[float, float]) -> Tensor:
    """A picture known at every real point, moved: (1, 3, H, W)."""
    waves = torch.rand(24, 1, 1, 4, generator=torch.Generator().manual_seed(3))
    y, x = torch.meshgrid(*(torch.arange(side, dtype=torch.float) for side in SIZE), indexing="ij")
    turn = (waves[..., 0] - 0.5) * (x - shift[0]) + (waves[..., 1] - 0.5) * (y - shift[1])
    return (0.5 + 0.08 * ((turn + 7 * waves[..., 2]).sin()).unflatten(0, (3, 8)).sum(1))[None]


def test_double_precision_throughout() -> None:
    frames = [moved(shift).double() for shift in ((0.0, 0.0), SHIFT)]
    net = SGM(TINY).eval().double()
    with torch.no_grad():
        assert net(*frames, time_like(frames[0], 0.5)).frame.dtype == torch.double


def even(*flow: float, size: tuple[int, int]) -> Tensor:
    """The same flow everywhere. Shapes: -> (1, len(flow), *size)."""
    return torch.tensor(flow).view(1, -1, 1, 1).expand(-1, -1, *size).contiguous()


@pytest.fixture(scope="module")
def search() -> FlowSearch:
    return FlowSearch()


@pytest.fixture(scope="module")
def searched(search: FlowSearch) -> BidirectionalMotion:
    return search.prepare(torch.cat((moved((0, 0)), moved(SHIFT))))


def test_of_several_guesses_the_likeliest_is_taken() -> None:
    """By hand: in one pixel a guess wins, in the other the claim that nothing moves."""
    flows = (torch.full((1, 2, 1, 2), 3.0), torch.full((1, 2, 1, 2), -5.0))
    weights = (torch.tensor([[[[0.1, 0.2]]]]), torch.tensor([[[[0.6, 0.3]]]]))
    layers = [Layer(0, f, w, "bilinear") for f, w in zip(flows, weights, strict=True)]
    flow, weight = likeliest(layers, torch.tensor([[[[0.0, 0.4]]]]))
    assert flow[0, 0].tolist() == flow[0, 1].tolist() == [[-5, 0]]
    torch.testing.assert_close(weight, torch.tensor([[[[0.7, 0.9]]]]))


@pytest.mark.parametrize("time", [0.25, 0.5, 0.8])
def test_motion_is_found_at_any_time(
    search: FlowSearch, searched: BidirectionalMotion, time: float
) -> None:
    frames = torch.cat((moved((0, 0)), moved(SHIFT)))
    raw, draft = search(searched, time_like(searched.small0, time), frames)
    flow, logits = expand_motion(raw, search.scale)
    x, y = SHIFT
    true = torch.tensor((-time * x, -time * y, (1 - time) * x, (1 - time) * y)).view(1, 4, 1, 1)
    middle = ..., slice(24, -24), slice(24, -24)
    assert (flow - true)[middle].abs().mean() < 0.2
    assert (
        logits.sigmoid()[middle] - (1 - time)
    ).abs().mean() < 0.1  # the nearer frame counts more
    assert not raw.requires_grad
    assert (draft - moved((time * x, time * y)))[middle].abs().mean() < 0.01


@pytest.mark.parametrize("time", [0.3, 0.5])
def test_only_matches_that_explain_more_are_kept(
    search: FlowSearch, searched: BidirectionalMotion, time: float
) -> None:
    """The true motion replaces none, and a wrong one; nothing replaces the true motion."""
    cells = tuple(side // 8 for side in SIZE)
    x, y = (part / 8 for part in SHIFT)
    when = time_like(searched.small0, time)
    true = even(-time * x, -time * y, (1 - time) * x, (1 - time) * y, size=cells)
    none, wrong = even(1e-6, 1e-6, 1e-6, 1e-6, size=cells), even(1.0, 2.0, -1.0, -2.0, size=cells)
    middle = ..., slice(3, -3), slice(3, -3)
    for local, match, is_kept in (
        (none, true, True),
        (wrong, true, True),
        (true, none, False),
        (true, wrong, False),
        (true, true.clone(), False),
    ):
        kept = search.confirm(searched, when, match, local)
        expected = match if is_kept else torch.zeros_like(match)
        assert torch.equal(kept[middle], expected[middle])


def test_a_hole_stays_a_hole(search: FlowSearch, searched: BidirectionalMotion) -> None:
    cells = tuple(side // 8 for side in SIZE)
    holes = torch.zeros(1, 4, *cells)
    wrong = even(1.0, 2.0, -1.0, -2.0, size=cells)
    assert not search.confirm(searched, time_like(searched.small0, 0.5), holes, wrong).any()


def test_fresh_matching_corrects_by_what_a_match_changes() -> None:
    """Refinement of a merged flow gives that flow less the one there was, before any training."""
    torch.manual_seed(0)
    matching = FlowMatching(channels=16, feature_channels=256 + 128)
    matching.take_matches()
    frames, warped = torch.rand(2, 2, 3, 64, 64)
    flow, merged = 8 * torch.randn(1, 4, 8, 8), torch.randn(1, 4, 8, 8)
    full = resize_flow(flow, 8)
    given = refine_input(frames, warped, full, torch.zeros(1, 1, 64, 64), merged)
    change = merged - resize_flow(full, 1 / 8)
    torch.testing.assert_close(matching.refine(given)[:, :4], change, atol=0.05, rtol=0)
    local, match = torch.randn(2, 1, 4, 8, 8)
    features = torch.randn(1, 384, 8, 8)
    taken = matching.merge(local, match, features)
    assert (taken - match).abs().mean() < 0.15 * (local - match).abs().mean()


@pytest.mark.parametrize("config", [TINY, MATCHING], ids=["local", "matching"])
def test_every_weight_learns(config: SGMConfig) -> None:
    torch.manual_seed(0)
    network = SGM(config).train()
    frame0, frame1 = moved((0, 0)), moved((60, 0))
    result = network(frame0, frame1, time_like(frame0, 0.4), explain=True)
    assert len(result.merged) == (1 if config is TINY else 2)
    assert not result.explanation["initial_flow"].requires_grad
    result.frame.sum().backward()
    idle = {n for n, w in network.named_parameters() if w.grad is None}
    assert {name.partition(".")[0] for name in idle} <= {"gmflow"}


def test_whole_weights_hold_those_of_the_local_branch() -> None:
    local, whole = SGM(TINY).state_dict(), SGM(MATCHING).state_dict()
    assert local.keys() < whole.keys()
    assert all(local[name].shape == whole[name].shape for name in local)
    assert not any(name.startswith(("search", "encoder.relate")) for name in whole)


def test_fresh_weights_take_half_of_the_draft_and_half_of_the_blend() -> None:
    torch.manual_seed(0)
    network = SGM(TINY).eval()
    frame0, frame1 = moved((0, 0)), moved(SHIFT)
    state, time = network.prepare(frame0, frame1), time_like(frame0, 0.5)
    motion = network.estimate(state, time)
    expected = (motion.draft + blend(warp_pair(state.frames, motion.flow), motion.blend_logits)) / 2
    expected = expected.clamp(0, 1)
    torch.testing.assert_close(network.interpolate(state, time).frame, expected)


def test_fresh_weights_change_little_of_what_was_found() -> None:
    torch.manual_seed(0)
    network = SGM(MATCHING).eval()
    frame0, frame1 = moved((0, 0)), moved(SHIFT)
    notes = network(frame0, frame1, time_like(frame0, 0.5), explain=True).explanation
    change = (notes["merged_flow"] - notes["initial_flow"])[..., 24:-24, 24:-24]
    assert change.abs().mean() < 0.05 * notes["initial_flow"].abs().mean()


def test_both_stages_train_and_the_second_keeps_what_the_first_learnt(tmp_path: Path) -> None:
    """As in training: a first look, steps, files; the result is found to be better than a blend."""
    scenes = {"scenes": SMOKE.data.scenes}  # a blend is no match on these
    first = recipe(data=scenes, calibrate=True)
    first = replace(first, name="first", model=replace(TINY, any_time=False))
    with process_group(torch.device("cpu")):
        Trainer(first, here(tmp_path / "first")).fit()
    local = tmp_path / "first/ckpt/first.safetensors"
    matching = replace(MATCHING, any_time=False)
    second = replace(recipe_global(), name="second", model=matching, start_from=str(local))
    second = replace(second, data=replace(second.data, **scenes))
    with process_group(torch.device("cpu")):
        trainer = X4KTrainer(second, here(tmp_path / "second"))
        trainer.fit()
        scores = trainer.validate()
    assert scores["psnr"] > scores["psnr_blend"]
    state, kept = (
        load_interpolator(path).state_dict()
        for path in (tmp_path / "second/ckpt/second.safetensors", local)
    )
    for name, weight in kept.items():
        assert torch.equal(state[name], weight) or name.startswith("synthesis.context.")


@pytest.mark.parametrize(
    "fields",
    [{"initial_flow": "searched"}, {"depths": (2, 2, 2, 0)}],
    ids=["attention without use", "no initial flow"],
)
def test_attention_is_there_where_the_initial_flow_is_learnt(fields: dict) -> None:
    with pytest.raises(ValueError, match="depths end in 0"):
        replace(SGM_SMALL, **fields)
    assert SGM_SEARCHED.depths[3] == 0
