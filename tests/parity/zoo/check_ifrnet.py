"""Check IFRNet, its losses, and LiteFlowNet, which made its flow labels."""

from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from sgm_vfi.benchmark.metrics import interpolation_error, psnr, ssim
from sgm_vfi.model.baselines.ifrnet.checkpoint_names import PUBLISHED_NAMES, from_published
from sgm_vfi.model.baselines.ifrnet.network import (
    IFRNET,
    IFRNET_LARGE,
    IFRNET_SMALL,
    IFRNet,
    IFRNetConfig,
)
from sgm_vfi.model.flow import liteflownet
from sgm_vfi.model.inference.padding import Padded
from sgm_vfi.model.interpolator import time_like
from sgm_vfi.model.ops.warp import backward_warp
from sgm_vfi.model.weight_io import NameScope, Weights, load_weights, published_name
from sgm_vfi.training import ifrnet_loss as losses
from sgm_vfi.training.loss_functions import census_loss, charbonnier
from tests.parity import recipe
from tests.parity.finding import Finding
from tests.parity.zoo import zoo_recipe as zoo
from tests.parity.zoo.compare_archive import Check, Golden, compare

ROWS, COLUMNS = slice(64, 128), slice(80, 176)  # of what is stored as "crop"
TOLERANCES = {"flow_lvl": 1e-4, "liteflownet": 1e-4, "mask": 1e-5, "robust": 1e-5, "loss": 1e-5}
RELATIVE_LOSSES = ("ternary", "charbonnier", "charbonnier_ada", "geometry")
LOSSES = ("loss_rec", "loss_geo", "loss_dis", "loss_dis_noflow", *RELATIVE_LOSSES)


def tolerance(name: str) -> float:
    if name in LOSSES:
        return 1e-5
    if name == "grad_norm":
        return 1e-4
    return next((limit for start, limit in TOLERANCES.items() if name.startswith(start)), 2e-5)


def filled(kind: str, network: nn.Module, names: tuple[NameScope, ...]) -> tuple[Weights, int]:
    """Return weights of the recipe under published names, and their checksum."""
    shapes = {published_name(n, names): tuple(t.shape) for n, t in network.state_dict().items()}
    entries = {name: zoo.fill(kind, name, shape) for name, shape in shapes.items()}
    state = {name: torch.from_numpy(entry) for name, entry in entries.items()}
    return Weights(state, {}, Path("recipe")), zoo.fingerprint(entries)


def check_size(
    config: IFRNetConfig, case: str, golden: Golden, device: torch.device
) -> Iterator[Finding]:
    """Check one size of the network: frames, flows, losses and gradients."""
    net = IFRNet(replace(config, any_time=True))
    weights, weights_crc = filled("ifrnet", net, PUBLISHED_NAMES)
    load_weights(net, from_published(weights))
    net.to(device)
    i0, i1 = recipe.inputs(zoo.CASES["zoo_small"])
    gt, label = recipe.target(zoo.CASES["zoo_small"]), pseudo_label()
    arrays = {"flow": label, "gt": gt, "i0": i0, "i1": i1}
    ours = {"weights_crc": weights_crc, "inputs_crc": zoo.fingerprint(arrays)}
    tensors = [torch.from_numpy(array).to(device) for array in (i0, i1, gt, label)]
    ours |= trained(net.train(), *tensors)
    with torch.inference_mode():
        ours |= inferred(net.eval(), *tensors[:2])
    if case != "ifrnet_base":
        ours["out"] = ours["out"][:1]
    relative = (*LOSSES, "grad_norm")
    ours["grad_norm"] = np.array([ours["grad_norm"][name] for name in golden["grad_norm_keys"]])
    yield from compare(case, golden, ours, tolerance, relative)


def pseudo_label() -> np.ndarray:
    """Shapes: -> (2, 4, 64, 96)."""
    smooth = zoo.smooth_flow("ifr_label", 2, 64, 96, 6.0)
    return np.concatenate((smooth, -0.9 * smooth + 0.25), axis=1).astype(np.float32)


