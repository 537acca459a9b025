"""AdamW that skips steps with non-finite gradients, with an optional EMA of the weights."""

from collections.abc import Mapping
from copy import deepcopy
from itertools import count
from typing import Any

import torch
from torch import Tensor, nn


class GuardedAdamW:
    """Fused AdamW with gradient clipping that skips steps with non-finite gradients.

    The check runs on the device without synchronisation. Gradients are averaged over the processes,
    so all of them skip the same steps.

    Args:
        weights: the parameters of `model` to optimise.
        clip_norm: maximum norm of the gradient; None: no clipping.
        ema_decay: decay of an average of the weights, which becomes `ema_model`; None: no average.
    """

    def __init__(
        self,
        model: nn.Module,
        weights: list[nn.Parameter],
        *,
        betas: tuple[float, float] = (0.9, 0.999),
        weight_decay: float,
        clip_norm: float | None = None,
        ema_decay: float | None = None,
    ) -> None:
        self.model, self.weights, self.clip_norm = model, weights, clip_norm
        names = {weight: name for name, weight in model.named_parameters()}
        self.names = [names[weight] for weight in weights]
        # Any: `found_inf` is read by AdamW, but not declared.
        self.adamw: Any = torch.optim.AdamW(
            weights, betas=betas, weight_decay=weight_decay, fused=True
        )
        self.average = None if ema_decay is None else ExponentialMovingAverage(model, ema_decay)

    @property
    def ema_model(self) -> nn.Module:
        """The network to validate and to save: with averaged weights if `ema_decay` is set."""
        return self.model if self.average is None else self.average.model

    def step(self, rate: float) -> Tensor:
        """Take a step and return the norm of the gradient before clipping.

        If the norm is not finite, neither weights nor optimiser state change.
        """
        norm = nn.utils.get_total_norm(
            [weight.grad for weight in self.weights if weight.grad is not None]
        )
        if self.clip_norm is not None:
            nn.utils.clip_grads_with_norm_(self.weights, self.clip_norm, norm)
        for group in self.adamw.param_groups:
            group["lr"] = rate
        self.adamw.found_inf = (~norm.isfinite()).float()  # as gradient scalers do
        self.adamw.step()
        self.adamw.zero_grad(set_to_none=True)
        if self.average is not None:
            self.average.update()
        return norm

    def state_dict(self) -> dict[str, Any]:
        """Return the optimiser state and, with an EMA, the weights that are not averaged."""
        moving = {"adamw": self.adamw.state_dict(), "names": self.names}
        if self.average is None:
            return moving
        return moving | {
            "weights": self.model.state_dict(),
            "ema_steps": self.average.steps,
        }

    def load_state_dict(self, state: Mapping[str, Any], ema_weights: Mapping[str, Tensor]) -> None:
        """Restore a state by parameter name; rates, betas and decay stay those of the recipe.

        Parameters that the state does not hold start without optimiser state.
        """
        self.model.load_state_dict(state.get("weights", ema_weights))
        known = dict(zip(state.get("names", self.names), count(), strict=False))
        memory = state["adamw"]["state"]
        kept = {
            place: memory[known[name]]
            for place, name in enumerate(self.names)
            if known.get(name) in memory
        }
        groups = self.adamw.state_dict()["param_groups"]
        self.adamw.load_state_dict({"state": kept, "param_groups": groups})
        if self.average is not None:
            self.average.model.load_state_dict(ema_weights)
            self.average.steps = state.get("ema_steps", 0)


class ExponentialMovingAverage:
    """Exponential moving average (EMA) of the trained weights.

    After n steps the decay is at most (1 + n) / (10 + n), so that the initial weights fade fast.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        if not 0 < decay < 1:
            raise ValueError(f"The decay of averaged weights lies in (0, 1), got {decay}.")
        self.decay, self.steps = decay, 0
        self.model = deepcopy(model).requires_grad_(False)
        both = zip(self.model.parameters(), model.parameters(), strict=True)
        self._pairs = [(average, weight) for average, weight in both if weight.requires_grad]

    @torch.no_grad()
    def update(self) -> None:
        """Update the average after a step."""
        self.steps += 1
        averages, weights = (list(part) for part in zip(*self._pairs, strict=True))
        kept = min(self.decay, (1 + self.steps) / (10 + self.steps))
        torch._foreach_lerp_(averages, weights, 1 - kept)
