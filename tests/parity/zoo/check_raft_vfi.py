"""Check RAFT-VFI: network, operations, output schedule and scene cuts."""

from collections.abc import Iterator
from fractions import Fraction
from itertools import product
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from sgm_vfi.model.baselines.raft_vfi import filter_flows_warp_and_blend, flow_reversal
from sgm_vfi.model.baselines.raft_vfi.checkpoint_names import (
    FLOW_PREFIX,
    KERNELS,
    join_weights,
    to_published,
)
from sgm_vfi.model.baselines.raft_vfi.network import MEAN, RAFTVFI, RAFTVFIFrame, RAFTVFIState
from sgm_vfi.model.interpolator import Interpolation, time_like
from sgm_vfi.model.weight_io import Weights, load_weights
from tests.parity import recipe
from tests.parity.finding import Finding
from tests.parity.raft_vfi_pipeline import (
    grey_levels,
    histogram,
    is_scene_cut,
    output_steps,
    resample,
)
from tests.parity.zoo import zoo_recipe as zoo
from tests.parity.zoo.check_flow_networks import golden_flow
from tests.parity.zoo.compare_archive import Check, Golden, compare

Arrays = dict[str, Tensor | np.ndarray | int]
TIMES = (-1, 0, 1, 2)  # of four frames; the first and the last lie outside
QUAD = {"b": 1, "h": 128, "w": 160, "seed": "zoo_quad"}
LARGE = {"b": 1, "h": 256, "w": 320, "seed": "zoo_quad2k"}
ODD = {"b": 1, "h": 141, "w": 171, "seed": "zoo_quadodd"}
SCENE = {"b": 1, "h": 192, "w": 256, "seed": "zoo_scene"}
OTHER_SCENE = SCENE | {"seed": "zoo_scene_b"}
VIDEO = {"b": 1, "h": 144, "w": 176}
EXACT = ("scene_flags", "unit_holes", "run_uint8", "run_uint8_idx")
ON_EDGE = 1e-5  # pixels: rounding moves a landing point by up to half as much
FLOWS = ("raft_f", "refined_", "t50_Ft", "unit_acc", "unit_reverse_flow", "unit_fill")


def tolerance(name: str) -> float:
    if name in EXACT or name.endswith("_calls"):
        return 0
    if name.startswith("plan_"):
        return 1e-5  # frames went through float32 means before their index was read off
    if name.startswith("raft_"):
        return 5e-4
    return 2e-4 if name.startswith(FLOWS) else 5e-5


def golden_network(device: torch.device) -> tuple[RAFTVFI, Arrays]:
    """Build the network with the weights of the recipe, and return their checksums."""
    net = RAFTVFI()
    flow, flow_crc = golden_flow("raft", torch.device("cpu"))
    shapes = {
        to_published(name): tuple(tensor.shape)
        for name, tensor in net.state_dict().items()
        if not name.startswith(FLOW_PREFIX)
    } | {name: tuple(kernel.shape) for name, kernel in KERNELS.items()}
    entries = {name: zoo.fill("raftvfi", name, shape) for name, shape in shapes.items()}
    state = {name: torch.from_numpy(entry) for name, entry in entries.items()}
    source = Path("recipe")
    flow_weights = Weights(flow.network.state_dict(), {}, source)
    load_weights(net, join_weights(Weights(state, {}, source), flow_weights))
    crc = {"flownet_weights_crc": flow_crc, "internet_weights_crc": zoo.fingerprint(entries)}
    return net.to(device).eval(), crc


def four(case: recipe.Case, device: torch.device) -> list[Tensor]:
    return [torch.from_numpy(recipe.frames(case, t)).to(device) for t in TIMES]


def prepared(net: RAFTVFI, frames: list[Tensor], flow_scale: float = 1.0) -> RAFTVFIState:
    before, frame0, frame1, after = frames
    return net.prepare(frame0, frame1, flow_scale, before=before, after=after)


def unclamped(net: RAFTVFI, state: RAFTVFIState, time: float) -> Tensor:
    """Return the frame before clamping, as it was stored."""
    at = time_like(state.features0.frame, time)
    return net.compose(state, net.synthesise(state, net.flows_at(state, at)), at)


def motions(net: RAFTVFI, state: RAFTVFIState, time: Tensor) -> Iterator[Tensor]:
    """Yield the flows at a time, and those for which rounding decides otherwise.

    What lands on the border of a pixel reaches other four pixels than what lands just before it,
    none of them with a weight of nothing; so there, last bits say what arrives (Gaussian splat).
    """
    yield net.flows_at(state, time)
    flow_01, flow_10 = state.flow.chunk(2, dim=1)
    before, after = state.context_flows.chunk(2, dim=1)
    ways = torch.cat(
        [
            flow_reversal.displacement_at(flow_01, time, before),
            flow_reversal.displacement_at(flow_10, 1 - time, after),
        ]
    )
    kept = torch.zeros_like(ways)  # what is read of them, and lands undecidedly
    seen = (
        ...,
        slice(None, None, flow_reversal.REDUCTION),
        slice(None, None, flow_reversal.REDUCTION),
    )
    landing = ways[seen] / flow_reversal.REDUCTION
    kept[seen] = ((landing - landing.round()).abs() < ON_EDGE).to(ways)
    undecided = kept.nonzero().tolist()
    assert len(undecided) <= 4, "the case leaves too much open"
    for sides in product((-1, 1), repeat=len(undecided)):
        pushed = ways.clone()
        for place, side in zip(undecided, sides, strict=True):
            pushed[tuple(place)] += 2 * side * ON_EDGE * flow_reversal.REDUCTION
        yield torch.cat([flow_reversal.reverse_flow(way[None]) for way in pushed], dim=1)


