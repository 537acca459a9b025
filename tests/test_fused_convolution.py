"""Convolutions with fused activations, and warps with fused resizing: equal to their parts."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sgm_vfi.benchmark.profiler import count_operations
from sgm_vfi.model.layers.conv import LeakyConv, ScaledResidualConv
from sgm_vfi.model.ops.cat_channels import cat_channels
from sgm_vfi.model.ops.resize import resize
from sgm_vfi.model.ops.warp import backward_warp, warp_pair
from tests.conftest import randomize_weights

LAYOUTS = pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])


def plain_residual(layer: ScaledResidualConv, x: Tensor) -> Tensor:
    return F.leaky_relu(layer.conv(x) * layer.beta + x, layer.slope)


def plain_leaky(layer: LeakyConv, x: Tensor) -> Tensor:
    return layer[1](layer[0](x))


LAYERS = {
    "residual": (lambda: ScaledResidualConv(6, 0.2), plain_residual),
    "leaky": (lambda: LeakyConv(6, 5, 0.2, stride=2), plain_leaky),
}


@LAYOUTS
@pytest.mark.parametrize("kind", LAYERS)
def test_fused_layers_equal_their_parts(kind: str, layout: torch.memory_format) -> None:
    """In inference, of odd sizes and both layouts; in training with the same gradients."""
    make, plain = LAYERS[kind]
    layer = randomize_weights(make())
    if isinstance(layer, ScaledResidualConv):
        nn.init.uniform_(layer.beta, 0.5, 1.5)
    x = torch.randn(2, 6, 9, 13).contiguous(memory_format=layout)
    with torch.inference_mode():
        torch.testing.assert_close(layer(x), plain(layer, x), atol=1e-5, rtol=1e-5)
    assert torch.equal(layer(x), plain(layer, x))
    wanted = (x.requires_grad_(), *layer.parameters())
    for ours, theirs in zip(
        torch.autograd.grad(layer(x).square().sum(), wanted),
        torch.autograd.grad(plain(layer, x).square().sum(), wanted),
        strict=True,
    ):
        torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize("count", [1, 3])
def test_concatenated_maps_take_the_layout_of_features(count: int) -> None:
    maps = [torch.randn(2, 4, 5, 6, requires_grad=True) for _ in range(count)]
    mixed = [maps[0].contiguous(memory_format=torch.channels_last), *maps[1:]]
    joined = cat_channels(mixed)
    assert torch.equal(joined, torch.cat(maps, dim=1))
    assert joined.is_contiguous(memory_format=torch.channels_last)
    assert cat_channels(maps).is_contiguous()
    assert all(part is not None for part in torch.autograd.grad(joined.sum(), maps))


def test_inference_runs_one_operation(monkeypatch: pytest.MonkeyPatch) -> None:
    """The convolution, its factor, the addition and the activation; its arithmetic is counted."""
    layer = ScaledResidualConv(6, 0.2)
    monkeypatch.setattr(F, "leaky_relu", None)
    with torch.inference_mode():
        count = count_operations(lambda: layer(torch.randn(1, 6, 8, 8)))
    assert [operation.flop for operation in count.operations] == [2 * 9 * 6 * 6 * 64]


@pytest.mark.parametrize("reduction", [0.5, 1, 2, 2.5, 3, 4, 8])
def test_warp_that_is_resized(reduction: float) -> None:
    """Equal to the resized warp, also with gradients, where only some pixels are warped."""
    frames, flow = torch.rand(4, 3, 16, 24), 5 * torch.randn(2, 4, 16, 24)
    flow.requires_grad_()
    whole = resize(backward_warp(frames, torch.cat(flow.chunk(2, dim=1))), 1 / reduction)
    reduced = warp_pair(frames, flow, reduction)
    torch.testing.assert_close(reduced, whole, atol=1e-6, rtol=0)
    gradients = [torch.autograd.grad(out.square().sum(), flow)[0] for out in (whole, reduced)]
    torch.testing.assert_close(*gradients, atol=1e-4, rtol=1e-4)


def test_warp_of_odd_sizes_that_is_resized() -> None:
    frames, flow = torch.rand(2, 3, 15, 22), 5 * torch.randn(1, 4, 15, 22)
    whole = resize(backward_warp(frames, torch.cat(flow.chunk(2, dim=1))), 1 / 4)
    assert torch.equal(warp_pair(frames, flow, 4), whole)
