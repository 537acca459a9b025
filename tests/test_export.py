"""Exported files compute what their networks do; what cannot be exported says why."""

import subprocess
import sys
from dataclasses import asdict, replace
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch
from torch import Tensor

from sgm_vfi.model.baselines.ifrnet.network import IFRNet, IFRNetConfig
from sgm_vfi.model.baselines.repeat_and_blend import FramePair, Repeat
from sgm_vfi.model.baselines.rife.network import RIFE, RIFEConfig
from sgm_vfi.model.export import formats
from sgm_vfi.model.export.__main__ import main
from sgm_vfi.model.export.export_graph_and_check import LARGEST_MEAN, export
from sgm_vfi.model.export.formats import FORMATS, ExportError
from sgm_vfi.model.flow.gmflow_features import GMFlowFeatures
from sgm_vfi.model.inference.padding import Padded
from sgm_vfi.model.interpolator import Interpolation, Interpolator, time_like
from sgm_vfi.model.sgm.network import SGM
from sgm_vfi.model.weight_io import save_weights
from sgm_vfi.model.zoo import build_interpolator
from tests.conftest import TINY, randomize_weights

TINY_IFRNET = IFRNetConfig(widths=(8, 8, 12, 12), side_channels=4, any_time=True)
TINY_RIFE = RIFEConfig(channels=(12, 8, 8), context_channels=2)
SIZE = (40, 52)  # not what any network takes without padding
ALONE = """
import sys, torch
run = torch.jit.load(sys.argv[1])
frame0, frame1 = torch.load(sys.argv[2])
times = (0.3, 0.8)
frames = [run(frame0, frame1, torch.full((1, 1, 1, 1), time)) for time in times]
assert "model" not in sys.modules
torch.save(frames, sys.argv[3])
"""
pytestmark = pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")
needs_onnx = pytest.mark.skipif(
    any(find_spec(name) is None for name, _ in formats.FOR_ONNX), reason="needs ONNX's packages"
)


def frames(size: tuple[int, int] = SIZE, seed: int = 5) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand(2, 1, 3, 5, 5, generator=generator)
    pair = [torch.nn.functional.interpolate(c, size=size, mode="bilinear") for c in coarse]
    return pair[0], pair[1]


@pytest.fixture
def ifrnet() -> IFRNet:
    return randomize_weights(IFRNet(TINY_IFRNET)).eval()


def sparse_sgm() -> SGM:
    """With few layers, and few cells that are matched."""
    net = SGM(replace(TINY, depths=(1, 1, 1, 1), dense_up_to=2))
    net.gmflow = GMFlowFeatures(num_layers=1)
    return randomize_weights(net).eval()


def saved(net: IFRNet, path: Path) -> Path:
    save_weights(net, path, {"network": "ifrnet", "config": asdict(net.config)})
    return path


def expected(net: Interpolator, time: float, scale: float = 1.0) -> Tensor:
    pair = frames()
    with torch.inference_mode():
        return Padded(net)(*pair, time_like(pair[0], time), scale).frame.clone()


