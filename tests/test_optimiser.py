"""Weights are moved, guarded, averaged and gone on with."""

import math
from copy import deepcopy

import pytest
import torch
from torch import nn

from sgm_vfi.engine.guarded_adamw import ExponentialMovingAverage, GuardedAdamW


def network() -> nn.Linear:
    torch.manual_seed(0)
    return nn.Linear(3, 2)


def set_gradients(model: nn.Module, value: float) -> None:
    for weight in model.parameters():
        weight.grad = torch.full_like(weight, value)


def test_optimiser_is_adamw() -> None:
    ours, theirs = network(), network()
    guarded = GuardedAdamW(ours, list(ours.parameters()), weight_decay=1e-2)
    plain = torch.optim.AdamW(theirs.parameters(), lr=0.1, weight_decay=1e-2)
    for value in (0.5, -1.0, 2.0):
        set_gradients(ours, value)
        set_gradients(theirs, value)
        assert guarded.step(0.1).item() == pytest.approx(abs(value) * 8**0.5)
        plain.step()
    for a, b in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(a, b)


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_step_that_is_not_finite_leaves_no_trace(bad: float) -> None:
    """Weights, memory and step count are those of a run without that step, to the bit."""
    runs = []
    for values in ((1.0, 0.5), (1.0, bad, 0.5)):
        model = network()
        optimiser = GuardedAdamW(model, list(model.parameters()), weight_decay=1e-2)
        for value in values:
            set_gradients(model, value)
            optimiser.step(0.1)
        runs.append((list(model.parameters()), optimiser.state_dict()["adamw"]["state"]))
    (weights, state), (others, other_state) = runs
    assert all(torch.equal(a, b) for a, b in zip(weights, others, strict=True))
    for number, memory in state.items():
        assert all(torch.equal(memory[name], other_state[number][name]) for name in memory)


def test_clipping_bounds_the_gradient_but_not_its_report() -> None:
    moved = []
    for value in (1.0, 1000.0):
        model = network()
        before = model.weight.detach().clone()
        optimiser = GuardedAdamW(model, list(model.parameters()), weight_decay=0.0, clip_norm=0.1)
        set_gradients(model, value)
        assert optimiser.step(0.1).item() == pytest.approx(value * 8**0.5)
        moved.append(model.weight.detach() - before)
        memory = optimiser.adamw.state[model.weight]["exp_avg"]
        assert memory.norm() < 0.1
    torch.testing.assert_close(moved[0], moved[1])


def test_average_follows_by_hand_and_leaves_frozen_weights() -> None:
    model = network()
    model.bias.requires_grad_(False)
    average = ExponentialMovingAverage(model, 0.25)
    start = model.weight.detach().clone()
    expected = start.clone()
    for n in (1, 2, 3):
        model.weight.data += 1
        model.bias.data += 1
        average.update()
        kept = min(0.25, (1 + n) / (10 + n))
        expected = kept * expected + (1 - kept) * (start + n)
    torch.testing.assert_close(average.model.weight, nn.Parameter(expected))
    assert torch.equal(average.model.bias + 3, model.bias)


def test_optimiser_goes_on_from_its_state() -> None:
    """With an average, so that the weights that move and those that are measured differ."""

    def fresh() -> tuple[nn.Linear, GuardedAdamW]:
        model = network()
        return model, GuardedAdamW(model, list(model.parameters()), weight_decay=0.1, ema_decay=0.9)

    (first, one), (second, two) = fresh(), fresh()
    for value in (1.0, -2.0):
        set_gradients(first, value)
        one.step(0.1)
    second.weight.data.zero_()
    measured = {name: tensor.clone() for name, tensor in one.ema_model.state_dict().items()}
    two.load_state_dict(deepcopy(one.state_dict()), measured)
    for model, optimiser in ((first, one), (second, two)):
        set_gradients(model, 0.5)
        optimiser.step(0.05)
    assert torch.equal(first.weight, second.weight)
    assert torch.equal(one.ema_model.weight, two.ema_model.weight)
    assert not torch.equal(one.ema_model.weight, first.weight)