def network(net: RAFTVFI, device: torch.device) -> Arrays:
    """Return flows, and the frame at two times with and without context frames."""
    frames = four(QUAD, device)
    named = {str(i): frame.cpu().numpy() * np.float32(255) for i, frame in enumerate(frames)}
    state = prepared(net, frames)
    flow_01, flow_10 = state.flow.chunk(2, dim=1)
    before, after = state.context_flows.chunk(2, dim=1)
    half = time_like(frames[0], 0.5)
    flow_t = net.flows_at(state, half)
    subtract_mean = (net.subtract_mean(frame) for frame in frames[1:3])
    layers = net.synthesis(*subtract_mean, state.flow, flow_t)
    linear = state._replace(context_flows=None)
    return {
        "inputs_crc": zoo.fingerprint(named),
        "raft_f12": state.raw[0],
        "raft_f10_mean": before.mean(dim=(2, 3)),
        "raft_f23_mean": after.mean(dim=(2, 3)),
        "refined_F12": flow_01,
        "refined_F21": halved(flow_10),
        "t50_out4": unclamped(net, state, 0.5),
        "t50_mask": halved(layers.mask),
        "t50_static": halved(layers.static),
        "t50_Ft1r": halved(layers.flow_t0),
        "t50_Ft2r": halved(layers.flow_t1),
        "t50_out2": halved(unclamped(net, linear, 0.5)),
        "t25_out4": halved(unclamped(net, state, 0.25)),
        "t25_out2": halved(unclamped(net, linear, 0.25)),
    }


def halved(tensor: Tensor) -> Tensor:
    return tensor[..., ::2, ::2]


def units(device: torch.device) -> Arrays:
    """Return acceleration, reversal, hole filling, gradients and dilation."""
    flows = {
        name: torch.from_numpy(zoo.smooth_flow(f"ms{name}", 1, 48, 60, 6.0)).to(device)
        for name in ("10", "12", "21", "23")
    }
    quarter = time_like(flows["12"], 0.25)
    arrived, weight = flow_reversal.splat_flow(flows["12"])
    back = -arrived / torch.where(weight > 0, weight, 1)
    noise = torch.from_numpy(recipe.tensor("ms_unit_x", (1, 3, 24, 30), 0, 1)).to(device)
    return {
        "unit_acc_F1t": flow_reversal.displacement_at(flows["12"], quarter, flows["10"]),
        "unit_acc_F2t": flow_reversal.displacement_at(flows["21"], 1 - quarter, flows["23"]),
        "unit_reverse_flow": arrived,
        "unit_reverse_norm": weight.expand(-1, 2, -1, -1),
        "unit_holes": (weight == 0).expand(-1, 2, -1, -1),
        "unit_fill": flow_reversal.fill_from_neighbours(back, weight, -flows["12"]),
        "unit_grad": filter_flows_warp_and_blend.gradient_magnitude(noise),
        "unit_dilate": filter_flows_warp_and_blend.dilate(noise[:, :1]),
    }


def other_sizes(net: RAFTVFI, golden: Golden, device: torch.device) -> Arrays:
    """Return frames of the high-resolution variant and of a zero-padded size."""
    large = unclamped(net, prepared(net, four(LARGE, device), 0.5), 0.5)
    height, width = ODD["h"], ODD["w"]
    padding = (0, -width % net.stride, 0, -height % net.stride)
    frames = [F.pad(frame, padding) for frame in four(ODD, device)]
    state, half = prepared(net, frames), time_like(frames[0], 0.5)
    expected = torch.from_numpy(golden["model_forward_odd"]).to(device)
    odd = min(
        (
            net.compose(state, net.synthesise(state, flow_t), half)[..., :height, :width]
            for flow_t in motions(net, state, half)
        ),
        key=lambda frame: (halved(frame) - expected).abs().max().item(),
    )
    error = odd - torch.from_numpy(recipe.target(ODD)).to(device)
    return {
        "ds_out_crop": large[..., 96:160, 112:208],
        "ds_out_mean": large.mean(dim=(2, 3)),
        "model_forward_odd": halved(odd),
        "model_forward_psnr": -10 * error.double().square().mean().log10(),
    }


