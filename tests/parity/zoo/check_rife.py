"""Check RIFE, RIFE_m and RIFE 2R, their losses, and short clips."""

from collections.abc import Iterator

import numpy as np
import torch
import torch.nn.functional as F
from skimage.metrics import structural_similarity
from torch import Tensor

from sgm_vfi.benchmark.metrics import interpolation_error, psnr, ssim
from sgm_vfi.media.images import quantise
from sgm_vfi.model.baselines.rife.checkpoint_names import PUBLISHED_NAMES, from_published
from sgm_vfi.model.baselines.rife.network import (
    RIFE,
    RIFE_2R,
    RIFE_BASE,
    RIFE_M,
    RIFEConfig,
    RIFETrainingOutput,
)
from sgm_vfi.model.inference.bisection import Bisected
from sgm_vfi.model.inference.ensemble import FlipEnsemble
from sgm_vfi.model.inference.sequence import interpolate_times
from sgm_vfi.model.interpolator import Interpolator, time_like
from sgm_vfi.model.ops.warp import backward_warp
from sgm_vfi.model.weight_io import load_weights, published_name
from sgm_vfi.training import rife_loss as losses
from sgm_vfi.training.loss_functions import (
    census_loss,
    end_point_error,
    laplacian_loss,
    laplacian_pyramid,
)
from tests.parity import recipe
from tests.parity.check_metrics import tensor
from tests.parity.finding import Finding
from tests.parity.zoo import zoo_recipe as zoo
from tests.parity.zoo.check_ifrnet import filled
from tests.parity.zoo.compare_archive import Check, Golden, compare

ROWS, COLUMNS = slice(64, 128), slice(80, 176)  # of what is stored as "crop"
SMALL, ODD = zoo.CASES["zoo_small"], zoo.CASES["zoo_odd"]
GREY = (0.2989, 0.587, 0.114)
PADDED = (160, 192)  # zeros to the right and below, as the video tool pads ODD
OTHER = {"b": 1, "h": 141, "w": 171, "seed": "zoo_other"}
RELATIVE = ("grad_norm", "lap_loss", "lap_loss_frames", "lap_level_l1", "ternary_mean")
RELATIVE += ("epe_mean", "psnr_rounded", "ie")


def tolerance(name: str) -> float:
    if name == "grad_norm":
        return 1e-2
    if "loss" in name or name in RELATIVE:
        return 1e-5
    if "flow" in name:
        return 1e-4
    if name.endswith("uint8"):
        return 1
    return 1e-5 if "mask" in name else 2e-5


def golden_network(config: RIFEConfig, device: torch.device) -> tuple[RIFE, int]:
    """Build a network with the weights of the recipe, and return their checksum."""
    net = RIFE(config)
    weights, crc = filled("rife", net, PUBLISHED_NAMES)
    load_weights(net, from_published(weights))
    return net.to(device).eval(), crc


def inputs(device: torch.device) -> tuple[int, list[Tensor]]:
    """Return the checksum of both frames and the one in the middle, and the three frames."""
    i0, i1 = recipe.inputs(SMALL)
    gt = recipe.target(SMALL)
    crc = zoo.fingerprint({"i0": i0, "i1": i1, "gt": gt})
    return crc, [torch.from_numpy(array).to(device) for array in (i0, i1, gt)]


def trained(net: RIFE, frames: list[Tensor], time: float) -> tuple[RIFETrainingOutput, dict]:
    """Return the training output, its losses and the norm of each gradient."""
    frame0, frame1, target = frames
    output = net.training_forward(frame0, frame1, time_like(frame0, time), target)
    losses.rife_loss(output).backward()
    norms = {
        published_name(name, PUBLISHED_NAMES): weight.grad.double().norm().item()
        for name, weight in net.named_parameters()
    }
    parts = {
        "loss_lap": laplacian_loss(output.frame, output.target),
        "loss_teacher": laplacian_loss(output.teacher_merged, output.target),
        "loss_distill": losses.distillation_loss(output),
        "loss_total": losses.rife_loss(output),
    }
    return output, parts | {"norms": norms}


