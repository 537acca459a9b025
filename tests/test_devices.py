"""Networks stay on the device of their frames, checked without a GPU by fake tensors."""

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.nn import Parameter

from sgm_vfi.model import ZOO, Interpolator, time_like
from sgm_vfi.model.inference.padding import Padded
from tests.fixtures.networks import update_once


def on_fake_gpu(network: Interpolator) -> Interpolator:
    """Put weights and buffers on a device that need not be there; call it in a FakeTensorMode."""
    for part in network.modules():
        for name, weight in part._parameters.items():
            if weight is not None:
                part._parameters[name] = Parameter(like(weight))
        for name, buffer in part._buffers.items():
            if buffer is not None:
                part._buffers[name] = like(buffer)
    return network


def like(tensor: torch.Tensor) -> torch.Tensor:
    return torch.empty_strided(tensor.shape, tensor.stride(), dtype=tensor.dtype, device="cuda")


@pytest.mark.parametrize(
    "name", ["blend", "ours-small-1-2", "rife_v4.25", "ifrnet_s_gopro", "pervfi", "raft_vfi"]
)
def test_networks_mix_no_devices(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Frames, times, positions, masks and splats: PyTorch refuses an operation on two devices."""
    monkeypatch.setattr(torch.backends.cudnn, "enabled", False)  # its sampling knows real ones only
    network = update_once(ZOO[name].build().eval())
    with FakeTensorMode(), torch.inference_mode():
        network = Padded(on_fake_gpu(network))
        frames = [torch.empty(1, 3, 272, 96, device="cuda") for _ in range(3)]
        time = time_like(frames[0], 0.5)
        state = network.prepare(*frames[:2])
        network.interpolate(state, time)
        made = network.interpolate(network.advance(state, *frames[1:]), time).frame
    assert made.device.type == "cuda"
    assert made.shape == (1, 3, 272, 96)