def scene_rule(device: torch.device) -> Arrays:
    """Return the scene cut flags of six pairs, and histograms."""
    first, second = (torch.from_numpy(x).to(device) for x in recipe.inputs(SCENE))
    other = torch.from_numpy(recipe.frames(OTHER_SCENE, 0)).to(device)
    dark = 0.05 * first
    still = first.new_zeros(1, 2, *first.shape[-2:])
    away = still + 20
    cases = (
        (first, first, still, still),
        (first, dark, still, still),
        (first, second, still, away),
        (first, other, still, away),
        (first, other, still, still),
        (first, first, still, away),
    )
    counts = [histogram(grey_levels(frame)) for frame in (first, second, other, dark)]
    flags = np.array([is_scene_cut(*case) for case in cases])
    return {"scene_flags": flags, "scene_hist": torch.stack(counts)}


class RecordingNetwork(SimpleNamespace):
    """Substitute for the network that records its calls."""

    def __init__(self) -> None:
        super().__init__(calls=[])

    @staticmethod
    def size_multiple(flow_scale: float) -> int:
        return 1

    @staticmethod
    def encode_frame(frame: Tensor, flow_scale: float) -> RAFTVFIFrame:
        return RAFTVFIFrame(frame, frame, None, flow_scale)

    @staticmethod
    def estimate_flows(frame0: RAFTVFIFrame, frame1: RAFTVFIFrame) -> tuple[Tensor, Tensor]:
        flow = torch.zeros_like(frame0.frame[:, :2])
        return flow, flow

    @staticmethod
    def refine(frame0: RAFTVFIFrame, frame1: RAFTVFIFrame, flows: tuple[Tensor, Tensor]) -> Tensor:
        return torch.cat(flows, dim=1)

    def interpolate(self, state: RAFTVFIState, time: Tensor) -> Interpolation:
        self.calls.append((2 if state.context_flows is None else 3, time.item()))
        return Interpolation(state.features0.frame)


def plan(name: str) -> tuple[np.ndarray, np.ndarray]:
    """Return the output frames and network calls of a case such as `plan_n6_fps25_to50_cuts`.

    Frames of one scene are alike; across a cut, their brightness changes.
    """
    _, count, source, wanted, cuts = name.split("_")
    advance = float(Fraction(source.removeprefix("fps")) / Fraction(wanted.removeprefix("to")))
    num_frames = int(count[1:])
    cut = int(cuts.removeprefix("cuts") or num_frames)
    frames = [torch.full((1, 3, 8, 8), 0.2 + 0.6 * (i > cut)) for i in range(num_frames)]
    net: Any = RecordingNetwork()
    shown, calls = [], []
    for step, frame in zip(output_steps(advance), resample(net, frames, advance), strict=False):
        if 0 < step.time < 1:
            shown.append(step.gap)
            made = net.calls.pop() if net.calls else (1, step.time)
            calls.append((made[0], round(made[1], 2)))
        else:
            shown.append(next(i for i, source in enumerate(frames) if source is frame))
    return np.array(shown), np.array(calls).reshape(-1, 2)


def clip_run(net: RAFTVFI, golden: Golden, device: torch.device) -> Arrays:
    """Return a clip at twice its rate, in bytes as the pipeline wrote them."""
    first = [recipe.frames(VIDEO | {"seed": "zoo_vid_a"}, t, np.uint8) for t in (0, 0.33, 0.66, 1)]
    second = [recipe.frames(VIDEO | {"seed": "zoo_vid_b"}, t, np.uint8) for t in (0, 0.5, 1)]
    clip = [torch.from_numpy(x).to(device) for x in (*first, *(x // 8 for x in second))]
    outputs = list(resample(net, [frame / 255 for frame in clip], 0.5))
    indices = golden["run_uint8_idx"]
    written = torch.cat([as_written(outputs[i]) for i in indices])
    kept = (as_written(outputs[0]) == clip[0]).double().mean()
    return {
        "run_means": torch.cat(outputs).mean(dim=(2, 3)) * 255,
        "run_uint8": halved(written).permute(0, 2, 3, 1),
        "run_uint8_idx": indices if len(outputs) == len(golden["run_means"]) else np.empty(0),
        "run_byte0_equals_input": kept[None],
    }


def as_written(frame: Tensor) -> Tensor:
    """Truncate to bytes after subtracting and adding the mean, which loses some levels."""
    mean = frame.new_tensor(MEAN).view(1, 3, 1, 1)
    return (255 * (frame - mean + mean)).to(torch.uint8)


@torch.inference_mode()
def raftvfi(golden: Golden, device: torch.device) -> Iterator[Finding]:
    net, ours = golden_network(device)
    ours |= (
        network(net, device) | units(device) | other_sizes(net, golden, device) | scene_rule(device)
    )
    if "run_means" in golden:  # half of the time that this takes
        ours |= clip_run(net, golden, device)
    for name in {key.rpartition("_")[0] for key in golden if key.startswith("plan_")}:
        ours[f"{name}_src"], ours[f"{name}_calls"] = plan(name)
    yield from compare("raftvfi", golden, ours, tolerance)


ARCHIVES: dict[str, Check] = {"raftvfi": raftvfi}
