"""RIFE: network, losses and published checkpoints."""

from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from sgm_vfi.model import ZOO, load_interpolator, time_like
from sgm_vfi.model.baselines.rife.checkpoint_names import PUBLISHED_NAMES
from sgm_vfi.model.baselines.rife.network import (
    RIFE,
    RIFE_2R,
    RIFE_BASE,
    RIFE_M,
    IFBlockOutput,
    RIFEConfig,
    RIFETrainingOutput,
)
from sgm_vfi.model.inference.bisection import Bisected
from sgm_vfi.model.inference.padding import Padded
from sgm_vfi.model.inference.tiling import Tiled
from sgm_vfi.model.sgm.network import SGM
from sgm_vfi.model.weight_io import CheckpointError, published_name, save_weights, translate_name
from sgm_vfi.training.loss_functions import end_point_error, laplacian_loss
from sgm_vfi.training.rife_loss import BETTER, distillation_loss, rife_loss
from tests.conftest import TINY, randomize_weights

SMALL = RIFEConfig(channels=(12, 8, 8), context_channels=2)
ANY_TIME = replace(SMALL, any_time=True)


def net_of(config: RIFEConfig, **changes: bool | str) -> RIFE:
    return randomize_weights(RIFE(replace(config, **changes))).eval()


def some_frames(count: int = 2, height: int = 64, width: int = 96) -> Tensor:
    """Smooth noise. Shapes: -> (count, 1, 3, height, width)."""
    generator = torch.Generator().manual_seed(3)
    coarse = torch.rand(count, 3, height // 8, width // 8, generator=generator)
    return torch.nn.functional.interpolate(coarse, scale_factor=8, mode="bilinear")[:, None]


def save_published(path: Path, net: RIFE, prefix: str = "module.") -> Path:
    """A file as the published code saves it: a bare state dict."""
    path.parent.mkdir(parents=True, exist_ok=True)
    state = net.state_dict().items()
    torch.save({prefix + published_name(name, PUBLISHED_NAMES): t for name, t in state}, path)
    return path


# ---- the network ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("config", "teacher", "parameters"),
    [
        (RIFE_BASE, True, 10_708_215),
        (RIFE_BASE, False, 10_071_550),
        (RIFE_2R, True, 10_708_215),
        (RIFE_M, True, 10_710_780),
        (RIFE_M, False, 10_073_710),
    ],
)
def test_sizes_are_the_published_ones(config: RIFEConfig, teacher: bool, parameters: int) -> None:
    with torch.device("meta"):
        net = RIFE(replace(config, teacher=teacher))
    assert sum(weight.numel() for weight in net.parameters()) == parameters


def test_middle_only_weights_refuse_other_times() -> None:
    net, frames = net_of(SMALL), some_frames()
    with pytest.raises(ValueError, match=r"know t = 1/2 only, got \[0.25\].*Bisected"):
        net(*frames, time_like(frames[0], 0.25))
    with torch.no_grad():
        quarter = Bisected(net)(*frames, time_like(frames[0], 0.25)).frame
        middle = net(*frames, time_like(frames[0], 0.5)).frame
        assert torch.equal(quarter, net(frames[0], middle, time_like(frames[0], 0.5)).frame)


def test_each_sample_has_its_own_time() -> None:
    net, frames = net_of(ANY_TIME), some_frames()
    both = frames.expand(2, 2, *frames.shape[2:]).clone()
    with torch.no_grad():
        together = net(*both, torch.tensor((0.25, 0.75)).view(2, 1, 1, 1)).frame
        apart = [net(*frames, time_like(frames[0], time)).frame for time in (0.25, 0.75)]
    torch.testing.assert_close(together, torch.cat(apart), atol=1e-5, rtol=0)
    assert (apart[0] - apart[1]).abs().max() > 1e-3


@pytest.mark.parametrize("doubled", [False, True])
def test_tiles_equal_the_whole_frame(doubled: bool) -> None:
    """In double precision, where a halo too small by one pixel would show."""
    net = net_of(SMALL, doubled=doubled).double()
    frames = torch.rand(2, 1, 3, 208, 256, generator=torch.Generator().manual_seed(0)).double()
    time = time_like(frames[0], 0.5)
    with torch.no_grad():
        whole = net(*frames, time, explain=True)
        tiled = Tiled(net, tile=96)(*frames, time, explain=True)
    torch.testing.assert_close(tiled.frame, whole.frame, atol=1e-9, rtol=0)
    torch.testing.assert_close(tiled.explanation, whole.explanation, atol=1e-9, rtol=0)


