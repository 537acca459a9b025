"""PerVFI: stages, normalizing flow, network and checkpoints."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from sgm_vfi.model.baselines.pervfi.asymmetric_blending import QuasiBinaryMask
from sgm_vfi.model.baselines.pervfi.checkpoint_names import ESTIMATOR, to_published
from sgm_vfi.model.baselines.pervfi.network import (
    PERVFI,
    PERVFI_VB,
    PerVFI,
    PerVFIConfig,
)
from sgm_vfi.model.baselines.pervfi.normalizing_flow import (
    ActNorm,
    ConditionalNormalizingFlow,
    noise_shapes,
)
from sgm_vfi.model.baselines.pervfi.splatting import (
    resize_flow_like,
    splat_features,
    splat_flow_back,
)
from sgm_vfi.model.flow.dis import DISFlow
from sgm_vfi.model.flow.estimator import FlowEstimator
from sgm_vfi.model.flow.flow_zoo import build_flow_estimator
from sgm_vfi.model.interpolator import time_like
from sgm_vfi.model.precision_and_compile import set_inference_precision
from sgm_vfi.model.weight_io import CheckpointError, save_weights
from sgm_vfi.model.zoo import build_interpolator, find_weights, load_interpolator
from tests.parity.zoo.check_flow_networks import published_state


class Shift(FlowEstimator):
    """Everything moves one pixel to the right per step of 100 pixels that the frame is wide."""

    def forward(self, source: Tensor, target: Tensor) -> Tensor:
        flow = torch.zeros_like(source[:, :2])
        flow[:, 0] = source.shape[-1] / 100
        return flow


def randomize_weights(net: torch.nn.Module) -> torch.nn.Module:
    """Random weights that keep what passes about as large as it was; what scales scales little."""
    generator = torch.Generator().manual_seed(0)
    for name, weight in net.named_parameters():
        noise = torch.randn(weight.shape, generator=generator)
        gain = 0.1 if "affine.4" in name or "prior" in name else 0.7
        if weight.ndim == 4 and weight.shape[2:] != (1, 1):
            weight.data.copy_(gain * noise / weight[0].numel() ** 0.5)
        elif weight.ndim == 1:
            centre = 0.0 if name.endswith(("bias", "scale_shift")) else 0.2
            weight.data.copy_(centre + 0.05 * noise)
    return net


def network(config: PerVFIConfig = PERVFI, seed: int = 0) -> PerVFI:
    torch.manual_seed(seed)
    return randomize_weights(PerVFI(config, estimator=Shift())).eval()


@pytest.fixture(scope="module")
def net() -> PerVFI:
    return network()


def frames(batch: int = 1, height: int = 32, width: int = 48) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    both = torch.rand(2, batch, 3, height, width, generator=generator)
    return both[0], both[1]


# motion
def test_holes_are_where_nothing_lands() -> None:
    """All moves two pixels to the right: the first two columns are empty; at half size, one."""
    flow = torch.zeros(1, 2, 8, 12)
    flow[:, 0] = 2
    levels = [torch.rand(1, 5, 8, 12), torch.rand(1, 7, 4, 6)]
    full, half = splat_features(levels, flow, torch.zeros(1, 1, 8, 12))
    assert torch.equal(full.hole, (torch.arange(12) < 2).float().expand(1, 1, 8, 12))
    assert torch.equal(half.hole, (torch.arange(6) < 1).float().expand(1, 1, 4, 6))
    torch.testing.assert_close(full.features[..., 2:], levels[0][..., :-2])
    torch.testing.assert_close(half.features[..., 1:], levels[1][..., :-1])
    assert full.features[..., :2].abs().max() == 0


def test_the_lower_metric_is_in_front() -> None:
    """Two pixels land on one."""
    source = torch.tensor([[[[1.0, 5.0, 0.0]]]])
    flow = torch.tensor([[[[1.0, 0.0, 0.0]], [[0.0, 0.0, 0.0]]]])
    for metric, expected in (([-15.0, 0.0, 0.0], 1.0), ([0.0, -15.0, 0.0], 5.0)):
        moved = splat_features([source], flow, torch.tensor(metric).view(1, 1, 1, 3))
        assert abs(moved[0].features[0, 0, 0, 1].item() - expected) < 1e-4


def test_the_flow_back_undoes_the_flow() -> None:
    flow = torch.zeros(1, 2, 4, 8)
    flow[:, 0] = 1.5
    back = splat_flow_back(flow, torch.zeros(1, 1, 4, 8))
    torch.testing.assert_close(back[..., 2:], -flow[..., 2:])


def test_a_flow_at_half_size_is_half_as_long() -> None:
    flow = torch.full((1, 2, 8, 12), 3.0)
    torch.testing.assert_close(resize_flow_like(flow, flow[..., ::2, ::2]), flow[..., ::2, ::2] / 2)


# blending
def test_mask_is_zero_away_from_holes() -> None:
    """A hole reaches five pixels: half of a 9 x 9 and of a 3 x 3 window."""
    torch.manual_seed(0)
    mask = randomize_weights(QuasiBinaryMask(6)).eval()
    hole = torch.zeros(1, 1, 20, 20)
    hole[..., 10, 10] = 1
    with torch.inference_mode():
        share = mask(hole, *torch.rand(2, 1, 6, 20, 20))
    near = torch.zeros(20, 20, dtype=torch.bool)
    near[5:16, 5:16] = True
    assert (share[0, 0][near] > 0).any()
    assert share[0, 0][~near].max() == 0
    assert share.max() < 1


def test_training_adds_noise_to_the_mask() -> None:
    mask = randomize_weights(QuasiBinaryMask(6)).train()
    empty = torch.zeros(1, 1, 8, 8)
    share = mask(empty, *torch.rand(2, 1, 6, 8, 8))
    assert 0 < share.abs().max() <= 0.005


# the normalising flow
@pytest.fixture(scope="module")
def conditions() -> list[Tensor]:
    generator = torch.Generator().manual_seed(2)
    sizes = ((35, 8, 12), (64, 4, 6), (96, 2, 3))
    return [torch.randn(2, *size, generator=generator) for size in sizes]


@pytest.fixture(scope="module")
def flow() -> ConditionalNormalizingFlow:
    torch.manual_seed(0)
    return randomize_weights(ConditionalNormalizingFlow()).eval().double()


def test_decode_inverts_encode(flow: ConditionalNormalizingFlow, conditions: list[Tensor]) -> None:
    told = [condition.double() for condition in conditions]
    picture = torch.rand(2, 3, 16, 24, dtype=torch.double) * 2 - 1
    with torch.inference_mode():
        noise = flow.encode(picture, told).noise
        torch.testing.assert_close(flow.decode(noise, told), picture, rtol=0, atol=1e-5)
    assert [x.shape[1:] for x in noise] == noise_shapes(16, 24)


def test_likelihood_equals_change_of_variables(
    flow: ConditionalNormalizingFlow, conditions: list[Tensor]
) -> None:
    """Against the determinant of the Jacobian of picture to noise, written out."""
    told = [
        condition[:1, :, : 8 // by, : 8 // by].double()
        for condition, by in zip(conditions, (2, 4, 8), strict=True)
    ]
    picture = torch.rand(1, 3, 8, 8, dtype=torch.double) * 2 - 1

    def to_noise(flat: Tensor) -> Tensor:
        noise = flow.encode(flat.view(1, 3, 8, 8), told).noise
        return torch.cat([x.flatten() for x in noise])

    jacobian = torch.autograd.functional.jacobian(to_noise, picture.flatten(), vectorize=True)
    normal = torch.distributions.Normal(0, 1).log_prob(to_noise(picture.flatten())).sum()
    expected = normal + torch.linalg.slogdet(jacobian).logabsdet
    torch.testing.assert_close(
        flow.encode(picture, told).log_likelihood[0], expected, rtol=1e-6, atol=1e-4
    )


def test_initialisation_centres_and_scales_every_layer(conditions: list[Tensor]) -> None:
    torch.manual_seed(0)
    flow = ConditionalNormalizingFlow()
    picture = torch.rand(2, 3, 16, 24) * 2 - 1
    assert begun(flow) == {0}
    flow.initialize(picture, conditions)
    assert begun(flow) == {1}
    seen = []
    for norm in (module for module in flow.modules() if isinstance(module, ActNorm)):
        norm.register_forward_hook(lambda _, inputs, out: seen.append(out))
    with torch.inference_mode():
        flow.encode(picture, conditions)
    assert len(seen) == 51
    for out in seen:
        deviation, mean = torch.std_mean(out, dim=(0, 2, 3))
        torch.testing.assert_close(mean, torch.zeros_like(mean), rtol=0, atol=1e-4)
        torch.testing.assert_close(deviation, torch.ones_like(mean), rtol=0, atol=1e-3)


def begun(network: torch.nn.Module) -> set[int]:
    """What its normalisations say of whether they have seen a batch."""
    return {int(module.initialized) for module in network.modules() if isinstance(module, ActNorm)}


def test_fresh_normalizing_flow_is_a_rotation() -> None:
    """Zero-initialised: no condition matters, and the volume stays the same."""
    flow = ConditionalNormalizingFlow()
    picture = torch.rand(1, 3, 8, 8)
    told = [torch.randn(1, c, 8 // by, 8 // by) for c, by in ((35, 2), (64, 4), (96, 8))]
    with torch.inference_mode():
        one, other = flow.encode(picture, told), flow.encode(picture, [0 * x for x in told])
    energy = sum(x.square().sum() for x in one.noise)
    torch.testing.assert_close(one.log_likelihood, other.log_likelihood)
    torch.testing.assert_close(energy, picture.square().sum(), rtol=1e-4, atol=1e-4)


# the network
def test_picture_only_depends_on_the_seed(net: PerVFI) -> None:
    """Not on when it is asked for, nor on what else is in the batch, nor on PyTorch's own state."""
    frame0, frame1 = frames(batch=2)
    half = time_like(frame0, 0.5)
    with torch.inference_mode():
        first = net(frame0, frame1, half).frame
        torch.rand(1)
        alone = net(frame0[1:], frame1[1:], half[1:]).frame
        other = network(replace(PERVFI, seed=1))(frame0, frame1, half).frame
        still = network(replace(PERVFI, temperature=0.0, seed=0))(frame0, frame1, half).frame
        as_still = network(replace(PERVFI, temperature=0.0, seed=1))(frame0, frame1, half).frame
    torch.testing.assert_close(first[1:], alone, rtol=0, atol=1e-4)
    assert not torch.allclose(first, other, atol=1e-3)
    assert not torch.allclose(first, still, atol=1e-3)
    assert torch.equal(still, as_still)


