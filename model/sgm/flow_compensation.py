"""Step 2 of SGM-VFI: match key points over the whole other frame; move matches to time t.

A component that is exactly zero means "no match": trained weights expect it.
"""

import math

import torch
from torch import Tensor

from sgm_vfi.model.ops.global_matching import cell_positions, match_positions
from sgm_vfi.model.ops.splat import splat, splat_sum

UNMATCHED_WEIGHT = math.exp(-20)  # of a cell without a match, when matches are moved
MATCHED_WEIGHT = math.e


def select_keypoints(importance: Tensor, count: int) -> Tensor:
    """Select the cells of largest importance, largest first; ties go to the first in the map.

    Shapes: importance (B, 1, h, w) -> (B, count), indices y * w + x.
    """
    order = importance.flatten(1).argsort(dim=1, descending=True, stable=True)
    return order[:, :count]


def match_globally(features: Tensor, keypoints: Tensor | None = None) -> Tensor:
    """Estimate the flow from each frame to the other by comparing features globally.

    Shapes: features (2B, C, h, w), all first frames, then all second ones; keypoints (2B, K), or
    None for all cells -> (2B, 2, h, w) in cells: 0 to 1, then 1 to 0; zero off the key points.
    """
    height, width = features.shape[-2:]
    tokens = features.flatten(2).transpose(1, 2).contiguous()  # (2B, L, C)
    others = tokens.roll(len(tokens) // 2, dims=0)
    cells = cell_positions(height, width, like=tokens)
    if keypoints is None:
        flow = match_positions(tokens, others, height, width) - cells
    else:
        queries = tokens.gather(1, keypoints[..., None].expand(-1, -1, tokens.shape[-1]))
        matched = match_positions(queries, others, height, width) - cells[keypoints]
        where = keypoints[..., None].expand_as(matched)
        flow = matched.new_zeros(*tokens.shape[:2], 2).scatter(1, where, matched)
    return flow.transpose(1, 2).unflatten(2, (height, width))


def shift_to_time(matched: Tensor, time: Tensor, count: int | None = None) -> Tensor:
    """Splat the matches to time t, where they become flows from t to both frames.

    Args:
        count: keep only this many cells per map, those most matches land on, so that bilinear
            spreading does not widen the support; None keeps all.

    Shapes: matched (2B, 2, h, w) in cells, 0 to 1, then 1 to 0; time (B, 1, 1, 1)
    -> (B, 4, h, w) in cells; zero where no match lands.
    """
    matched01, matched10 = matched.chunk(2)
    value = torch.cat((time * matched10, (1 - time) * matched01))  # t -> 0, t -> 1
    path = torch.cat(((1 - time) * matched10, time * matched01))
    is_matched = torch.cat((matched10, matched01)) != 0
    validity = is_matched.to(value.dtype).mean(dim=1, keepdim=True)  # 0, 1/2 or 1
    weight = torch.where(validity == 0, UNMATCHED_WEIGHT, MATCHED_WEIGHT)
    shifted, _ = splat(value, path, weight)
    if count is not None:
        mass = landing_mass(validity, path)
        kept = torch.zeros_like(mass).flatten(1)
        kept = kept.scatter(1, select_keypoints(mass, count), 1).view_as(mass)
        shifted = torch.where((kept == 1) & (mass > 0), shifted, 0)
    return torch.cat(shifted.chunk(2), dim=1)


def landing_mass(validity: Tensor, path: Tensor) -> Tensor:
    """Count landing matches. Shapes: (B, 1, h, w), (B, 2, h, w) -> (B, 1, h, w)."""
    return splat_sum(validity, path)


def replace_unmatched(shifted: Tensor, flow: Tensor) -> Tensor:
    """Replace zeros of the matches by the local flow. Shapes: (B, 4, h, w), twice."""
    return torch.where(shifted == 0, flow, shifted)
