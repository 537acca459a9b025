"""Where the motion is known: what knowing it is worth, and how far off predictions are."""

import torch
from torch import Tensor

from sgm_vfi.benchmark.metrics import psnr, ssim
from sgm_vfi.benchmark.results import FLOW_ERRORS
from sgm_vfi.dataset.triplet import GroundTruth, Triplet
from sgm_vfi.model import Interpolation
from sgm_vfi.model.flow.motion_hypotheses import UNSEEN
from sgm_vfi.model.ops.warp import backward_warp

TRUTH = "truth"  # what goes by this name in place of an interpolator
METRICS = ("psnr", "ssim", "psnr_visible", "psnr_occluded", *FLOW_ERRORS)
FEWEST_PIXELS = 100  # that a mean over visible or hidden ones takes


def true_motion(triplet: Triplet) -> Interpolation:
    """Both frames warped along the true motion, as much of each as it shows of what is there.

    No bound: what neither frame shows can be guessed better, and reading between pixels errs.

    Shapes: of a batch with its truth -> frame (B, 3, H, W).
    """
    truth = triplet.truth
    if truth is None:
        raise ValueError("The true motion is not known of these frames: take drawn scenes.")
    warped0 = backward_warp(triplet.frame0, truth.flow_t0, mode="bicubic")
    warped1 = backward_warp(triplet.frame1, truth.flow_t1, mode="bicubic")
    share0 = (1 - triplet.time) * (truth.visible_t0 + UNSEEN)
    share1 = triplet.time * (truth.visible_t1 + UNSEEN)
    frame = (share0 * warped0 + share1 * warped1) / (share0 + share1)
    flow = torch.cat((truth.flow_t0, truth.flow_t1), dim=1)
    return Interpolation(frame.clamp(0, 1), explanation={"flow": flow})


def scores(out: Interpolation, triplet: Triplet) -> dict[str, float | None]:
    """Every metric of one prediction; None where it has no meaning."""
    truth = triplet.truth
    assert truth is not None
    seen = truth.visible_t0 * truth.visible_t1 > 0
    error = (out.frame.double() - triplet.target.double()).square().mean(dim=1, keepdim=True)
    noise = {"psnr_visible": mean_over(error, seen), "psnr_occluded": mean_over(error, ~seen)}
    result: dict[str, float | None] = {
        "psnr": psnr(out.frame, triplet.target).item(),
        "ssim": ssim(out.frame, triplet.target).item(),
    }
    for name, value in noise.items():
        result[name] = None if value is None else (-10 * torch.tensor(value).log10()).item()
    return result | flow_errors((out.explanation or {}).get("flow"), truth)


def flow_errors(flow: Tensor | None, truth: GroundTruth) -> dict[str, float | None]:
    """End-point errors of the flows from the middle towards both frames.

    Shapes: flow (1, 4, H, W).
    """
    if flow is None:
        return dict.fromkeys(FLOW_ERRORS)
    true = torch.cat((truth.flow_t0, truth.flow_t1))
    seen = torch.cat((truth.visible_t0, truth.visible_t1)) > 0
    error = (flow.unflatten(1, (2, 2))[0] - true).double().norm(dim=1, keepdim=True)
    return {
        "epe": error.mean().item(),
        "epe_visible": mean_over(error, seen),
        "epe_occluded": mean_over(error, ~seen),
    }


def mean_over(values: Tensor, mask: Tensor) -> float | None:
    """Over some pixels; None of too few. Shapes: (B, 1, H, W) twice."""
    chosen = values[mask]
    return chosen.mean().item() if chosen.numel() >= FEWEST_PIXELS else None
