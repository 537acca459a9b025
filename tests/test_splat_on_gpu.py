"""The kernel splats as PyTorch's operations do: on a GPU, or on the CPU by Triton's interpreter.

`test_splat_kernel.py` runs this file with TRITON_INTERPRET=1, which must be set before Triton is
imported.
"""

import os
from collections.abc import Iterator
from itertools import product

import pytest
import torch
from torch import Tensor

from sgm_vfi.model.ops import splat as splatting
from sgm_vfi.model.ops.splat import Kernel, bilinear, gaussian, splat_sum, splat_sum_pytorch
from tests.test_ops import (  # noqa: F401 - the kernel is held to the same tests
    test_deterministic_splat_does_not_depend_on_the_order_of_addition,
    test_deterministic_splat_says_that_it_has_no_gradient,
    test_gradients_of_warp_and_splat,
    test_splat_at_whole_pixels_follows_the_gradient_to_the_right_and_down,
    test_splat_is_adjoint_of_warp,
    test_splat_mean_weighs_what_lands_together,
    test_splat_shares_a_pixel_among_its_neighbours,
    test_splat_skips_what_is_not_finite,
)

INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"
HAS_GPU = torch.cuda.is_available()
pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not HAS_GPU and not INTERPRETED, reason="no CUDA device"),
]


@pytest.fixture(scope="module", autouse=True)
def _where_the_kernel_runs() -> Iterator[None]:
    if not INTERPRETED:
        with torch.device("cuda"):
            yield
        return
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(splatting, "runs_in_triton", lambda _, kernel: kernel in (bilinear, gaussian))
        yield


def drawn(dtype: torch.dtype = torch.float32) -> tuple[Tensor, Tensor]:
    """A source, its channels last, and a flow: some lands outside, some nowhere, some on pixels."""
    torch.manual_seed(0)
    source, flow = torch.randn(2, 3, 11, 13), 5 * torch.randn(2, 2, 11, 13)
    flow[0, 0, 3, 4:9], flow[1, 1, 2], flow[0, :, 7] = torch.nan, -torch.inf, 0
    flow[:, :, 5] = flow[:, :, 5].round()
    source = source.to(memory_format=torch.channels_last)
    return source.to(dtype).requires_grad_(), flow.to(dtype).requires_grad_()


def plain(source: Tensor, flow: Tensor, kernel: Kernel = bilinear) -> Tensor:
    return splat_sum_pytorch(source, flow, kernel=kernel, deterministic=False).to(source.dtype)


def with_gradients(sum_: Tensor, probe: Tensor, *inputs: Tensor) -> tuple[Tensor, ...]:
    return sum_, *torch.autograd.grad((sum_ * probe).sum(), inputs)


@pytest.mark.parametrize("kernel", [bilinear, gaussian])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16, torch.bfloat16])
def test_sum_and_gradients_are_the_plain_ones(kernel: Kernel, dtype: torch.dtype) -> None:
    inputs = drawn(dtype)
    expected = plain(*inputs, kernel)
    probe = torch.randn_like(expected)
    expected = with_gradients(expected, probe, *inputs)
    got = with_gradients(splat_sum(*inputs, kernel=kernel), probe, *inputs)
    scale = max(1e-6, torch.finfo(dtype).eps)  # sums run in another order, and round in it
    for one, other in zip(got, expected, strict=True):
        assert one.dtype == other.dtype == dtype
        torch.testing.assert_close(one, other, atol=8 * scale, rtol=8 * scale)


def test_deterministic_sum_has_the_bits_of_the_plain_one_on_the_cpu() -> None:
    """Also where a share lies halfway between two steps of fixed point."""
    source, flow = (tensor.detach() for tensor in drawn())
    source[:, :1] *= 2.0**-32
    source[:, 2:] *= 1e5
    got = splat_sum(source, flow, deterministic=True)
    with torch.device("cpu"):
        steps = splat_sum_pytorch(source.cpu(), flow.cpu(), kernel=bilinear, deterministic=True)
    assert torch.equal(got.cpu(), (steps.double() / splatting.FIXED_POINT).float())


