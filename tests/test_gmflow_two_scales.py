"""GMFlow at two scales: its parts against loops, and its published names."""

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from sgm_vfi.model import load_interpolator
from sgm_vfi.model.flow.flow_zoo import load_flow_estimator
from sgm_vfi.model.flow.gmflow import FlowPropagation
from sgm_vfi.model.flow.gmflow_two_scales import (
    SCOPES,
    SPLITS,
    GMFlowRefine,
    GMFlowRefineFeatures,
    load_gmflow_refine_weights,
    match_locally,
)
from sgm_vfi.model.sgm.network import SGMConfig
from sgm_vfi.model.weight_io import CheckpointError, Weights, published_name
from tests.conftest import randomize_weights


@pytest.fixture(scope="module")
def estimator() -> GMFlowRefine:
    """Two transformer blocks, shifted and not, with random weights."""
    return randomize_weights(GMFlowRefine(num_layers=2)).eval()


def test_local_matching_is_a_softmax_over_cells_inside_the_frame() -> None:
    source, target = torch.randn(2, 1, 8, 5, 6)
    found = match_locally(source, target, radius=2)[0]
    for y in range(5):
        for x in range(6):
            cells = [
                (v, u)
                for v in range(max(y - 2, 0), min(y + 3, 5))
                for u in range(max(x - 2, 0), min(x + 3, 6))
            ]
            scores = torch.stack([source[0, :, y, x] @ target[0, :, v, u] for v, u in cells])
            weights = (scores / 8**0.5).softmax(dim=0)
            flow = weights @ torch.tensor([(u - x, v - y) for v, u in cells]).float()
            torch.testing.assert_close(found[:, y, x], flow, atol=1e-5, rtol=1e-5)


def test_local_propagation_counts_what_lies_outside_as_zero() -> None:
    propagation = randomize_weights(FlowPropagation())
    tokens, flow = torch.randn(1, 128, 3, 4), torch.randn(1, 2, 3, 4)
    with torch.inference_mode():
        found = propagation.among_neighbours(tokens, flow, radius=1)[0]
        cells = tokens[0].permute(1, 2, 0)
        queries, keys = propagation.query(cells), propagation.key(cells)
    for y in range(3):
        for x in range(4):
            scores, flows = torch.zeros(9), torch.zeros(9, 2)
            for i in range(9):
                v, u = y + i // 3 - 1, x + i % 3 - 1
                if 0 <= v < 3 and 0 <= u < 4:
                    scores[i], flows[i] = queries[y, x] @ keys[v, u] / 128**0.5, flow[0, :, v, u]
            expected = scores.softmax(dim=0) @ flows
            torch.testing.assert_close(found[:, y, x], expected, atol=1e-5, rtol=1e-5)


def test_both_flows_at_once_equal_each_alone() -> None:
    """With weights as they are initialised: large ones enlarge what rounding changes."""
    torch.manual_seed(0)
    estimator = GMFlowRefine(num_layers=2).eval()
    frame0, frame1 = torch.rand(2, 1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        forward, backward = estimator.bidirectional(frame0, frame1)
        torch.testing.assert_close(forward, estimator(frame0, frame1), rtol=1e-3, atol=1e-3)
        torch.testing.assert_close(backward, estimator(frame1, frame0), rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize(("height", "width"), [(1, 1), (40, 67)])
def test_frames_are_padded_by_their_edges_and_the_flow_is_cropped(
    estimator: GMFlowRefine, height: int, width: int
) -> None:
    source, target = torch.rand(2, 1, 3, height, width)
    below, right = -height % 64, -width % 64
    top, left = below // 2, right // 2
    pad = (left, right - left, top, below - top)
    with torch.inference_mode():
        flow = estimator(source, target)
        whole = estimator(*(F.pad(frame, pad, mode="replicate") for frame in (source, target)))
    expected = whole[..., top : top + height, left : left + width]
    torch.testing.assert_close(flow, expected, rtol=1e-4, atol=1e-3)


def published_state(estimator: GMFlowRefine) -> dict[str, Tensor]:
    return {published_name(name, SCOPES): x for name, x in estimator.state_dict().items()}


def test_published_weights_load_as_flow_and_as_blend(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SGM_VFI_WEIGHTS", str(tmp_path))
    torch.manual_seed(0)
    estimator = GMFlowRefine()
    state = published_state(estimator)
    assert "backbone.trident_conv.weight" in state
    assert "transformer.layers.5.cross_attn_ffn.mlp.2.weight" in state
    path = tmp_path / "flownet.pkl"
    torch.save(state, path)
    for loaded in (load_flow_estimator("gmflow_refine", path), load_interpolator(path).flow):
        ours, theirs = estimator.state_dict(), loaded.state_dict()
        assert ours.keys() == theirs.keys()
        assert all(torch.equal(ours[key], theirs[key]) for key in ours)
    state.pop("upsampler.0.bias")
    torch.save(state, path)
    with pytest.raises(CheckpointError, match="1 tensors missing"):
        load_flow_estimator("gmflow_refine", path)


def test_without_weights_the_command_that_fetches_them_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sgm_vfi.model.flow.flow_zoo.weights_folders", lambda: [tmp_path])
    with pytest.raises(FileNotFoundError, match="sgm-vfi weights fetch gmflow_refine"):
        load_flow_estimator("gmflow_refine")


@torch.inference_mode()
def test_features_for_matching_are_those_at_one_eighth(estimator: GMFlowRefine) -> None:
    """From the same published names; the flow head is left out."""
    features = GMFlowRefineFeatures(num_layers=2).eval()
    state = {published_name(name, SCOPES): part for name, part in estimator.state_dict().items()}
    load_gmflow_refine_weights(features, Weights(state, {}, "published"))
    frames = torch.rand(2, 3, 64, 128)
    coarse = [estimator.encode(frame[None]).coarse for frame in frames]
    expected = torch.cat(estimator.attend(*coarse, SPLITS[0])).permute(0, 3, 1, 2)
    torch.testing.assert_close(features(frames), expected, atol=1e-4, rtol=1e-4)


def test_features_of_two_scales_need_their_colours() -> None:
    with pytest.raises(ValueError, match="colour_order=rgb"):
        SGMConfig(features="gmflow_refine", colour_order="bgr")
