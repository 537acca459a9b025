"""Pure functions of tensors: conventions, and equality with slower definitions."""

import itertools
import os

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from sgm_vfi.model.ops import global_matching, onednn_linear, warp
from sgm_vfi.model.ops.resize import resize, resize_flow, symmetric_padding
from sgm_vfi.model.ops.splat import splat, splat_sum
from sgm_vfi.model.ops.warp import backward_warp
from sgm_vfi.model.ops.window_partition import (
    MASKED_LOGIT,
    attention_window_mask,
    merge_windows,
    pad_to_windows,
    partition_windows,
)

SIZES = st.integers(1, 11)
EXAMPLES = 10 if os.environ.get("TRITON_INTERPRET") == "1" else 50  # interpreted kernels are slow


@settings(deadline=None, max_examples=EXAMPLES)
@given(height=SIZES, width=SIZES, reach=st.floats(0, 20), seed=st.integers(0, 999))
def test_splat_is_adjoint_of_warp(height: int, width: int, reach: float, seed: int) -> None:
    """<splat(a), b> = <a, warp(b)>: pins sign, order, units and sub-pixel weights of both."""
    torch.manual_seed(seed)
    a, b = torch.randn(2, 2, 3, height, width, dtype=torch.double)
    flow = reach * torch.randn(2, 2, height, width, dtype=torch.double)
    if width == 1:
        flow[:, 0] = 0  # a side of one pixel has no scale for sampling to go wrong on
    if height == 1:
        flow[:, 1] = 0
    splatted = (splat_sum(a, flow) * b).sum()
    warped = (a * backward_warp(b, flow, padding="zeros")).sum()
    torch.testing.assert_close(splatted, warped)


def test_warp_reads_where_the_flow_points() -> None:
    source = torch.arange(12.0).view(1, 1, 3, 4)
    right = torch.tensor([1.0, 0.0]).view(1, 2, 1, 1).expand(1, 2, 3, 4)
    down = torch.tensor([0.0, 0.5]).view(1, 2, 1, 1).expand(1, 2, 3, 4)
    torch.testing.assert_close(backward_warp(source, right)[0, 0, 0], torch.tensor([1.0, 2, 3, 3]))
    torch.testing.assert_close(
        backward_warp(source, down)[0, 0, :, 0], torch.tensor([2.0, 6.0, 8.0])
    )


@pytest.mark.parametrize("padding", ["border", "zeros"])
def test_warp_by_what_is_no_number_reads_outside(padding: str) -> None:
    """Forward and, where PyTorch's own crashed, backward; other pixels are none the worse."""
    source = torch.rand(1, 3, 64, 64, requires_grad=True)
    flow = torch.zeros(1, 2, 64, 64)
    flow[..., 5:40, 8:60] = torch.tensor([torch.nan, torch.inf]).view(1, 2, 1, 1)
    flow.requires_grad_()
    warped = backward_warp(source, flow, padding=padding)
    warped.sum().backward()
    edge = source[..., -1, 0] if padding == "border" else torch.zeros(1, 3)
    torch.testing.assert_close(warped[..., 20, 20], edge)
    torch.testing.assert_close(warped[..., :5, :], source[..., :5, :], atol=1e-5, rtol=0)
    assert source.grad.isfinite().all()
    assert (flow.grad[..., 5:40, 8:60] == 0).all()


def test_warp_of_one_pixel_is_that_pixel() -> None:
    torch.testing.assert_close(
        backward_warp(torch.full((1, 3, 1, 1), 0.7), torch.zeros(1, 2, 1, 1)),
        torch.full((1, 3, 1, 1), 0.7),
    )


def test_warp_of_a_window_is_the_window_of_the_warp() -> None:
    torch.manual_seed(0)
    source, flow = torch.rand(2, 3, 20, 30), 6 * torch.randn(2, 2, 20, 30)
    whole = backward_warp(source, flow)
    part = backward_warp(source, flow[..., 4:15, 7:29], origin=(4, 7))
    torch.testing.assert_close(part, whole[..., 4:15, 7:29])