def test_weights_of_the_callers_own_are_splatted_too() -> None:
    inputs = drawn()
    torch.testing.assert_close(
        splat_sum(*inputs, kernel=lambda x, y: bilinear(x, y)), plain(*inputs)
    )


@pytest.mark.parametrize(
    ("shape", "path"), list(product([(0, 3, 4, 5), (1, 0, 4, 5), (3, 1, 1, 200)], [(0, 1), (1, 0)]))
)
def test_odd_shapes_and_strides(shape: tuple[int, ...], path: tuple[int, int]) -> None:
    """Nothing to add, one row; a flow that is one vector for all; a gradient likewise."""
    source = torch.rand(shape, requires_grad=True)
    flow = torch.tensor(path).float().view(1, 2, 1, 1).expand(shape[0], 2, *shape[2:])
    torch.testing.assert_close(splat_sum(source, flow), plain(source, flow))
    (got,) = torch.autograd.grad(splat_sum(source, flow).sum(), source)
    (expected,) = torch.autograd.grad(plain(source, flow).sum(), source)
    torch.testing.assert_close(got, expected)


def test_compilers_see_it_whole_with_gradients() -> None:
    backend = "aot_eager" if INTERPRETED else "inductor"
    compiled = torch.compile(splat_sum, backend=backend, fullgraph=True)
    inputs = drawn()
    probe = torch.randn_like(inputs[0])
    got = with_gradients(compiled(*inputs), probe, *inputs)
    expected = with_gradients(plain(*inputs), probe, *inputs)
    torch.testing.assert_close(got, expected, atol=1e-5, rtol=1e-5)
    assert torch.ops.sgm_vfi.splat_scatter.default in ops_of(compiled, inputs)


def ops_of(call: object, inputs: tuple[Tensor, ...]) -> list[object]:
    """What a call dispatches."""
    from torch.utils._python_dispatch import TorchDispatchMode

    seen: list[object] = []

    class Seen(TorchDispatchMode):
        def __torch_dispatch__(self, function, types, args=(), kwargs=None):
            seen.append(function)
            return function(*args, **(kwargs or {}))

    with Seen(), torch.no_grad():
        call(*inputs)
    return seen


def test_the_registered_operation_keeps_its_word() -> None:
    """What it tells compilers of shapes, types and strides is so, and it changes no input."""
    from sgm_vfi.model.ops.splat_kernel import gather, scatter

    inputs, checks = drawn(), ("test_schema", "test_autograd_registration", "test_faketensor")
    torch.library.opcheck(scatter, (*inputs, False, 0.0), test_utils=checks)
    with torch.no_grad():
        torch.library.opcheck(scatter, (*inputs, True, splatting.FIXED_POINT), test_utils=checks)
        torch.library.opcheck(gather, (inputs[0], *inputs, False), test_utils=checks)


@pytest.mark.skipif(not HAS_GPU, reason="no CUDA device")
@pytest.mark.parametrize("deterministic", [False, True])
def test_can_be_captured_in_a_cuda_graph(deterministic: bool) -> None:
    source, flow = (tensor.detach() for tensor in drawn())
    beside = torch.cuda.Stream()
    with torch.cuda.stream(beside):
        splat_sum(source, flow, deterministic=deterministic)  # compiles the kernel
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        out = splat_sum(source, flow, deterministic=deterministic)
    source.copy_(source.flip(0))
    flow.copy_(flow.flip(0))
    graph.replay()
    torch.testing.assert_close(out, plain(source, flow), atol=1e-5, rtol=1e-5)


@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="one CUDA device at most")
def test_runs_on_the_device_of_its_tensors() -> None:
    source, flow = (tensor.detach().to("cuda:1") for tensor in drawn())
    torch.testing.assert_close(splat_sum(source, flow), plain(source, flow), atol=1e-5, rtol=1e-5)
