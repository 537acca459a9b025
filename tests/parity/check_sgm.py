"""Check the outputs and intermediate tensors of SGM-VFI against golden archives."""

from collections import defaultdict
from collections.abc import Iterator
from contextlib import ExitStack
from functools import wraps
from pathlib import Path
from types import ModuleType
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
from torch import Tensor, nn

from sgm_vfi.media.images import to_levels
from sgm_vfi.model.inference.ensemble import FlipEnsemble
from sgm_vfi.model.inference.padding import Padded
from sgm_vfi.model.interpolator import time_like
from sgm_vfi.model.network_from_weights import keypoint_ratio
from sgm_vfi.model.sgm import flow_compensation, network
from sgm_vfi.model.sgm.checkpoint_names import to_published
from sgm_vfi.model.sgm.network import SGM, SGM_BASE, SGM_SMALL, SGMConfig
from tests.parity import recipe, stored_arrays
from tests.parity.finding import Finding

SHAPES = {"small": SGM_SMALL, "base": SGM_BASE}


def config_of(case: dict[str, Any]) -> SGMConfig:
    """Return the configuration of a case: its variant and key point ratio."""
    kind, size = case["variant"].split("_")
    base = SHAPES[size]
    ratio = None if kind == "local" else keypoint_ratio(case["num_key_points"])
    return SGMConfig(channels=base.channels, depths=base.depths, keypoint_ratio=ratio)


def build(config: SGMConfig, device: torch.device) -> SGM:
    """Build a network with the weights of the recipe, in evaluation mode."""
    net = SGM(config)
    weights = {
        name: torch.from_numpy(recipe.fill(to_published(name), tensor.shape))
        for name, tensor in net.state_dict().items()
    }
    net.load_state_dict(weights)
    return net.to(device).eval()


def frames(case: dict[str, Any], device: torch.device) -> tuple[Tensor, Tensor]:
    frame0, frame1 = recipe.inputs(case["frames"])
    return torch.from_numpy(frame0).to(device), torch.from_numpy(frame1).to(device)


class Spy:
    """Records the inputs and outputs of parts of a network, as a context manager."""

    def __init__(self, net: SGM) -> None:
        self.calls: dict[str, list[tuple[tuple, Any]]] = defaultdict(list)
        self.net = net
        self.stack = ExitStack()

    def __enter__(self) -> "Spy":
        functions = ("expand_motion", "fine_input", "difference_map", "select_keypoints")
        for name in (*functions, "match_globally", "shift_to_time"):
            self._watch_function(network, name)
        self._watch_function(flow_compensation, "landing_mass")
        modules = {
            "relate": self.net.encoder.relate,
            "synthesis": self.net.synthesis,
            **{f"block{i}": getattr(self.net.encoder.look, f"block{i}") for i in (1, 2, 3)},
        }
        for name, module in modules.items():
            self._watch_module(module, name)
        return self

    def __exit__(self, *_: object) -> None:
        self.stack.close()

    def _watch_function(self, module: ModuleType, name: str) -> None:
        function = getattr(module, name)

        @wraps(function)
        def watched(*args: Any, **kwargs: Any) -> Any:
            result = function(*args, **kwargs)
            self.calls[name].append((args, result))
            return result

        self.stack.enter_context(patch.object(module, name, watched))

    def _watch_module(self, module: nn.Module, name: str) -> None:
        def keep(_: nn.Module, args: tuple, kwargs: dict, result: Any) -> None:
            self.calls[name].append((args, result))

        handle = module.register_forward_hook(keep, with_kwargs=True)
        self.stack.callback(handle.remove)


def network_case(case: dict[str, Any], device: torch.device) -> dict[str, np.ndarray]:
    """Run a case and return every comparable array by its golden name."""
    net = build(config_of(case), device)
    frame0, frame1 = frames(case, device)
    time = time_like(frame0, case.get("timestep", 0.5))
    run = {"forward": _forward, "hr": _hr, "hr_padded": _hr, "tta": _tta, "demo": _demo}
    with torch.no_grad(), Spy(net) as spy:
        arrays = run[case["call"]](net, frame0, frame1, time, case)
    arrays = arrays | steps(spy)
    return {key: value.cpu().numpy() for key, value in arrays.items()}


