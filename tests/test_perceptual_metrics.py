"""ST-LPIPS, VMAF and the time of a prediction, as the benchmark measures them."""

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from sgm_vfi.benchmark import footage_command as footage
from sgm_vfi.benchmark import perceptual_metrics, runner
from sgm_vfi.benchmark.__main__ import main
from sgm_vfi.benchmark.metrics import MetricError
from sgm_vfi.benchmark.perceptual_metrics import (
    LOADABLE_METRICS,
    compare_by_filter,
    load_stlpips_metric,
    load_vmaf,
)
from sgm_vfi.media.images import write_frame
from sgm_vfi.model import weight_search as weight_files
from sgm_vfi.model.stlpips import PUBLISHED_NAMES, SMALLEST, STLPIPS, load_stlpips, normalise
from sgm_vfi.model.weight_io import CheckpointError, published_name, save_weights
from tests.conftest import randomize_weights

CPU = torch.device("cpu")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The only folder where weights are looked for."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(weight_files, "ROOT", tmp_path)
    monkeypatch.setenv("SGM_VFI_WEIGHTS", str(tmp_path))
    return tmp_path


class Published(torch.nn.Module):
    """A state dict under published names."""

    def __init__(self, network: STLPIPS) -> None:
        super().__init__()
        self.state = {
            published_name(name, PUBLISHED_NAMES[:-1])
            if not name.startswith("s") or name.startswith("slices")
            else f"scaling_layer.{name}": tensor
            for name, tensor in network.state_dict().items()
        }

    def state_dict(self) -> dict[str, Tensor]:
        return self.state


def test_stlpips_with_weights_in_place(folder: Path) -> None:
    network = randomize_weights(STLPIPS()).eval()
    for weight in network.weights:
        weight.weight.data.abs_()
    published = Published(network)
    names = set(published.state)
    assert {"net.slice2.5.weight", "net.slice3.8.filt", "lin4.model.1.weight"} <= names
    assert {"scaling_layer.shift", "net.slice1.1.filt", "net.slice5.13.bias"} <= names
    save_weights(published, folder / "stlpips.safetensors", {})
    stlpips = load_stlpips_metric(CPU)
    frame, target = torch.rand(2, 2, 3, 40, 48)
    values = stlpips(frame, target)
    assert values.dtype == torch.float64
    torch.testing.assert_close(values.float(), network(frame, target).detach())
    assert (values > 0).all()
    assert stlpips(frame, frame).tolist() == [0, 0]
    stlpips(frame[..., :SMALLEST, :SMALLEST], target[..., :SMALLEST, :SMALLEST])
    with pytest.raises(ValueError, match=f"at least {SMALLEST} pixels"):
        stlpips(frame[..., : SMALLEST - 1], target[..., : SMALLEST - 1])
    published.state.pop("lin4.model.1.weight")
    save_weights(published, folder / "stlpips.safetensors", {})
    with pytest.raises(CheckpointError, match="1 tensors missing"):
        load_stlpips()


def test_first_slice_is_convolution_blur_and_relu() -> None:
    """Against operations written out."""
    layer = randomize_weights(STLPIPS()).slices[0]
    x = torch.rand(1, 3, 24, 26)
    features = F.conv2d(x, layer.conv.weight, layer.conv.bias, padding=2)
    padded = F.pad(features, (2, 2, 2, 2), mode="reflect")
    rows, columns = ((padded.shape[axis] - 3) // 2 + 1 for axis in (2, 3))
    expected = torch.zeros(1, 64, rows, columns)
    for i in range(3):
        for j in range(3):
            share = (1, 2, 1)[i] * (1, 2, 1)[j] / 16
            expected += share * padded[:, :, i : i + 2 * rows - 1 : 2, j : j + 2 * columns - 1 : 2]
    torch.testing.assert_close(layer(x), expected.relu(), atol=1e-5, rtol=1e-5)


def test_features_have_unit_length() -> None:
    features = normalise(torch.randn(2, 7, 3, 4))
    torch.testing.assert_close(features.square().sum(dim=1), torch.ones(2, 3, 4))
    assert normalise(torch.zeros(1, 7, 2, 2)).isfinite().all()


def test_stlpips_without_weights_says_how_to_fetch_them(folder: Path) -> None:
    with pytest.raises(MetricError, match="sgm-vfi weights fetch stlpips"):
        load_stlpips_metric(CPU)


def test_frames_reach_a_filter_of_ffmpeg_in_order() -> None:
    """VMAF itself is in few builds; FFmpeg's psnr filter is called the same way."""
    target = torch.full((3, 48, 64), 0.5)
    frame = target.clone()
    frame[:, :, ::2] += 10 / 255
    log = compare_by_filter("psnr", "stats_file", frame, target)
    [error] = re.findall(r"mse_y:([\d.]+)", log)
    assert float(error) == pytest.approx((10 * 219 / 255) ** 2 / 2, rel=0.15)
    assert "psnr_y:inf" in compare_by_filter("psnr", "stats_file", frame, frame)


def test_vmaf_without_the_filter_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(perceptual_metrics.av.filter, "filters_available", set())
    with pytest.raises(MetricError, match="built without"):
        load_vmaf(CPU)


@pytest.mark.parametrize("load", [footage.load_metrics, runner.load_perceptual_metrics])
def test_a_named_metric_that_is_not_available_is_an_error(folder: Path, load: Callable) -> None:
    with pytest.raises(MetricError, match="sgm-vfi weights fetch stlpips"):
        load(["stlpips"], CPU)
    assert "seconds" not in LOADABLE_METRICS
    _, reasons = load(None, CPU)
    assert set(reasons) <= {"lpips"}


def test_seconds_of_a_prediction_are_measured(tmp_path: Path) -> None:
    clip = tmp_path / "clip"
    clip.mkdir()
    for number in range(3):
        write_frame(clip / f"{number}.png", torch.rand(3, 32, 32))
    output = tmp_path / "report.json"
    arguments = ("--path", str(clip), "--model", "blend", "--metrics", "seconds")
    assert main(["footage", *arguments, "--output", str(output)]) == 0
    [row] = json.loads(output.read_text())["rows"]
    assert 0 < row["seconds"] < 60
    assert "seconds" in json.loads(output.read_text())["metrics"]
