"""Published checkpoints of RAFT-VFI, in two files: parameter names and configuration."""

import torch

from sgm_vfi.model.baselines.raft_vfi.network import RAFTVFI, RAFTVFIConfig
from sgm_vfi.model.flow import raft
from sgm_vfi.model.weight_io import (
    Architecture,
    CheckpointError,
    NameScope,
    Weights,
    published_name,
    read_weights,
    translate_name,
)

FLOW_FILES = ("raft-sintel.pt", "raft-sintel.pth")  # one of them is in the folder of interpnet.pt
COMPUTED = (".relative_position_index", ".attn_mask", ".attn_mask_x", ".attn_mask_y")
KERNELS = {  # constants, saved among the weights
    "internet.lpfilter.weight_lpf": torch.full((1, 1, 7, 7), 1 / 49),
    "internet.get_grad.weight_h": torch.tensor([[[[0.0, 0, 0], [-1, 0, 1], [0, 0, 0]]]]),
    "internet.get_grad.weight_v": torch.tensor([[[[0.0, -1, 0], [0, 0, 0], [0, 1, 0]]]]),
}
GROUP_PARTS = (
    (".residual_group.blocks.", ".layers."),
    (".conv.", ".convolution."),
    (".attn.", ".attention."),
    (".qkv.", ".query_key_value."),
    (".proj.", ".project."),
    (".mlp.fc1.", ".mlp.0."),
    (".mlp.fc2.", ".mlp.2."),
)
CROSS_PARTS = (
    *GROUP_PARTS,
    (".relative_position_bias_table_x", ".offset_bias"),
    (".relative_position_bias_table_y", ".coarse_offset_bias"),
    (".kv.", ".coarse_key_value."),
    (".merge1.", ".merge.0."),
    (".merge2.", ".merge.2."),
)
SELF_PARTS = (*GROUP_PARTS, (".relative_position_bias_table", ".offset_bias"))


def _correction(stage: int, *body: NameScope) -> list[NameScope]:
    """Return the names of one stage of the refinement, given those of its body."""
    ends = (NameScope("up.", "up."), NameScope("conv2.", "output."), NameScope("conv0.", "body.0."))
    return [
        NameScope(f"ifnet.block{stage + 1}.{theirs}", f"refinement.{stage}.{ours}", parts)
        for theirs, ours, parts in (*ends, *body)
    ]


def _synthesis(theirs: str, ours: str) -> NameScope:
    return NameScope(f"internet.{theirs}.", f"synthesis.{ours}.")


RESIDUALS = (NameScope("convblock1.", "body.1."), NameScope("convblock2.", "body.2."))
TRANSFORMER = (
    NameScope("trans.patch_embed.norm.", "body.1.norm_in."),
    NameScope("trans.norm.", "body.1.norm_out."),
    NameScope("trans.layers0.0.", "body.1.groups.0.", SELF_PARTS),
    NameScope("trans.layers0.1.", "body.1.groups.1.", CROSS_PARTS),
    NameScope("conv1.", "body.2."),
)
SCOPES = (
    *_correction(0, *RESIDUALS),
    *_correction(1, *TRANSFORMER),
    *_correction(2, *TRANSFORMER),
    *(
        _synthesis(f"refinenet.conv{i + 1}_{j + 1}", f"unet.{level}.{2 * j}")
        for i, level in enumerate(("full_size", "half_size"))
        for j in range(2)
    ),
    *(
        _synthesis(f"refinenet.down{i + 1}.conv{j + 1}", f"unet.down.{i}.{2 * j}")
        for i in range(3)
        for j in range(2)
    ),
    *(
        _synthesis(f"refinenet.up{i + 1}.conv{j + 1}", f"unet.up.{i}.{part}.0")
        for i in range(3)
        for j, part in enumerate(("before", "after"))
    ),
    _synthesis("refinenet.conv3", "unet.features.0"),
    _synthesis("refinenet.conv4", "unet.output"),
    *(_synthesis(f"masknet.conv{i + 1}", f"mask.{2 * i}") for i in range(3)),
    _synthesis("staticnet.body", "static"),
)
FLOW_PREFIX = "flow.network."


def is_published(weights: Weights) -> bool:
    """Whether the names are those of the published file without the flow network."""
    return any(name.startswith(("ifnet.", "internet.")) for name in weights.state)


def from_published(weights: Weights) -> Weights:
    """Rename the tensors of `interpnet.pt`, and add those of RAFT from the same folder.

    Raises:
        FileNotFoundError: the folder holds no file of RAFT.
        CheckpointError: a constant kernel has unexpected values.
    """
    folder = weights.source.parent
    found = [folder / name for name in FLOW_FILES if (folder / name).is_file()]
    if not found:
        raise FileNotFoundError(
            f"{weights.source} holds RAFT-VFI without its flow network: put {FLOW_FILES[0]}, "
            f"which is published with it, beside it in {folder.absolute()}."
        )
    flow = raft.from_published(read_weights(found[0]))
    return join_weights(weights, flow)


def join_weights(weights: Weights, flow: Weights) -> Weights:
    """Join the weights of `interpnet.pt`, renamed, and those of RAFT."""
    for name, kernel in KERNELS.items():
        found = weights.state.get(name, kernel)
        if found.shape != kernel.shape or not torch.allclose(found, kernel):
            raise CheckpointError(
                f"{weights.source}: {name} is a fixed kernel, but has other values than expected."
            )
    state = {
        translate_name(name, SCOPES): tensor
        for name, tensor in weights.state.items()
        if name not in KERNELS and not name.endswith(COMPUTED)
    }
    return weights._replace(state=state | {FLOW_PREFIX + n: t for n, t in flow.state.items()})


def to_published(name: str) -> str:
    """Return the published name of one of our tensors, in either file."""
    if name.startswith(FLOW_PREFIX):
        return published_name(name.removeprefix(FLOW_PREFIX), raft.PUBLISHED_NAMES)
    return published_name(name, SCOPES)


def published_config(weights: Weights) -> RAFTVFIConfig:
    """Return the configuration of the published weights, which are of one variant."""
    return RAFTVFIConfig(colour_order="bgr")


def _describe(config: RAFTVFIConfig) -> str:
    return "RAFT's flows with a refinement"


ARCHITECTURE = Architecture(
    "raft_vfi",
    RAFTVFI,
    RAFTVFIConfig,
    is_published,
    from_published,
    published_config,
    describe=_describe,
)
