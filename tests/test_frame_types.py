"""Frames of every floating-point type, times of every kind, and results that are no numbers."""

from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from sgm_vfi.media.images import write_frame
from sgm_vfi.model.inference.padding import Padded
from sgm_vfi.model.interpolator import require_finite, time_like
from sgm_vfi.model.weight_io import save_weights
from sgm_vfi.model.zoo import build_interpolator
from tests.fixtures.demo import run
from tests.fixtures.videos import moving_frames, write_clip

TRAINED = ("ours-small-1-2", "rife", "rife_v4.6", "ifrnet")  # one per network
WEIGHTLESS = ("blend", "repeat", "dis", "sift+dis")
HALF = (torch.float16, torch.bfloat16)


@pytest.fixture(scope="module")
def pair() -> tuple[Tensor, Tensor]:
    frames = moving_frames(2, 64, 96, step=8)
    return frames[0], frames[1]


@torch.inference_mode()
@pytest.mark.parametrize("name", [*WEIGHTLESS, *TRAINED])
def test_frames_in_half_precision_cost_their_rounding(
    name: str, pair: tuple[Tensor, Tensor]
) -> None:
    """Motion is computed in float32: the result is that of the rounded frames, to the bit."""
    network = Padded(build_interpolator(name))
    for dtype in HALF:
        rounded = [frame.to(dtype) for frame in pair]
        result = network(*rounded, time_like(rounded[0], 0.5)).frame
        exact = network(*(frame.float() for frame in rounded), 0.5).frame
        assert result.dtype == torch.float32
        assert torch.equal(result, exact)


@torch.inference_mode()
@pytest.mark.parametrize("name", ["blend", "dis", "ifrnet"])
def test_frames_of_two_types_are_one_pair(name: str, pair: tuple[Tensor, Tensor]) -> None:
    network, (frame0, frame1) = Padded(build_interpolator(name)), pair
    mixed = network(frame0.half(), frame1.float(), 0.5).frame
    assert torch.equal(mixed, network(frame0.half().float(), frame1, 0.5).frame)


@torch.inference_mode()
def test_a_network_in_double_computes_in_double(pair: tuple[Tensor, Tensor]) -> None:
    assert Padded(build_interpolator("ifrnet")).double()(*pair, 0.5).frame.dtype == torch.float64


@pytest.mark.parametrize("dtype", HALF)
def test_weights_in_half_precision_are_refused(
    dtype: torch.dtype, pair: tuple[Tensor, Tensor]
) -> None:
    network = Padded(build_interpolator("ifrnet")).to(dtype)
    with pytest.raises(ValueError, match="Keep them in float32"):
        network(pair[0].to(dtype), pair[1].to(dtype), 0.5)


@torch.inference_mode()
@pytest.mark.parametrize("time", [np.float64(0.25), np.float32(0.25), torch.tensor(0.25)])
def test_a_time_may_be_a_number(time: object, pair: tuple[Tensor, Tensor]) -> None:
    network = Padded(build_interpolator("blend"))
    assert torch.equal(network(*pair, time).frame, network(*pair, time_like(pair[0], 0.25)).frame)


@pytest.mark.parametrize("time", [None, "half", 0, 1.5, torch.zeros(2), float("nan")])
def test_a_wrong_time_is_refused_in_one_sentence(time: object, pair: tuple[Tensor, Tensor]) -> None:
    with pytest.raises(ValueError, match=r"Expected a time in \(0, 1\)"):
        Padded(build_interpolator("blend"))(*pair, time)


@pytest.mark.parametrize("name", ["blend", "dis", "ifrnet"])
def test_an_empty_batch_is_refused(name: str) -> None:
    empty = torch.zeros(0, 3, 32, 32)
    with pytest.raises(ValueError, match="a batch of none"):
        Padded(build_interpolator(name))(empty, empty, 0.5)


@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf])
def test_one_value_that_is_no_number_is_named(value: float) -> None:
    frame = torch.zeros(1, 3, 8, 8)
    require_finite(frame, "net", "here")
    frame[0, 0, 3, 4] = value
    with pytest.raises(ValueError, match=r"net predicts values that are not numbers .* here"):
        require_finite(frame, "net", "here")
    with pytest.raises(ValueError, match="not numbers"):
        write_frame(Path("never.png"), frame[0])


@pytest.fixture(scope="module")
def nan_weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a training that diverged leaves."""
    network = build_interpolator("ifrnet_s")
    for weight in network.parameters():
        weight.data.fill_(torch.nan)
    path = tmp_path_factory.mktemp("weights") / "nan.safetensors"
    save_weights(network, path, {"network": "ifrnet", "config": asdict(network.config)})
    return path


def test_weights_of_nan_give_no_picture(nan_weights: Path, workdir: Path) -> None:
    """Not of two images, of a folder, or of a video, where clamping would make them black."""
    frames = moving_frames(3, 32, 32)
    Path("in").mkdir()
    for number, frame in enumerate(frames):
        write_frame(Path(f"in/{number}.png"), frame[0])
    write_clip(Path("clip.mp4"), frames)
    cases = {
        "in/0.png in/1.png --output pair.png": "nan.safetensors predicts .* for pair.png",
        "in --output images": "nan.safetensors predicts .* for images/000002.png",
        "clip.mp4 --output new.mp4": "IFRNet predicts .* at 0.020 s, between source frames 0 and 1",
    }
    for arguments, message in cases.items():
        with pytest.raises(SystemExit, match=message):
            run(*arguments.split(), "--model", nan_weights)
    assert not Path("pair.png").exists()
    assert not Path("new.mp4").exists()