def test_explanation_and_merged_match_the_frame() -> None:
    net, frames = net_of(SMALL), some_frames()
    half = time_like(frames[0], 0.5)
    with torch.no_grad():
        plain, result = net(*frames, half), net(*frames, half, explain=True)
        learning = net.train()(*frames, half)
    assert torch.equal(plain.frame, result.frame)
    assert torch.equal(plain.frame, learning.frame)
    assert (plain.merged, plain.explanation) == ((), None)
    assert {name: notes.shape[1] for name, notes in result.explanation.items()} == {
        "initial_flow": 4,
        "flow": 4,
        "blend": 1,
    }
    assert len(learning.merged) == 3


def test_doubled_shares_weights_with_the_base() -> None:
    base, doubled = net_of(SMALL), net_of(SMALL, doubled=True)
    frames = some_frames()
    half = time_like(frames[0], 0.5)
    assert all(
        torch.equal(a, b)
        for a, b in zip(base.state_dict().values(), doubled.state_dict().values(), strict=True)
    )
    with torch.no_grad():
        assert (base(*frames, half).frame - doubled(*frames, half).frame).abs().max() > 1e-3


@pytest.mark.parametrize(
    ("scale", "multiple"), [(0.25, 64), (0.5, 32), (0.8, 80), (2, 16), (4, 16)]
)
def test_supported_flow_scales(scale: float, multiple: int) -> None:
    net, frames = net_of(SMALL), some_frames(height=80, width=80)
    assert net.size_multiple(scale) == multiple
    with torch.no_grad():
        out = Padded(net)(*frames, time_like(frames[0], 0.5), scale)
        plain = Padded(net)(*frames, time_like(frames[0], 0.5))
    assert out.frame.shape == frames[0].shape
    assert (out.frame - plain.frame).abs().max() > 1e-4


def test_unsupported_flow_scale_is_refused() -> None:
    frames = some_frames()
    half = time_like(frames[0], 0.5)
    with pytest.raises(ValueError, match=r"in \(0, 4\].*got 8"):
        Padded(net_of(SMALL))(*frames, half, 8)
    with pytest.raises(ValueError, match=r"in \(0, 1\].*got 2"):
        Padded(SGM(TINY).eval())(*frames, half, 2)
    with pytest.raises(ValueError, match=r"At flow_scale 0\.25 RIFE takes .* divisible by 64"):
        net_of(SMALL)(*frames, half, 0.25)


def test_bgr_weights_take_rgb_frames() -> None:
    frames = some_frames()
    half = time_like(frames[0], 0.5)
    blue_first, red_first = net_of(SMALL, colour_order="bgr"), net_of(SMALL)
    with torch.no_grad():
        inside = red_first(frames[0].flip(1), frames[1].flip(1), half).frame.flip(1)
        assert torch.equal(blue_first(*frames, half).frame, inside)
        output = blue_first.training_forward(*frames, half, frames[0])
    assert torch.equal(output.target, frames[0].flip(1))
    assert torch.equal(output.frame.flip(1), inside)


# ---- the loss ------------------------------------------------------------------------------------


def make_output(student: float, teacher: float, right: tuple[float, float]) -> RIFETrainingOutput:
    """A black target; flows and frames of one value each; `right`: grey of student and teacher."""
    target = torch.zeros(1, 3, 64, 64)
    flows = [torch.full((1, 4, 64, 64), value, requires_grad=True) for value in (student, teacher)]
    logits = torch.zeros(1, 1, 64, 64)
    merged, taught = (torch.full((1, 3, 64, 64), value) for value in right)
    motions = (IFBlockOutput(flows[0], logits),)
    return RIFETrainingOutput(
        target, target, motions, (merged,), IFBlockOutput(flows[1], logits), taught
    )


def test_distillation_by_hand() -> None:
    """Flows two pixels apart, all four channels: distance 2, wherever the teacher is better."""
    output = make_output(1.0, 3.0, (0.5, 0.2))
    torch.testing.assert_close(distillation_loss(output), torch.tensor(2.0))
    assert distillation_loss(make_output(1.0, 3.0, (0.2, 0.5))) == 0
    hardly = (0.2 + BETTER - 1e-4, 0.2)
    assert distillation_loss(make_output(1.0, 3.0, hardly)) == 0
    distillation_loss(output).backward()
    assert output.motions[0].flow.grad.abs().sum() > 0
    assert output.teacher_motion.flow.grad is None


def test_identical_flows_have_finite_gradients() -> None:
    """The root of zero has none: published training was known to end in NaN there."""
    for right in ((0.5, 0.2), (0.2, 0.5)):
        output = make_output(1.0, 1.0, right)
        distillation_loss(output).backward()
        assert output.motions[0].flow.grad.isfinite().all()


