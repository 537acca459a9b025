"""Random parameters of a scene, drawn from its seed."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from sgm_vfi.dataset.synthetic.config import SyntheticConfig
from sgm_vfi.dataset.synthetic.degradations import DegradationParameters
from sgm_vfi.dataset.synthetic.layer_motion import LayerMotion, NonRigidMotion, ProjectiveMotion
from sgm_vfi.dataset.triplet_sampling import build_generator

MAX_BEND_SLOPE = 0.45  # slope of a non-rigid shift; the plane folds at 1
TIMES = (0.1, 0.9)  # of targets at any time
SHUTTER = (0.02, 0.12)  # open time of motion blur, in units of the time between the frames
DEFOCUS = (0.4, 1.6)  # standard deviation in pixels
CODEC_STEPS = (0.003, 0.025)  # quantisation steps, of [0, 1]
EXPOSURES = 8  # frames averaged for motion blur
EXPOSURE_STEP = 1.5  # most pixels that a layer moves between exposures


class LayerAppearance(NamedTuple):
    """Appearance of layers. Shapes: (B, L) unless stated."""

    present: Tensor  # bool
    texture: Tensor  # tile number
    texture_zoom: Tensor  # texels per pixel of the plane
    texture_shift: Tensor  # (B, L, 2), texels
    gain: Tensor  # (B, L, 3), colour = gain * texture + offset
    offset: Tensor  # (B, L, 3)
    mask: Tensor  # tile number
    radius: Tensor  # (B, L, 2), pixels of the plane from the middle to the edge of the mask's tile


class SceneParameters(NamedTuple):
    """Parameters of a batch of scenes, on the CPU; layer 0 is the background, later are nearer."""

    motion: LayerMotion
    appearance: LayerAppearance
    degradations: DegradationParameters
    time: Tensor  # (B,), of the target


def draw_scenes(
    seeds: Sequence[Sequence[int]], config: SyntheticConfig, num_textures: int, num_masks: int
) -> SceneParameters:
    """Draw one scene per seed; a scene depends only on its own seed."""
    scenes = [draw_scene(seed, config, num_textures, num_masks) for seed in seeds]
    return stack_parameters(scenes)


def draw_scene(
    seed: Sequence[int], config: SyntheticConfig, num_textures: int, num_masks: int
) -> SceneParameters:
    """Draw one scene, without the batch dimension."""
    random = build_generator("scene", *seed)
    layers = config.objects[1] + 1
    share = draw_log_uniform(random, config.radius, layers)  # of the shorter side
    travel = draw_log_uniform(
        random, (config.motion[0], draw_upper_bound(random, config.motion)), layers
    )
    travel[0] = 0  # the background moves with the camera alone
    moves = build_generator("moves", *seed).uniform(size=layers) >= config.still  # first: camera
    travel *= moves
    curved = bool(build_generator("curves", *seed).uniform() < config.curved)
    present = np.arange(layers) <= random.integers(config.objects[0], config.objects[1] + 1)
    side = min(config.size)
    radius = share * side
    radius[0] = 0.75 * side
    motion = LayerMotion(
        draw_object_motion(random, config, travel, radius, curved=curved),
        draw_camera_motion(random, config, layers, moves=bool(moves[0]), curved=curved),
        draw_nonrigid_motion(
            random, config, (travel + random.uniform(0, 0.01)) * moves, radius, curved=curved
        ),
    )
    appearance = draw_appearance(random, config.zoom, present, radius, num_textures, num_masks)
    fastest = motion.place.travel[present].norm(dim=-1).max() + motion.camera.travel[-1].norm()
    degradations = draw_degradations(
        random, config, fastest.item(), build_generator("frames", *seed)
    )
    time = torch.tensor(random.uniform(*TIMES) if config.any_time else 0.5, dtype=torch.float64)
    return SceneParameters(motion, appearance, degradations, time)


def draw_object_motion(
    random: np.random.Generator,
    config: SyntheticConfig,
    travel: np.ndarray,
    radius: np.ndarray,
    *,
    curved: bool,
) -> ProjectiveMotion:
    """Draw the motion of objects, at a random position in the frame at t = 1/2."""
    layers, (height, width) = len(travel), config.size
    middle = random.uniform(0, 1, (layers, 2)) * (width - 1, height - 1)
    middle[0] = (width - 1) / 2, (height - 1) / 2
    angle = random.uniform(0, 2 * np.pi, layers)
    angle[0] *= random.integers(2)  # half of the backgrounds stand upright
    return ProjectiveMotion(
        *map(
            torch.from_numpy,
            (
                middle,
                draw_directions(random, layers) * (travel * min(height, width))[:, None],
                random.uniform(-0.3, 0.3, layers) * curved,
                random.uniform(-0.7, 0.7, layers) * curved,
                angle,
                random.uniform(-1, 1, layers) * (4 * travel).clip(max=1.0),
                random.uniform(-1, 1, layers) * (2 * travel).clip(max=0.5),
                random.uniform(-1, 1, (layers, 2))
                * (3 * travel).clip(max=0.5)[:, None]
                / radius[:, None],
            ),
        )
    )


def draw_camera_motion(
    random: np.random.Generator, config: SyntheticConfig, layers: int, *, moves: bool, curved: bool
) -> ProjectiveMotion:
    """Draw one camera motion for all layers; near layers travel further."""
    height, width = config.size
    side = min(height, width)
    travel = (
        draw_log_uniform(
            random, (config.camera[0], draw_upper_bound(random, config.camera)), 1
        ).item()
        * moves
    )
    nearness = np.sort(random.uniform(0.7, 1.8, layers))
    nearness[0] = 0.7
    way = draw_directions(random, 1) * travel * side * nearness[:, None]
    turn, growth = random.uniform(-1, 1, 2) * (1.5 * travel, 1.5 * travel)
    tilt = random.uniform(-1, 1, 2) * travel / side
    arc, acceleration = random.uniform(-0.2, 0.2) * curved, random.uniform(-0.7, 0.7) * curved
    middle = np.broadcast_to(((width - 1) / 2, (height - 1) / 2), (layers, 2))
    same = [np.full(layers, value) for value in (arc, acceleration, 0.0, turn, growth)]
    fields = (middle.copy(), way, *same, np.broadcast_to(tilt, (layers, 2)).copy())
    return ProjectiveMotion(*map(torch.from_numpy, fields))


def draw_nonrigid_motion(
    random: np.random.Generator,
    config: SyntheticConfig,
    travel: np.ndarray,
    radius: np.ndarray,
    *,
    curved: bool,
) -> NonRigidMotion:
    """Draw bends of some layers, at most as large as their motion and without folds."""
    layers = len(travel)
    wavelength = radius[:, None] * random.uniform(0.8, 3, (layers, 2))
    frequency = 2 * np.pi / wavelength
    most = np.minimum(MAX_BEND_SLOPE / frequency, travel[:, None] * min(config.size))
    bends = random.uniform(size=(layers, 1)) < config.nonrigid
    return NonRigidMotion(
        *map(
            torch.from_numpy,
            (
                bends * most * random.uniform(0.2, 1, (layers, 2)),
                frequency,
                random.uniform(0, 2 * np.pi, (layers, 2)),
                random.uniform(0.3, 1.5, (layers, 2)),
                random.uniform(0, 2 * np.pi, (layers, 2)),
                np.full((layers, 2), float(curved)),
            ),
        )
    )


def draw_appearance(
    random: np.random.Generator,
    zoom: tuple[float, float],
    present: np.ndarray,
    radius: np.ndarray,
    num_textures: int,
    num_masks: int,
) -> LayerAppearance:
    """Draw texture, shape and colours of layers."""
    layers = len(present)
    gain = random.uniform(0.6, 1.15, (layers, 1)) + random.normal(0, 0.06, (layers, 3))
    aspect = np.exp(random.uniform(-0.5, 0.5, layers))
    fields = (
        present,
        random.integers(num_textures, size=layers),
        random.uniform(*zoom, layers),
        random.uniform(0, 1e4, (layers, 2)),
        gain,
        random.uniform(-0.05, 0.15, (layers, 1)) + random.normal(0, 0.03, (layers, 3)),
        random.integers(num_masks, size=layers),
        radius[:, None] * np.stack((aspect, 1 / aspect), axis=-1),
    )
    return LayerAppearance(*(as_float32(field) for field in fields))


def draw_degradations(
    random: np.random.Generator,
    config: SyntheticConfig,
    fastest: float,
    recording: np.random.Generator,
) -> DegradationParameters:
    """Draw the degradations of a scene.

    Args:
        fastest: largest motion of a layer in pixels, which limits the exposure.
        recording: generator for defocus and codec.
    """
    soft, coded = recording.uniform(size=2) < (config.lens, config.coded)
    blurred, lit, grainy = random.uniform(size=3) < (config.blur, config.lighting, config.grain)
    longest = EXPOSURES * EXPOSURE_STEP / max(fastest, 1e-6)
    light = np.zeros((3, 2))
    light[0] = 1
    if lit:
        light += random.normal(0, ((0.08,), (0.12,), (0.12,)), (3, 2))
    fields = (
        np.asarray(min(random.uniform(*SHUTTER), longest) * blurred),
        light,
        np.asarray(random.uniform(0.004, 0.03) * grainy),
        random.integers(2**62),
        recording.uniform(*DEFOCUS) * soft,
        draw_log_uniform(recording, CODEC_STEPS, 1).item() * coded,
    )
    return DegradationParameters(*(torch.as_tensor(field) for field in fields))


def draw_log_uniform(
    random: np.random.Generator, bounds: tuple[float, float], size: int
) -> np.ndarray:
    """Draw log-uniform numbers between two bounds."""
    low, high = np.log(bounds)
    return np.exp(random.uniform(low, high, size))


def draw_upper_bound(random: np.random.Generator, bounds: tuple[float, float]) -> float:
    """Draw the largest motion of one scene."""
    least, most = bounds
    return least + (most - least) * random.uniform()


def draw_directions(random: np.random.Generator, count: int) -> np.ndarray:
    """Draw unit vectors. Shapes: -> (count, 2)."""
    angle = random.uniform(0, 2 * np.pi, count)
    return np.stack((np.cos(angle), np.sin(angle)), axis=-1)


def as_float32(field: np.ndarray) -> Tensor:
    """Convert an array to a tensor, floats to float32."""
    tensor = torch.from_numpy(field)
    return tensor.float() if tensor.is_floating_point() else tensor


def stack_parameters(parts: Sequence[Any]) -> Any:
    """Stack equal trees of named tuples of tensors along a new first dimension."""
    first = parts[0]
    if isinstance(first, Tensor):
        return torch.stack(list(parts))
    return type(first)(*(stack_parameters(fields) for fields in zip(*parts, strict=True)))
