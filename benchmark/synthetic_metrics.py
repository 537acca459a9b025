"""Metrics of synthetic scenes with known motion: visible and occluded pixels, flow errors."""

import torch
from torch import Tensor

from sgm_vfi.benchmark.metrics import psnr, ssim
from sgm_vfi.benchmark.tables import FLOW_ERRORS
from sgm_vfi.dataset.triplet import GroundTruth, Triplet
from sgm_vfi.model import Interpolation
from sgm_vfi.model.flow.motion_hypotheses_at_time import OUTSIDE_WEIGHT
from sgm_vfi.model.ops.warp import backward_warp

TRUTH = "truth"  # the model name of `warp_true_motion`
GROUND_TRUTH_METRICS = ("psnr", "ssim", "psnr_visible", "psnr_occluded", *FLOW_ERRORS)
MIN_PIXELS = 100  # a mean over fewer visible or occluded pixels is None


def warp_true_motion(triplet: Triplet) -> Interpolation:
    """Warp both frames along the true motion, weighted by visibility and time.

    This is no upper bound: pixels that neither frame shows, and resampling, cause errors.

    Shapes: a batch with its truth -> frame (B, 3, H, W).
    """
    truth = triplet.truth
    if truth is None:
        raise ValueError("The true motion of these frames is not known: use synthetic scenes.")
    warped0 = backward_warp(triplet.frame0, truth.flow_t0, mode="bicubic")
    warped1 = backward_warp(triplet.frame1, truth.flow_t1, mode="bicubic")
    weight0 = (1 - triplet.time) * (truth.visible_t0 + OUTSIDE_WEIGHT)
    weight1 = triplet.time * (truth.visible_t1 + OUTSIDE_WEIGHT)
    frame = (weight0 * warped0 + weight1 * warped1) / (weight0 + weight1)
    flow = torch.cat((truth.flow_t0, truth.flow_t1), dim=1)
    return Interpolation(frame.clamp(0, 1), explanation={"flow": flow})


def measure_prediction(out: Interpolation, triplet: Triplet) -> dict[str, float | None]:
    """Measure every metric of one prediction; None where a metric has no meaning."""
    truth = triplet.truth
    assert truth is not None
    visible = truth.visible_t0 * truth.visible_t1 > 0
    error = (out.frame.double() - triplet.target.double()).square().mean(dim=1, keepdim=True)
    result: dict[str, float | None] = {
        "psnr": psnr(out.frame, triplet.target).item(),
        "ssim": ssim(out.frame, triplet.target).item(),
    }
    for name, mask in (("psnr_visible", visible), ("psnr_occluded", ~visible)):
        mean = masked_mean(error, mask)
        result[name] = None if mean is None else (-10 * torch.tensor(mean).log10()).item()
    return result | measure_flow((out.explanation or {}).get("flow"), truth)


def measure_flow(flow: Tensor | None, truth: GroundTruth) -> dict[str, float | None]:
    """Measure end-point errors of the flows from the middle frame to both frames.

    Shapes: flow (1, 4, H, W).
    """
    if flow is None:
        return dict.fromkeys(FLOW_ERRORS)
    true = torch.cat((truth.flow_t0, truth.flow_t1))
    visible = torch.cat((truth.visible_t0, truth.visible_t1)) > 0
    error = (flow.unflatten(1, (2, 2))[0] - true).double().norm(dim=1, keepdim=True)
    return {
        "epe": error.mean().item(),
        "epe_visible": masked_mean(error, visible),
        "epe_occluded": masked_mean(error, ~visible),
    }


def masked_mean(values: Tensor, mask: Tensor) -> float | None:
    """Return the mean over a mask; None for too few pixels. Shapes: (B, 1, H, W) twice."""
    chosen = values[mask]
    return chosen.mean().item() if chosen.numel() >= MIN_PIXELS else None
