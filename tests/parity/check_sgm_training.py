"""Check one training step of SGM-VFI: loss, gradients and updated weights."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sgm_vfi.engine.schedule import warmup_cosine
from sgm_vfi.model.interpolator import time_like
from sgm_vfi.model.sgm.checkpoint_names import to_published
from sgm_vfi.model.sgm.network import SGM
from sgm_vfi.training.loss_functions import interpolation_loss
from tests.parity import recipe
from tests.parity.check_sgm import Spy, build, compare_all, config_of, frames, steps
from tests.parity.finding import Finding

WARMUP_STEPS = {"local": 2000, "sgm": 1000}
EPOCHS = {"local": 300, "sgm": 100}
STEPS_PER_EPOCH = 100  # any number: at the end of the warm-up it does not show


def findings(
    name: str, case: dict[str, Any], folder: Path, device: torch.device
) -> Iterator[Finding]:
    """Compare loss, gradients, updated weights and frozen parameters."""
    golden = json.loads((folder / case["file"]).read_text())
    net = build(config_of(case), device).train()
    optimiser, rate = published_optimiser(net, case)
    frame0, frame1 = frames(case, device)
    target = torch.from_numpy(recipe.target(case["frames"])).to(device)
    with Spy(net) as spy:
        prediction = net(frame0, frame1, time_like(frame0, 0.5))
    loss = interpolation_loss(prediction, target)
    loss.backward()

    yield Finding(name, "loss", abs(loss.item() - golden["loss"]), 1e-5)
    yield Finding(name, "learning_rate", abs(rate - golden["learning_rate"]), 1e-12)
    parameters = {to_published(key): value for key, value in net.named_parameters()}
    still = {key for key, value in parameters.items() if value.grad is None}
    yield Finding(name, "frozen", len(still ^ set(golden["frozen"])), 0)
    yield from _gradients(name, parameters, golden)
    optimiser.step()
    yield from _weights(name, parameters, golden["after_step"], rate)

    arrays = {key: value.detach().cpu().numpy() for key, value in steps(spy).items()}
    arrays["pred"] = prediction.frame.detach().cpu().numpy()
    yield from compare_all(name, case, np.load(folder / case["file_tensors"]), arrays)


def published_optimiser(net: SGM, case: dict[str, Any]) -> tuple[torch.optim.Optimizer, float]:
    """Freeze what the published training freezes; return its optimiser and learning rate."""
    stage = case["variant"].split("_")[0]
    if stage == "sgm":
        for part in net.frozen_modules():
            part.requires_grad_(False)
    rate = warmup_cosine(case["step"], EPOCHS[stage] * STEPS_PER_EPOCH, WARMUP_STEPS[stage])
    return torch.optim.AdamW(net.parameters(), lr=rate, weight_decay=1e-4), rate


def _probe(key: str, tensor: Tensor) -> float:
    """Sum of the tensor times fixed noise, so that every element counts."""
    noise = torch.from_numpy(recipe.tensor("probe:" + key, tensor.shape)).double()
    return (tensor.detach().cpu().double() * noise).sum().item()


def _gradients(
    name: str, parameters: dict[str, Tensor], golden: dict[str, Any]
) -> Iterator[Finding]:
    total = 0.0
    for key, stored in golden["gradient"].items():
        gradient = parameters[key].grad
        norm = gradient.double().norm().item()
        total += norm**2
        yield Finding(
            name, f"{key} gradient norm", abs(norm - stored["norm"]), 2e-3 * stored["norm"]
        )
        error = abs(_probe(key, gradient) - stored["probe"])
        yield Finding(name, f"{key} gradient probe", error, 5e-3 * stored["norm"])
    expected = golden["gradient_norm_total"]
    yield Finding(name, "gradient norm", abs(total**0.5 - expected), 2e-3 * expected)


def _weights(
    name: str, parameters: dict[str, Tensor], golden: dict[str, Any], rate: float
) -> Iterator[Finding]:
    for key, stored in golden.items():
        weight = parameters[key].detach()
        norm = weight.double().norm().item()
        yield Finding(
            name, f"{key} norm after the step", abs(norm - stored["norm"]), 1e-4 * stored["norm"]
        )
        wide = 2 * rate * (10 + 5e-4 * weight.numel())
        for quantity, value in (
            ("probe", _probe(key, weight)),
            ("sum", weight.double().sum().item()),
        ):
            error = abs(value - stored[quantity])
            yield Finding(name, f"{key} {quantity} after the step", error, wide)