@pytest.mark.parametrize("batch", [1, 2])
@pytest.mark.parametrize("mode", ["bilinear", "bicubic"])
@pytest.mark.parametrize("padding", ["border", "zeros"])
def test_rows_shared_among_threads_are_the_same_to_the_bit(
    monkeypatch: pytest.MonkeyPatch, batch: int, mode: str, padding: str
) -> None:
    """Whether or not rows divide by the number of threads; with a gradient nothing is shared."""
    source = torch.rand(batch, 3, 50, 60)
    for height in (48, 47, 45):
        flow = 20 * torch.randn(batch, 2, height, 56)
        flow[0, :, 3, 4] = torch.nan
        monkeypatch.setattr(warp, "WORTH_SHARING", 1)
        monkeypatch.setattr(torch, "get_num_threads", lambda: 6)
        grid_of = torch.empty(batch, height, 56, 2)
        assert warp.should_split_rows(source, grid_of)
        assert not warp.should_split_rows(source.clone().requires_grad_(), grid_of)
        shared = backward_warp(source, flow, padding, mode=mode)
        monkeypatch.undo()
        assert torch.equal(shared, backward_warp(source, flow, padding, mode=mode))


def test_splat_shares_a_pixel_among_its_neighbours() -> None:
    source, flow = torch.zeros(1, 1, 3, 4), torch.zeros(1, 2, 3, 4)
    source[0, 0, 1, 1] = 8
    flow[0, :, 1, 1] = torch.tensor([0.75, -0.5])
    expected = torch.zeros(3, 4)
    expected[0, 1], expected[0, 2], expected[1, 1], expected[1, 2] = 1, 3, 1, 3
    torch.testing.assert_close(splat_sum(source, flow)[0, 0], expected)


def test_splat_at_whole_pixels_follows_the_gradient_to_the_right_and_down() -> None:
    """Where nothing moves too: a flow that starts from zero would not learn otherwise."""
    torch.manual_seed(0)
    source, probe = torch.randn(2, 1, 2, 5, 6, dtype=torch.double)
    gradients = []
    for start in (0.0, 1e-9):
        flow = torch.full((1, 2, 5, 6), start, dtype=torch.double, requires_grad=True)
        (splat_sum(source, flow) * probe).sum().backward()
        gradients.append(flow.grad)
    assert gradients[0].abs().min() > 0
    torch.testing.assert_close(gradients[0], gradients[1], rtol=1e-6, atol=1e-6)


def test_splat_skips_what_is_not_finite() -> None:
    source, flow = torch.ones(1, 1, 2, 2), torch.zeros(1, 2, 2, 2)
    flow[0, 0, 0, 0], flow[0, 1, 1, 1] = float("nan"), float("inf")
    expected = torch.tensor([[0.0, 1.0], [1.0, 0.0]])
    torch.testing.assert_close(splat_sum(source, flow)[0, 0], expected)


def test_splat_mean_weighs_what_lands_together() -> None:
    source = torch.tensor([[1.0, 5.0]]).view(1, 1, 1, 2)
    flow = torch.zeros(1, 2, 1, 2)
    flow[0, 0, 0, 0] = 1  # both land on the right pixel, nothing on the left one
    mean, mass = splat(source, flow, torch.tensor([3.0, 1.0]).view(1, 1, 1, 2), guard="zero")
    assert mean.flatten().tolist() == [0, 2]
    assert mass.flatten().tolist() == [0, 4]


def test_deterministic_splat_does_not_depend_on_the_order_of_addition() -> None:
    """Mirrored input gives the mirrored bits, although every sum runs the other way round."""
    torch.manual_seed(0)
    source = torch.randn(1, 2, 6, 40)
    flow = torch.randint(-40, 40, (1, 2, 6, 40)) / 4  # exact in both directions
    mirrored = flow.flip(3) * torch.tensor([-1.0, 1.0]).view(1, 2, 1, 1)
    once = splat_sum(source, flow, deterministic=True)
    again = splat_sum(source.flip(3), mirrored, deterministic=True).flip(3)
    assert torch.equal(once, again)
    torch.testing.assert_close(once, splat_sum(source, flow), atol=1e-5, rtol=0)


