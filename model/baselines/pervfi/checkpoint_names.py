"""Published checkpoints of PerVFI: parameter names and configuration."""

from dataclasses import replace

from torch import Tensor

from sgm_vfi.model.baselines.pervfi.network import PerVFI, PerVFIConfig
from sgm_vfi.model.flow.flow_zoo import load_flow_estimator
from sgm_vfi.model.weight_io import (
    Architecture,
    CheckpointError,
    NameScope,
    Weights,
    published_name,
    translate_name,
)

Parts = tuple[tuple[str, str], ...]
MAIN: Parts = tuple((f".netMain.{i}.", f".{i}.") for i in range(4))
AFTER_ENLARGING: Parts = tuple((f".netMain.{i + 1}.", f".{i}.") for i in range(4))
ALIGN = (
    ("offset_conv1", "offset1"),
    ("offset_conv2", "offset2"),
    ("offset_conv3", "offset3"),
    ("deform_conv", "deform"),
    ("feat_conv", "features"),
    ("merge_conv1", "merge1"),
    ("merge_conv2", "merge2"),
)
MASK: Parts = (
    (".conv1.", ".near."),
    (".conv2.", ".mask."),
    (".att.", ".attend."),
    (".fc.", ".squeeze."),
)
FUSE = (
    ("stems.", "stems."),
    ("layer1.", "bottlenecks."),
    ("transition1.0.", "start.0."),
    ("transition1.1.0.", "start.1."),
    ("transition2.2.0.", "descend."),
    ("extra1.", "join1."),
    ("extra2.", "join2."),
    ("stage2.", "stage2."),
    ("stage3.", "stage3."),
    ("final_layers.", "output."),
)
INVERTIBLE: Parts = (
    (".flows.", ".steps."),
    (".invconv.", ".mix."),
    (".actnorm.", ".mix.norm."),
    (".loc", ".shift"),
    (".logs", ".log_scale"),
    (".affine.tail.", ".affine."),
)
PLAIN: Parts = ((".netMain.", ".main."), (".netShortcut.", ".shortcut."))


def _metric(theirs: str, ours: str, parts: Parts = ()) -> NameScope:
    return NameScope(f"featurePyramid.netSoftmetric.{theirs}.", f"metric.{ours}.", parts)


SCOPES = (
    *(
        NameScope(f"featurePyramid.netEncode.{name}.", f"encoder.levels.{i}.")
        for i, name in enumerate(("netOne", "netTwo", "netThr"))
    ),
    _metric("netInput", "image"),
    _metric("netError", "error"),
    *(_metric(f"{r}x0 - {r + 1}x0", f"down.{r}", MAIN) for r in range(3)),
    *(_metric(f"{r}x0 - {r}x1", f"across.{r}", MAIN) for r in range(4)),
    *(_metric(f"{r + 1}x1 - {r}x1", f"up.{r}", AFTER_ENLARGING) for r in range(3)),
    _metric("netOutput.netMain", "output"),
    _metric("netOutput.netShortcut", "shortcut"),
    *(
        NameScope(
            f"deformableAlign.{theirs}.l{level}.",
            f"align.levels.{level}.{ours}.",
            ((".conv_offset.", ".offset."), (".dconv.", ".conv.")) if ours == "deform" else (),
        )
        for theirs, ours in ALIGN
        for level in range(3)
    ),
    NameScope("attentionMerge.softbinary.", "blend.levels.", MASK),
    *(
        NameScope(
            f"multiscaleFuse.{theirs}",
            f"fuse.{ours}",
            ((".fuse_layers.", ".change."), (".downsample.", ".shortcut.")),
        )
        for theirs, ours in FUSE
    ),
    *(
        NameScope(f"generator.conv{3 - i}.", f"generator.{ours}.", PLAIN)
        for i, ours in enumerate(("coarse", "middle", "fine"))
    ),
    NameScope("generator.tail.", "generator.output."),
    NameScope("condFLownet.", "generator.", INVERTIBLE),  # of our names all that is left
)
ESTIMATOR = "estimator."  # prefix of the flow network, which published files do not hold


def is_published(weights: Weights) -> bool:
    """Whether the names are those of the published code."""
    return any(name.startswith("deformableAlign.") for name in weights.state)


def from_published(weights: Weights) -> Weights:
    """Rename the tensors of a published checkpoint, which holds no flow network.

    Raises:
        CheckpointError: an ActNorm is not initialised.
    """
    state = {translate_name(name, SCOPES): tensor for name, tensor in weights.state.items()}
    if any(name.endswith(".initialized") and not tensor for name, tensor in state.items()):
        raise CheckpointError(
            f"{weights.source} holds a PerVFI whose normalisations were never initialised: it was "
            f"saved before its first training step. Use a trained checkpoint."
        )
    return weights._replace(state=state)


def to_published(name: str) -> str:
    """Return the published name of one of our tensors, except those of the flow network."""
    return published_name(name, SCOPES)


def published_config(weights: Weights) -> PerVFIConfig:
    """Find the variant, v00 or vb; the tensors do not tell which flow network was used."""
    return PerVFIConfig(invertible="generator.output.weight" not in weights.state)


def flow_weights(config: PerVFIConfig) -> dict[str, Tensor]:
    """Load the tensors of the flow network from its own file."""
    state = load_flow_estimator(config.estimator).state_dict()
    return {ESTIMATOR + name: tensor for name, tensor in state.items()}


def _describe(config: PerVFIConfig) -> str:
    variant = "a normalising flow (v00)" if config.invertible else "a plain decoder (vb)"
    return f"PerVFI with {variant} and {config.estimator}"


def _complete_config(found: PerVFIConfig, wanted: PerVFIConfig, published: bool) -> PerVFIConfig:
    """Take from the requested variant how noise is drawn and, if published, the flow network."""
    found = replace(found, temperature=wanted.temperature, seed=wanted.seed)
    return replace(found, estimator=wanted.estimator) if published else found


ARCHITECTURE = Architecture(
    "pervfi",
    PerVFI,
    PerVFIConfig,
    is_published,
    from_published,
    published_config,
    describe=_describe,
    complete_config=_complete_config,
    extra_tensors=flow_weights,
)
