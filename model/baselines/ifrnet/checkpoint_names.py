"""Published checkpoints of IFRNet: parameter names and configuration."""

from dataclasses import replace

from sgm_vfi.model.baselines.ifrnet.network import IFRNet, IFRNetConfig
from sgm_vfi.model.weight_io import (
    Architecture,
    CheckpointError,
    NameScope,
    Weights,
    abbreviate,
    translate_name,
)

PUBLISHED_NAMES = (
    *(NameScope(f"encoder.pyramid{i + 1}.", f"encoder.{i}.") for i in range(4)),
    *(
        NameScope(f"decoder{4 - i}.convblock.{j}.", f"decoders.{i}.{part}.", inner)
        for i in range(4)
        for j, (part, inner) in enumerate(
            (("enter", ()), ("refine", ((".prelu.", ".activation."),)), ("enlarge", ()))
        )
    ),
)


def is_published(weights: Weights) -> bool:
    """Whether the names are those of the published code."""
    return "decoder4.convblock.0.0.weight" in weights.state


def from_published(weights: Weights) -> Weights:
    """Rename the tensors of a published checkpoint."""
    state = {
        translate_name(name, PUBLISHED_NAMES): tensor for name, tensor in weights.state.items()
    }
    return weights._replace(state=state)


def published_config(weights: Weights) -> IFRNetConfig:
    """Read the configuration off the shapes.

    Weights for any time are recognised by their file name, IFRNet_..._GoPro: GoPro is the data set
    of the 8x task.
    """
    state = weights.state
    try:
        first, second, third, last = (len(state[f"encoder.{i}.0.0.bias"]) for i in range(4))
        side = len(state["decoders.0.refine.conv2.0.bias"])
        kernel = state["encoder.0.0.0.weight"].shape[-1]
    except KeyError as error:
        raise CheckpointError(
            f"{weights.source} holds no IFRNet: no {error} among its {len(state)} tensors "
            f"({abbreviate(sorted(state))})."
        ) from error
    any_time = "gopro" in weights.source.stem.lower()
    widths = first, second, third, last
    return IFRNetConfig(widths=widths, side_channels=side, first_kernel=kernel, any_time=any_time)


def _describe(config: IFRNetConfig) -> str:
    times = "for any time" if config.any_time else "for the middle only"
    return (
        f"IFRNet, {config.widths} channels wide, {config.side_channels} at the side, first "
        f"kernel {config.first_kernel}, {times}"
    )


def _complete_config(found: IFRNetConfig, wanted: IFRNetConfig, published: bool) -> IFRNetConfig:
    """Take from the requested variant whether published weights support any time."""
    return replace(found, any_time=wanted.any_time) if published else found


ARCHITECTURE = Architecture(
    "ifrnet",
    IFRNet,
    IFRNetConfig,
    is_published,
    from_published,
    published_config,
    describe=_describe,
    complete_config=_complete_config,
)
