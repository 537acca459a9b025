"""Weights: everything or nothing, and no code from files."""

import os
import pickle
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from sgm_vfi.media.images import write_frame
from sgm_vfi.model import load_interpolator, time_like
from sgm_vfi.model.flow.gmflow_features import PUBLISHED_NAMES as GMFLOW_NAMES
from sgm_vfi.model.flow.gmflow_features import GMFlowFeatures, load_gmflow_features
from sgm_vfi.model.sgm.checkpoint_names import SCOPES, to_published
from sgm_vfi.model.sgm.network import SGM, SGM_BASE, SGM_SMALL, SGMConfig
from sgm_vfi.model.weight_io import (
    CheckpointError,
    load_weights,
    published_name,
    read_weights,
    save_weights,
    translate_name,
)
from sgm_vfi.storage.file_identity import sha256
from tests.conftest import TINY, randomize_weights

PUBLISHED = replace(
    TINY, depths=(2, 2, 2, 3), colour_order="bgr", keypoint_ratio=0.5, dense_up_to=32
)


def published_state(net: SGM, prefix: str = "module.") -> dict[str, Tensor]:
    """A state dict as the published code saves it, accidental buffers and all."""
    state = {prefix + to_published(name): tensor for name, tensor in net.state_dict().items()}
    state[prefix + "feature_bone.block4.1.attn_mask"] = torch.zeros(4, 49, 49)
    state[prefix + "feature_bone.block4.1.HW"] = torch.tensor([256.0])
    return state


def save_published(path: Path, net: SGM, prefix: str = "module.") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    optimiser = {"state": {}, "param_groups": [{"lr": 2e-4, "params": [0]}]}
    torch.save({"epoch": 0, "model": published_state(net, prefix), "optimizer": optimiser}, path)
    return path


def assert_same(net: torch.nn.Module, loaded: torch.nn.Module) -> None:
    theirs, ours = net.state_dict(), loaded.state_dict()
    assert theirs.keys() == ours.keys()
    assert all(torch.equal(theirs[name], ours[name]) for name in theirs)


@pytest.mark.parametrize("prefix", ["module.", ""])
@pytest.mark.parametrize("ending", [".pth", ".pkl"])
def test_published_checkpoint_loads_whole(tmp_path: Path, prefix: str, ending: str) -> None:
    net = randomize_weights(SGM(PUBLISHED))
    path = save_published(tmp_path / f"any{ending}", net, prefix)
    loaded = load_interpolator(path)
    assert loaded.config == PUBLISHED
    assert not loaded.training
    assert_same(net, loaded)


def test_local_checkpoint_makes_the_local_network(tmp_path: Path) -> None:
    net = randomize_weights(SGM(replace(PUBLISHED, keypoint_ratio=None)))
    loaded = load_interpolator(save_published(tmp_path / "local.pth", net))
    assert loaded.config.keypoint_ratio is None
    assert_same(net, loaded)
    with pytest.raises(ValueError, match="matches no key points"):
        load_interpolator(tmp_path / "local.pth", num_key_points=0.5)


@pytest.mark.parametrize(("flag", "ratio"), [(0.125, 0.125), (0, 0), (1, 1), (-1, 1)])
def test_share_of_key_points_is_chosen_when_loading(
    tmp_path: Path, flag: float, ratio: float
) -> None:
    path = save_published(tmp_path / "any.pth", SGM(PUBLISHED))
    assert load_interpolator(path, num_key_points=flag).config.keypoint_ratio == ratio
    with pytest.raises(ValueError, match=r"or -1 for all cells, got 1.5"):
        load_interpolator(path, num_key_points=1.5)


def test_published_places_are_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    net = randomize_weights(SGM(replace(SGM_SMALL, colour_order="bgr")))
    save_published(tmp_path / "log/ours-1-2-points/ckpt/ours-1-2-points.pkl", net)
    assert_same(net, load_interpolator("ours-1-2-points"))
    by_zoo_name = load_interpolator("ours-small-1-2")
    assert_same(net, by_zoo_name)
    assert by_zoo_name.config.colour_order == "bgr"
    with pytest.raises(FileNotFoundError, match=r"ours-base-1-2.*log.*ckpt"):
        load_interpolator("ours-base-1-2")


