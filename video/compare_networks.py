"""Two networks on one video: the second makes the same frames, to be shown beside the first's."""

import argparse
from collections.abc import Callable, Iterable
from dataclasses import replace
from fractions import Fraction
from typing import Any, NamedTuple

from torch import Tensor

from sgm_vfi.model.fingerprint import describe_network, fingerprint
from sgm_vfi.video.frame_schedule import OutputFrame
from sgm_vfi.video.load_network import load_network_for_size
from sgm_vfi.video.memory_fallback import MemoryAwareInterpolator
from sgm_vfi.video.produce_output_frames import (
    FrameProducer,
    FrameWindow,
    ProducedFrame,
    ProducerOptions,
)


class ComparedNetwork(NamedTuple):
    """A second network."""

    interpolator: MemoryAwareInterpolator
    labels: tuple[str, str]  # names of the second network and of the first

    @property
    def settings(self) -> dict[str, Any]:
        """What decides about its frames, to tell one job from another."""
        network = self.interpolator.network
        return {"compared network": describe_network(network), "its weights": fingerprint(network)}


class ComparingProducer(FrameProducer):
    """Produces each output frame, and beside it that of a second network."""

    def __init__(
        self,
        interpolator: MemoryAwareInterpolator,
        options: ProducerOptions,
        compared: ComparedNetwork,
    ) -> None:
        super().__init__(interpolator, options)
        other_options = replace(options, explain=False, min_reliability=None)
        self.other = FrameProducer(compared.interpolator, other_options)

    def observe(self, frame: Tensor) -> None:
        """Observe the next source frame. Shapes: (1, 3, H, W)."""
        super().observe(frame)
        self.other.observe(frame)

    def produce(self, output_frame: OutputFrame, frames: FrameWindow) -> ProducedFrame:
        """Produce an output frame twice from its source frames."""
        other = self.other.produce(output_frame, frames).frame
        return super().produce(output_frame, frames)._replace(other=other)

    def take_stats(self) -> dict[str, Any]:
        """Return the statistics of the first network, and reset both."""
        self.other.take_stats()
        return super().take_stats()


def load_compared_network(
    args: argparse.Namespace,
    model: str,
    size: tuple[int, int],
    times: Iterable[Fraction],
    say: Callable[[str, object], None],
) -> ComparedNetwork:
    """Load the second network of the command line; see `load_network_for_size`.

    Args:
        args: options of the first network, which hold for both but for its key points.
        size: (height, width) of the frames.
    """
    if "compared" not in args:
        given = {name: value for name, value in vars(args).items() if name != "network"}
        given |= {"model": model, "num_key_points": None}
        args.compared = argparse.Namespace(**given)
    loaded = load_network_for_size(
        args.compared, *size, times, lambda name, text: say(name.replace("model", "beside"), text)
    )
    return ComparedNetwork(loaded.interpolator, (model, args.model))