def test_deterministic_splat_says_that_it_has_no_gradient() -> None:
    source = torch.rand(1, 1, 2, 2, requires_grad=True)
    with pytest.raises(ValueError, match="no_grad"):
        splat_sum(source, torch.zeros(1, 2, 2, 2), deterministic=True)


def test_gradients_of_warp_and_splat() -> None:
    torch.manual_seed(0)
    source = torch.rand(1, 2, 4, 5, dtype=torch.double, requires_grad=True)
    flow = (2 * torch.rand(1, 2, 4, 5, dtype=torch.double) - 1).requires_grad_()
    assert torch.autograd.gradcheck(splat_sum, (source, flow))
    assert torch.autograd.gradcheck(backward_warp, (source, flow))


@pytest.mark.parametrize("factor", [2, 4, 8])
def test_resize_down_is_the_mean_of_the_middle_pixels(factor: int) -> None:
    image = torch.rand(1, 2, 32, 48)
    low, high = factor // 2 - 1, factor // 2
    middle = (
        image[..., row::factor, column::factor] for row in (low, high) for column in (low, high)
    )
    torch.testing.assert_close(resize(image, 1 / factor), sum(middle) / 4)


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_resizing_does_not_depend_on_the_number_of_threads(channels: int) -> None:
    image, results = torch.rand(2, channels, 72, 128), []
    for threads in (2, 1):
        torch.set_num_threads(threads)
        results.append(resize(image, 0.8))
    assert torch.equal(*results)
    expected = F.interpolate(image.double(), size=(57, 102), mode="bilinear")
    torch.testing.assert_close(results[0].double(), expected, atol=2e-5, rtol=0)


def test_resized_flow_still_points_at_the_same_place() -> None:
    """A frame moved by 8 pixels has moved by 2 when it is a quarter as large."""
    flow = torch.full((1, 2, 16, 16), 8.0)
    assert torch.equal(resize_flow(flow, 1 / 4), torch.full((1, 2, 4, 4), 2.0))
    assert resize(flow, 4 / 5).shape[-2:] == (12, 12)


@given(size=st.integers(1, 300), multiple=st.integers(1, 80))
def test_margins_are_centred_and_smallest(size: int, multiple: int) -> None:
    before, after = symmetric_padding(size, multiple)
    assert (size + before + after) % multiple == 0
    assert 0 <= after - before <= 1
    assert before + after < multiple