def check_base(golden: Golden, device: torch.device) -> Iterator[Finding]:
    """Check a training step, and frames at several scales."""
    net, weights_crc = golden_network(RIFE_BASE, device)
    inputs_crc, frames = inputs(device)
    output, ours = trained(net, frames, 0.5)
    norms = ours.pop("norms")
    ours |= {"weights_crc": weights_crc, "inputs_crc": inputs_crc}
    ours["grad_norm"] = np.array([norms[name] for name in golden["grad_norm_keys"]])
    ours |= {f"flow{i}": motion.flow[:1] for i, motion in enumerate(output.motions)}
    ours["flow2"] = output.motions[2].flow
    ours["mask"] = output.motions[2].blend_logits[:1].sigmoid()
    ours |= {
        "flow_teacher": output.teacher_motion.flow[:1],
        "merged_teacher": output.teacher_merged[:1],
    }
    ours |= {"merged0": output.merged[0][:1], "final": output.frame}
    with torch.inference_mode():
        half = time_like(frames[0], 0.5)
        again = net(*frames[:2], half).frame
        yield Finding("rife_base", "final again", (again - output.frame).abs().max().item(), 0)
        ours["final_tta"] = FlipEnsemble(net)(*frames[:2], half).frame[:1]
        for scale in (0.5, 2):
            ours[f"final_scale{scale}"] = net(*frames[:2], half, scale).frame[:1]
        mid = [torch.from_numpy(f).to(device) for f in recipe.inputs(zoo.CASES["zoo_mid"])]
        result = net(*mid, half[:1], explain=True)
    ours["mid_final_crop"] = result.frame[..., ROWS, COLUMNS]
    ours["mid_flow2_crop"] = result.explanation["flow"][..., ROWS, COLUMNS]
    ours["mid_final_mean"] = result.frame.mean(dim=(2, 3))
    yield from compare("rife_base", golden, ours, tolerance, RELATIVE)


def check_m(golden: Golden, device: torch.device) -> Iterator[Finding]:
    """Check a training step at t = 1/4, and frames at several times."""
    net, weights_crc = golden_network(RIFE_M, device)
    inputs_crc, frames = inputs(device)
    quarter = torch.from_numpy(recipe.frames(SMALL, 0.25)).to(device)
    output, parts = trained(net, [*frames[:2], quarter], 0.25)
    norms = parts.pop("norms")
    ours = {f"t25_{name}": value for name, value in parts.items()}
    ours |= {
        "weights_crc": weights_crc,
        "inputs_crc": inputs_crc,
        "t25_final": output.frame,
    }
    ours["grad_norm"] = np.array([norms[name] for name in golden["grad_norm_keys"]])
    flow, logits = output.motions[-1]
    ours |= {"t25_flow2": flow, "t25_mask": logits.sigmoid()}
    with torch.inference_mode():
        state = net.prepare(*frames[:2])
        ours["t50_final"] = net.interpolate(state, time_like(frames[0], 0.5)).frame
        both = torch.tensor((0.25, 0.75), device=device).view(2, 1, 1, 1)
        ours["t25_75_final"] = net.interpolate(state, both).frame[1:]
        motion = net.estimate(state, time_like(frames[0], 0.125)).motions[-1]
        ours["t125_returnflow"] = motion.flow[:1]
    yield from compare("rife_m", golden, ours, tolerance, RELATIVE)


@torch.inference_mode()
def check_2r(golden: Golden, device: torch.device) -> Iterator[Finding]:
    """Check 2R, plain and with the flip ensemble."""
    net, weights_crc = golden_network(RIFE_2R, device)
    inputs_crc, (frame0, frame1, _) = inputs(device)
    half = time_like(frame0, 0.5)
    result = net(frame0, frame1, half, explain=True)
    ours = {
        "weights_crc": weights_crc,
        "inputs_crc": inputs_crc,
        "flow2": result.explanation["flow"][:1],
        "mask": result.explanation["blend"][:1],
        "final": result.frame[:1],
        "final_large": FlipEnsemble(net)(frame0, frame1, half).frame[:1],
    }
    yield from compare("rife_2r", golden, ours, tolerance)