def trained(net: IFRNet, frame0: Tensor, frame1: Tensor, target: Tensor, label: Tensor) -> dict:
    """Return the losses and the norm of each gradient."""
    output = net.training_forward(frame0, frame1, time_like(frame0, 0.5), target)
    rec = losses.reconstruction_loss(output.frame, target)
    geo, dis = (
        losses.geometry_loss(output),
        losses.distillation_loss(output.flows, label),
    )
    losses.ifrnet_loss(output, label).backward()
    norms = {
        published_name(name, PUBLISHED_NAMES): weight.grad.double().norm().item()
        for name, weight in net.named_parameters()
    }
    unlabelled = losses.ifrnet_loss(output) - (rec + geo)
    parts = {"loss_rec": rec, "loss_geo": geo, "loss_dis": dis, "loss_dis_noflow": unlabelled}
    return parts | {"grad_norm": norms}


def inferred(net: IFRNet, frame0: Tensor, frame1: Tensor) -> dict[str, Tensor]:
    """Return frames at several times and scales, and intermediate tensors."""
    half = time_like(frame0, 0.5)
    state = net.prepare(frame0, frame1)
    result = net.decode(state, half)
    ours = {f"flow_lvl{4 - i}": flow[:1] for i, flow in enumerate(result.flows)}
    ours |= {"mask": result.blend[:1], "res": result.residual[:1], "ft3": result.features[0][:1]}
    ours["out"] = net.interpolate(state, half).frame
    ours["out_t25"] = net.interpolate(state, time_like(frame0, 0.25)).frame[:1]
    ours["out_scale0.5"] = net(frame0, frame1, half, 0.5).frame[:1]
    ours["out_snu"] = Padded(net, 20)(frame0, frame1, half, 0.8).frame[:1]
    eighths = [net.interpolate(state, time_like(frame0, k / 8)).frame[:1] for k in range(1, 8)]
    ours |= {"out_8x_first": eighths[0], "out_8x_last": eighths[-1]}
    ours["out_8x_mean"] = torch.cat(eighths).mean(dim=(2, 3))
    mid = (torch.from_numpy(f).to(frame0) for f in recipe.inputs(zoo.CASES["zoo_mid"]))
    frame = net(*mid, half[:1]).frame
    return ours | {"mid_out_crop": frame[..., ROWS, COLUMNS], "mid_out_mean": frame.mean((2, 3))}


@torch.inference_mode()
def check_units(golden: Golden, device: torch.device) -> Iterator[Finding]:
    """Check losses and metrics on noise, and LiteFlowNet."""

    def noise(name: str, channels: int, low: float, high: float) -> Tensor:
        return torch.from_numpy(recipe.tensor(name, (2, channels, 24, 36), low, high)).to(device)

    x, y = noise("ifr_unit_a", 3, 0, 1), noise("ifr_unit_b", 3, 0, 1)
    fx, fy = noise("ifr_unit_fa", 6, -1, 1), noise("ifr_unit_fb", 6, -1, 1)
    fa, fb = noise("ifr_unit_flow_a", 2, -3, 3), noise("ifr_unit_flow_b", 2, -3, 3)
    trust = losses.label_trust(fa - fb)
    ours = {
        "ternary": losses.reconstruction_loss(x, y) - charbonnier(x - y),
        "charbonnier": charbonnier(x - y),
        "geometry": census_loss(fx, fy, patch=3, border=1),
        "robust_weight": trust,
        "charbonnier_ada": losses.adaptive_charbonnier(fa - fb, trust),
        "warp": backward_warp(fx, fa),
        "psnr": psnr(*(torch.cat((*image,), dim=-1)[None] for image in (x, y)))[0],  # of both
        "ssim3d": ssim(x, y).mean(),
        "ie": interpolation_error(x, y).mean(),
    }
    estimator = liteflownet.LiteFlowNet()
    weights, crc = filled("liteflownet", estimator, liteflownet.PUBLISHED_NAMES)
    load_weights(estimator, liteflownet.from_published(weights))
    estimator.to(device).eval()
    flow, odd = (
        estimator(*(torch.from_numpy(f).to(device) for f in recipe.inputs(zoo.CASES[case])))[0]
        for case in ("zoo_flow", "zoo_odd")
    )
    ours |= {"liteflownet_flow": flow, "liteflownet_flow_odd": odd[:, ::2, ::2]}
    ours["liteflownet_weights_crc"] = crc
    yield from compare("ifrnet_units", golden, ours, tolerance, RELATIVE_LOSSES)


SIZES = {"ifrnet_base": IFRNET, "ifrnet_S": IFRNET_SMALL, "ifrnet_L": IFRNET_LARGE}
ARCHIVES: dict[str, Check] = {
    **{case: partial(check_size, config, case) for case, config in SIZES.items()},
    "ifrnet_units": check_units,
}
