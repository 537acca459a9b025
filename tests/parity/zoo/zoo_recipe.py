"""Deterministic weights and cases of the other systems: RIFE, IFRNet, PerVFI, RAFT-VFI, flow.

Adds to `tests/parity/recipe.py`, which supplies the random stream, the frames and the noise, the
gains and the special entries that these networks need. A weight depends on the network that it is
for, on its key and on its shape alone.

The golden numbers were made with exactly these bits: a change here is a change of every case.
"""

import math
import zlib
from collections.abc import Mapping
from functools import cache

import numpy as np

from tests.parity import recipe

CASES: dict[str, dict[str, int | str]] = {
    "zoo_small": {"b": 2, "h": 64, "w": 96, "seed": "zoo_small"},
    "zoo_mid": {"b": 1, "h": 192, "w": 256, "seed": "zoo_mid"},
    "zoo_flow": {"b": 1, "h": 128, "w": 160, "seed": "zoo_flow"},
    "zoo_odd": {"b": 1, "h": 141, "w": 171, "seed": "zoo_odd"},
}

# (substring of the key, gain) by network, for tensors with two or more dimensions; the first match
# wins. The standard deviation of an entry is gain / sqrt(fan_in).
_GAINS: dict[str, tuple[tuple[str, float], ...]] = {
    "rife": (
        ("block_tea.lastconv", 0.40),
        ("block0.lastconv", 1.20),
        ("block1.lastconv", 0.90),
        ("block2.lastconv", 0.80),
        ("unet.conv.", 0.30),
        ("", 1.25),
    ),
    "ifrnet": (
        ("decoder4.convblock.2.", 5.0),
        ("decoder3.convblock.2.", 1.6),
        ("decoder2.convblock.2.", 1.2),
        ("decoder1.convblock.2.", 0.6),
        ("", 1.15),
    ),
    "liteflownet": (("netRegularization", 1.1), ("netMain.6.", 3.0), ("netUp", 1.0), ("", 1.35)),
    "pervfi": (
        ("conv_offset", 0.35),
        ("netOutput", 0.6),
        ("multiscaleFuse.layer1", 0.7),
        ("multiscaleFuse.final_layers", 0.8),
        ("fuse_layers", 0.45),
        ("branches", 0.6),
        ("softbinary", 1.6),
        ("generator.tail", 0.5),
        ("", 1.2),
    ),
    "raft": (("flow_head.conv2", 0.12), ("update_block.mask.2", 1.0), ("", 1.3)),
    "gma": (("flow_head.conv2", 0.06), ("update_block.mask.2", 1.0), ("rel_", 1.0), ("", 1.3)),
    "gmflow": (("backbone.conv2.", 1.2), ("transformer", 1.0), ("upsampler.2", 0.8), ("", 1.25)),
    "raftvfi": (
        ("ifnet.block1.up", 0.35),
        ("ifnet.block2.up", 0.3),
        ("ifnet.block3.up", 0.25),
        (".conv2.weight4", 1.0),
        ("refinenet.conv4", 0.35),
        ("masknet.conv3", 1.2),
        ("staticnet.body.8", 1.2),
        (".attn.", 1.0),
        (".mlp.", 1.0),
        ("", 1.3),
    ),
}
_COUPLING_OUT = 0.25  # PerVFI: last (3x3) layer of a coupling network and the priors
_COUPLING_HID = 1.2


def _orthogonal(key: str, n: int) -> np.ndarray:
    """Orthogonal n x n matrix: Gram-Schmidt in float64, so that no library is free in its signs."""
    a = recipe._uniform(key, n * n).reshape(n, n)
    q = np.empty((n, n))
    for j in range(n):
        v = a[:, j].copy()
        for _ in range(2):  # twice is enough
            v -= q[:, :j] @ (q[:, :j].T @ v)
        q[:, j] = v / math.sqrt(float(v @ v))
    return q