def test_given_flows_and_flow_scale(net: PerVFI) -> None:
    """`flow_scale` changes what the estimator sees, not what its flow means."""
    frame0, frame1 = frames()
    with torch.inference_mode():
        state, small = net.prepare(frame0, frame1), net.prepare(frame0, frame1, 1 / 2)
        own = net.prepare_with_flows(frame0, frame1, state.flow_01, state.flow_10)
    torch.testing.assert_close(small.flow_01, state.flow_01)
    assert state.flow_01[0, 0].unique().tolist() == pytest.approx([0.48])
    assert torch.equal(own.metric0, state.metric0)


def test_any_flow_estimator_will_do() -> None:
    net = PerVFI(PERVFI_VB, estimator=DISFlow()).eval()
    frame0, frame1 = frames()
    with torch.inference_mode():
        told = net(frame0, frame1, time_like(frame0, 0.25), explain=True)
    assert told.frame.shape == frame0.shape
    assert told.explanation is not None
    assert set(told.explanation) == {"flow", "blend"}
    assert told.explanation["flow"].shape == (1, 4, 32, 48)
    assert 0 <= told.explanation["blend"].min() <= told.explanation["blend"].max() <= 1


@pytest.mark.parametrize("config", [PERVFI, PERVFI_VB])
def test_half_precision_stays_inside_its_parts(config: PerVFIConfig) -> None:
    net = network(config)
    frame0, frame1 = frames()
    half = time_like(frame0, 0.5)
    with torch.inference_mode():
        exact = net(frame0, frame1, half).frame
        set_inference_precision(net, "bf16")
        rounded = net(frame0, frame1, half).frame
    assert not torch.equal(exact, rounded)
    torch.testing.assert_close(rounded, exact, rtol=0, atol=0.01)


