"""Deterministic weights, frames and tensors for the parity cases.

Needs numpy only. Everything here is a pure function of its arguments: a string is hashed with
zlib.crc32 and seeds the legacy Mersenne Twister generator, of which only random_sample() is used
(integer arithmetic, so the same bits on every platform and in every numpy version). Frames go
through cos/sqrt/hypot in float64 and are then rounded to 8 bits, as real frames are, so that
last-bit differences between mathematics libraries do not show.

The golden numbers were made with exactly these bits: a change here is a change of every case.
"""

import math
import zlib
from collections.abc import Mapping
from functools import cache
from typing import TypeAlias

import numpy as np

Case: TypeAlias = str | Mapping[str, int | str]  # a name of CASES, or b, h, w and seed


def _uniform(name: str, n: int) -> np.ndarray:
    """n float64 values, uniform in [-1, 1), from the crc32 of name."""
    rs = np.random.RandomState(zlib.crc32(name.encode("utf-8")) & 0xFFFFFFFF)
    return rs.random_sample(n) * 2.0 - 1.0


# (substring of the key, gain) for tensors with two or more dimensions; the first match wins.
# The standard deviation of an entry is gain / sqrt(fan_in).
_GAINS = (
    ("block.0.lastconv.0.", 0.70),  # coarse flow, in 1/8 pixels, and mask logit
    ("block.1.lastconv.0.", 0.35),  # its correction, in 1/4 pixels
    ("refine_block.lastconv.0.", 0.70),  # correction after matching, in 1/8 pixels
    ("merge.conv.2.", 1.20),  # logits of the merging softmax
    ("unet.conv.", 0.20),  # residual before the sigmoid
    ("contextnet.conv1.conv1.0.", 6.00),
    ("contextnet.", 1.80),
    ("feature_bone.block1.conv.0.", 4.00),
    ("feature_bone.block1.conv.2.", 2.50),
    (".attn.q.", 2.00),
    (".attn.proj.", 0.70),
    ("feature_bone.block4.", 1.00),  # the rest of attention and the feed-forward part
    ("feature_bone.", 2.00),
    ("gmflow.backbone.conv2.", 0.90),
    ("gmflow.transformer", 1.00),
    ("", 1.25),  # every other convolution (a PReLU or a norm follows)
)


def _centred(name: str, shape: tuple[int, ...], out_axis: int) -> np.ndarray:
    """float64 values in (-2, 2) of variance about 1/3 that sum to zero for every output channel.

    Drawn as 24-bit integers, so that the sums are exact and do not depend on their order.
    """
    n = 1
    for s in shape:
        n *= s
    rs = np.random.RandomState(zlib.crc32(name.encode("utf-8")) & 0xFFFFFFFF)
    whole = np.floor(rs.random_sample(n) * 16777216.0).astype(np.int64).reshape(shape)
    axes = tuple(i for i in range(len(shape)) if i != out_axis)
    count = n // shape[out_axis]
    mean = whole.sum(axis=axes, keepdims=True) / float(count)
    return (whole - mean) / 8388608.0


@cache
def fill(key: str, shape: tuple[int, ...]) -> np.ndarray:
    """Weights for one state_dict entry, from its key and shape alone."""
    shape = tuple(int(s) for s in shape)
    if len(shape) == 1:
        u = _uniform(key, shape[0])
        leaf = key.rsplit(".", 1)[-1]
        owner = key.rsplit(".", 2)[-2]
        if leaf == "bias":
            out = (0.30 if "lastconv" in key else 0.05) * u
        elif owner.startswith("norm"):
            centre = 0.30 if key.startswith("gmflow.transformer") else 1.0
            out = centre * (1.0 + 0.2 * u)
        elif "lastconv" in key:
            out = 0.75 + 0.20 * u  # slope of a PReLU that ends a flow head
        else:
            out = 0.25 + 0.15 * u  # slope of any other PReLU
        return out.astype(np.float32)
    taps = 1
    for s in shape[2:]:
        taps *= s
    if ".dwconv." in key:
        u, fan_in = _uniform(key, shape[0] * shape[1] * taps).reshape(shape), taps
    elif key.startswith("unet.up") and len(shape) == 4:  # transposed, stride 2: [in, out, k, k]
        u, fan_in = _centred(key, shape, 1), shape[0] * taps / 4.0
    else:
        u, fan_in = _centred(key, shape, 0), shape[1] * taps
    gain = next(g for part, g in _GAINS if part in key)
    return (u * (math.sqrt(3.0) * gain / math.sqrt(fan_in))).astype(np.float32)


