"""The splat's kernels without a GPU: interpreted, compiled, traced, chosen, and missed."""

import logging
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from sgm_vfi.model.ops import splat as splatting
from sgm_vfi.model.ops.splat import FIXED_POINT, bilinear, gaussian, runs_in_triton, splat

triton = pytest.importorskip("triton")
from sgm_vfi.model.ops import splat_kernel  # noqa: E402 (needs Triton)

ROOT = Path(__file__).resolve().parent.parent
QUICK = "not test_gradients_of_warp_and_splat"  # gradients in float64 are compared anyway
needs_compiler = pytest.mark.skipif(
    os.environ.get("TRITON_INTERPRET") == "1", reason="kernels are not compiled"
)


def test_interpreted_kernels_pass_the_tests_of_the_gpu() -> None:
    """In a process of its own: Triton reads the variable when it is imported."""
    shown = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist",
         "--noconftest", "--override-ini=addopts=--import-mode=importlib",
         "tests/test_splat_on_gpu.py", "-k", QUICK],
        cwd=ROOT,
        env=os.environ | {"TRITON_INTERPRET": "1", "CUDA_VISIBLE_DEVICES": ""},
        capture_output=True,
        text=True,
    )  # fmt: skip
    assert shown.returncode == 0, shown.stdout[-4000:] + shown.stderr[-2000:]
    assert " passed" in shown.stdout


@needs_compiler
@pytest.mark.parametrize("architecture", [80, 90])
@pytest.mark.parametrize(
    ("name", "constants"),
    [
        ("_scatter", {"GAUSSIAN": False, "STEPS": 0.0}),
        ("_scatter", {"GAUSSIAN": True, "STEPS": 0.0}),
        ("_scatter", {"GAUSSIAN": False, "STEPS": FIXED_POINT}),
        ("_gather", {"GAUSSIAN": False}),
        ("_gather", {"GAUSSIAN": True}),
    ],
)
def test_kernels_compile_for_gpus(
    name: str,
    constants: dict[str, object],
    architecture: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Down to machine code, which needs no GPU; with no memory shared and nothing waited for."""
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))
    kernel = getattr(splat_kernel, name)
    out = "*i64" if constants.get("STEPS") else "*fp32"
    constants = constants | {"BLOCK": splat_kernel.BLOCK, "WIDE": triton.language.float32}
    pointers = dict.fromkeys(("source", "flow", "grad", "grad_source", "grad_flow"), "*fp32")
    given = pointers | {"out": out} | dict.fromkeys(constants, "constexpr")
    types = {argument: given.get(argument, "i32") for argument in kernel.arg_names}
    compiled = triton.compile(
        triton.compiler.ASTSource(kernel, types, constants),
        target=triton.backends.compiler.GPUTarget("cuda", architecture, 32),
    )
    assert compiled.asm["cubin"]
    assert compiled.metadata.shared == 0
    assert "bar.sync" not in compiled.asm["ptx"]


@pytest.mark.parametrize("weights", [False, True])
def test_tensors_on_a_gpu_are_splatted_by_one_operation(weights: bool) -> None:
    """Traced on tensors that have a device but no memory, so that none is needed."""
    seen: list[str] = []

    def look(graph: torch.fx.GraphModule, _: object) -> object:
        seen.extend(str(node.target) for node in graph.graph.nodes if node.op == "call_function")
        return graph.forward

    compiled = torch.compile(splat, backend=look, fullgraph=True)
    with FakeTensorMode(allow_non_fake_inputs=True), torch.no_grad():
        source, flow = (torch.empty(1, n, 8, 16, device="cuda") for n in (3, 2))
        mean, landed = compiled(source, flow, source[:, :1] if weights else None)
    assert mean.shape == (1, 3, 8, 16)
    assert landed.device.type == "cuda"
    assert sum("splat_scatter" in name for name in seen) == 1
    assert not any("scatter_add" in name for name in seen)


def test_kernels_are_for_gpus_and_for_weights_that_they_know() -> None:
    with FakeTensorMode():
        there = torch.empty(1, device="cuda")
    assert runs_in_triton(there, bilinear)
    assert runs_in_triton(there, gaussian)
    assert not runs_in_triton(there, lambda x, y: x * y)
    assert not runs_in_triton(torch.empty(1), bilinear)


def test_triton_that_is_missing_is_missed_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setitem(sys.modules, "sgm_vfi.model.ops.splat_kernel", None)
    splatting._find_triton.cache_clear()
    try:
        with caplog.at_level(logging.WARNING):
            assert not splatting.has_triton()
            assert not splatting.has_triton()
    finally:
        splatting._find_triton.cache_clear()
    assert [record.name for record in caplog.records] == ["sgm_vfi.model.ops.splat"]
    assert "pip install triton" in caplog.text
