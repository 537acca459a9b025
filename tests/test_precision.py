"""Half precision and compilation change little, are asked for, and are refused in words."""

import argparse
import platform
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from sgm_vfi.model import ZOO, automatic_precision, cli_options, time_like
from sgm_vfi.model.cli_options import (
    CUDA_GRAPHS,
    accelerate,
    add_network_options,
    load_bare_network,
    load_network,
)
from sgm_vfi.model.flow.gmflow_features import GMFlowFeatures
from sgm_vfi.model.inference.padding import Padded
from sgm_vfi.model.interpolator import Interpolator
from sgm_vfi.model.malloc_settings import available_memory
from sgm_vfi.model.precision_and_compile import PRECISIONS, compile_modules, set_inference_precision
from sgm_vfi.model.sgm.network import SGM
from tests.conftest import TINY, randomize_weights


def twin() -> SGM:
    """Another network with the weights of `tiny`."""
    return randomize_weights(SGM(TINY)).eval()


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_half_precision_is_close_and_leaves_motion_in_float32(
    pair: tuple[torch.Tensor, torch.Tensor], precision: str
) -> None:
    """Fresh weights move little: where lively ones choose other matches, nothing is close."""
    torch.manual_seed(0)
    full, half, inside = SGM(TINY).eval(), SGM(TINY).eval(), []
    half.load_state_dict(full.state_dict())
    set_inference_precision(half, precision)
    half.local_flow[0].head.register_forward_hook(lambda *call: inside.append(call[-1].dtype))
    half.synthesis.unet.down[0][0][0].register_forward_hook(
        lambda *call: inside.append(call[-1].dtype)
    )
    time = time_like(pair[0], 0.5)
    with torch.inference_mode():
        exact, rounded = full(*pair, time), half(*pair, time, explain=True)
    assert inside == [torch.float32, {"bf16": torch.bfloat16, "fp16": torch.float16}[precision]]
    assert rounded.frame.dtype == torch.float32
    assert all(note.dtype == torch.float32 for note in rounded.explanation.values())
    error = (exact.frame - rounded.frame).abs()
    assert 0 < error.mean() < 0.02


def test_full_precision_changes_nothing(tiny: SGM, pair: tuple[torch.Tensor, torch.Tensor]) -> None:
    plain = twin()
    accelerate(plain, "fp32", compiled=False)
    time = time_like(pair[0], 0.5)
    with torch.inference_mode():
        assert torch.equal(tiny(*pair, time).frame, plain(*pair, time).frame)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library")
def test_freed_memory_is_kept() -> None:
    """A process of its own, for it is changed: pages of the next tensor are not cleared anew."""
    code = """
import resource, torch
from sgm_vfi.model.malloc_settings import keep_freed_memory
def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(20):
        torch.ones(2**23)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
torch.ones(2**23)
plain = faults()
assert not keep_freed_memory(plenty=2**60)
assert keep_freed_memory(plenty=0)
torch.ones(2**23)
print(plain, faults())
"""
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    plain, kept = map(int, shown.stdout.split())
    assert kept < plain / 4


def test_cached_files_count_as_available_memory(tmp_path: Path) -> None:
    info = tmp_path / "meminfo"
    info.write_text("MemTotal: 4096 kB\nMemFree: 1 kB\nMemAvailable: 2048 kB\n")
    assert available_memory(info) == 2**21


def test_compilers_see_the_network_whole(pair: tuple[torch.Tensor, torch.Tensor]) -> None:
    """No graph break from frames to frame, and the same result; windows shifted and not."""
    torch.manual_seed(0)
    net, time = SGM(TINY), time_like(pair[0], 0.5)
    net.gmflow = GMFlowFeatures(num_layers=2)
    net.eval()

    @torch.compile(backend="eager", fullgraph=True)
    def whole(frame0: torch.Tensor, frame1: torch.Tensor, time: torch.Tensor) -> torch.Tensor:
        return net(frame0, frame1, time).frame

    with torch.no_grad():
        torch.testing.assert_close(whole(*pair, time), net(*pair, time).frame, atol=1e-4, rtol=0)


def test_compiled_parts_run_in_tf32(monkeypatch: pytest.MonkeyPatch) -> None:
    """Seen when compiled code runs, on tensors that have a device but no memory."""
    seen = []

    def spy(graph: torch.fx.GraphModule, _: object) -> object:
        def run(*inputs: torch.Tensor) -> object:
            seen.append((torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32))
            return graph(*inputs)

        return run

    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend=spy))
    before = torch.backends.cudnn.allow_tf32
    try:
        with FakeTensorMode(allow_non_fake_inputs=True), torch.inference_mode():
            with torch.device("cuda"):
                net = OneLayer().eval()
                frame = torch.rand(1, 3, 8, 8)
            accelerate(net, "tf32", compiled=True)
            net.layer(frame)
        assert not torch.backends.cudnn.allow_tf32
    finally:
        torch.backends.cudnn.allow_tf32 = before
    assert seen == [(True, True)]


