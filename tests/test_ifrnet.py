"""IFRNet: network, losses and published checkpoints."""

from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from sgm_vfi.dataset.triplet import GroundTruth, Triplet
from sgm_vfi.engine.distributed import process_group
from sgm_vfi.model import load_interpolator, time_like
from sgm_vfi.model.baselines.ifrnet.checkpoint_names import PUBLISHED_NAMES, from_published
from sgm_vfi.model.baselines.ifrnet.network import (
    IFRNET,
    IFRNET_LARGE,
    IFRNET_SMALL,
    IFRNet,
    IFRNetConfig,
    IFRNetTrainingOutput,
)
from sgm_vfi.model.inference.bisection import Bisected
from sgm_vfi.model.ops.correlation import local_correlation
from sgm_vfi.model.weight_io import CheckpointError, load_weights, published_name, save_weights
from sgm_vfi.training.baseline_recipes import EXPERIMENTS
from sgm_vfi.training.baselines import BaselineTrainer
from sgm_vfi.training.ifrnet_loss import (
    adaptive_charbonnier,
    distillation_loss,
    geometry_loss,
    ifrnet_loss,
    label_trust,
    reconstruction_loss,
)
from sgm_vfi.training.loss_functions import census_loss, charbonnier
from tests.conftest import randomize_weights
from tests.fixtures.training_runs import losses, recipe, run_in
from tests.parity import recipe as parity
from tests.parity.zoo.check_ifrnet import filled, pseudo_label
from tests.parity.zoo.zoo_recipe import CASES

GOLDEN = Path(__file__).parent / "golden_zoo"

TINY = IFRNetConfig(widths=(8, 8, 12, 12), side_channels=4, any_time=True)


@pytest.fixture
def net() -> IFRNet:
    return randomize_weights(IFRNet(TINY)).eval()