@pytest.mark.parametrize(("height", "width"), [(14, 21), (9, 12), (5, 30)])
def test_windows_come_back_whole(height: int, width: int) -> None:
    grid = pad_to_windows(torch.rand(2, height, width, 3), 7)
    windows = partition_windows(grid, 7)
    assert torch.equal(windows[0, 1, 8], grid[0, 1, 8])  # second window, second row and column
    assert torch.equal(merge_windows(windows, 7, grid.shape[2] // 7), grid)


@pytest.mark.parametrize("shift", [0, 3])
@pytest.mark.parametrize(("height", "width"), [(14, 21), (9, 12), (16, 10)])
def test_window_mask_against_its_definition(height: int, width: int, shift: int) -> None:
    """Pair by pair: blocked where the bands of padding, or of the shift, differ."""
    (top, bottom), (left, right) = symmetric_padding(height, 7), symmetric_padding(width, 7)
    rows, columns = height + top + bottom, width + left + right

    def bands(y: int, x: int) -> tuple[int, ...]:
        padding = (int(y >= top) + int(y >= top + height), int(x >= left) + int(x >= left + width))
        if not shift:
            return padding
        ends = (int(y >= rows - 7) + int(y >= rows - shift), int(x >= columns - 7))
        return (*padding, ends[0], ends[1] + int(x >= columns - shift))

    mask = attention_window_mask(height, width, 7, shift, torch.device("cpu"))
    if mask is None:
        mask = torch.zeros(rows * columns // 49, 49, 49)
    for window in range(len(mask)):
        y0, x0 = window // (columns // 7) * 7, window % (columns // 7) * 7
        names = [bands(y0 + i // 7, x0 + i % 7) for i in range(49)]
        expected = torch.tensor([[MASKED_LOGIT if a != b else 0.0 for b in names] for a in names])
        assert torch.equal(mask[window], expected)


def test_attention_in_blocks_equals_attention(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    queries, keys, values = torch.randn(2, 30, 8), torch.randn(2, 50, 8), torch.randn(50, 3)
    monkeypatch.setitem(global_matching.BLOCK_ELEMENTS, "cpu", 7 * 50)  # seven rows at a time
    blocked = global_matching.blockwise_attention(queries, keys, values)
    whole = F.scaled_dot_product_attention(queries, keys, values.expand(2, -1, -1))
    torch.testing.assert_close(blocked, whole)


@pytest.mark.parametrize("shape", [(1, 5), (7, 3, 5), (2, 4, 6, 5), (0, 5)])
def test_products_are_those_of_pytorch(shape: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    x, weight, bias = torch.randn(shape), torch.randn(3, 5), torch.randn(3)
    turned = torch.randn(*shape[:-2], shape[-1], shape[-2]).transpose(-1, -2)
    for given_x, given_bias in ((x, bias), (x, None), (turned, bias)):
        expected = F.linear(given_x, weight, given_bias)
        torch.testing.assert_close(onednn_linear.linear(given_x, weight, given_bias), expected)
        got = onednn_linear.linear_gelu(given_x, weight, given_bias)
        torch.testing.assert_close(got, F.gelu(expected))


@pytest.mark.parametrize("then_gelu", [False, True])
@pytest.mark.parametrize("shape", [(5,), (7, 3, 5), (2, 4, 6, 5), (0, 5)])
@pytest.mark.parametrize("outputs", [3, 8])
def test_products_have_the_gradients_of_pytorch(
    then_gelu: bool, shape: tuple[int, ...], outputs: int
) -> None:
    torch.manual_seed(0)
    leaves = [torch.randn(size, requires_grad=True) for size in (shape, (outputs, 5), (outputs,))]
    upstream = torch.randn(*shape[:-1], outputs)
    for learnt in ((0, 1, 2), (0,), (1, 2)):
        inputs = [leaf if index in learnt else leaf.detach() for index, leaf in enumerate(leaves)]
        wanted = [leaves[index] for index in learnt]
        plain = F.linear(*inputs)
        plain = F.gelu(plain) if then_gelu else plain
        expected = torch.autograd.grad(plain, wanted, upstream)
        ours = (onednn_linear.linear_gelu if then_gelu else onednn_linear.linear)(*inputs)
        torch.testing.assert_close(torch.autograd.grad(ours, wanted, upstream), expected)


def test_products_are_of_any_type() -> None:
    x, weight = torch.randn(4, 5, requires_grad=True), torch.randn(3, 5, requires_grad=True)
    with torch.no_grad():
        exact = onednn_linear.linear(x.double(), weight.double())
        assert exact.dtype == torch.float64
        with torch.autocast("cpu", dtype=torch.bfloat16):
            assert onednn_linear.linear(x, weight).dtype == torch.bfloat16


def test_attention_in_bfloat16_on_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    queries, keys, values = torch.randn(3, 2, 4, 300, 32)
    exact = F.scaled_dot_product_attention(queries, keys, values)
    fused = F.scaled_dot_product_attention(*(x.bfloat16() for x in (queries, keys, values)))
    monkeypatch.setitem(global_matching.BLOCK_ELEMENTS, "cpu", 70 * 300)
    with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16):
        ours = global_matching.attention(queries, keys, values)
    assert ours.dtype == torch.bfloat16
    assert (ours.float() - exact).square().mean() < 4 * (fused.float() - exact).square().mean()


def test_a_product_with_gelu_in_bfloat16_on_the_cpu() -> None:
    torch.manual_seed(0)
    x, weight, bias = torch.randn(7, 16), torch.randn(24, 16), torch.randn(24)
    with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16):
        for given in (bias, None):
            expected = F.gelu(F.linear(x, weight, given))
            got = onednn_linear.linear_gelu(x, weight, given)
            assert got.dtype == torch.bfloat16
            torch.testing.assert_close(got, expected, rtol=2e-2, atol=2e-2)


def test_attention_with_and_without_a_mask() -> None:
    torch.manual_seed(0)
    queries, keys, values = torch.randn(3, 2, 4, 30, 8)
    plain = global_matching.attention(queries, keys, values)
    torch.testing.assert_close(plain, F.scaled_dot_product_attention(queries, keys, values))
    nothing_hidden = torch.zeros(4, 30, 30)
    masked = global_matching.attention(queries, keys, values, nothing_hidden)
    torch.testing.assert_close(masked, plain)


def test_fused_attention_where_it_is_faster(monkeypatch: pytest.MonkeyPatch) -> None:
    """By processor; the two-scale network keeps whole rows on every one."""
    from sgm_vfi.model.flow.gmflow_features import Attention, GMFlowFeatures
    from sgm_vfi.model.flow.gmflow_two_scales import GMFlowRefine

    torch.manual_seed(0)
    inputs = torch.randn(3, 2, 1, 30, 8)
    blocked, calls = global_matching.blockwise_attention, []
    expected = F.scaled_dot_product_attention(*inputs)
    monkeypatch.setattr(
        global_matching, "blockwise_attention", lambda *x: calls.append(1) or blocked(*x)
    )
    for capability, whole_rows in itertools.product(("AVX2", "AVX512"), (False, True)):
        monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda name=capability: name)
        calls.clear()
        found = global_matching.attention(*inputs, whole_rows=whole_rows)
        torch.testing.assert_close(found, expected)
        assert bool(calls) == (whole_rows or capability == "AVX512")
    for network, wanted in ((GMFlowFeatures(1), False), (GMFlowRefine(1), True)):
        parts = [part for part in network.modules() if isinstance(part, Attention)]
        assert [part.whole_rows for part in parts] == [wanted] * 2


def test_matching_finds_where_features_went() -> None:
    """Features as unlike as can be, moved by (3, -1): every match is that far away."""
    height, width = 5, 8
    tokens = 60 * torch.eye(height * width)
    moved = tokens.view(height, width, -1).roll((-1, 3), dims=(0, 1)).flatten(0, 1)
    found = global_matching.match_positions(tokens[None], moved[None], height, width)[0]
    cells = global_matching.cell_positions(height, width, like=tokens)
    expected = torch.stack(((cells[:, 0] + 3) % width, (cells[:, 1] - 1) % height), dim=1)
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=0)


def largest_tensor(call: object) -> int:
    """Elements of the largest tensor that any operation of a call gives back."""
    from torch.utils._python_dispatch import TorchDispatchMode

    class Largest(TorchDispatchMode):
        seen = 0

        def __torch_dispatch__(self, function, types, args=(), kwargs=None):
            result = function(*args, **(kwargs or {}))
            for tensor in result if isinstance(result, tuple | list) else (result,):
                if isinstance(tensor, Tensor):
                    Largest.seen = max(Largest.seen, tensor.numel())
            return result

    with Largest():
        call()
    return Largest.seen


def test_no_score_matrix_is_ever_stored() -> None:
    """At 4,096 cells every tensor stays below a quarter of cells squared."""
    from sgm_vfi.model.flow.gmflow_features import GMFlowFeatures

    features = GMFlowFeatures(num_layers=1).eval()
    cells = 64 * 64
    with torch.no_grad():
        assert largest_tensor(lambda: features(torch.rand(2, 3, 512, 512))) < 2 * cells**2 / 2
        tokens = torch.randn(2, cells, 128)
        matched = largest_tensor(lambda: global_matching.match_positions(tokens, tokens, 64, 64))
    assert matched <= max(global_matching.BLOCK_ELEMENTS["cpu"], tokens.numel()) < cells**2
