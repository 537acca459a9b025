"""What tells networks apart."""

from dataclasses import replace

import pytest
import torch

from sgm_vfi.model import load_interpolator
from sgm_vfi.model.baselines.flow_blend import FlowBlend
from sgm_vfi.model.fingerprint import describe_network, fingerprint
from sgm_vfi.model.flow.dis import DISFlow
from sgm_vfi.model.inference.padding import Padded
from sgm_vfi.model.precision_and_compile import set_inference_precision
from sgm_vfi.model.sgm.network import SGM
from tests.conftest import TINY, randomize_weights


def test_networks_are_known_by_what_they_are_made_of() -> None:
    """Also where neither has weights, and whatever they are called."""
    networks = [load_interpolator(name) for name in ("repeat", "blend", "classical", "matched")]
    networks += [FlowBlend(DISFlow(patch_size=12)), SGM(TINY)]
    networks += [SGM(replace(TINY, keypoint_ratio=0.5))]
    said = [describe_network(network) for network in networks]
    assert len(set(said)) == len(said)
    assert said[2] == describe_network(load_interpolator("classical"))
    assert describe_network(Padded(networks[1])) == "Padded() > Blend()"
    assert "patch_size=12" in said[4]
    assert all("\n" not in line for line in said)


@pytest.mark.filterwarnings("ignore")
def test_a_precision_is_another_network(tiny: SGM) -> None:
    exact = describe_network(tiny)
    set_inference_precision(tiny, "fp32")
    assert describe_network(tiny) == exact
    set_inference_precision(tiny, "bf16")
    assert describe_network(tiny) != exact


def test_weights_are_known_by_their_values() -> None:
    one, same, other = (randomize_weights(SGM(TINY), seed) for seed in (0, 0, 1))
    assert fingerprint(one) == fingerprint(same) != fingerprint(other)
    assert fingerprint(one.to(torch.float64)) != fingerprint(same)
    assert len(fingerprint(torch.nn.BatchNorm2d(3))) == 8