def test_a_name_refuses_weights_of_another_size(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    save_published(tmp_path / "log/ours-base-1-2/ckpt/ours-base-1-2.pth", SGM(PUBLISHED))
    with pytest.raises(CheckpointError, match=r"file is 4 channels wide.*ours-base-1-2 is 32"):
        load_interpolator("ours-base-1-2")
    local = SGM(replace(SGM_BASE, keypoint_ratio=None))
    save_published(tmp_path / "log/ours-base-1-2/ckpt/ours-base-1-2.pth", local)
    with pytest.raises(CheckpointError, match="local branch alone"):
        load_interpolator("ours-base-1-2")


def test_own_format_keeps_the_config(tmp_path: Path) -> None:
    config = replace(TINY, any_time=True, keypoint_ratio=0.125)
    net = randomize_weights(SGM(config))
    path = tmp_path / "own.safetensors"
    save_weights(net, path, {"config": asdict(config), "recipe": {"epochs": 3}})
    loaded = load_interpolator(path)
    assert loaded.config == config
    assert loaded.any_time
    assert_same(net, loaded)
    assert read_weights(path).metadata["recipe"] == {"epochs": 3}
    assert os.listdir(tmp_path) == ["own.safetensors"]
    assert len(sha256(path)) == 64


def test_training_checkpoint_keeps_the_config(tmp_path: Path) -> None:
    net = randomize_weights(SGM(TINY))
    path = tmp_path / "last.pth"
    torch.save({"model": net.state_dict(), "metadata": {"config": asdict(TINY)}}, path)
    assert_same(net, load_interpolator(path))


Change = Callable[[dict[str, Tensor]], object]


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (lambda s: s.pop("module.unet.conv.bias"), "1 tensors missing.*synthesis.unet.output.bias"),
        (lambda s: s.update({"module.extra.weight": torch.ones(1)}), "1 unexpected.*extra.weight"),
        (
            lambda s: s.update({"module.unet.conv.bias": torch.ones(4)}),
            r"another shape.*synthesis.unet.output.bias \(4,\) for \(3,\)",
        ),
        (
            lambda s: [
                s.pop(k) for k in list(s) if "matching_block" in k or k.endswith("norm4.bias")
            ],
            "tensors missing|unexpected",
        ),
    ],
)
def test_a_partial_checkpoint_is_refused_by_name(
    tmp_path: Path, change: Change, named: str
) -> None:
    state = published_state(SGM(PUBLISHED))
    change(state)
    path = tmp_path / "partial.pth"
    torch.save({"model": state}, path)
    with pytest.raises(CheckpointError, match=named):
        load_interpolator(path)


def test_nothing_is_loaded_when_something_is_missing() -> None:
    net = SGM(TINY)
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    state = {name: torch.zeros_like(tensor) for name, tensor in before.items()}
    state.popitem()
    with pytest.raises(CheckpointError, match="Nothing was loaded"):
        load_weights(net, read_from(state))
    assert all(torch.equal(before[name], tensor) for name, tensor in net.state_dict().items())


def read_from(state: dict[str, Tensor]) -> object:
    from sgm_vfi.model.weight_io import Weights

    return Weights(state, {}, Path("made-up.pth"))


