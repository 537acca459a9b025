"""Maps that are worked on part by part: equal results, gradients, and the memory they take."""

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sgm_vfi.benchmark.profiler import count_operations
from sgm_vfi.model.flow.gmflow_features import GMFlowFeatures
from sgm_vfi.model.interpolator import time_like
from sgm_vfi.model.layers.synthesis_unet import DOUBLE_MARGIN, UP_MARGIN, UNet, double_conv, up_conv
from sgm_vfi.model.ops.banded_convolution import apply_in_bands, apply_per_sample
from sgm_vfi.model.ops.instance_norm import instance_norm, instance_norm_relu
from sgm_vfi.model.sgm.network import SGM, SGMConfig

LAYERS = {
    "halved": (lambda: double_conv(5, 4), DOUBLE_MARGIN, 1 / 2),
    "kept": (lambda: double_conv(5, 4, stride=1), DOUBLE_MARGIN, 1),
    "doubled": (lambda: up_conv(5, 4), UP_MARGIN, 2),
    "doubled, then seen": (
        lambda: nn.Sequential(up_conv(5, 4), nn.Conv2d(4, 3, 3, padding=1)),
        UP_MARGIN,
        2,
    ),
}


@pytest.mark.parametrize("kind", LAYERS)
@pytest.mark.parametrize("rows", [2, 6, 10])
def test_bands_equal_the_whole(kind: str, rows: int) -> None:
    """In double precision, where a margin too small by one row would show."""
    make, margin, ratio = LAYERS[kind]
    torch.manual_seed(0)
    layers = make().double()
    sources = [torch.randn(2, channels, 28, 12, dtype=torch.double) for channels in (2, 3)]
    called: list[int] = []
    layers.register_forward_pre_hook(lambda _, inputs: called.append(inputs[0].shape[2]))
    with torch.no_grad():
        whole = layers(torch.cat(sources, dim=1))
        cut = apply_in_bands(layers, sources, margin, elements=2 * 5 * 12 * rows)
    assert whole.shape[2] == 28 * ratio
    assert len(called) == 1 + -(-28 // rows)
    assert max(called[1:]) <= rows + 2 * margin
    torch.testing.assert_close(cut, whole, atol=1e-12, rtol=0)


def test_what_teaches_is_whole() -> None:
    layers, called = double_conv(3, 4), []
    layers.register_forward_pre_hook(lambda _, inputs: called.append(inputs[0].shape))
    source = torch.randn(2, 3, 8, 8)
    apply_in_bands(layers, (source,), DOUBLE_MARGIN, elements=1)
    apply_per_sample(layers, source, channels=3, elements=1)
    assert called == [(2, 3, 8, 8)] * 2


def test_samples_equal_the_batch() -> None:
    layers, source = double_conv(3, 4).double(), torch.randn(3, 3, 8, 6, dtype=torch.double)
    with torch.no_grad():
        apart = apply_per_sample(layers, source, channels=3, elements=1)
        torch.testing.assert_close(apart, layers(source), atol=1e-12, rtol=0)


def test_a_unet_takes_its_inputs_and_lets_them_go() -> None:
    unet = UNet(2)
    pictures = [torch.rand(1, 17, 32, 32)]
    levels = [[torch.rand(1, 2 * 2**i, 16 >> i, 16 >> i) for i in range(4)] for _ in range(2)]
    unet(pictures, *levels)
    assert levels == [[], []]


def scattered(layout: torch.memory_format, dtype: torch.dtype = torch.float32) -> Tensor:
    """Maps whose means and spreads differ. Shapes: -> (2, 64, 72, 56)."""
    torch.manual_seed(0)
    spread, mean = torch.rand(2, 1, 64, 1, 1)
    x = torch.randn(2, 64, 72, 56) * (0.1 + 3 * spread) + 4 * mean - 2
    return x.to(dtype=dtype, memory_format=layout)


@pytest.mark.parametrize("layout", [torch.channels_last, torch.contiguous_format])
def test_normalisation_is_about_as_exact_as_that_of_pytorch(layout: torch.memory_format) -> None:
    x = scattered(layout)
    exact = F.instance_norm(x.double())
    usual = (F.instance_norm(x) - exact).abs()
    error = (instance_norm(x.clone()) - exact).abs()
    assert error.mean() < 2 * usual.mean()
    assert error.max() < 3e-6


@pytest.mark.parametrize("layout", [torch.channels_last, torch.contiguous_format])
def test_rectified_normalisation_against_its_definition(layout: torch.memory_format) -> None:
    x, skip = scattered(layout), scattered(layout).flip(0)
    rectified = F.instance_norm(x).relu()
    torch.testing.assert_close(instance_norm_relu(x.clone()), rectified, atol=2e-6, rtol=0)
    torch.testing.assert_close(
        instance_norm_relu(x.clone(), skip), (skip + rectified).relu(), atol=2e-6, rtol=0
    )


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_normalisation_adds_up_in_float32(dtype: torch.dtype) -> None:
    x = (scattered(torch.channels_last) + 30).to(dtype)
    exact = F.instance_norm(x.float())
    assert instance_norm(x.clone()).dtype == dtype
    torch.testing.assert_close(instance_norm(x.clone()), exact.to(dtype))
    torch.testing.assert_close(instance_norm_relu(x.clone()), exact.relu().to(dtype))


def test_normalisation_teaches_what_pytorchs_does() -> None:
    x = scattered(torch.channels_last, torch.double).requires_grad_()
    kept = x.detach().clone()
    for function, usual in ((instance_norm, lambda y: y), (instance_norm_relu, torch.relu)):
        (ours,) = torch.autograd.grad(function(x).square().sum(dim=1).sin().sum(), x)
        theirs = usual(F.instance_norm(x)).square().sum(dim=1).sin().sum()
        torch.testing.assert_close(ours, torch.autograd.grad(theirs, x)[0])
    assert torch.equal(x, kept)


def peak_per_pixel(call: Callable[[], object], pixels: int) -> float:
    """Most bytes of tensors held at a time, beyond what there was before."""
    with torch.inference_mode():
        return count_operations(call).peak / pixels


def test_a_frame_takes_less_than_the_published_synthesis() -> None:
    """Specification 6.3 counts 768 bytes per pixel for the published U-Net, frames apart."""
    height, width = 544, 1024
    net = SGM(SGMConfig(keypoint_ratio=None)).eval()
    frames = torch.rand(2, 1, 3, height, width)
    time = time_like(frames[0], 0.5)
    assert peak_per_pixel(lambda: net(*frames, time, 0.5), height * width) < 600


def test_features_take_the_memory_of_one_frame() -> None:
    """Three maps of 64 channels at half the size: two of a residual unit, and its way around."""
    height, width = 544, 1024
    features, frames = GMFlowFeatures(num_layers=0).eval(), torch.rand(2, 3, height, width)
    features.to(memory_format=torch.channels_last)
    whole_map = 64 * 4 / 4  # bytes per pixel of a frame
    peak = peak_per_pixel(lambda: features.encode(frames), height * width)
    assert peak < 3 * whole_map + 2 * 128 * 4 / 64 + 24
