"""Every interpolator, present and future, keeps the contract."""

from dataclasses import asdict
from fractions import Fraction
from pathlib import Path

import pytest
import torch

from sgm_vfi.model import ZOO
from sgm_vfi.model.interpolator import time_like
from sgm_vfi.model.weight_io import save_weights
from sgm_vfi.model.zoo import build_interpolator
from sgm_vfi.video import EncodingOptions, Target, VideoOptions, interpolate_file
from tests.fixtures.demo import run
from tests.fixtures.networks import update_once
from tests.fixtures.videos import decode_samples, moving_frames, read_timestamps, write_clip

NAMES = sorted(ZOO)
MUCH_ALIKE = {"channels", "depths", "widths", "side_channels", "first_kernel", "keypoint_ratio"}
MUCH_ALIKE |= {"estimator"}  # the flow network
SAME_WORK = {  # rows that differ in fields of these names alone -> one of them that is cheap
    "ours-local-base": "ours-local-small",
    "ours-base-1-2": "ours-small-1-2",
    "ours-small-1-4": "ours-small-1-2",
    "ours-small-1-8": "ours-small-1-2",
    "ifrnet": "ifrnet_s",
    "ifrnet_l": "ifrnet_s",
    "ifrnet_gopro": "ifrnet_s_gopro",
    "ifrnet_l_gopro": "ifrnet_s_gopro",
    "pervfi": "gmflow+pervfi",
    "gma+pervfi": "gmflow+pervfi",
    "gmflow_refine+pervfi": "gmflow+pervfi",
    "gmflow_refine+pervfi_vb": "gmflow+pervfi_vb",
    "pervfi_vb": "gmflow+pervfi_vb",
    "gma+pervfi_vb": "gmflow+pervfi_vb",
}
KINDS = [name for name in NAMES if name not in SAME_WORK]  # what is new is a kind until it is known


def test_rows_of_one_kind_are_of_one_network() -> None:
    """So that what holds of the cheap one for its code holds of the others."""
    for name, cheap in SAME_WORK.items():
        assert ZOO[name].architecture is ZOO[cheap].architecture is not None
        own, other = (asdict(ZOO[row].config) for row in (name, cheap))
        assert {field for field, value in own.items() if value != other[field]} <= MUCH_ALIKE


@pytest.mark.parametrize("name", NAMES)
def test_interpolator_contract(name: str) -> None:
    """Right shape, right range, no trace left in the state dict; of each kind same answer twice.

    What is no pair of frames is refused.
    """
    network = update_once(ZOO[name].build().eval())
    torch.manual_seed(0)
    side = max(network.stride, 16)
    frame0, frame1 = torch.rand(2, 1, 3, 2 * side, 3 * side)
    half = time_like(frame0, 0.5)
    names = set(network.state_dict())
    with torch.inference_mode():
        first = network(frame0, frame1, half).frame
        if name in KINDS:
            assert torch.equal(first, network(frame0, frame1, half).frame)
    assert first.shape == frame0.shape
    assert first.min() >= 0
    assert first.max() <= 1
    assert set(network.state_dict()) == names
    with pytest.raises(ValueError, match="two frames of one shape"):
        network.prepare(torch.rand(1, 3, 32, 32), torch.rand(1, 3, 32, 48))


@pytest.mark.parametrize("name", KINDS)
def test_prepared_once_asked_often(name: str) -> None:
    """`forward` is `prepare` and `interpolate`; every scale and explanation is accepted."""
    network = update_once(ZOO[name].build().eval())
    torch.manual_seed(0)
    side = network.size_multiple(1 / 2)
    frame0, frame1 = torch.rand(2, 1, 3, 2 * side, 2 * side)
    time = time_like(frame0, 0.25 if network.any_time else 0.5)
    with torch.inference_mode():
        state = network.prepare(frame0, frame1, 1 / 2)
        told = network.interpolate(state, time, explain=True)
        whole = network(frame0, frame1, time, 1 / 2).frame
    assert torch.equal(told.frame, whole)
    for picture in (told.explanation or {}).values():
        assert picture.shape[-2:] == frame0.shape[-2:]


@pytest.mark.parametrize("name", KINDS)
def test_thirds_of_a_video_file(workdir: Path, name: str) -> None:
    """What `--multi 3` asks for: every frame, at its time, whatever times the network knows."""
    clip = write_clip(Path("in.mp4"), moving_frames(2, 34, 64))
    options = VideoOptions(target=Target(multi=3), encoding=EncodingOptions(lossless=True))
    network = update_once(build_interpolator(name))
    receipt = interpolate_file(clip, "out.mp4", options, network=network)
    assert receipt["frames made by the network"] == 2
    assert read_timestamps(Path("out.mp4")) == [Fraction(number, 75) for number in range(6)]
    assert decode_samples(Path("out.mp4"))[::3] == decode_samples(clip)


ONE_OF_EACH_ARCHITECTURE = (
    "blend",
    "dis",
    "ours-local-small",
    "rife",
    "rife_m",
    "rife_v4.25",
    "ifrnet_s",
    "ifrnet_s_gopro",
    "gmflow+pervfi_vb",
    "raft_vfi",
)


@pytest.mark.parametrize("name", ONE_OF_EACH_ARCHITECTURE)
def test_thirds_by_the_command(workdir: Path, capsys: pytest.CaptureFixture, name: str) -> None:
    """With weights in their place; it says by how much times are missed, where they are."""
    network, entry = build_interpolator(name), ZOO[name]
    if entry.needs_weights:
        about = {"network": entry.architecture.name, "config": asdict(entry.config)}
        save_weights(network, Path("pretrained", f"{name}.safetensors"), about)
    run(write_clip(Path("in.mp4"), moving_frames(2, 34, 64)), "--multi", 3, "--model", name)
    printed = capsys.readouterr().out
    assert ("by halving" in printed) is not network.any_time
    [output] = Path("output").glob("in_3x_*.mp4")
    assert len(read_timestamps(output)) == 6
