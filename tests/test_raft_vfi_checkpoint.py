"""Published files of RAFT-VFI."""

from pathlib import Path

import pytest
import torch

from sgm_vfi.model import load_interpolator
from sgm_vfi.model.baselines.raft_vfi.checkpoint_names import (
    COMPUTED,
    FLOW_PREFIX,
    KERNELS,
    to_published,
)
from sgm_vfi.model.baselines.raft_vfi.network import RAFTVFI, RAFTVFIConfig
from sgm_vfi.model.interpolator import time_like
from sgm_vfi.model.weight_io import CheckpointError, save_weights
from sgm_vfi.model.zoo import ZOO
from tests.conftest import randomize_weights


def save_published(folder: Path, net: RAFTVFI) -> Path:
    """Two files, with what the published ones hold besides weights."""
    folder.mkdir(parents=True, exist_ok=True)
    state, flow = {}, {}
    for name, tensor in net.state_dict().items():
        (flow if name.startswith(FLOW_PREFIX) else state)["module." + to_published(name)] = tensor
    flow |= {n.replace("downsample.1", "norm3"): t for n, t in flow.items() if "downsample.1" in n}
    state |= {f"module.{name}": kernel for name, kernel in KERNELS.items()}
    state |= {f"module.ifnet.block2.somewhere{name}": torch.zeros(2, 2) for name in COMPUTED}
    torch.save(state, folder / "interpnet.pt")
    torch.save(flow, folder / "raft-sintel.pt")
    return folder / "interpnet.pt"


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        ("refinement.0.body.2.1.0.bias", "ifnet.block1.convblock2.1.0.bias"),
        ("refinement.1.body.1.norm_in.bias", "ifnet.block2.trans.patch_embed.norm.bias"),
        (
            "refinement.2.body.1.groups.1.layers.0.attention.coarse_offset_bias",
            "ifnet.block3.trans.layers0.1.residual_group.blocks.0.attn"
            ".relative_position_bias_table_y",
        ),
        (
            "refinement.2.body.1.groups.0.layers.2.attention.offset_bias",
            "ifnet.block3.trans.layers0.0.residual_group.blocks.2.attn"
            ".relative_position_bias_table",
        ),
        ("synthesis.unet.up.2.after.0.weight", "internet.refinenet.up3.conv2.weight"),
        ("synthesis.mask.4.bias", "internet.masknet.conv3.bias"),
        ("flow.network.update_block.flow_head.conv1.bias", "update_block.flow_head.conv1.bias"),
    ],
)
def test_published_names(ours: str, theirs: str) -> None:
    assert ours in RAFTVFI().state_dict()
    assert to_published(ours) == theirs


def test_published_files_and_ours_give_the_same_frame(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    net = randomize_weights(RAFTVFI(RAFTVFIConfig(colour_order="bgr"))).eval()
    published = save_published(tmp_path / "log" / "interpnet" / "ckpt", net)
    own = tmp_path / "own.safetensors"
    save_weights(net, own, {"network": "raft_vfi", "config": {"colour_order": "bgr"}})
    monkeypatch.chdir(tmp_path)
    frame0, frame1 = torch.rand(2, 1, 3, 32, 32)
    half = time_like(frame0, 0.5)
    net.flow.iterations = 1  # which is enough for every weight to count
    with torch.inference_mode():
        expected = net(frame0, frame1, half).frame
        for source in (published, own, "raft_vfi"):
            loaded = load_interpolator(source)
            assert loaded.config == net.config
            loaded.flow.iterations = 1
            assert torch.equal(loaded(frame0, frame1, half).frame, expected)


def test_files_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    path = save_published(tmp_path, RAFTVFI())
    state = torch.load(path)
    (tmp_path / "raft-sintel.pt").rename(tmp_path / "flow.pt")
    with pytest.raises(FileNotFoundError, match=r"put raft-sintel\.pt, .* beside it in "):
        load_interpolator(path)
    (tmp_path / "flow.pt").rename(tmp_path / "raft-sintel.pt")
    torch.save(state | {"module.internet.get_grad.weight_h": torch.ones(1, 1, 3, 3)}, path)
    with pytest.raises(CheckpointError, match="weight_h is a fixed kernel"):
        load_interpolator(path)
    del state["module.internet.masknet.conv3.bias"]
    torch.save(state, path)
    with pytest.raises(CheckpointError, match=r"1 tensors missing: synthesis\.mask\.4\.bias"):
        load_interpolator(path)


def test_zoo_row_is_open_source() -> None:
    assert ZOO["raft_vfi"].licence == "Apache-2.0"