@cache
def fill(net: str, key: str, shape: tuple[int, ...]) -> np.ndarray | None:
    """Give one state_dict entry, or None for a table that the network computes itself."""
    shape = tuple(int(s) for s in shape)
    leaf = key.rsplit(".", 1)[-1]
    n = int(np.prod(shape)) if shape else 1
    if leaf in ("relative_position_index", "rel_ind") or leaf.startswith("attn_mask"):
        return None
    if leaf == "num_batches_tracked":
        return np.zeros(shape, np.int64)
    if leaf == "initialized":  # of PerVFI's ActNorm: do not initialise from data again
        return np.ones(shape, np.uint8)
    if key.endswith("lpfilter.weight_lpf"):
        return np.full(shape, 1.0 / 49.0, np.float32)
    if key.endswith("get_grad.weight_h"):
        return np.array([[0, 0, 0], [-1, 0, 1], [0, 0, 0]], np.float32).reshape(shape)
    if key.endswith("get_grad.weight_v"):
        return np.array([[0, -1, 0], [0, 0, 0], [0, 1, 0]], np.float32).reshape(shape)
    u = recipe._uniform(net + ":" + key, n)
    if leaf == "running_mean":
        return (0.2 * u).astype(np.float32).reshape(shape)
    if leaf == "running_var":
        return (1.0 + 0.3 * u).astype(np.float32).reshape(shape)
    if net == "pervfi" and key.startswith("condFLownet."):
        return _normalising_flow(net, key, leaf, shape, u)
    if net == "liteflownet" and "netScale" in key:  # a weighted mean of flows: near one
        out = 0.01 * u if leaf == "bias" else 1.0 + 0.1 * u
        return out.astype(np.float32).reshape(shape)
    if leaf == "gamma":  # of GMA: the weight of its aggregation
        return (0.5 + 0.2 * u).astype(np.float32).reshape(shape)
    if "relative_position_bias_table" in key:
        return (0.5 * u).astype(np.float32).reshape(shape)
    if len(shape) == 1:
        owner = key.rsplit(".", 2)[-2] if key.count(".") >= 1 else ""
        is_norm = owner.startswith("norm") or ".downsample.1." in key
        if leaf == "bias":
            out = 0.10 * u
        elif is_norm:
            out = 1.0 + 0.2 * u
        else:
            out = 0.25 + 0.15 * u
        return out.astype(np.float32).reshape(shape)
    taps = float(np.prod(shape[2:])) if len(shape) > 2 else 1.0
    fan_in = shape[1] * taps
    if _is_transposed(net, key, shape):
        fan_in = shape[0] * taps / 4.0  # [in, out, 4, 4], stride 2
    if net == "liteflownet" and ("netUpflow" in key or "netUpcorr" in key):
        fan_in = 4.0  # depthwise: [C, 1, 4, 4]
    gain = next(g for part, g in _GAINS[net] if part in key)
    out = u * (math.sqrt(3.0) * gain / math.sqrt(fan_in))
    return out.astype(np.float32).reshape(shape)


def _normalising_flow(
    net: str, key: str, leaf: str, shape: tuple[int, ...], u: np.ndarray
) -> np.ndarray:
    """Entries of PerVFI's decoder."""
    if leaf == "loc":
        out = 0.05 * u
    elif leaf == "logs":
        out = 0.03 * u
    elif leaf == "scale" and len(shape) == 1:
        out = 0.15 + 0.05 * u
    elif leaf == "scale_shift":
        out = 0.02 * u
    elif leaf == "scale":  # of a ZeroConv2d
        out = 0.05 * u
    elif ".invconv." in key:
        return _orthogonal(net + ":" + key, shape[0]).astype(np.float32).reshape(shape)
    elif leaf == "bias":
        out = 0.05 * u
    else:
        last = ".tail.4." in key or ".prior." in key
        gain = _COUPLING_OUT if last else _COUPLING_HID
        out = u * (math.sqrt(3.0) * gain / math.sqrt(shape[1] * float(np.prod(shape[2:]))))
    return out.astype(np.float32).reshape(shape)


def _is_transposed(net: str, key: str, shape: tuple[int, ...]) -> bool:
    if len(shape) != 4 or shape[2:] != (4, 4):
        return False
    return (
        (net == "rife" and ("lastconv" in key or "unet.up" in key))
        or (net == "ifrnet" and "convblock.2." in key)
        or (net == "raftvfi" and ".up." in key and "ifnet" in key)
    )


def smooth_flow(name: str, b: int, h: int, w: int, amp: float = 8.0) -> np.ndarray:
    """A smooth flow: per channel a constant plus three plane waves, at most about amp pixels.

    On a grid of 1/64, so that the last bits of a library do not matter. Shapes: -> (b, 2, h, w).
    """
    y, x = np.mgrid[:h, :w].astype(np.float64)
    out = np.empty((b, 2, h, w))
    for i in range(b):
        for c in range(2):
            p = recipe._uniform(f"zooflow:{name}/{i}/{c}", 13)
            f = 0.35 * p[0] * np.ones((h, w))
            for k in range(3):
                q = p[1 + 4 * k : 5 + 4 * k]
                wave = 2.0 * math.pi * (q[1] * x / w + q[2] * y / h) * 1.5 + math.pi * q[3]
                f += 0.25 * q[0] * np.cos(wave)
            out[i, c] = amp * f
    return np.round(out * 64.0).astype(np.float32) / np.float32(64.0)


def latents(b: int, h: int, w: int, heat: float, name: str) -> list[np.ndarray]:
    """Noise that a PerVFI v00 decode takes, uniform of standard deviation `heat`.

    Shapes: -> (b, 6, h/2, w/2), (b, 12, h/4, w/4), (b, 48, h/8, w/8).
    """
    out = []
    for i, (c, s) in enumerate(((6, 2), (12, 4), (48, 8))):
        size = (b, c, h // s, w // s)
        limit = math.sqrt(3.0) * heat
        out.append(recipe.tensor(f"latent:{name}/{i}", size, -limit, limit))
    return out


def fingerprint(entries: Mapping[str, np.ndarray]) -> int:
    """One crc32 over names and bytes, in sorted order of names."""
    crc = 0
    for k in sorted(entries):
        crc = zlib.crc32(k.encode("utf-8"), crc)
        crc = zlib.crc32(np.ascontiguousarray(entries[k]).tobytes(), crc)
    return crc & 0xFFFFFFFF
