"""Where an interpolator's time goes: its parts, and the functions between them."""

import inspect
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial, wraps
from time import perf_counter
from types import ModuleType
from typing import Any

import torch

from sgm_vfi.benchmark.operation_count import OperationCount, OperationCounter
from sgm_vfi.model import Interpolator

REST = "rest"  # of the network's own code, between its stages
DEPTH = 2  # parts, and parts of parts


class StageTimer:
    """Seconds of each stage, without those of the stages inside it."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.seconds: dict[str, float] = defaultdict(float)
        self.last = self._now()

    def __call__(self, left: str, _: str) -> None:
        """The time since the last change was that of the stage left."""
        now = self._now()
        self.seconds[left] += now - self.last
        self.last = now

    def _now(self) -> float:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        return perf_counter()


def seconds_by_stage(
    network: Interpolator, call: Callable[[], Any], device: torch.device
) -> dict[str, float]:
    """Seconds of a call by stage, in the order in which stages are first left."""
    clock = StageTimer(device)
    with watched(network, clock) as leave:
        call()
        leave()
    return dict(clock.seconds)


def work_by_stage(network: Interpolator, call: Callable[[], Any]) -> OperationCount:
    """The work of a call, labelled by stage."""
    recorder = OperationCounter(REST)

    def relabel(_: str, entered: str) -> None:
        recorder.label = entered

    with watched(network, relabel), recorder:
        call()
    return recorder.work


@contextmanager
def watched(
    network: Interpolator, changed: Callable[[str, str], None]
) -> Iterator[Callable[[], None]]:
    """Tell of every change of stage: the name of the one left, and of the one entered.

    A stage is a part of the network, two deep, or a function that the network's own file takes
    from elsewhere in the model; what is inside a stage and is one itself counts for itself.

    Gives: a function to call at the end, which leaves the last stage.
    """
    stack = [REST]

    def enter(name: str) -> None:
        changed(stack[-1], name)
        stack.append(name)

    def leave() -> None:
        left = stack.pop()
        changed(left, stack[-1] if stack else left)

    with ExitStack() as undo:
        for name, part in network.named_modules():
            if name and name.count(".") < DEPTH:
                before = part.register_forward_pre_hook(lambda *_, name=name: enter(name))
                after = part.register_forward_hook(lambda *_: leave())
                undo.callback(before.remove)
                undo.callback(after.remove)
        own = inspect.getmodule(type(network))
        assert own is not None
        for name, function in functions_of(own):
            setattr(own, name, _told(function, partial(enter, function.__name__), leave))
            undo.callback(setattr, own, name, function)
        yield leave


def functions_of(module: ModuleType) -> list[tuple[str, Callable[..., Any]]]:
    """The functions of the model that a module of it calls by a name of its own."""
    return [
        (name, function)
        for name, function in inspect.getmembers(module, inspect.isfunction)
        if function.__module__.startswith("model.") and function.__module__ != module.__name__
    ]


def _told(
    function: Callable[..., Any], enter: Callable[[], None], leave: Callable[[], None]
) -> Callable[..., Any]:
    @wraps(function)
    def told(*args: Any, **kwargs: Any) -> Any:
        enter()
        try:
            return function(*args, **kwargs)
        finally:
            leave()

    return told