def test_loss_is_the_sum_of_its_parts() -> None:
    net = net_of(ANY_TIME).train()
    frame0, target, frame1 = some_frames(3)
    output = net.training_forward(frame0, frame1, time_like(frame0, 0.25), target)
    student = laplacian_loss(output.frame, target)
    taught = laplacian_loss(output.teacher_merged, target)
    for weight in (0.0, 0.5):
        whole = student + taught + weight * distillation_loss(output)
        torch.testing.assert_close(rife_loss(output, weight), whole)


def test_student_and_teacher_receive_gradients() -> None:
    """Every weight learns; the frame is the one that is given without a target."""
    net = net_of(SMALL).train()
    frame0, target, frame1 = some_frames(3)
    half = time_like(frame0, 0.5)
    output = net(frame0, frame1, half, target=target)
    assert torch.equal(output.frame, net(frame0, frame1, half).frame)
    rife_loss(output).backward()
    assert all(weight.grad is not None for weight in net.parameters())
    with pytest.raises(ValueError, match="no teacher"):
        net_of(SMALL, teacher=False).training_forward(frame0, frame1, half, target)


def test_end_point_error_by_hand() -> None:
    flow = torch.zeros(1, 2, 4, 4)
    there = flow + torch.tensor((3.0, 4.0)).view(1, 2, 1, 1)
    torch.testing.assert_close(end_point_error(flow, there), torch.tensor(5.0), atol=1e-6, rtol=0)


# ---- files ---------------------------------------------------------------------------------------


def assert_same(net: RIFE, loaded: RIFE) -> None:
    theirs, ours = net.state_dict(), loaded.state_dict()
    assert theirs.keys() == ours.keys()
    assert all(torch.equal(theirs[name], ours[name]) for name in theirs)


@pytest.mark.parametrize("prefix", ["module.", ""])
@pytest.mark.parametrize("config", [SMALL, ANY_TIME, replace(SMALL, teacher=False)])
def test_published_files_are_recognised(tmp_path: Path, config: RIFEConfig, prefix: str) -> None:
    net = net_of(config)
    loaded = load_interpolator(save_published(tmp_path / "flownet.pkl", net, prefix))
    assert loaded.config == replace(config, colour_order="bgr")
    assert_same(net, loaded)


def test_names_translate_both_ways() -> None:
    with torch.device("meta"):
        names = list(RIFE(RIFE_M).state_dict())
    published = [published_name(name, PUBLISHED_NAMES) for name in names]
    assert len(set(published)) == len(names) == 190
    assert [translate_name(name, PUBLISHED_NAMES) for name in published] == names


def test_zoo_name_selects_the_variant(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The doubled network has the shapes of the base: the name of the file's place decides."""
    monkeypatch.chdir(tmp_path)
    net = net_of(RIFE_BASE)
    save_published(tmp_path / "pretrained/rife_2r.pkl", net)
    save_published(tmp_path / "pretrained/rife_m.pkl", net)
    assert load_interpolator("rife_2r").config.doubled
    assert sum(weight.numel() for weight in ZOO["rife_2r"].build().parameters()) == 10_071_550
    assert not load_interpolator(tmp_path / "pretrained/rife_2r.pkl").config.doubled
    with pytest.raises(CheckpointError, match=r"file is RIFE, for the middle.*rife_m is RIFE_m"):
        load_interpolator("rife_m")
    own = tmp_path / "pretrained/rife_2r.safetensors"
    save_weights(net, own, {"network": "rife", "config": asdict(net.config)})
    with pytest.raises(CheckpointError, match=r"frames' resolution, rife_2r is .*\(2R\)"):
        load_interpolator("rife_2r")


def test_files_of_other_networks_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    sgm = SGM(TINY)
    place = tmp_path / "log/rife/ckpt/rife.safetensors"
    save_weights(sgm, place, {"config": asdict(TINY)})
    with pytest.raises(CheckpointError, match="the file is of sgm, rife is of rife"):
        load_interpolator("rife")


Change = Callable[[dict[str, Tensor]], object]


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (lambda state: state.pop("unet.conv.bias"), "1 tensors missing.*synthesis.unet.output"),
        (lambda state: state.pop("block2.conv0.1.0.bias"), "holds no RIFE: no 'blocks.2"),
        (lambda state: state.update(extra=torch.ones(1)), "1 unexpected: extra"),
    ],
)
def test_a_partial_file_is_refused(tmp_path: Path, change: Change, named: str) -> None:
    path = save_published(tmp_path / "flownet.pkl", net_of(SMALL), prefix="")
    state = torch.load(path)
    change(state)
    torch.save(state, path)
    with pytest.raises(CheckpointError, match=named):
        load_interpolator(path)
