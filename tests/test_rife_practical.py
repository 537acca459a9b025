"""Practical-RIFE: known motion and published checkpoints."""

from pathlib import Path

import pytest
import torch
from torch import Tensor

from sgm_vfi.model import load_interpolator, time_like
from sgm_vfi.model.baselines.rife.practical_rife import (
    PUBLISHED_NAMES,
    V4_6,
    V4_25,
    PracticalConfig,
    PracticalRIFE,
)
from sgm_vfi.model.ops.warp import backward_warp
from sgm_vfi.model.weight_io import CheckpointError, published_name
from tests.conftest import randomize_weights

SMALL = PracticalConfig(channels=(12, 8, 8, 8))
ENCODED = PracticalConfig(channels=(12, 8, 8, 8, 8), encoded=True)
BOTH = pytest.mark.parametrize("config", [SMALL, ENCODED])


def saying(config: PracticalConfig, flow: tuple[float, ...], logits: float) -> PracticalRIFE:
    """A network whose blocks all say the same, in pixels of the size they see, everywhere."""
    net = PracticalRIFE(config).eval()
    for block in net.blocks:
        last = block.output[0]
        torch.nn.init.zeros_(last.weight)
        said = last.bias.new_zeros(last.bias.numel() // 4, 4)  # each four make one channel
        said[:5] = torch.tensor((*flow, logits))[:, None]
        last.bias.data.copy_(said.flatten())
    return net


def frames_for(net: PracticalRIFE) -> Tensor:
    side = 2 * net.stride
    return torch.rand(2, 1, 3, side, side, generator=torch.Generator().manual_seed(0))


@BOTH
def test_block_flows_add_up_in_frame_pixels(config: PracticalConfig) -> None:
    """Of blocks that see 1/8, 1/4, 1/2 and the whole, a pixel each makes 15."""
    net = saying(config, (1.0, 0.0, -1.0, 0.5), logits=0.25)
    frame0, frame1 = frames_for(net)
    total = 2 ** len(config.channels) - 1
    with torch.no_grad():
        out = net(frame0, frame1, time_like(frame0, 0.3), explain=True)
    flow = out.explanation["flow"]
    assert torch.allclose(flow[0, :, 5, 7], torch.tensor((total, 0, -total, total / 2.0)))
    # 4.6 adds up what blocks say of the mask, 4.25 takes the last one's word.
    logits = torch.tensor(0.25 if config.encoded else 0.25 * len(config.channels))
    share = out.explanation["blend"]
    assert torch.allclose(share, logits.sigmoid())
    warped0, warped1 = backward_warp(frame0, flow[:, :2]), backward_warp(frame1, flow[:, 2:])
    assert torch.allclose(out.frame, share * warped0 + (1 - share) * warped1, atol=1e-6)


@BOTH
def test_output_depends_on_time_and_frames(config: PracticalConfig) -> None:
    net = randomize_weights(PracticalRIFE(config)).eval()
    frame0, frame1 = frames_for(net)
    with torch.no_grad():
        state = net.prepare(frame0, frame1)
        early, late = (
            net.interpolate(state, time_like(frame0, t), explain=True) for t in (0.2, 0.8)
        )
        other = net(frame1, frame0, time_like(frame0, 0.2))
        bright = net(frame0 + 5, frame1 - 5, time_like(frame0, 0.2)).frame
        clamped = net((frame0 + 5).clamp(0, 1), (frame1 - 5).clamp(0, 1), time_like(frame0, 0.2))
    moved = early.explanation["flow"] - late.explanation["flow"]
    assert moved.abs().max() > 1e-3
    assert (early.frame - other.frame).abs().max() > 1e-3
    assert torch.equal(bright, clamped.frame)


def save_published(path: Path, net: PracticalRIFE) -> Path:
    state = net.state_dict().items()
    published = {"module." + published_name(name, PUBLISHED_NAMES): t for name, t in state}
    torch.save(published | {"module.caltime.0.weight": torch.ones(2)}, path)
    return path


@pytest.mark.parametrize(("config", "parameters"), [(V4_6, 5_306_256), (V4_25, 5_664_776)])
def test_published_files_are_recognised(
    tmp_path: Path, config: PracticalConfig, parameters: int
) -> None:
    net = PracticalRIFE(config)
    assert sum(weight.numel() for weight in net.parameters()) == parameters
    loaded = load_interpolator(save_published(tmp_path / "flownet.pkl", net))
    assert loaded.config == config
    theirs = net.state_dict()
    assert all(torch.equal(theirs[name], t) for name, t in loaded.state_dict().items())


def test_other_versions_are_refused(tmp_path: Path) -> None:
    """Their tensors do not tell at which scales their blocks look; older ones are built unlike."""
    path = save_published(tmp_path / "flownet.pkl", PracticalRIFE(SMALL))
    with pytest.raises(
        CheckpointError, match=r"unsupported version .*\(12, 8, 8, 8\).*Supported are 4.6"
    ):
        load_interpolator(path)
    older = {"module.block0.conv0.0.0.weight": torch.ones(45, 11, 3, 3)}
    torch.save(older, path)
    with pytest.raises(CheckpointError, match=r"2\.x and 3\.x, also called HD"):
        load_interpolator(path)
