"""Single operations and layers against the golden numbers; inputs as the archive's page says."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sgm_vfi.model.layers.position_encoding import sine_position_encoding
from sgm_vfi.model.layers.synthesis_unet import warp_levels
from sgm_vfi.model.ops.global_matching import blockwise_attention
from sgm_vfi.model.ops.resize import resize
from sgm_vfi.model.ops.splat import splat, splat_sum
from sgm_vfi.model.ops.warp import backward_warp
from sgm_vfi.model.ops.window_partition import MASKED_LOGIT, attention_window_mask
from sgm_vfi.model.sgm.difference_map import EPSILON, difference_map
from sgm_vfi.model.sgm.flow_compensation import (
    landing_mass,
    match_globally,
    select_keypoints,
    shift_to_time,
)
from sgm_vfi.model.sgm.flow_head import expand_motion
from sgm_vfi.model.sgm.network import SGM, SGM_SMALL
from sgm_vfi.training.loss_functions import laplacian_loss, laplacian_pyramid
from tests.parity import recipe
from tests.parity.check_sgm import build

Arrays = dict[str, Tensor]
SPECIAL = {(0, 0, 0, 0): math.nan, (0, 1, 1, 1): math.inf, (1, 0, 2, 3): -math.inf}


def draw(
    device: torch.device, name: str, shape: tuple[int, ...], low: float, high: float
) -> Tensor:
    return torch.from_numpy(recipe.tensor(name, shape, low, high)).to(device)


def unit_warp(device: torch.device, golden: Any) -> Arrays:
    image = draw(device, "warp.img", (2, 3, 13, 21), 0, 1).requires_grad_()
    small = draw(device, "warp.flow_small", (2, 2, 13, 21), -2, 2).requires_grad_()
    large = draw(device, "warp.flow_large", (2, 2, 13, 21), -30, 30)
    probe = draw(device, "warp.probe", (2, 3, 13, 21), -1, 1)
    warped = backward_warp(image, small)
    (warped * probe).sum().backward()
    return {
        "warp_small": warped,
        "warp_large": backward_warp(image, large),
        "warp_zero": backward_warp(image, torch.zeros_like(large)),
        "grad_img": image.grad,
        "grad_flow": small.grad,
    }


def unit_softsplat(device: torch.device, golden: Any) -> Arrays:
    source = draw(device, "splat.in", (2, 3, 12, 17), -1, 1).requires_grad_()
    flow = draw(device, "splat.flow", (2, 2, 12, 17), -6, 6).requires_grad_()
    metric = draw(device, "splat.metric", (2, 1, 12, 17), -2, 2)
    positive = draw(device, "splat.metric_pos", (2, 1, 12, 17), 0.1, 2)
    (splat_sum(source, flow) * draw(device, "splat.probe", (2, 3, 12, 17), -1, 1)).sum().backward()
    arrays = {"grad_in_sum": source.grad, "grad_flow_sum": flow.grad}
    broken = flow.detach().clone()
    for index, value in (SPECIAL | {(1, 1, 3, 4): 1e20}).items():
        broken[index] = value
    for suffix, path in (("", flow), ("_nonfinite", broken), ("_integer", flow.round())):
        arrays["sum" + suffix] = splat_sum(source, path)
        arrays["avg" + suffix] = splat(source, path)[0]
        arrays["linear" + suffix] = splat(source, path, positive)[0]
        arrays["soft" + suffix] = splat(source, path, metric.exp())[0]
    for guard in ("add", "zero", "clip"):
        arrays[f"soft-{guard}eps"] = splat(source, flow, metric.exp(), guard=guard)[0]
    return arrays


def unit_importance(device: torch.device, golden: Any) -> Arrays:
    frame0, frame1 = (
        torch.from_numpy(frame).to(device)
        for frame in recipe.inputs({"b": 1, "h": 48, "w": 64, "seed": "unit"})
    )
    flow = draw(device, "imap.flow", (1, 4, 6, 8), -9, 9)
    flow = flow.repeat_interleave(8, dim=2).repeat_interleave(8, dim=3)
    flow0, flow1 = flow.chunk(2, dim=1)
    warped0, warped1 = backward_warp(frame0, flow0), backward_warp(frame1, flow1)
    on1, mass1 = splat(warped0, flow1, epsilon=EPSILON)
    on0, mass0 = splat(warped1, flow0, epsilon=EPSILON)
    frames, warped = torch.cat((frame0, frame1)), torch.cat((warped0, warped1))
    importance = difference_map(frames, warped, flow)
    return {
        "warp_twice_0": on1,
        "warp_twice_1": on0,
        "difference_map_1": (on1 - frame1).abs().sum(1, keepdim=True),
        "difference_map_0": (on0 - frame0).abs().sum(1, keepdim=True),
        "hole_mask_1": mass1 != 0,  # as stored: where something landed
        "hole_mask_0": mass0 != 0,
        "importance_map": importance,
        "importance_map_small": resize(importance, 1 / 8),
    }


def unit_matching(device: torch.device, golden: Any) -> Arrays:
    height, width, count = 6, 9, 13
    tokens = draw(device, "gm.feature", (2, height * width, 16), -2.5, 2.5)
    features = tokens.transpose(1, 2).unflatten(2, (height, width))
    keys = select_keypoints(draw(device, "gm.importance", (2, 1, height, width), 0, 1), count)
    chosen = tokens.gather(1, keys[..., None].expand(-1, -1, 16))
    everywhere = torch.eye(height * width, device=device)  # as values: the weights themselves
    sparse, dense = match_globally(features, keys), match_globally(features)
    half = sparse.clone().flatten(2)
    half[0, 0, keys[0, 0]] = 0
    half[1, 1, keys[1, 1]] = 0
    half = half.view_as(sparse)
    arrays = {
        "key_index": keys,
        "key_feature": chosen,
        "flow_sparse": sparse,
        "flow_dense": dense,
        "prob_sparse": blockwise_attention(chosen, tokens.flip(0), everywhere),
        "prob_dense": blockwise_attention(tokens, tokens.flip(0), everywhere),
        "flow_half": half,
        "shift_half_topk_t0.5": _shift(half, 0.5, count),
        "warp_map_half_t0": landing_mass(
            (half[1:] != 0).float().mean(dim=1, keepdim=True), 0.5 * half[1:]
        ),
    }
    for time in (0.5, 0.3):
        arrays[f"shift_sparse_topk_t{time}"] = _shift(sparse, time, count)
        arrays[f"shift_sparse_t{time}"] = _shift(sparse, time, None)
        arrays[f"shift_dense_t{time}"] = _shift(dense, time, None)
    return arrays


def _shift(matched: Tensor, time: float, count: int | None) -> Tensor:
    shifted = shift_to_time(matched, matched.new_full((1, 1, 1, 1), time), count)
    return torch.cat(shifted.chunk(2, dim=1))


def unit_blocks(device: torch.device, golden: Any) -> Arrays:
    net = build(SGM_SMALL, device)
    arrays = _merging(net, device) | _synthesis(net, device)
    frames = draw(device, "gmflow.img", (2, 3, 48, 64), 0, 1)
    arrays["gmflow.cnn"] = net.gmflow.backbone(frames)
    arrays["gmflow.trans_feat"] = net.gmflow(frames)
    return arrays


def _merging(net: SGM, device: torch.device) -> Arrays:
    merged = net.matching.merge(
        draw(device, "merge.init_flow", (1, 4, 9, 12), -5, 5),
        draw(device, "merge.flow_fix", (1, 4, 9, 12), -5, 5),
        draw(device, "merge.feature", (1, 512, 9, 12), -1, 1),
    )
    x = draw(device, "refine.x", (1, 13, 40, 56), 0, 1)
    flow = draw(device, "refine.flow", (1, 4, 40, 56), -10, 10)
    small = draw(device, "refine.flow_s", (1, 10, 5, 7), -3, 3)
    refined = net.matching.refine(
        torch.cat((resize(x, 1 / 8), resize(flow, 1 / 8) / 8, small), dim=1)
    )
    coarse = net.local_flow[0](
        torch.cat(
            (
                resize(draw(device, "block0.x", (1, 7, 40, 56), 0, 1), 1 / 8),
                draw(device, "block0.feature", (1, 256, 5, 7), -1, 1),
            ),
            dim=1,
        )
    )
    fine = net.local_flow[1](
        torch.cat(
            (
                resize(draw(device, "block1.x", (1, 14, 40, 56), 0, 1), 1 / 4),
                resize(draw(device, "block1.flow", (1, 4, 40, 56), -10, 10), 1 / 4) / 4,
                draw(device, "block1.feature", (1, 128, 10, 14), -1, 1),
            ),
            dim=1,
        )
    )
    arrays = {"merging_block": torch.cat(merged.chunk(2, dim=1))}
    for name, raw, scale in (
        ("flow_refine", refined, 8),
        ("block0", coarse, 8),
        ("block1", fine, 4),
    ):
        arrays[f"{name}.flow"], arrays[f"{name}.mask"] = expand_motion(raw, scale)
        arrays[f"{name}.flow_s"] = raw[:, :4]
    return arrays


def _synthesis(net: SGM, device: torch.device) -> Arrays:
    frame = draw(device, "context.img", (1, 3, 32, 48), 0, 1)
    flow = draw(device, "context.flow", (1, 2, 32, 48), -6, 6)
    features = [torch.cat((level, level)) for level in net.synthesis.context(frame)]
    context, _ = warp_levels(features, torch.cat((flow, flow)), (0, 0))
    pictures = [
        draw(device, f"unet.{name}", (1, 3, 32, 48), 0, 1)
        for name in ("img0", "img1", "warped0", "warped1")
    ]
    pictures.append(draw(device, "unet.mask", (1, 1, 32, 48), -2, 2))
    pictures.append(draw(device, "unet.flow", (1, 4, 32, 48), -6, 6))
    levels = [
        [
            draw(device, f"unet.c{side}.{i}", (1, 32 * 2**i, 16 >> i, 24 >> i), -1, 1)
            for i in range(4)
        ]
        for side in (0, 1)
    ]
    residual = net.synthesis.unet(pictures, *levels)
    return {"unet": (residual + 1) / 2} | {f"contextnet.{i}": c for i, c in enumerate(context)}


def unit_small(device: torch.device, golden: Any) -> Arrays:
    net = build(SGM_SMALL, device)
    look, relate = net.encoder.look, net.encoder.relate
    patch = draw(device, "small.patch", (2, 64, 20, 24), -1, 1) * 1e-3
    tokens = draw(device, "small.tokens", (2, 120, 128), -1, 1) * 1e-3
    grid = tokens.unflatten(1, (10, 12))
    position = sine_position_encoding(7, 7, 128, device).flatten(0, 1)
    image = 0.5 + draw(device, "small.img", (2, 3, 48, 64), -1, 1) * 1e-3
    arrays = {
        "patch_embed4": look.embed_norm(look.embed(patch).permute(0, 2, 3, 1)).permute(0, 3, 1, 2),
        "norm4": relate.norm(tokens),
        "transformer0": net.gmflow.transformer.layers[0](tokens, tokens.flip(0)),
        "cnn": net.gmflow.backbone(image),
    }
    for j in (0, 1):
        block = relate.blocks[j]
        mask = attention_window_mask(10, 12, 7, block.shift, device)
        arrays[f"block4.{j}"] = block(grid, position, mask).flatten(1, 2)
    return arrays


def unit_position(device: torch.device, golden: Any) -> Arrays:
    arrays = {}
    for name in _stored(golden):
        half, size = name.removeprefix("sine_").split("_")
        height, width = map(int, size.split("x"))
        embedding = sine_position_encoding(height, width, 2 * int(half), device)
        arrays[name] = embedding.permute(2, 0, 1)[None]
    return arrays


def unit_masks(device: torch.device, golden: Any) -> Arrays:
    arrays = {}
    for name in (name for name in _stored(golden) if name.startswith("shape_")):
        size = name.removeprefix("shape_")
        height, width = map(int, size.split("x"))
        shifted = attention_window_mask(height, width, 7, 3, device)
        arrays[name] = torch.tensor(shifted.shape)
        arrays[f"shift_{size}"] = _packed(shifted)
        arrays[f"pad_{size}"] = _packed(attention_window_mask(height, width, 7, 0, device))
    return arrays


def _packed(mask: Tensor | None) -> Tensor:
    bits = [] if mask is None else (mask == MASKED_LOGIT).cpu().numpy().ravel()
    return torch.from_numpy(np.packbits(np.asarray(bits, dtype=bool)))


def unit_loss(device: torch.device, golden: Any) -> Arrays:
    arrays = {}
    for name in (name for name in _stored(golden) if name.startswith("lap_offset_")):
        size = name.removeprefix("lap_offset_")
        batch, height, width = map(int, size.split("x"))
        frame0, frame1 = (
            torch.from_numpy(frame).to(device)
            for frame in recipe.inputs({"b": batch, "h": height, "w": width, "seed": "unit"})
        )
        frame0.requires_grad_()
        loss = laplacian_loss(frame0, frame1)
        (gradient,) = torch.autograd.grad(loss, frame0)
        arrays[f"lap_{size}"] = loss
        arrays[f"lap_grad_norm_{size}"] = gradient.norm()
        arrays[name] = laplacian_loss(frame0, frame0 + 0.1)
        arrays[f"lap_level_absmean_{size}"] = torch.stack(
            [band.abs().mean() for band in laplacian_pyramid(frame0)]
        )
    return arrays


def _stored(golden: Any) -> list[str]:
    return [name.split("@")[0] for name in golden.files]


UNITS: dict[str, Callable[[torch.device, Any], Arrays]] = {
    function.__name__: function
    for function in (
        unit_warp,
        unit_softsplat,
        unit_importance,
        unit_matching,
        unit_blocks,
        unit_small,
        unit_position,
        unit_masks,
        unit_loss,
    )
}
