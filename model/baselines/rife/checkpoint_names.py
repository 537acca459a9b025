"""Published checkpoints of RIFE: parameter names and configuration."""

from dataclasses import replace

from sgm_vfi.model.baselines.rife.network import RIFE, RIFEConfig
from sgm_vfi.model.layers.synthesis_unet import PUBLISHED_NAMES as SYNTHESIS_NAMES
from sgm_vfi.model.weight_io import (
    Architecture,
    CheckpointError,
    NameScope,
    Weights,
    abbreviate,
    translate_name,
)

PARTS = ((".conv0.", ".head."), (".convblock.", ".residual."), (".lastconv.", ".output."))
PUBLISHED_NAMES = (
    *(NameScope(f"block{i}.", f"blocks.{i}.", PARTS) for i in range(3)),
    NameScope("block_tea.", "teacher.", PARTS),
    *SYNTHESIS_NAMES,
)


def is_published(weights: Weights) -> bool:
    """Whether the names are those of the published code; "HD" and 4.x are other networks."""
    return {"block0.lastconv.weight", "unet.conv.weight"} <= weights.state.keys()


def from_published(weights: Weights) -> Weights:
    """Rename the tensors of a published checkpoint."""
    state = {
        translate_name(name, PUBLISHED_NAMES): tensor for name, tensor in weights.state.items()
    }
    return weights._replace(state=state)


def published_config(weights: Weights) -> RIFEConfig:
    """Read the configuration off the shapes; 2R, whose shapes are the same, reads as the base."""
    state = weights.state
    try:
        coarse, middle, fine = (len(state[f"blocks.{i}.head.1.0.bias"]) for i in range(3))
        context = len(state["synthesis.context.levels.0.0.0.bias"])
        inputs = state["blocks.0.head.0.0.weight"].shape[1]
    except KeyError as error:
        raise CheckpointError(
            f"{weights.source} holds no RIFE: no {error} among its {len(state)} tensors "
            f"({abbreviate(sorted(state))})."
        ) from error
    return RIFEConfig(
        channels=(coarse, middle, fine),
        context_channels=context,
        any_time=inputs == 7,
        teacher=any(name.startswith("teacher.") for name in state),
        colour_order="bgr",
    )


def _describe(config: RIFEConfig) -> str:
    """Describe what distinguishes variants; the teacher does not count."""
    times = "RIFE_m, for any time" if config.any_time else "RIFE, for the middle only"
    size = "at twice the resolution (2R)" if config.doubled else "at the frames' resolution"
    return f"{times}, {config.channels} and {config.context_channels} channels wide, {size}"


def _complete_config(found: RIFEConfig, wanted: RIFEConfig, published: bool) -> RIFEConfig:
    """Take from the requested variant whether published weights are of 2R."""
    return replace(found, doubled=wanted.doubled) if published else found


ARCHITECTURE = Architecture(
    "rife",
    RIFE,
    RIFEConfig,
    is_published,
    from_published,
    published_config,
    describe=_describe,
    complete_config=_complete_config,
)