def test_what_graphs_give_outlives_their_next_run(
    tiny: SGM, pair: tuple[torch.Tensor, torch.Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A stand-in for graphs, which write to the same memory every time."""
    memory: dict[object, torch.Tensor] = {}

    def reused(key: object, output: object) -> object:
        if isinstance(output, torch.Tensor):
            key = (key, output.shape)
            memory.setdefault(key, torch.empty_like(output)).copy_(output)
            return memory[key]
        return type(output)(reused((key, i), part) for i, part in enumerate(output))

    def recorded(forward: Callable[..., object], mode: str) -> Callable[..., object]:
        assert mode == "reduce-overhead"
        return lambda *inputs: reused(forward, forward(*inputs))

    monkeypatch.setattr(torch, "compile", recorded)
    replayed, (frame0, frame1), time = twin(), pair, time_like(pair[0], 0.5)
    compile_modules(replayed.compute_modules(), graphs=True)
    results = []
    with torch.inference_mode():
        for network in (tiny, replayed):
            first, second = network.prepare(frame0, frame1), network.prepare(frame1, frame0)
            third = network.advance(second, frame0, frame1)
            results.append(
                [network.interpolate(state, time).frame for state in (first, second, third)]
            )
    assert memory
    assert all(map(torch.equal, *results))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("compiled", [True, CUDA_GRAPHS])
def test_compiled_for_a_gpu_is_close(
    tiny: SGM, pair: tuple[torch.Tensor, torch.Tensor], compiled: bool | str
) -> None:
    quick, plain, frames = twin().cuda(), tiny.cuda(), [frame.cuda() for frame in pair]
    accelerate(quick, "fp32", compiled)
    time = time_like(frames[0], 0.5)
    with torch.inference_mode():
        exact = plain(*frames, time).frame
        for _ in range(4):  # a graph is recorded in the second run
            torch.testing.assert_close(quick(*frames, time).frame, exact, atol=1e-4, rtol=0)


class OneLayer(Interpolator):
    """A trunk, and nothing else."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3))

    def prepare(self, *_: object) -> None:
        raise NotImplementedError

    interpolate = prepare

    def compute_modules(self) -> Iterator[torch.nn.Module]:
        yield self.layer


def test_training_mode_stays_exact(tiny: SGM, pair: tuple[torch.Tensor, torch.Tensor]) -> None:
    half = twin().train()
    set_inference_precision(half, "bf16")
    time = time_like(pair[0], 0.5)
    assert torch.equal(tiny.train()(*pair, time).frame, half(*pair, time).frame)


def test_wrapped_networks_have_the_same_parts(tiny: SGM) -> None:
    assert list(Padded(tiny).compute_modules()) == list(tiny.compute_modules())


@pytest.mark.parametrize("quick", [True, False])
def test_a_slow_precision_is_said(
    quick: bool, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    ask = "_is_mkldnn_fp16_supported"
    monkeypatch.setattr(torch.ops.mkldnn, ask, lambda: quick, raising=False)
    set_inference_precision(twin(), "fp16")
    assert ("no arithmetic for fp16" in caplog.text) is not quick


def test_refused_in_words(tiny: SGM) -> None:
    with pytest.raises(ValueError, match="one of fp32, tf32, bf16, fp16, got 'half'"):
        set_inference_precision(tiny, "half")
    with pytest.raises(ValueError, match="tf32 is a mode of NVIDIA GPUs, the network is on cpu"):
        set_inference_precision(tiny, "tf32")
    with pytest.raises(ValueError, match="Blend has no compute modules for bf16"):
        set_inference_precision(ZOO["blend"].build(), "bf16")
    with pytest.raises(ValueError, match="Blend has no compute modules to compile"):
        accelerate(ZOO["blend"].build(), "fp32", compiled=True)
    with pytest.raises(ValueError, match="for NVIDIA GPUs, the network is on cpu; take --compile"):
        accelerate(tiny, "fp32", compiled=CUDA_GRAPHS)


@pytest.mark.parametrize("precision", PRECISIONS)
def test_command_line_reads_it(precision: str) -> None:
    parser = argparse.ArgumentParser()
    add_network_options(parser)
    args = parser.parse_args(["--model", "blend", "--precision", precision])
    if precision == "fp32":
        load_network(args)
    else:
        with pytest.raises(ValueError, match=f"no compute modules for {precision}"):
            load_network(args)


@pytest.mark.parametrize(
    ("has_arithmetic", "gain", "expected"),
    [(True, 1.9, "bf16"), (True, 1.05, "fp32"), (False, 1.9, "fp32")],
)
def test_automatic_precision_is_what_is_faster(
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    has_arithmetic: bool,
    gain: float,
    expected: str,
) -> None:
    monkeypatch.setattr(automatic_precision, "has_bfloat16_arithmetic", lambda: has_arithmetic)
    monkeypatch.setattr(automatic_precision, "measure_bfloat16_gain", lambda: gain)
    parser = argparse.ArgumentParser()
    add_network_options(parser)
    given = ["--model", "rife_v4.6", "--device", "cpu", "--precision", "auto"]
    args = parser.parse_args(given)
    monkeypatch.setattr(cli_options, "load_interpolator", lambda *_, **__: OneLayer())
    assert load_bare_network(args).precision == args.precision == expected
    reason = f"{gain:.2f} times as fast" if has_arithmetic else "no AVX512-BF16 and no AMX"
    assert f"precision: {expected} (" in caplog.text
    assert reason in caplog.text
    blend = parser.parse_args(["--model", "blend", "--precision", "auto"])
    monkeypatch.undo()
    assert load_bare_network(blend).precision == "fp32"  # it has nothing to round


def test_the_gain_of_bfloat16_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(automatic_precision, "SIDES", (8, 8))
    assert 0 < automatic_precision.measure_bfloat16_gain() < 1000


def test_command_line_chooses_how_to_compile() -> None:
    parser = argparse.ArgumentParser()
    add_network_options(parser)
    chosen = {(): False, ("--compile",): True, ("--cuda_graphs",): CUDA_GRAPHS}
    for options, compiled in chosen.items():
        assert parser.parse_args(["--model", "blend", *options]).compile == compiled