class Trap:
    """Unpickling this would make a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> tuple:
        return os.mkdir, (str(self.folder),)


def damaged_files(folder: Path) -> dict[str, Path]:
    whole = save_published(folder / "whole.pth", SGM(PUBLISHED)).read_bytes()
    save_weights(SGM(TINY), folder / "own.safetensors", {"config": asdict(TINY)})
    own = (folder / "own.safetensors").read_bytes()
    content = {
        "truncated.pth": whole[: len(whole) // 2],
        "empty.pth": b"",
        "text.pth": b"<html>404</html>",
        "truncated.safetensors": own[: len(own) // 2],
        "text.safetensors": b"not a header at all",
        "code.pth": pickle.dumps({"model": Trap(folder / "sprung")}, protocol=2),
    }
    for name, data in content.items():
        (folder / name).write_bytes(data)
    return {name: folder / name for name in content}


def test_damaged_files_and_pickled_code_are_refused(tmp_path: Path) -> None:
    for name, path in damaged_files(tmp_path).items():
        with pytest.raises(CheckpointError, match=name):
            load_interpolator(path)
    assert not (tmp_path / "sprung").exists()


def test_files_that_hold_something_else_are_refused(tmp_path: Path) -> None:
    torch.save({"model": {"epoch": 3}}, tmp_path / "numbers.pth")
    torch.save([1, 2], tmp_path / "list.pth")
    torch.save({"some.weight": torch.ones(2)}, tmp_path / "other.pth")
    torch.save({"model": {"feature_bone.x": torch.ones(2)}}, tmp_path / "hollow.pth")
    for name, said in (
        ("numbers", "epoch"),
        ("list", "no weights"),
        ("other", "no SGM-VFI checkpoint"),
        ("hollow", "no encoder"),
    ):
        with pytest.raises(CheckpointError, match=said):
            load_interpolator(tmp_path / f"{name}.pth")


@pytest.mark.parametrize(
    "described",
    [
        {"config": {"layers": 3}},
        {"config": None},
        {"config": {"depths": [1]}},
        {"config": {"channels": -4}},
    ],
)
def test_what_is_described_otherwise_than_here_is_refused(
    tmp_path: Path, described: dict[str, object]
) -> None:
    """As by a later version of this code."""
    path = tmp_path / "own.safetensors"
    save_weights(SGM(TINY), path, described)
    with pytest.raises(CheckpointError, match=r"own\.safetensors describes .*another version"):
        load_interpolator(path)


@pytest.mark.parametrize(
    "content", [{"model": {"a": torch.ones(2)}, "metadata": [1]}, {1: torch.ones(2)}]
)
def test_odd_files_are_refused(tmp_path: Path, content: object) -> None:
    torch.save(content, tmp_path / "odd.pth")
    with pytest.raises(CheckpointError, match=r"odd\.pth"):
        load_interpolator(tmp_path / "odd.pth")


def test_a_picture_is_no_file_of_weights(tmp_path: Path) -> None:
    """And nobody is told how to run the code in it."""
    write_frame(tmp_path / "frame.png", torch.rand(3, 8, 8))
    with pytest.raises(CheckpointError, match="no file of weights") as caught:
        load_interpolator(tmp_path / "frame.png")
    assert "weights_only" not in str(caught.value)


def test_unknown_names_name_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="Known names: repeat, blend, dis, sift"):
        load_interpolator("ours-1-3-points")
    with pytest.raises(FileNotFoundError, match=r"Did you mean matched\?"):
        load_interpolator("matchd")
    with pytest.raises(FileNotFoundError, match="No file of weights at"):
        load_interpolator(tmp_path / "nothing.pth")
    with pytest.raises(FileNotFoundError, match="is a folder"):
        load_interpolator(tmp_path)


def test_gmflow_file_gives_features_and_is_no_interpolator(tmp_path: Path) -> None:
    features = GMFlowFeatures()
    state = {published_name(n, GMFLOW_NAMES): t for n, t in features.state_dict().items()}
    state["feature_flow_attn.q_proj.weight"] = torch.ones(128, 128)
    state["upsampler.0.bias"] = torch.ones(256)
    path = tmp_path / "gmflow_sintel-0c07dcb3.pth"
    torch.save({"model": state}, path)
    other = GMFlowFeatures()
    load_gmflow_features(other, read_weights(path))
    assert_same(features, other)
    with pytest.raises(CheckpointError, match="GMFlow checkpoint"):
        load_interpolator(path)
    state.pop("backbone.conv1.weight")
    torch.save({"model": state}, path)
    with pytest.raises(CheckpointError, match=r"backbone.conv1.weight"):
        load_gmflow_features(other, read_weights(path))


@pytest.mark.parametrize("config", [SGM_SMALL, SGM_BASE, replace(SGM_SMALL, keypoint_ratio=None)])
def test_names_translate_both_ways(config: SGMConfig) -> None:
    with torch.device("meta"):
        names = list(SGM(config).state_dict())
    published = [to_published(name) for name in names]
    assert len(set(published)) == len(names)
    assert [translate_name(name, SCOPES) for name in published] == names


def test_loaded_weights_predict_what_the_saved_ones_did(tmp_path: Path) -> None:
    net = randomize_weights(SGM(PUBLISHED)).eval()
    loaded = load_interpolator(save_published(tmp_path / "any.pth", net))
    frames = torch.rand(2, 1, 3, 272, 64)
    time = time_like(frames[0], 0.5)
    with torch.no_grad():
        assert torch.equal(net(*frames, time).frame, loaded(*frames, time).frame)
