"""Export to ncnn: the graph without a batch axis, and the converted file."""

import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch
from torch import Tensor

from sgm_vfi.model.baselines.ifrnet.network import IFRNet, IFRNetConfig
from sgm_vfi.model.baselines.repeat_and_blend import FramePair, Repeat
from sgm_vfi.model.baselines.rife.practical_rife import PracticalConfig, PracticalRIFE
from sgm_vfi.model.export import formats, ncnn_format
from sgm_vfi.model.export.export_graph_and_check import (
    FixedSizeNetwork,
    build_test_inputs,
    capture_graph,
    export,
)
from sgm_vfi.model.export.formats import ExportError
from sgm_vfi.model.export.ncnn_format import PerSampleGraph, convert
from sgm_vfi.model.interpolator import Interpolation, Interpolator
from tests.conftest import randomize_weights

SIZE = (40, 52)  # not what any network takes without padding
NETWORKS = {
    "ifrnet": lambda: IFRNet(IFRNetConfig(widths=(8, 8, 12, 12), side_channels=4, any_time=True)),
    "rife_v4.6": lambda: PracticalRIFE(PracticalConfig(channels=(8, 8, 8, 8))),
}
pytestmark = pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")
needs_ncnn = pytest.mark.skipif(
    any(find_spec(name) is None for name, _ in ncnn_format.FOR_NCNN), reason="needs pnnx and ncnn"
)


def batch_sizes(graph: torch.jit.ScriptModule) -> set[int]:
    """Return the sizes of the first axis of all frames and feature maps in a trace."""
    types = [value.type() for node in graph.inlined_graph.nodes() for value in node.outputs()]
    shapes = [kind.sizes() for kind in types if isinstance(kind, torch.TensorType)]
    return {shape[0] for shape in shapes if shape and len(shape) == 4 and min(shape[2:]) > 4}


@pytest.mark.parametrize("name", NETWORKS)
@torch.no_grad()
def test_a_graph_computes_the_same_sample_by_sample(name: str) -> None:
    """Without a batch, and without empty tensors, on which pnnx never ends."""
    network: Interpolator = randomize_weights(NETWORKS[name]()).eval()
    fixed = FixedSizeNetwork(network, 1.0).eval()
    inputs = next(build_test_inputs(fixed, SIZE, torch.device("cpu")))
    graph = PerSampleGraph(capture_graph(fixed, inputs).module())
    torch.testing.assert_close(graph(*inputs), fixed(*inputs), atol=1e-5, rtol=0)
    assert batch_sizes(torch.jit.trace(graph, inputs, check_trace=False)) == {1}


@needs_ncnn
@pytest.mark.parametrize("name", NETWORKS)
def test_ncnn_gives_the_same_frame(name: str, tmp_path: Path) -> None:
    network = randomize_weights(NETWORKS[name]()).eval()
    agreement = export(network, "ncnn", SIZE, tmp_path / "net.ncnn.zip")
    assert agreement.mean < 1e-5
    assert agreement.runner.startswith("ncnn")


class Stacked(Repeat):
    """Gives both frames an axis that is neither that of the batch nor that of the channels."""

    def interpolate(
        self, state: FramePair, time: Tensor, *, explain: bool = False
    ) -> Interpolation:
        return Interpolation(torch.stack((state.frame0, state.frame1)).mean(0))


def test_other_networks_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(formats, "find_spec", lambda name: True)
    with pytest.raises(ExportError, match="has no batch axis"):
        export(Stacked(), "ncnn", SIZE, tmp_path / "net.ncnn.zip")
    assert list(tmp_path.iterdir()) == []


def test_failures_of_pnnx_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Converter:
        EXEC_PATH = "pnnx"

    def leave_unknown(command: list[str], *, cwd: Path, **_: object) -> object:
        text = "7767517\n2 2\nInput in0 0 1 in0\naten::lerp lerp_0 1 1 in0 out0\n"
        (cwd / "network.ncnn.param").write_text(text)
        return subprocess.CompletedProcess(command, 0)

    def never_end(command: list[str], *, timeout: float, **_: object) -> object:
        raise subprocess.TimeoutExpired(command, timeout)

    given: tuple[Tensor, ...] = (torch.zeros(1, 3, 8, 8),)
    monkeypatch.setitem(sys.modules, "pnnx", Converter)
    for run, reason in ((leave_unknown, "knows nothing like aten::lerp"), (never_end, "not end")):
        monkeypatch.setattr(ncnn_format.subprocess, "run", run)
        with pytest.raises(ValueError, match=reason):
            convert(tmp_path, given)
