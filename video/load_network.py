"""Loading of the network that the command line names, within the free memory."""

import argparse
from collections.abc import Callable, Iterable
from fractions import Fraction
from typing import NamedTuple

from sgm_vfi.model import Interpolator
from sgm_vfi.model.cli_options import describe_weights, load_bare_network
from sgm_vfi.video.memory_fallback import (
    MemoryAwareInterpolator,
    MemoryBudget,
    fit_budget,
    measure_free_memory,
)
from sgm_vfi.video.plan_text import format_bytes


class LoadedNetwork(NamedTuple):
    """A network and its wrapper."""

    network: Interpolator
    interpolator: MemoryAwareInterpolator
    wanted: MemoryBudget  # before free memory was measured


def load_network_for_size(
    args: argparse.Namespace,
    height: int,
    width: int,
    times: Iterable[Fraction],
    say: Callable[[str, object], None],
) -> LoadedNetwork:
    """Load the network for frames of a size, and report what it is and how it is limited.

    Args:
        args: options of the network.
        times: that will be requested between two frames.
        say: takes a title and a text.
    """
    network = load_bare_network(args)
    wanted, free = MemoryBudget(args.flow_scale, args.tile), measure_free_memory(args.device)
    budget = fit_budget(network, wanted, height, width, free)
    try:
        interpolator = MemoryAwareInterpolator(
            network, budget, times, flip_ensemble=args.flip_ensemble
        )
    except TypeError as error:  # the network cannot be tiled
        raise ValueError(f"--tile {args.tile} with {args.model}: {error}") from error
    say("model", f"{describe_weights(args.model)} on {args.device}")
    if budget != wanted:
        say("memory", f"{format_bytes(free or 0)} free: {budget} instead of {wanted}")
    if interpolator.time_precision:
        say("times", interpolator.time_precision)
    return LoadedNetwork(network, interpolator, wanted)