def frames(height: int = 64, width: int = 96, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Two smooth frames of some contrast. Shapes: -> (2, 3, H, W) twice."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand(2, 2, 3, height // 8, width // 8, generator=generator)
    both = [
        torch.nn.functional.interpolate(c, size=(height, width), mode="bicubic") for c in coarse
    ]
    return both[0].clamp(0, 1), both[1].clamp(0, 1)


# the network
@pytest.mark.parametrize(
    ("config", "parameters"),
    [(IFRNET_SMALL, 2_803_610), (IFRNET, 4_959_692), (IFRNET_LARGE, 19_699_460)],
)
def test_sizes_are_the_published_ones(config: IFRNetConfig, parameters: int) -> None:
    with torch.device("meta"):
        net = IFRNet(config)
    assert sum(weight.numel() for weight in net.parameters()) == parameters
    assert len(net.state_dict()) == 104


def test_frames_are_encoded_once_for_all_times(net: IFRNet) -> None:
    calls = []
    net.encoder[0].register_forward_hook(lambda *_: calls.append(1))
    pair = frames()
    with torch.inference_mode():
        state = net.prepare(*pair)
        eighths = [net.interpolate(state, time_like(pair[0], k / 8)).frame for k in range(1, 8)]
    assert len(calls) == 1
    steps = [(a - b).abs().mean() for a, b in pairwise(eighths)]
    assert min(steps) > 1e-4  # the time is heard


def test_each_sample_has_its_own_time(net: IFRNet) -> None:
    """A batch of times is each of them alone."""
    pair = frames()
    times = torch.tensor([0.125, 0.75]).view(2, 1, 1, 1)
    with torch.inference_mode():
        both = net(*pair, times).frame
        for i in range(2):
            alone = net(*(frame[i : i + 1] for frame in pair), times[i : i + 1]).frame
            torch.testing.assert_close(both[i : i + 1], alone)


def test_middle_only_weights_refuse_other_times(net: IFRNet) -> None:
    net.any_time = False
    pair = frames(32, 32)
    quarter = time_like(pair[0], 0.25)
    with pytest.raises(ValueError, match=r"IFRNet know t = 1/2 only, got \[0.25, 0.25\].*Bisected"):
        net(*pair, quarter)
    with torch.inference_mode():
        halved = Bisected(net)(*pair, quarter).frame
        middle = net(*pair, 2 * quarter).frame
        assert torch.equal(halved, net(pair[0], middle, 2 * quarter).frame)


def test_uniform_brightness_is_preserved(net: IFRNet) -> None:
    """The mean of both frames is taken off and put back: a constant added stays a constant."""
    pair = [0.25 + frame / 4 for frame in frames()]
    with torch.inference_mode():
        half = time_like(pair[0], 0.5)
        plain = net.interpolate(net.prepare(*pair), half, explain=True)
        brighter = net.interpolate(
            net.prepare(*(frame + 0.125 for frame in pair)), half, explain=True
        )
    torch.testing.assert_close(
        plain.explanation["flow"], brighter.explanation["flow"], rtol=1e-3, atol=1e-3
    )
    inside = (plain.frame > 0.05) & (brighter.frame < 0.95)
    assert inside.float().mean() > 0.05
    torch.testing.assert_close(
        (plain.frame + 0.125)[inside], brighter.frame[inside], rtol=1e-3, atol=1e-3
    )


@pytest.mark.parametrize(("scale", "multiple"), [(1, 16), (1 / 2, 32), (4 / 5, 20), (3 / 8, 128)])
def test_size_multiple_depends_on_the_scaled_size(net: IFRNet, scale: float, multiple: int) -> None:
    assert net.size_multiple(scale) == multiple
    one = frames(multiple * 2, multiple)[0][:1]
    with torch.inference_mode():
        out = net(one, one, time_like(one, 0.5), scale, explain=True)
    assert out.frame.shape == one.shape
    assert {picture.shape[-2:] for picture in out.explanation.values()} == {one.shape[-2:]}
    with pytest.raises(ValueError, match=f"divisible by {multiple}, got"):
        net.prepare(one[..., :-4], one[..., :-4], scale)


# the losses, against slower definitions and by hand
def test_census_equals_its_definition() -> None:
    generator = torch.Generator().manual_seed(3)
    x, y = torch.rand(2, 1, 2, 6, 7, generator=generator, dtype=torch.double)

    def tap(image: Tensor, c: int, row: int, column: int, dy: int, dx: int) -> float:
        inside = 0 <= row + dy < 6 and 0 <= column + dx < 7
        value = (image[0, c, row + dy, column + dx] if inside else 0) - image[0, c, row, column]
        return value / (0.81 + value**2) ** 0.5

    total = 0.0
    for row in range(1, 5):
        for column in range(1, 6):
            for c in range(2):
                for dy in (-1, 0, 1):
                    for dx in (-1, 0, 1):
                        d = tap(x, c, row, column, dy, dx) - tap(y, c, row, column, dy, dx)
                        total += d**2 / (0.1 + d**2) / 18
    assert census_loss(x, y, patch=3, border=1).item() == pytest.approx(total / 42)


def test_census_ignores_brightness() -> None:
    """Away from the border, where zero begins, a constant makes no difference."""
    x, y = frames(24, 24)
    plain = census_loss(x, y, patch=7, border=3)
    torch.testing.assert_close(census_loss(x + 0.2, y, patch=7, border=3), plain)
    assert census_loss(x, x, patch=7, border=3) == 0
    assert plain > 0.01


def test_charbonnier_by_hand() -> None:
    assert charbonnier(torch.zeros(3)).item() == pytest.approx(1e-3)
    assert charbonnier(torch.tensor([3.0, -4.0])).item() == pytest.approx(3.5, abs=1e-6)


def test_trust_falls_with_the_distance_from_the_label() -> None:
    difference = torch.tensor([[[[0.0, 3.0]], [[0.0, 4.0]]]])
    trust = label_trust(difference)
    torch.testing.assert_close(trust, torch.tensor([[[[1.0, 0.22313]]]]), atol=1e-5, rtol=0)


def test_low_trust_gives_small_gradients() -> None:
    """With full trust the pull is that of an absolute value; without any there is none."""
    far = torch.full((1, 2, 1, 1), 5.0, requires_grad=True)
    pulls = []
    for trust in (1.0, 0.5, 0.0):
        loss = adaptive_charbonnier(far, torch.full((1, 1, 1, 1), trust))
        pulls.append(torch.autograd.grad(loss, far)[0].abs().sum().item())
    assert pulls[0] == pytest.approx(1, rel=1e-3)
    assert pulls[0] > pulls[1] > pulls[2] == 0


def test_distillation_only_trains_the_coarse_flows(net: IFRNet) -> None:
    pair = frames()
    output = net.training_forward(*pair, time_like(pair[0], 0.5), pair[0])
    label = torch.randn(2, 4, 64, 96)
    leaves = tuple(flow.detach().requires_grad_() for flow in output.flows)
    distillation_loss(leaves, label).backward()
    assert [flow.grad is not None for flow in leaves] == [True, True, True, False]


def test_matching_the_label_has_the_lowest_loss() -> None:
    """Flows that are the label at every size lie at the bottom."""
    label = torch.full((1, 4, 32, 32), 4.0)
    met = tuple(torch.full((1, 4, 32 // s, 32 // s), 4.0 / s) for s in (8, 4, 2, 1))
    missed = (*(flow + 0.5 for flow in met[:3]), met[3])
    assert distillation_loss(met, label) < distillation_loss(missed, label)


def test_geometry_loss_trains_both_encodings(net: IFRNet) -> None:
    """The true frame's features get a gradient, too."""
    pair = frames()
    output = net.training_forward(*pair, time_like(pair[0], 0.5), pair[0])
    parts = output.features, output.target_features
    leaves = [tuple(t.detach().requires_grad_() for t in part) for part in parts]
    geometry_loss(output._replace(features=leaves[0], target_features=leaves[1])).backward()
    assert all(leaf.grad.any() for part in leaves for leaf in part)
    assert geometry_loss(output._replace(features=output.target_features)) == 0


def test_loss_is_the_sum_of_its_parts(net: IFRNet) -> None:
    pair = frames()
    target, label = frames(seed=1)[0], torch.randn(2, 4, 64, 96)
    output = net.training_forward(*pair, time_like(pair[0], 0.5), target)
    assert isinstance(output, IFRNetTrainingOutput)
    parts = [
        reconstruction_loss(output.frame, target),
        geometry_loss(output),
        distillation_loss(output.flows, label),
    ]
    torch.testing.assert_close(ifrnet_loss(output, label), sum(parts))
    torch.testing.assert_close(ifrnet_loss(output), parts[0] + parts[1])


def test_training_learns_a_known_motion() -> None:
    """Ever new textures, all moved alike: both flows come to point to where they came from."""
    generator = torch.Generator().manual_seed(0)
    torch.manual_seed(0)
    net = IFRNet(TINY)
    optimiser = torch.optim.Adam(net.parameters(), lr=2e-3)
    half = torch.full((1, 1, 1, 1), 0.5)
    label = torch.tensor((2.0, 1.0, -2.0, -1.0)).view(1, 4, 1, 1).expand(-1, -1, 32, 32)
    for _ in range(40):
        texture = torch.rand(1, 3, 12, 12, generator=generator)
        wide = torch.nn.functional.interpolate(texture, size=(48, 48), mode="bilinear")
        frame0, target, frame1 = (
            wide[..., 8 + k : 40 + k, 8 + 2 * k : 40 + 2 * k] for k in (-1, 0, 1)
        )
        optimiser.zero_grad()
        ifrnet_loss(net.training_forward(frame0, frame1, half, target), label).backward()
        optimiser.step()
    with torch.inference_mode():
        result = net(frame0, frame1, half, explain=True)
    missed = (result.explanation["flow"] - label)[..., 4:-4, 4:-4].abs().mean()
    assert missed < 0.3
    blended = ((frame0 + frame1) / 2 - target).abs().mean()
    assert (result.frame - target).abs().mean() < blended / 3


# correlation, for LiteFlowNet
@pytest.mark.parametrize("stride", [1, 2])
def test_correlation_finds_the_shift(stride: int) -> None:
    """The largest product is where the other map was moved to; what moved out compares with 0."""
    generator = torch.Generator().manual_seed(0)
    source = torch.randn(1, 64, 12, 14, generator=generator)
    u, v = 2 * stride, -stride
    target = source.roll((v, u), dims=(2, 3))
    costs = local_correlation(source, target, 3, stride)
    assert costs.shape == (1, 49, 12 // stride, 14 // stride)
    best = costs.argmax(dim=1)[0]
    inner = best[2 : best.shape[0], 0 : best.shape[1] - 2]
    assert (inner == (v // stride + 3) * 7 + u // stride + 3).all()
    assert (costs[0, :7, 0] == 0).all()  # three up from the first row is outside


# files
def published_file(net: IFRNet, path: Path) -> Path:
    state = {published_name(n, PUBLISHED_NAMES): t for n, t in net.state_dict().items()}
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save({"module." + name: tensor for name, tensor in state.items()}, path)
    return path


@pytest.mark.parametrize(("file", "any_time"), [("IFRNet_S_Vimeo90K", 0), ("IFRNet_S_GoPro", 1)])
def test_published_files_are_recognised(
    file: str, any_time: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By path, by the published name, and by ours; the name tells which times it knows."""
    net = IFRNet(IFRNET_SMALL)
    path = published_file(net, tmp_path / "pretrained" / f"{file}.pth")
    monkeypatch.chdir(tmp_path)
    for name in (path, file, "ifrnet_s_gopro" if any_time else "ifrnet_s"):
        loaded = load_interpolator(name)
        assert loaded.config == replace(IFRNET_SMALL, any_time=bool(any_time))
        both = zip(net.state_dict().values(), loaded.state_dict().values(), strict=True)
        assert all(torch.equal(a, b) for a, b in both)


def test_another_size_or_kind_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    published_file(IFRNet(IFRNET_SMALL), tmp_path / "pretrained" / "ifrnet.pth")
    with pytest.raises(CheckpointError, match=r"ifrnet: the file is IFRNet, \(24, 36, 54, 72\)"):
        load_interpolator("ifrnet")
    middle = IFRNet(replace(TINY, any_time=False))
    config = {"widths": TINY.widths, "side_channels": 4, "any_time": False}
    metadata = {"network": "ifrnet", "config": config}
    save_weights(middle, tmp_path / "pretrained" / "ifrnet_gopro.safetensors", metadata)
    with pytest.raises(CheckpointError, match="for the middle only"):
        load_interpolator("ifrnet_gopro")
    loaded = load_interpolator(tmp_path / "pretrained" / "ifrnet_gopro.safetensors")
    assert loaded.config == middle.config


# training
def test_a_step_has_the_published_loss(tmp_path: Path) -> None:
    """The loop's own step, on the golden frames, weights and labels."""
    smoke = recipe(EXPERIMENTS["smoke-ifrnet"], data={"train_scenes": 16})
    published = replace(EXPERIMENTS["ifrnet_s"], data=smoke.data)
    with process_group(torch.device("cpu")):
        trainer = BaselineTrainer(published, run_in(tmp_path))
        load_weights(
            trainer.model, from_published(filled("ifrnet", trainer.model, PUBLISHED_NAMES)[0])
        )
        frame0, frame1 = (torch.from_numpy(frame) for frame in parity.inputs(CASES["zoo_small"]))
        target = torch.from_numpy(parity.target(CASES["zoo_small"]))
        flow_t0, flow_t1 = torch.from_numpy(pseudo_label()).chunk(2, dim=1)
        seen = torch.ones_like(flow_t0[:, :1])
        truth = GroundTruth(flow_t0, flow_t0, flow_t0, flow_t1, seen, seen, seen, seen)
        trainer.model.train()
        trainer.train_step(Triplet(frame0, target, frame1, time_like(frame0, 0.5), truth))
        trainer.step_log.flush()
    ((_, loss, _, rate),) = losses(tmp_path)
    golden = np.load(GOLDEN / "ifrnet_S.npz")
    total = sum(float(golden[f"loss_{part}"]) for part in ("rec", "geo", "dis"))
    assert loss == pytest.approx(total, rel=1e-5)
    assert rate == pytest.approx(1e-4)