def test_a_file_runs_without_this_project(
    ifrnet: IFRNet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    """The command's TorchScript, in a process that knows PyTorch alone, at times not tried here."""
    monkeypatch.chdir(tmp_path)
    weights = saved(ifrnet, tmp_path / "mine.safetensors")
    main([str(weights), "--format", "torchscript", "--size", "52x40", "--flow_scale", "1/2"])
    printed = capsys.readouterr().out.splitlines()
    assert printed[0].startswith("mine-52x40.pt: 0.")
    assert printed[1] == "takes frame0, frame1, time; gives frame"
    assert "at t = 0.25, 0.5, 0.875, in TorchScript" in printed[2]
    torch.save(frames(), "frames.pt")
    command = [sys.executable, "-c", ALONE, "mine-52x40.pt", "frames.pt", "out.pt"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stderr
    early, late = torch.load("out.pt")
    torch.testing.assert_close(early, expected(ifrnet, 0.3, 1 / 2))
    torch.testing.assert_close(late, expected(ifrnet, 0.8, 1 / 2))
    assert (early - late).abs().mean() > 1e-3


def test_a_network_with_times_is_a_pt2_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Opened once, by its check, which is slow."""
    opened: list[tuple[formats.Run, str]] = []

    def open_once(path: Path) -> tuple[formats.Run, str]:
        opened.append(formats.open_pt2(path))
        return opened[0]

    monkeypatch.setitem(FORMATS, "pt2", FORMATS["pt2"]._replace(open=open_once))
    net = randomize_weights(RIFE(replace(TINY_RIFE, any_time=True))).eval()
    agreement = export(net, "pt2", SIZE, tmp_path / "net.pt2")
    assert agreement.largest < 1e-3
    assert agreement.mean < 1e-5
    [(run, _)] = opened
    out = run(*frames(), torch.full((1, 1, 1, 1), 0.3))
    torch.testing.assert_close(out, expected(net, 0.3), atol=1e-4, rtol=0)


def test_sparse_matching_goes_along(tmp_path: Path) -> None:
    """Which cells are matched is found anew for other frames."""
    net = sparse_sgm()
    assert export(net, "torchscript", SIZE, tmp_path / "net.pt").mean < 1e-4
    run = torch.jit.load(tmp_path / "net.pt")
    torch.testing.assert_close(run(*frames()), expected(net, 0.5), atol=1e-2, rtol=0)


def test_a_network_of_the_middle_takes_no_time(tmp_path: Path, ifrnet: IFRNet) -> None:
    ifrnet.any_time = False
    assert export(ifrnet, "torchscript", SIZE, tmp_path / "net.pt").times == (0.5,)
    run = torch.jit.load(tmp_path / "net.pt")
    torch.testing.assert_close(run(*frames()), expected(ifrnet, 0.5))
    with pytest.raises(RuntimeError):
        run(*frames(), torch.full((1, 1, 1, 1), 0.5))


# ---- refusals ------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "reason"), [("dis", "OpenCV"), ("pervfi", "draws noise")])
def test_what_cannot_be_exported_says_why(name: str, reason: str, tmp_path: Path) -> None:
    with pytest.raises(ExportError, match=reason):
        export(build_interpolator(name), "torchscript", SIZE, tmp_path / "net.pt")
    assert list(tmp_path.iterdir()) == []


class HalfBaked(Repeat):
    """Looks at a value outside of the graph, as an unforeseen network might."""

    def interpolate(
        self, state: FramePair, time: Tensor, *, explain: bool = False
    ) -> Interpolation:
        result = super().interpolate(state, time)
        return result._replace(frame=result.frame + float(state.frame0.detach().numpy().mean()))


def test_a_network_that_the_compiler_does_not_understand(tmp_path: Path) -> None:
    with pytest.raises(ExportError, match=r"It cannot be exported: .*numpy"):
        export(HalfBaked(), "torchscript", SIZE, tmp_path / "net.pt")


def test_a_file_that_differs_is_not_kept(
    ifrnet: IFRNet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An earlier file at that place stays."""
    (tmp_path / "net.pt").write_text("earlier")

    def astray(path: Path) -> tuple[formats.Run, str]:
        run, runner = formats.open_torchscript(path)
        return lambda *inputs: run(*inputs) + 2 * LARGEST_MEAN, runner

    monkeypatch.setitem(FORMATS, "torchscript", FORMATS["torchscript"]._replace(open=astray))
    with pytest.raises(ExportError, match=r"differs from the network by 0\.0039"):
        export(ifrnet, "torchscript", SIZE, tmp_path / "net.pt")
    assert [path.read_text() for path in tmp_path.iterdir()] == ["earlier"]


def test_a_folder_is_no_file(ifrnet: IFRNet, tmp_path: Path) -> None:
    with pytest.raises(ExportError, match="is a folder"):
        export(ifrnet, "torchscript", SIZE, tmp_path)


def test_missing_packages_are_named(
    ifrnet: IFRNet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.setattr(formats, "find_spec", lambda name: None)
    weights = saved(ifrnet, tmp_path / "mine.safetensors")
    with pytest.raises(SystemExit, match="2"):
        main([str(weights), "--format", "onnx", "--output", str(tmp_path / "net.onnx")])
    message = capsys.readouterr().err
    assert "not installed here (onnx, onnxscript, onnxruntime): pip install onnx==1." in message
    assert not (tmp_path / "net.onnx").exists()


# ---- ONNX, where it is installed -----------------------------------------------------------------


@needs_onnx
def test_onnx_hears_the_time(ifrnet: IFRNet, tmp_path: Path) -> None:
    agreement = export(ifrnet, "onnx", SIZE, tmp_path / "net.onnx")
    assert agreement.mean < 1e-5
    run, runner = formats.open_onnx(tmp_path / "net.onnx")
    assert runner.startswith("onnxruntime")
    early, late = (run(*frames(), torch.full((1, 1, 1, 1), time)) for time in (0.3, 0.8))
    torch.testing.assert_close(early, expected(ifrnet, 0.3), atol=1e-3, rtol=0)
    torch.testing.assert_close(late, expected(ifrnet, 0.8), atol=1e-3, rtol=0)


class Ranked(Repeat):
    """Gives where the pixels of few shades go when they are sorted."""

    def interpolate(
        self, state: FramePair, time: Tensor, *, explain: bool = False
    ) -> Interpolation:
        shades = (4 * state.frame0).round().flatten(1)
        order = shades.argsort(dim=1, descending=True, stable=True)
        return Interpolation((order / order.shape[1]).view_as(state.frame0))


@needs_onnx
def test_onnx_sorts_as_pytorch_does(tmp_path: Path) -> None:
    """Equal values in their order, so that the same cells are matched."""
    assert export(Ranked(), "onnx", (16, 16), tmp_path / "net.onnx").largest < 1e-6
