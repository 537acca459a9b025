"""Moving the weights: AdamW with a guard against gradients that are not finite, and an average."""

from collections.abc import Mapping
from copy import deepcopy
from itertools import count
from typing import Any

import torch
from torch import Tensor, nn


class GuardedAdamW:
    """Fused AdamW that clips gradients if asked to, and leaves out steps that would do harm.

    Whether a gradient is finite is found out on the device, without waiting for it. Gradients are
    those of all processes, so that all leave out the same steps.

    Args:
        weights: those of `model` that move.
        clip_norm: largest norm of a gradient; None: any.
        ema_decay: of a moving average of the weights, which is then what is `ema_weights`.
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
        self.adamw = torch.optim.AdamW(weights, betas=betas, weight_decay=weight_decay, fused=True)
        self.average = None if ema_decay is None else ExponentialMovingAverage(model, ema_decay)

    @property
    def ema_model(self) -> nn.Module:
        """The network to validate and to keep: with averaged weights, if there are any."""
        return self.model if self.average is None else self.average.model

    def step(self, rate: float) -> Tensor:
        """Move the weights along their gradients; give the gradients' norm before clipping.

        Where the norm is not finite nothing changes, neither weights nor the optimiser's memory.
        """
        norm = nn.utils.get_total_norm([weight.grad for weight in self.weights])
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
        """All that moves, but for the weights that are `ema_weights`."""
        moving = {"adamw": self.adamw.state_dict(), "names": self.names}
        if self.average is None:
            return moving
        return moving | {
            "weights": self.model.state_dict(),
            "ema_steps": self.average.steps,
        }

    def load_state_dict(self, state: Mapping[str, Any], ema_weights: Mapping[str, Tensor]) -> None:
        """Go on from a state; rates, betas and decay stay those of the recipe.

        Each weight gets its own memory back, whichever others moved then; a new one has none.
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
    """An exponential moving average (EMA) of the weights that are trained.

    Young averages forget faster, so that the weights at the start do not linger: after n steps
    the share that is kept is at most (1 + n) / (10 + n).
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
        """Take in the weights after a step."""
        self.steps += 1
        averages, weights = (list(part) for part in zip(*self._pairs, strict=True))
        kept = min(self.decay, (1 + self.steps) / (10 + self.steps))
        torch._foreach_lerp_(averages, weights, 1 - kept)
