"""RAFT as a flow estimator, on top of torchvision's implementation."""

from copy import deepcopy
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torchvision.models.optical_flow import raft_large
from torchvision.models.optical_flow._utils import make_coords_grid

from sgm_vfi.model.flow.raft import PUBLISHED_NAMES, RAFT, load_raft, torchvision_weights
from sgm_vfi.model.weight_io import CheckpointError, published_name
from tests.conftest import randomize_weights


@pytest.fixture(scope="module")
def estimator() -> RAFT:
    """Two updates of a network with random weights."""
    return randomize_weights(RAFT(iterations=2)).eval()


@pytest.fixture(autouse=True)
def nothing_lies_around(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """This machine's weights, if it has some, are out of sight."""
    monkeypatch.setattr("sgm_vfi.model.weight_search.ROOT", tmp_path / "repository")
    monkeypatch.setattr("torch.hub.get_dir", lambda: str(tmp_path / "hub"))
    (tmp_path / "workdir").mkdir()
    monkeypatch.chdir(tmp_path / "workdir")


def frames(height: int, width: int, seed: int = 0) -> Tensor:
    """Shapes: -> (2, 1, 3, H, W)."""
    return torch.rand(2, 1, 3, height, width, generator=torch.Generator().manual_seed(seed))


def published(estimator: RAFT) -> dict[str, Tensor]:
    """The same weights as the published file has them: other names, and some under two."""
    state = {
        "module." + published_name(name, PUBLISHED_NAMES): tensor
        for name, tensor in estimator.network.state_dict().items()
    }
    doubled = {
        name.replace(".downsample.1.", ".norm3."): tensor
        for name, tensor in state.items()
        if ".downsample.1." in name
    }
    assert len(doubled) == 10
    return state | doubled


# names, from the published list
@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        ("fnet.conv1.weight", "feature_encoder.convnormrelu.0.weight"),
        ("fnet.conv2.bias", "feature_encoder.conv.bias"),
        ("fnet.layer2.0.conv2.weight", "feature_encoder.layer2.0.convnormrelu2.0.weight"),
        ("fnet.layer3.0.downsample.0.bias", "feature_encoder.layer3.0.downsample.0.bias"),
        ("cnet.norm1.running_var", "context_encoder.convnormrelu.1.running_var"),
        ("cnet.layer1.1.norm2.bias", "context_encoder.layer1.1.convnormrelu2.1.bias"),
        ("update_block.encoder.convf2.bias", "update_block.motion_encoder.convflow2.0.bias"),
        ("update_block.encoder.conv.bias", "update_block.motion_encoder.conv.0.bias"),
        ("update_block.gru.convq2.weight", "update_block.recurrent_block.convgru2.convq.weight"),
        ("update_block.flow_head.conv1.bias", "update_block.flow_head.conv1.bias"),
        ("update_block.mask.2.weight", "mask_predictor.conv.weight"),
    ],
)
def test_published_names(theirs: str, ours: str) -> None:
    assert published_name(ours, PUBLISHED_NAMES) == theirs
    assert ours in raft_large(weights=None).state_dict()


@pytest.mark.parametrize("theirs", [True, False])
def test_weights_give_the_same_flow_under_either_name(
    estimator: RAFT, tmp_path: Path, theirs: bool
) -> None:
    path = tmp_path / "weights.pth"
    torch.save(published(estimator) if theirs else estimator.network.state_dict(), path)
    loaded, source = load_raft(path, iterations=2)
    assert source == path
    assert not loaded.training
    pair = frames(128, 136)
    with torch.inference_mode():
        assert torch.equal(loaded(*pair), estimator(*pair))


# the contract
def test_range_order_and_the_last_update(estimator: RAFT, monkeypatch: pytest.MonkeyPatch) -> None:
    """At a good size it is torchvision's network on frames from -1 to 1, first frame first.

    In double precision, as torchvision keeps places of cells, not flows: in single precision, the
    last bit of a place is more than 1e-5 pixels.
    """
    estimator = deepcopy(estimator).double()
    source, target = frames(128, 144).double()
    monkeypatch.setattr(
        "torchvision.models.optical_flow.raft.make_coords_grid",
        lambda *sizes: make_coords_grid(*sizes).double(),
    )
    with torch.inference_mode():
        flow = estimator(source, target)
        expected = estimator.network(source * 2 - 1, target * 2 - 1, num_flow_updates=2)
    assert flow.shape == (1, 2, 128, 144)
    torch.testing.assert_close(flow, expected[1], rtol=0, atol=1e-10)
    assert not torch.allclose(flow, expected[0])


def test_both_flows_encode_each_frame_once(estimator: RAFT) -> None:
    """And nothing of them is kept."""
    source, target = frames(128, 144)
    looks = []
    watch = estimator.network.feature_encoder.register_forward_hook(lambda *_: looks.append(1))
    with torch.inference_mode():
        forward, backward = estimator.bidirectional(source, target)
        assert len(looks) == 2
        torch.testing.assert_close(forward, estimator(source, target))
        torch.testing.assert_close(backward, estimator(target, source))
    watch.remove()
    assert not estimator.network.corr_block.corr_pyramid


@pytest.mark.parametrize(("height", "width"), [(1, 1), (70, 131), (133, 128)])
def test_other_sizes_are_padded_by_their_edges(estimator: RAFT, height: int, width: int) -> None:
    """The flow is the one inside a frame whose edge pixels go on."""
    source, target = frames(height, width)
    rows = (torch.arange(max(-(-height // 8) * 8, 128)) - extra(height) // 2).clamp(0, height - 1)
    columns = (torch.arange(max(-(-width // 8) * 8, 128)) - extra(width) // 2).clamp(0, width - 1)
    with torch.inference_mode():
        flow = estimator(source, target)
        whole = estimator(source[..., rows, :][..., columns], target[..., rows, :][..., columns])
    top, left = extra(height) // 2, extra(width) // 2
    assert flow.shape == (1, 2, height, width)
    assert torch.equal(flow, whole[..., top : top + height, left : left + width])


def extra(size: int) -> int:
    return max(-(-size // 8) * 8, 128) - size


def test_no_iteration_is_no_flow() -> None:
    with pytest.raises(ValueError, match="once or more, got 0"):
        RAFT(iterations=0)


# where weights are
def test_search_paths_in_order(estimator: RAFT, tmp_path: Path) -> None:
    """The published file before torchvision's, and of these the converted one first."""
    hub = tmp_path / "hub" / "checkpoints"
    hub.mkdir(parents=True)
    (tmp_path / "repository" / "pretrained").mkdir(parents=True)
    places = [hub / weights.url.split("/")[-1] for weights in reversed(torchvision_weights())]
    places.append(tmp_path / "repository" / "pretrained" / "raft-sintel.pth")
    for place in places:
        torch.save(published(estimator), place)
        assert load_raft()[1] == place


def test_missing_weights_name_their_path() -> None:
    with pytest.raises(FileNotFoundError) as caught:
        load_raft()
    message = str(caught.value)
    assert "raft-sintel.pth" in message
    assert "https://download.pytorch.org/models/raft_large_C_T_SKHT_V1-0b8c9e55.pth" in message
    assert "checkpoints" in message


def test_other_weights_are_refused(estimator: RAFT, tmp_path: Path) -> None:
    state = published(estimator)
    state.pop("module.fnet.conv1.bias")
    torch.save(state, tmp_path / "weights.pth")
    with pytest.raises(CheckpointError, match=r"1 tensors missing: feature_encoder\.convnormrelu"):
        load_raft(tmp_path / "weights.pth")
