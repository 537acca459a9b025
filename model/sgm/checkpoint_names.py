"""Names of tensors in published checkpoints of SGM-VFI, and the config read from them."""

from dataclasses import replace

from torch import Tensor

from sgm_vfi.model.flow.gmflow_features import PUBLISHED_NAMES as GMFLOW_NAMES
from sgm_vfi.model.layers.synthesis_unet import PUBLISHED_NAMES as SYNTHESIS_NAMES
from sgm_vfi.model.sgm.network import SGM, SGMConfig
from sgm_vfi.model.weight_io import (
    Architecture,
    CheckpointError,
    NameScope,
    Weights,
    abbreviate,
    published_name,
    translate_name,
)

CACHED_BUFFERS = (".attn_mask", ".HW")  # caches that the published code registered as buffers
HEAD_PARTS = ((".conv0.", ".head."), (".convblock.", ".residual."), (".lastconv.", ".output."))
BLOCK_PARTS = (
    (".attn.q.", ".attention.query."),
    (".attn.kv.", ".attention.key_value."),
    (".attn.proj.", ".attention.project."),
    (".mlp.fc1.", ".mlp.expand."),
    (".mlp.dwconv.dwconv.", ".mlp.depthwise."),
    (".mlp.fc2.", ".mlp.reduce."),
)
SCOPES = (
    NameScope("feature_bone.patch_embed2.", "encoder.look.down2."),
    NameScope("feature_bone.patch_embed3.", "encoder.look.down3."),
    NameScope("feature_bone.patch_embed4.proj.", "encoder.look.embed."),
    NameScope("feature_bone.patch_embed4.norm.", "encoder.look.embed_norm."),
    NameScope("feature_bone.norm4.", "encoder.relate.norm."),
    *(NameScope(f"feature_bone.block{i}.conv.", f"encoder.look.block{i}.") for i in (1, 2, 3)),
    NameScope("feature_bone.block4.", "encoder.relate.blocks.", BLOCK_PARTS),
    NameScope("block.", "local_flow.", HEAD_PARTS),
    *SYNTHESIS_NAMES,
    *(s._replace(published="gmflow." + s.published, ours="gmflow." + s.ours) for s in GMFLOW_NAMES),
    NameScope("matching_block.0.merge.conv.", "matching.merge.logits."),
    NameScope("matching_block.0.refine_block.", "matching.refine.", HEAD_PARTS),
)


def is_published(weights: Weights) -> bool:
    """Return whether the tensors have names of the published code."""
    return any(name.startswith("feature_bone.") for name in weights.state)


def from_published(weights: Weights) -> Weights:
    """Rename the tensors of a published checkpoint, and drop its cached buffers."""
    state = {
        translate_name(name, SCOPES): tensor
        for name, tensor in weights.state.items()
        if not name.endswith(CACHED_BUFFERS)
    }
    return weights._replace(state=state)


def to_published(name: str) -> str:
    """Return the published name of one of our tensors."""
    return published_name(name, SCOPES)


def published_config(weights: Weights) -> SGMConfig:
    """Infer the config from the shapes of the tensors.

    Shapes tell everything but the share of key points, which the published code takes at run
    time: the default is its default, one half.
    """
    state = weights.state
    first = state.get("encoder.look.block1.0.bias")
    if first is None:
        raise CheckpointError(
            f"{weights.source} holds no SGM-VFI network: no encoder among its "
            f"{len(state)} tensors ({abbreviate(sorted(state))})."
        )
    return SGMConfig(
        channels=len(first),
        depths=(*(_convolutions(state, i) for i in (1, 2, 3)), _blocks(state)),
        keypoint_ratio=0.5 if any(name.startswith("matching.") for name in state) else None,
        colour_order="bgr",
    )


def _convolutions(state: dict[str, Tensor], stage: int) -> int:
    prefix = f"encoder.look.block{stage}."
    return sum(name.startswith(prefix) and name.endswith(".bias") for name in state)


def _blocks(state: dict[str, Tensor]) -> int:
    return sum(
        name.startswith("encoder.relate.blocks.") and name.endswith(".norm1.weight")
        for name in state
    )


def _describe(config: SGMConfig) -> str:
    matching = "the local branch alone" if config.keypoint_ratio is None else "with matching"
    return f"{config.channels} channels wide, {config.depths} deep, {matching}"


def _complete_config(found: SGMConfig, wanted: SGMConfig, published: bool) -> SGMConfig:
    """Take the share of key points from the variant asked for: any weights serve it."""
    if found.keypoint_ratio is None or wanted.keypoint_ratio is None:
        return found
    return replace(found, keypoint_ratio=wanted.keypoint_ratio)


ARCHITECTURE = Architecture(
    "sgm",
    SGM,
    SGMConfig,
    is_published,
    from_published,
    published_config,
    describe=_describe,
    complete_config=_complete_config,
)
