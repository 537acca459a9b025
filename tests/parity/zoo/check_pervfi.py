"""Check PerVFI and PerVFI-vb, their losses and their operations."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from sgm_vfi.benchmark.metrics import psnr
from sgm_vfi.model.baselines.pervfi.checkpoint_names import from_published, to_published
from sgm_vfi.model.baselines.pervfi.network import PerVFI, PerVFIConfig, PerVFIState
from sgm_vfi.model.baselines.pervfi.normalizing_flow import ActNorm
from sgm_vfi.model.baselines.pervfi.splatting import EPSILON, find_holes
from sgm_vfi.model.flow.dis import DISFlow
from sgm_vfi.model.interpolator import time_like
from sgm_vfi.model.ops.splat import splat, splat_sum
from sgm_vfi.model.ops.warp import backward_warp
from sgm_vfi.model.weight_io import Weights, load_weights
from sgm_vfi.training.loss_functions import charbonnier
from sgm_vfi.training.pervfi_loss import band_loss
from tests.parity import recipe
from tests.parity.finding import Finding
from tests.parity.zoo import zoo_recipe as zoo
from tests.parity.zoo.compare_archive import Check, Golden, compare

HEIGHT, WIDTH = 64, 96
TOLERANCES = {"nll": 1e-4, "l1": 1e-5, "grad_norm": 2e-3}  # float32 is off by 7e-4
EXACT = ("bmask", "hole")
RELATIVE = ("l1", "grad_norm")


def tolerance(name: str) -> float:
    if any(part in name for part in EXACT):
        return 0
    if "smask" in name:
        return 1e-5
    return TOLERANCES.get(name, 1e-4 if "Ft2" in name else 2e-5)


def golden_network(invertible: bool, device: torch.device) -> tuple[PerVFI, int]:
    """Build a network with the weights of the recipe, and return their checksum."""
    net = PerVFI(PerVFIConfig(invertible=invertible), estimator=DISFlow())
    shapes = {to_published(name): tuple(t.shape) for name, t in net.state_dict().items()}
    entries = {name: zoo.fill("pervfi", name, shape) for name, shape in shapes.items()}
    state = {name: torch.from_numpy(entry) for name, entry in entries.items()}
    load_weights(net, from_published(Weights(state, {}, Path("recipe"))))
    return net.to(device).eval(), zoo.fingerprint(entries)


def golden_inputs() -> dict[str, np.ndarray]:
    """Return frames, target, flows and noise."""
    i0, i1 = recipe.inputs(zoo.CASES["zoo_small"])
    forward = zoo.smooth_flow("per_fwd", 2, HEIGHT, WIDTH, 24.0)
    backward = np.float32(-0.9) * forward + zoo.smooth_flow("per_bwd", 2, HEIGHT, WIDTH, 1.0)
    backward = (np.round(backward * 64) / 64).astype(np.float32)
    noise = zoo.latents(2, HEIGHT, WIDTH, 0.3, "per")
    gt = recipe.target(zoo.CASES["zoo_small"])
    arrays = {"i0": i0, "i1": i1, "gt": gt, "ff": forward, "bf": backward}
    return arrays | {f"z{i}": array for i, array in enumerate(noise)}


def check_variant(
    case: str, invertible: bool, golden: Golden, device: torch.device
) -> Iterator[Finding]:
    """Check frames and intermediate tensors at two times, and gradients."""
    net, weights_crc = golden_network(invertible, device)
    arrays = golden_inputs()
    ours = {"weights_crc": weights_crc, "inputs_crc": zoo.fingerprint(arrays)}
    inputs = {name: torch.from_numpy(array).to(device) for name, array in arrays.items()}
    noise = [inputs[f"z{i}"] for i in range(3)]
    pair = net.prepare_with_flows(*(inputs[name] for name in ("i0", "i1", "ff", "bf")))
    ours["metric_raw"] = pair.metric0[:1]
    ours |= interpolated(net, pair, noise)
    half = net.extract_features(pair, time_like(inputs["i0"], 0.5)).conditions
    if invertible:
        loss, likelihood = encoded(net, half, inputs["gt"])
        ours |= likelihood
    else:
        loss = ours["l1"] = ((net.generate(half) + 1) / 2 - inputs["gt"]).abs().mean()
        ours["t50_pred"] = ours["t50_pred"][:1]
    loss.backward()
    norms = {
        to_published(name): weight.grad.double().norm().item()
        for name, weight in net.named_parameters()
    }
    ours["grad_norm"] = np.array([norms[name] for name in golden["grad_norm_keys"]])
    yield from compare(case, golden, ours, tolerance, RELATIVE)


@torch.no_grad()
def interpolated(net: PerVFI, pair: PerVFIState, noise: list[Tensor]) -> dict[str, Tensor]:
    """Return frames and intermediate tensors at both times."""
    ours = {}
    for percent in (50, 25):
        found = net.extract_features(pair, time_like(pair.flow_01, percent / 100))
        picture = (net.generate(found.conditions, noise) + 1) / 2
        holes = {f"bmask{i}": level.hole for i, level in enumerate(found.splatted)}
        masks = {f"smask_out{i}": mask for i, mask in enumerate(reversed(found.masks))}
        parts = (
            holes
            | masks
            | {
                "Ft2": found.flow_t1[:1],
                "feaL2": found.splatted[2].features[:1],
                "feaR2": found.aligned[2][:1],
                "cond2": found.conditions[2][:1],
                "cond1_mean": found.conditions[1].mean(dim=(2, 3)),
                "cond0_mean": found.conditions[0].mean(dim=(2, 3)),
                "pred": picture if percent == 50 else picture[:1],
            }
        )
        ours |= {f"t{percent}_{name}": value for name, value in parts.items()}
    return ours


def encoded(
    net: PerVFI, conditions: list[Tensor], target: Tensor
) -> tuple[Tensor, dict[str, Tensor]]:
    """Return the encoded target, its likelihood, and the picture decoded from raw latents."""
    bits, deviation = net.generator.bits_per_pixel(2 * target - 1, conditions)
    with torch.no_grad():
        latents = net.generator.encode(2 * target - 1, conditions).latents
        trap = (net.generate(conditions, latents) + 1) / 2
    return bits.mean(), {
        "nll": bits,
        "z_std": deviation,
        "z2": latents[2][:1],
        "z1": latents[1][:1],
        "z0_mean": latents[0].mean(dim=(2, 3)),
        "decode_of_encoded_z": trap[:1],
    }


def check_units(golden: Golden, device: torch.device) -> Iterator[Finding]:
    """Check splatting, invertible layers and losses, on noise."""

    def noise(name: str, shape: tuple[int, ...], low: float, high: float) -> Tensor:
        return torch.from_numpy(recipe.tensor(name, shape, low, high)).to(device)

    images = [noise(f"rife_unit_{name}", (2, 3, 64, 96), 0, 1) for name in "ab"]
    difference = images[0] - images[1]
    norm = ActNorm(4).to(device)
    batch = noise("per_unit_an", (2, 4, 5, 6), -2, 3)
    norm.initialize(batch)
    source = noise("per_unit_in", (2, 4, 12, 17), -1, 1)
    probe = noise("per_unit_w", (2, 4, 12, 17), -1, 1)
    metric = noise("per_unit_metric", (2, 1, 12, 17), -2, 2)
    ours = splats(source, torch.from_numpy(golden["splat_flow"]).to(device), metric, probe)
    ours |= {
        "splat_flow": golden["splat_flow"],  # an input
        "squeeze2d": F.pixel_unshuffle(noise("per_unit_sq", (1, 3, 4, 6), -1, 1), 2),
        "actnorm_init_out": norm(batch),
        "actnorm_init_loc": norm.shift,
        "actnorm_init_logs": norm.log_scale,
        "actnorm_init_logdet": 5 * 6 * norm.log_scale.sum(),
        "loss_lap": band_loss(*images),
        "loss_char": charbonnier(difference),
        "loss_l1_lap": difference.abs().mean() + 0.2 * band_loss(*images),
        "psnr_eps": psnr(*images),
    }
    kept = {name: value for name, value in golden.items() if not name.startswith("kitti")}
    yield from compare("pervfi_units", kept, ours, tolerance)


def splats(source: Tensor, flow: Tensor, metric: Tensor, probe: Tensor) -> dict[str, Tensor]:
    """Return all splatting modes for a partly non-finite flow, and gradients for a finite one."""
    weight = metric.exp()
    ours = {
        "splat_sum": splat_sum(source, flow),
        "splat_avg": splat(source, flow, epsilon=EPSILON)[0],
        "splat_linear": splat(source, flow, metric.abs() + 0.1, epsilon=EPSILON)[0],
        "splat_soft": splat(source, flow, weight, epsilon=EPSILON)[0],
    }
    for guard in ("add", "zero", "clip"):
        ours[f"splat_soft_{guard}eps"] = splat(source, flow, weight, guard=guard)[0]
    leaves = [source.clone(), flow.nan_to_num(0, 0, 0), metric.clone()]
    image, path, z = (leaf.requires_grad_() for leaf in leaves)
    (probe * splat(image, path, z.exp(), epsilon=EPSILON)[0]).sum().backward()
    grads = {"in": image.grad, "flow": path.grad, "metric": z.grad}
    ours |= {f"splat_grad_{name}": grad for name, grad in grads.items()}
    with torch.no_grad():
        ours["backwarp_zeros"] = backward_warp(source, path, padding="zeros")
        ours["hole"] = find_holes(path)
    return ours


ARCHIVES: dict[str, Check] = {
    "pervfi_v00": partial(check_variant, "pervfi_v00", True),
    "pervfi_vb": partial(check_variant, "pervfi_vb", False),
    "pervfi_units": check_units,
}