@torch.inference_mode()
def check_units(golden: Golden, device: torch.device) -> Iterator[Finding]:
    """Check losses and metrics on noise and frames, thumbnails, and clips of three new frames."""

    def noise(name: str, shape: tuple[int, ...], low: float, high: float) -> Tensor:
        return torch.from_numpy(recipe.tensor(f"rife_unit_{name}", shape, low, high)).to(device)

    image = noise("img", (2, 5, 20, 28), 0, 1)
    flow, flow2 = (noise(name, (2, 2, 20, 28), -12, 12) for name in ("flow", "flow2"))
    a, b = (noise(name, (2, 3, 64, 96), 0, 1) for name in "ab")
    _, (frame0, _, target) = inputs(device)
    ours = {
        "warp_out": backward_warp(image, flow),
        "lap_loss": laplacian_loss(a, b),
        "lap_level_l1": torch.stack([band.abs().mean() for band in laplacian_pyramid(a)]),
        "lap_loss_frames": laplacian_loss(frame0, target),
        "ternary_mean": census_loss(grey(frame0), grey(target), patch=7, border=1),
        "epe_mean": end_point_error(flow, flow2),
        "gate_ssim": torch.cat([ssim(*pair) for pair in thumbnails(device)]),
    }
    ours |= metrics()
    clips = {
        "video_4x_uint8": lambda: Bisected(golden_network(RIFE_BASE, device)[0]),
        "video_4x_m_uint8": lambda: golden_network(RIFE_M, device)[0],
    }
    for name in clips.keys() & golden.keys():
        ours[name] = as_written(clips[name](), device)
        share = (ours[name] != torch.from_numpy(golden[name])).double().mean().item()
        yield Finding("rife_units", f"{name} share", share, 1e-3)
    kept = {name: value for name, value in golden.items() if name != "sobel_mean"}  # not in use
    yield from compare("rife_units", kept, ours, tolerance, RELATIVE)


def grey(frame: Tensor) -> Tensor:
    """Shapes: (B, 3, H, W) -> (B, 1, H, W)."""
    return (frame * frame.new_tensor(GREY).view(1, 3, 1, 1)).sum(dim=1, keepdim=True)


def thumbnails(device: torch.device) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield the first frame and another, zero-padded and downscaled as the video tool does."""
    first = recipe.frames(ODD, 0.0)
    others = [recipe.frames(ODD, time) for time in (0.0, 0.02, 0.1, 1.0)]
    for other in (*others, recipe.frames(OTHER, 0.0), 1 - first):
        padded = (pad(torch.from_numpy(frame).to(device)) for frame in (first, other))
        small = [F.interpolate(frame, (32, 32), mode="bilinear") for frame in padded]
        yield small[0], small[1]


def pad(frame: Tensor) -> Tensor:
    height, width = frame.shape[-2:]
    return F.pad(frame, (0, PADDED[1] - width, 0, PADDED[0] - height))


def metrics() -> dict[str, Tensor | float]:
    truth, estimate = recipe.metric_pair("zoo_metric", 71, 83)
    target, frame = tensor(truth / 255.0), quantise(tensor(estimate))
    bordered = (F.pad(image, (5, 5, 5, 5), mode="replicate") for image in (target, frame))
    planes = structural_similarity(
        *(image[0].numpy() for image in bordered),
        channel_axis=0,
        data_range=1,
        gaussian_weights=True,
        use_sample_covariance=False,
    )
    return {
        "ssim3d": ssim(frame, target)[0],
        "ssim2d": planes,
        "psnr_rounded": psnr(frame, target)[0],
        "ie": interpolation_error(frame, target)[0],
    }


def as_written(interpolator: Interpolator, device: torch.device) -> Tensor:
    """Return three intermediate frames as the video tool writes them: truncated to bytes."""
    pair = [pad(torch.from_numpy(frame).to(device)) for frame in recipe.inputs(ODD)]
    frames = torch.cat([*interpolate_times(interpolator, *pair, (0.25, 0.5, 0.75))])
    return (frames * 255).to(torch.uint8)[..., : ODD["h"], : ODD["w"]].cpu()


ARCHIVES: dict[str, Check] = {
    "rife_base": check_base,
    "rife_m": check_m,
    "rife_2r": check_2r,
    "rife_units": check_units,
}