def test_a_temperature_below_zero_is_refused() -> None:
    with pytest.raises(ValueError, match="0 or more, got -1"):
        PerVFIConfig(temperature=-1)


# files
def save_published(place: Path, net: PerVFI) -> Path:
    state = {
        "module." + to_published(name): tensor
        for name, tensor in net.state_dict().items()
        if not name.startswith(ESTIMATOR)
    }
    place.parent.mkdir(parents=True, exist_ok=True)
    torch.save(state, place)
    return place


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a flow network's published file, to be in."""
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(3)
    (tmp_path / "pretrained").mkdir()
    state = {"model": published_state("gmflow", build_flow_estimator("gmflow"))}
    torch.save(state, tmp_path / "pretrained" / "gmflow_sintel-0c07dcb3.pth")
    return tmp_path


def initialised(config: PerVFIConfig) -> PerVFI:
    net = network(config)
    for module in net.modules():
        if isinstance(module, ActNorm):
            module.initialized.fill_(1)
    return net


@pytest.mark.parametrize(
    ("name", "file", "config"),
    [("gmflow+pervfi", "v00", PERVFI), ("gmflow+pervfi-vb", "vb", PERVFI_VB)],
)
def test_published_files_load_with_the_flow_network_beside(
    place: Path, name: str, file: str, config: PerVFIConfig
) -> None:
    net = initialised(config)
    save_published(place / "pretrained" / "PerVFI" / f"{file}.pth", net)
    loaded = load_interpolator(name)
    assert find_weights(name) == place / "pretrained" / "PerVFI" / f"{file}.pth"
    assert type(build_interpolator(name)) is PerVFI
    assert loaded.config == replace(config, estimator="gmflow")
    ours = loaded.state_dict()
    assert all(torch.equal(ours[key], tensor) for key, tensor in net.state_dict().items())
    torch.manual_seed(3)
    flow = build_flow_estimator("gmflow").state_dict()
    assert all(torch.equal(ours[ESTIMATOR + key], tensor) for key, tensor in flow.items())


def test_own_checkpoints_include_the_flow_network(tmp_path: Path) -> None:
    config = replace(PERVFI_VB, estimator="gmflow", seed=7)
    net = randomize_weights(PerVFI(config))
    metadata = {"network": "pervfi", "config": vars(config)}
    save_weights(net, tmp_path / "mine.safetensors", metadata)
    loaded = load_interpolator(tmp_path / "mine.safetensors")
    assert loaded.config == config
    ours = loaded.state_dict()
    assert all(torch.equal(ours[key], tensor) for key, tensor in net.state_dict().items())


def test_files_that_do_not_fit_are_refused(place: Path) -> None:
    file = save_published(place / "pretrained" / "PerVFI" / "v00.pth", network())
    with pytest.raises(CheckpointError, match="never initialised"):
        load_interpolator("gmflow+pervfi")
    save_published(file, initialised(PERVFI))
    with pytest.raises(FileNotFoundError, match=r"gma-sintel\.pth"):
        load_interpolator("gma+pervfi")
    save_published(place / "pretrained" / "PerVFI" / "vb.pth", initialised(PERVFI))
    with pytest.raises(CheckpointError, match=r"normalising flow \(v00\).*plain decoder \(vb\)"):
        load_interpolator("gmflow+pervfi_vb")
