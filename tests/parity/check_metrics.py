"""Check image quality metrics against `metrics.json`."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from sgm_vfi.benchmark.crop_and_resize import halve, halve_as_bytes, halve_as_floats
from sgm_vfi.benchmark.metrics import psnr, ssim, ssim_uniform
from sgm_vfi.media.images import as_samples, quantise
from tests.parity.finding import Finding
from tests.parity.recipe import crc, metric_pair

# The golden values were computed in float32 here and there: PSNR where it is allowed 1e-4 dB, and
# every `ssim_matlab`, whose golden values lie up to 3.3e-6 from the same formula in float64 on
# these very frames (ours: 1e-8).
DOUBLE, SINGLE, SINGLE_SSIM, EXACT = 1e-6, 1e-4, 5e-6, 0.0

DESCRIPTION = ("name", "h", "w", "noise")  # the keys that say which frames are compared
NOT_COVERED = {"ssim_2d": "a variant of SSIM that no protocol uses"}

Checks = dict[str, tuple[Callable[[], float], float]]  # quantity -> value, tolerance


def metrics(folder: Path) -> Iterator[Finding]:
    """Check every number of FOLDER/metrics.json, except those of NOT_COVERED."""
    for entry in json.loads((folder / "metrics.json").read_text()):
        truth, estimate = metric_pair(entry["name"], entry["h"], entry["w"], entry["noise"])
        checks = frame_checks(truth, estimate)
        if any("_half_" in name for name in entry):
            checks |= half_size_checks(truth, estimate)
        for name in entry.keys() - DESCRIPTION - NOT_COVERED.keys():
            if name not in checks:
                raise ValueError(f"{folder / 'metrics.json'} holds {name!r}, known: {[*checks]}.")
        for name, (value, tolerance) in checks.items():
            if name in entry:
                error = abs(value() - entry[name])
                yield Finding(f"metrics {entry['name']}", name, error, tolerance)


def frame_checks(truth: np.ndarray, estimate: np.ndarray) -> Checks:
    """Return the metrics at full resolution.

    Shapes: truth (H, W, 3), uint8; estimate (H, W, 3), float32 in [0, 1].
    """
    exact_truth, exact = tensor(truth / 255.0), tensor(estimate)
    rounded = quantise(exact)
    return {
        "crc_truth": (lambda: crc(truth), EXACT),
        "crc_estimate": (lambda: crc(estimate), EXACT),
        "snu_psnr": (lambda: psnr(exact, exact_truth).item(), DOUBLE),
        "snu_ssim": (lambda: ssim(exact_truth, exact).item(), SINGLE_SSIM),
        "ssim_matlab_255": (lambda: ssim(exact_truth, exact).item(), SINGLE_SSIM),
        "validation_psnr": (lambda: psnr(exact, exact_truth.float()).item(), SINGLE),
        "xtest_psnr": (lambda: psnr(rounded, exact_truth.float()).item(), SINGLE),
        "xtest_ssim": (lambda: ssim(rounded, exact_truth).item(), SINGLE_SSIM),
        "xiph_psnr": (lambda: psnr(rounded, exact_truth).item(), DOUBLE),
        "xiph_ssim": (lambda: ssim_uniform(rounded, exact_truth).item(), DOUBLE),
    }


def half_size_checks(truth: np.ndarray, estimate: np.ndarray) -> Checks:
    """Return the metrics at half resolution: XTest halves the truth as floats, Xiph as bytes.

    Shapes: as for `frame_checks`, H and W even.
    """
    rounded = quantise(tensor(halve(estimate)))
    xtest, xiph = halve_as_floats(truth)[None], halve_as_bytes(truth)[None]
    byte_truth = as_samples(xiph[0])
    return {
        "xtest_half_psnr": (lambda: psnr(rounded, xtest).item(), SINGLE),
        "xtest_half_ssim": (lambda: ssim(rounded, xtest).item(), SINGLE_SSIM),
        "xiph_half_truth_crc": (lambda: crc(byte_truth), EXACT),
        "xiph_half_is_round_half_up": (lambda: rounds_half_up(truth, byte_truth), EXACT),
        "xiph_half_psnr": (lambda: psnr(rounded, xiph).item(), DOUBLE),
        "xiph_half_ssim": (lambda: ssim_uniform(rounded, xiph).item(), DOUBLE),
    }


def tensor(image: np.ndarray) -> Tensor:
    """Shapes: (H, W, 3) -> (1, 3, H, W)."""
    return torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1)))[None]


def rounds_half_up(image: np.ndarray, halved: np.ndarray) -> bool:
    """Whether bytes were averaged in squares of four and rounded, halves up."""
    height, width = halved.shape[:2]
    squares = image.astype(int).reshape(height, 2, width, 2, 3)
    return bool((halved == (squares.sum(axis=(1, 3)) + 2) // 4).all())