def _forward(
    net: SGM, frame0: Tensor, frame1: Tensor, time: Tensor, case: dict[str, Any]
) -> dict[str, Tensor]:
    net.train()  # gives the blends along the way; nothing else depends on the mode
    out = net(frame0, frame1, time)
    merged = out.merged if len(out.merged) == 2 else (out.merged[0], out.merged[2], out.merged[1])
    return {"pred": out.frame} | {f"merged.{i}": stage for i, stage in enumerate(merged)}


def _hr(
    net: SGM, frame0: Tensor, frame1: Tensor, time: Tensor, case: dict[str, Any]
) -> dict[str, Tensor]:
    interpolator = Padded(net, case["divisor"]) if "divisor" in case else net
    return {"pred": interpolator(frame0, frame1, time, case["down_scale"]).frame}


def _tta(
    net: SGM, frame0: Tensor, frame1: Tensor, time: Tensor, case: dict[str, Any]
) -> dict[str, Tensor]:
    turned = FlipEnsemble(net)(frame0, frame1, time).frame
    plain = net(frame0, frame1, time).frame
    return {"pred": plain, "pred_tta": turned, "pred_fast_tta": turned}


def _demo(
    net: SGM, frame0: Tensor, frame1: Tensor, time: Tensor, case: dict[str, Any]
) -> dict[str, Tensor]:
    frame = Padded(net, case["divisor"])(frame0, frame1, time).frame
    return {"pred": frame, "image_u8": to_levels(frame[0], 8)}


def steps(spy: Spy) -> dict[str, Tensor]:
    """Return the intermediate tensors in the layout of the golden archives."""
    calls = spy.calls
    stacked, _, flow, logits = calls["synthesis"][0][0]
    arrays = {
        "flow": flow,
        "mask_logit": logits,
        "padded0": stacked.chunk(2)[0],
        "flow_list.0": calls["expand_motion"][0][1][0],
        "mask_list.0": calls["fine_input"][0][0][3].sigmoid(),
        "flow_list.1": flow,
        "mask_list.1": logits.sigmoid(),
        "backbone.3": calls["relate"][0][1],
    }
    for i in (1, 2, 3):
        arrays[f"backbone.{i - 1}"] = calls[f"block{i}"][0][1]
    if calls["match_globally"]:
        arrays["trans_feat"] = calls["match_globally"][0][0][0]
        arrays["flow_fix"] = calls["match_globally"][0][1]
        arrays["flow_fix_shifted"] = torch.cat(calls["shift_to_time"][0][1].chunk(2, dim=1))
        cells = arrays["flow_fix"].shape[-2:].numel()
        arrays["num_points"] = torch.tensor(cells)
    if calls["select_keypoints"]:
        (importance, _), chosen = calls["select_keypoints"][0]
        arrays["importance_map"] = calls["difference_map"][0][1]
        arrays["importance_map_small"] = importance
        arrays["key_index_sorted"] = chosen.sort(dim=1).values
        arrays["num_points"] = torch.tensor(chosen.shape[1])
        arrays["warp_map"] = calls["landing_mass"][0][1]
    return arrays


def findings(
    name: str, case: dict[str, Any], folder: Path, device: torch.device
) -> Iterator[Finding]:
    """Compare every array of a case's archive."""
    golden = np.load(folder / case["file"])
    arrays = network_case(case, device)
    yield from compare_all(name, case, golden, arrays)


def compare_all(
    name: str, case: dict[str, Any], golden: Any, arrays: dict[str, np.ndarray]
) -> Iterator[Finding]:
    """Yield one finding per golden array; a missing one has an infinite error."""
    for quantity, stored in case["arrays"].items():
        if quantity not in arrays:
            yield Finding(name, quantity, float("inf"), stored["atol"], "we give no such array")
            continue
        _, error, where = stored_arrays.check(golden, quantity, arrays[quantity], stored["atol"])
        yield Finding(name, quantity, error, stored["atol"], where)