class _Texture:
    """A sum of plane waves, 7 to 90 pixels long, at real coordinates: three channels around 0.5."""

    def __init__(self, name: str, waves: int = 14, strength: float = 0.42) -> None:
        r = (_uniform(name, waves * 7 + 3) + 1.0) / 2.0
        self.base = 0.30 + 0.40 * r[:3]
        p = r[3:].reshape(waves, 7)
        length = 7.0 * (90.0 / 7.0) ** p[:, 0]
        angle = 2.0 * math.pi * p[:, 1]
        self.kx = 2.0 * math.pi * np.cos(angle) / length
        self.ky = 2.0 * math.pi * np.sin(angle) / length
        self.phase = 2.0 * math.pi * p[:, 2]
        amp = 0.4 + 0.6 * p[:, 3]
        colour = 0.35 + 0.65 * p[:, 4:7]
        self.amp = strength * amp[:, None] * colour / math.sqrt(waves)

    def __call__(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        out = np.empty((3, *x.shape))
        out[:] = self.base[:, None, None]
        for j in range(len(self.phase)):
            wave = np.cos(self.kx[j] * x + self.ky[j] * y + self.phase[j])
            for c in range(3):
                out[c] += self.amp[j, c] * wave
        return out


def _frame(h: int, w: int, seed: str, t: float) -> np.ndarray:
    """uint8 [3, h, w]: a background that pans and zooms and four objects that move far."""
    y, x = np.meshgrid(
        np.arange(h, dtype=np.float64), np.arange(w, dtype=np.float64), indexing="ij"
    )
    small = float(min(h, w))
    g = _uniform(f"frame:{seed}:camera", 4)
    zoom = 1.0 + 0.03 * g[2] * (t - 0.5)
    bx = (x - w / 2.0) / zoom - 9.0 * g[0] * t
    by = (y - h / 2.0) / zoom - 9.0 * g[1] * t
    img = _Texture(f"frame:{seed}:background")(bx, by)
    for k in range(4):
        p = _uniform(f"frame:{seed}:object{k}", 8)
        radius = small * (0.14 + 0.05 * p[0])
        direction = math.pi * p[1]
        reach = small * (0.16 + 0.08 * p[2])  # displacement between the two frames, pixels
        cx = w * (0.5 + 0.32 * p[3]) + reach * math.cos(direction) * (t - 0.5)
        cy = h * (0.5 + 0.32 * p[4]) + reach * math.sin(direction) * (t - 0.5)
        spin = 0.25 * p[5] * (t - 0.5)
        ox = math.cos(spin) * (x - cx) + math.sin(spin) * (y - cy)
        oy = -math.sin(spin) * (x - cx) + math.cos(spin) * (y - cy)
        if k % 2 == 0:
            dist = np.hypot(ox, oy * (1.0 + 0.3 * p[6]))
        else:
            dist = np.maximum(np.abs(ox), np.abs(oy) * (1.0 + 0.3 * p[6]))
        cover = np.clip((radius - dist) / 1.5 + 0.5, 0.0, 1.0)
        skin = _Texture(f"frame:{seed}:skin{k}", waves=10, strength=0.55)(ox, oy)
        img += cover * (skin - img)
    return np.rint(np.clip(img, 0.0, 1.0) * 255.0).astype(np.uint8)


# Frame cases of the shared golden set. Sample i of a batch uses the seed "<seed>/<i>".
CASES = {
    "local_small_256": {"b": 1, "h": 256, "w": 256, "seed": "A"},
    "local_small_192x320_b2": {"b": 2, "h": 192, "w": 320, "seed": "A"},
    "local_base_256": {"b": 1, "h": 256, "w": 256, "seed": "A"},
    "local_base_192x320_b2": {"b": 2, "h": 192, "w": 320, "seed": "A"},
    "local_small_256_t025": {"b": 1, "h": 256, "w": 256, "seed": "A"},
    "local_small_tta": {"b": 1, "h": 192, "w": 256, "seed": "A"},
    "local_small_hr_050": {"b": 1, "h": 384, "w": 512, "seed": "A"},
    "sgm_small_288x320_k050": {"b": 1, "h": 288, "w": 320, "seed": "A28"},
    "sgm_small_288x320_k025": {"b": 1, "h": 288, "w": 320, "seed": "A2"},
    "sgm_small_288x320_k0125": {"b": 1, "h": 288, "w": 320, "seed": "A4"},
    "sgm_small_288x320_dense": {"b": 1, "h": 288, "w": 320, "seed": "A2"},
    "sgm_small_288x320_k000": {"b": 1, "h": 288, "w": 320, "seed": "A"},
    "sgm_small_192x256_k050": {"b": 1, "h": 192, "w": 256, "seed": "A7"},
    "sgm_small_288x320_k050_b2": {"b": 2, "h": 288, "w": 320, "seed": "A28"},
    "sgm_small_288x320_k050_t025": {"b": 1, "h": 288, "w": 320, "seed": "A29"},
    "sgm_small_hr_100_t025": {"b": 1, "h": 288, "w": 320, "seed": "A"},
    "sgm_base_288_k050": {"b": 1, "h": 288, "w": 288, "seed": "A2"},
    "sgm_small_hr_050": {"b": 1, "h": 640, "w": 576, "seed": "A8"},
    "sgm_small_hr_080": {"b": 1, "h": 390, "w": 400, "seed": "A4"},
    "sgm_small_hr_050_odd8": {"b": 1, "h": 560, "w": 624, "seed": "A6"},
    "sgm_small_tta": {"b": 1, "h": 192, "w": 256, "seed": "A2"},
    "sgm_small_demo_270x330": {"b": 1, "h": 270, "w": 330, "seed": "A18"},
    "train_local": {"b": 2, "h": 256, "w": 256, "seed": "A"},
    "train_global": {"b": 1, "h": 288, "w": 288, "seed": "A19"},
}


def _spec(case: Case) -> tuple[int, int, int, str]:
    """case: a name of CASES, or a dict with b, h, w and seed."""
    if isinstance(case, str):
        case = CASES[case]
    return int(case["b"]), int(case["h"]), int(case["w"]), str(case["seed"])


def frames(case: Case, t: float, dtype: type = np.float32) -> np.ndarray:
    """Frames [B, 3, H, W] at time t: in [0, 1] as float32, or the bytes as uint8."""
    b, h, w, seed = _spec(case)
    raw = np.stack([_frame(h, w, f"{seed}/{i}", t) for i in range(b)])
    if dtype == np.uint8:
        return raw
    return raw.astype(np.float32) / np.float32(255.0)


def inputs(case: Case) -> tuple[np.ndarray, np.ndarray]:
    """img0, img1: float32 [B, 3, H, W] in [0, 1]."""
    return frames(case, 0.0), frames(case, 1.0)


def target(case: Case) -> np.ndarray:
    """The frame half way between the inputs."""
    return frames(case, 0.5)


def tensor(name: str, shape: tuple[int, ...], lo: float = -1.0, hi: float = 1.0) -> np.ndarray:
    """Uniform noise in [lo, hi), float32."""
    n = 1
    for s in shape:
        n *= int(s)
    u = (_uniform("tensor:" + name, n) + 1.0) / 2.0
    return (lo + (hi - lo) * u).astype(np.float32).reshape(shape)


def metric_pair(name: str, h: int, w: int, noise: float = 0.03) -> tuple[np.ndarray, np.ndarray]:
    """A truth (uint8, H x W x 3) and a float32 estimate in [0, 1] near it, off the 8-bit grid."""
    truth = _frame(h, w, "metric:" + name, 0.0).transpose(1, 2, 0).copy()
    wobble = tensor("metric:" + name, (h, w, 3), -noise, noise)
    est = np.clip(
        truth.astype(np.float32) / np.float32(255.0) + wobble, np.float32(0), np.float32(1)
    )
    return truth, est.astype(np.float32)


def crc(array: np.ndarray) -> int:
    """crc32 of an array's little-endian bytes, to check that the bits are the same elsewhere."""
    return zlib.crc32(np.ascontiguousarray(array).tobytes()) & 0xFFFFFFFF
