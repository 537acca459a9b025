"""GMA and GMFlow, and flow networks by name."""

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from sgm_vfi.model.flow.dis import DISFlow
from sgm_vfi.model.flow.flow_zoo import build_flow_estimator, load_flow_estimator
from sgm_vfi.model.flow.gma import AggregatingUpdate
from sgm_vfi.model.flow.gmflow import FlowPropagation, GMFlow
from sgm_vfi.model.flow.gmflow_features import GMFlowFeatures
from sgm_vfi.model.weight_io import CheckpointError
from tests.conftest import randomize_weights
from tests.parity.zoo.check_flow_networks import published_state

FILES = {
    "raft": "raft-sintel.pth",
    "gma": "gma-sintel.pth",
    "gmflow": "gmflow_sintel-0c07dcb3.pth",
    "liteflownet": "network-default.pytorch",
}


def frames(height: int, width: int, seed: int = 0) -> Tensor:
    """Shapes: -> (2, 1, 3, H, W)."""
    return torch.rand(2, 1, 3, height, width, generator=torch.Generator().manual_seed(seed))


@pytest.fixture(scope="module")
def gmflow() -> GMFlow:
    """One block of each kind, shifted and not, of random weights."""
    return randomize_weights(GMFlow(num_layers=2)).eval()


# GMA
def test_aggregation_shares_motion_between_cells_that_look_alike() -> None:
    """Against attention written out: cell by cell, over all cells."""
    torch.manual_seed(0)
    update = randomize_weights(AggregatingUpdate())
    update.gamma.data.fill_(0.7)
    seen = []
    update.recurrent_block.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[1]))
    hidden, context = torch.rand(2, 2, 128, 3, 4)
    correlations, flow = torch.rand(2, 324, 3, 4), torch.rand(2, 2, 3, 4)
    with torch.inference_mode():
        update(hidden, context, correlations, flow)
        motion = update.motion_encoder(flow, correlations)
        queries, keys = update.query_key(context).chunk(2, dim=1)
        scores = torch.einsum("bchw,bcij->bhwij", queries, keys) / 128**0.5
        attention = scores.flatten(3).softmax(dim=-1).unflatten(3, (3, 4))
        shared = torch.einsum("bhwij,bcij->bchw", attention, update.value(motion))
        expected = torch.cat((context, motion, motion + 0.7 * shared), dim=1)
    torch.testing.assert_close(seen[0], expected)


# GMFlow
def test_windows_see_only_themselves() -> None:
    """Without a shift, what changes in one quarter of the map changes nothing in the others."""
    features = randomize_weights(GMFlowFeatures(num_layers=1, splits=2)).eval()
    tokens = torch.randn(2, 6, 8, 128)
    changed = tokens.clone()
    changed[1, 4, 6] += 1
    with torch.inference_mode():
        difference = (features.attend(tokens) - features.attend(changed)).abs().amax(dim=(0, 3))
    assert (difference[3:, 4:] > 1e-4).all()
    assert difference[:3].max() == 0
    assert difference[:, :4].max() == 0


def test_shifted_windows_do_not_see_around_the_border() -> None:
    """A change in the last cell reaches the window around it, not the cells of the first rows."""
    transformer = randomize_weights(GMFlowFeatures(num_layers=2, splits=2)).transformer.eval()
    transformer.layers[0] = Unchanged()
    tokens = torch.randn(2, 8, 8, 128)
    changed = tokens.clone()
    changed[1, 7, 7] += 1
    with torch.inference_mode():
        difference = (transformer(tokens) - transformer(changed)).abs().amax(dim=(0, 3))
    assert (difference[6:, 6:] > 1e-4).all()
    assert difference[:6].max() == 0
    assert difference[:, :6].max() == 0


class Unchanged(torch.nn.Module):
    def forward(self, tokens: Tensor, others: Tensor, mask: Tensor | None) -> Tensor:
        return tokens


def test_one_split_looks_over_the_whole_frame() -> None:
    features = randomize_weights(GMFlowFeatures(num_layers=1)).eval()
    tokens = torch.randn(2, 4, 6, 128)
    changed = tokens.clone()
    changed[1, 3, 5] += 1
    with torch.inference_mode():
        difference = (features.attend(tokens) - features.attend(changed)).abs().amax(dim=(0, 3))
    assert (difference > 1e-5).all()


def test_propagation_is_a_mean_of_flows() -> None:
    """Alike everywhere, every cell gets the mean flow; a flow without differences stays."""
    propagation = randomize_weights(FlowPropagation())
    flow = torch.randn(2, 12, 2)
    with torch.inference_mode():
        mean = propagation(torch.ones(2, 12, 128), flow)
        same = propagation(torch.randn(2, 12, 128), torch.full((2, 12, 2), 3.0))
    torch.testing.assert_close(mean, flow.mean(dim=1, keepdim=True).expand_as(flow))
    torch.testing.assert_close(same, torch.full((2, 12, 2), 3.0))


def test_both_ways_at_once_is_each_way_alone(gmflow: GMFlow) -> None:
    pair = frames(48, 64)
    with torch.inference_mode():
        forward, backward = gmflow.bidirectional(*pair)
        torch.testing.assert_close(forward, gmflow(*pair), rtol=1e-3, atol=1e-3)
        torch.testing.assert_close(backward, gmflow(*pair.flip(0)), rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize(("height", "width"), [(1, 1), (40, 50)])
def test_other_sizes_are_padded_by_their_edges(gmflow: GMFlow, height: int, width: int) -> None:
    source, target = frames(height, width)
    below, right = -height % 16, -width % 16
    pad = (right // 2, right - right // 2, below // 2, below - below // 2)
    with torch.inference_mode():
        flow = gmflow(source, target)
        whole = gmflow(*(F.pad(frame, pad, mode="replicate") for frame in (source, target)))
    expected = whole[..., below // 2 :, right // 2 :][..., :height, :width]
    torch.testing.assert_close(flow, expected, rtol=1e-4, atol=1e-3)


# by name
@pytest.mark.parametrize("name", FILES)
def test_published_files_load_by_name_or_by_path(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(0)
    estimator = build_flow_estimator(name)
    state = published_state(name, estimator)
    place = tmp_path / "pretrained" / FILES[name]
    place.parent.mkdir()
    torch.save({"model": state} if name == "gmflow" else state, place)
    for loaded in (load_flow_estimator(name), load_flow_estimator(name, place)):
        assert not loaded.training
        ours, theirs = estimator.state_dict(), loaded.state_dict()
        assert ours.keys() == theirs.keys()
        assert all(torch.equal(ours[key], theirs[key]) for key in ours)
    state.pop(next(iter(state)))
    torch.save(state, place)
    with pytest.raises(CheckpointError, match="1 tensors missing"):
        load_flow_estimator(name)


def test_what_has_no_weights_needs_no_file() -> None:
    assert isinstance(load_flow_estimator("dis"), DISFlow)


def test_unknown_names_and_missing_files_say_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sgm_vfi.model.weight_search.ROOT", tmp_path)
    with pytest.raises(ValueError, match="Known names: raft, gma, gmflow"):
        build_flow_estimator("pwcnet")
    with pytest.raises(FileNotFoundError, match=r"pretrained/gma-sintel\.pth"):
        load_flow_estimator("gma")
