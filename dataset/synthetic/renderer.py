"""Renders scenes: frames at any time, true flow and visibility between any two times."""

from collections.abc import Iterator, Sequence
from copy import copy
from dataclasses import replace
from types import MappingProxyType
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from sgm_vfi.dataset.synthetic.config import SyntheticConfig
from sgm_vfi.dataset.synthetic.degradations import degrade
from sgm_vfi.dataset.synthetic.layer_motion import Pose, bounding_box
from sgm_vfi.dataset.synthetic.scene_parameters import (
    EXPOSURES,
    LayerAppearance,
    SceneParameters,
    draw_scenes,
)
from sgm_vfi.dataset.synthetic.shapes import draw_mask_tiles
from sgm_vfi.dataset.synthetic.textures import build_atlas, draw_texture_tiles, mirror_coordinates
from sgm_vfi.dataset.triplet import GroundTruth, Triplet

ATLAS_SEED = 20240229  # textures and shapes are the same in every run

# Pixels per batch: what fits a CPU's cache, what keeps a GPU busy.
PIXELS_PER_BATCH = MappingProxyType({"cpu": 2**16, "cuda": 2**23})
ROUNDING = 1e-3  # tolerance in pixels of positions inside the frame


class VisibleSurface(NamedTuple):
    """The front layer of each pixel and the position on it. Shapes: (B, H, W)."""

    layer: Tensor  # index of the front layer
    x: Tensor  # position on that layer's plane
    y: Tensor


class SceneGenerator:
    """Draws scenes from seeds; holds textures and shapes on the device.

    A seed gives the same scene in any batch on the same kind of device.
    """

    def __init__(self, config: SyntheticConfig, device: torch.device | str = "cpu") -> None:
        random = np.random.default_rng(ATLAS_SEED)
        self.config = config
        self.device = torch.device(device)
        self.textures = build_atlas(
            draw_texture_tiles(config.textures, config.texture_size, random), device
        )
        self.masks = build_atlas(draw_mask_tiles(config.masks, config.mask_size, random), device)

    def with_size(self, size: tuple[int, int]) -> "SceneGenerator":
        """Return a generator of the same scenes at another size (except the texture scale)."""
        return self.with_config(replace(self.config, size=size))

    def with_config(self, config: SyntheticConfig) -> "SceneGenerator":
        """Return a generator with another configuration and the same textures and shapes."""
        other = copy(self)
        other.config = config
        return other

    def draw(self, seeds: Sequence[Sequence[int]]) -> "SceneBatch":
        """Draw one scene per seed, a sequence of whole numbers >= 0."""
        parameters = draw_scenes(seeds, self.config, self.textures.num_tiles, self.masks.num_tiles)
        return SceneBatch(parameters, self)


class SceneBatch:
    """A batch of scenes that can be rendered at any time in [0, 1]."""

    def __init__(self, parameters: SceneParameters, generator: SceneGenerator) -> None:
        self.parameters = parameters
        self.generator = generator
        device = generator.device
        self.appearance = LayerAppearance(
            *(field.to(device, non_blocking=True) for field in parameters.appearance)
        )
        height, width = generator.config.size
        self.y, self.x = torch.meshgrid(
            torch.arange(height, device=device, dtype=torch.float32),
            torch.arange(width, device=device, dtype=torch.float32),
            indexing="ij",
        )

    def __len__(self) -> int:
        return len(self.parameters.time)

    def triplet(self, *, truth: bool = False) -> Triplet:
        """Render frames 0 and 1 and the target, optionally with ground truth."""
        time = self.parameters.time
        moments = torch.cat((torch.zeros_like(time), time, torch.ones_like(time)))
        frame0, target, frame1 = self.subset([*range(len(self))] * 3).frame(moments).chunk(3)
        single = time.float().view(-1, 1, 1, 1).to(self.generator.device)
        return Triplet(frame0, target, frame1, single, self.truth() if truth else None)

    @torch.no_grad()
    def frame(self, time: Tensor) -> Tensor:
        """Render frames with the drawn motion blur, light, defocus, grain and codec.

        Shapes: time (B,), float64 on the CPU -> (B, 3, H, W), RGB in [0, 1].
        """
        shutter = self.parameters.degradations.shutter
        blurred = shutter.nonzero().flatten().tolist()
        sharp = (shutter == 0).nonzero().flatten().tolist()
        image = torch.empty(len(self), 3, *self.generator.config.size, device=self.generator.device)
        if sharp:
            image[sharp] = self.subset(sharp).sharp(time[sharp])
        if blurred:
            image[blurred] = self.motion_blurred(blurred, time)
        return degrade(image, self.parameters.degradations, time)

    def motion_blurred(self, chosen: list[int], time: Tensor) -> Tensor:
        """Render some scenes with motion blur: the mean over the time of exposure."""
        moments = torch.arange(EXPOSURES, dtype=time.dtype).sub((EXPOSURES - 1) / 2) / EXPOSURES
        shutter = self.parameters.degradations.shutter[chosen]
        instants = time[chosen, None] + shutter[:, None] * moments
        repeated = self.subset([scene for scene in chosen for _ in range(EXPOSURES)])
        return repeated.sharp(instants.flatten()).unflatten(0, instants.shape).mean(1)

    @torch.no_grad()
    def truth(self) -> GroundTruth:
        """Return true flow and visibility between frames 0, 1 and the target."""
        half = self.parameters.time
        zero, one = torch.zeros_like(half), torch.ones_like(half)
        four = self.subset([*range(len(self))] * 4)  # few large steps
        starts, ends = torch.cat((zero, one, half, half)), torch.cat((one, zero, zero, one))
        flows, visible = four.flow_between(starts, ends)
        return GroundTruth(*flows.chunk(4), *visible.chunk(4))

    def flow_between(self, start: Tensor, end: Tensor) -> tuple[Tensor, Tensor]:
        """Return true flow and visibility between two times. Shapes: times (B,) -> as `flow`."""
        parts = [
            scenes.flow(scenes.surface(scenes.pose(start[part])), scenes.pose(end[part]))
            for part, scenes in self.portions()
        ]
        flows, visible = zip(*parts, strict=True)
        return torch.cat(flows), torch.cat(visible)

    def flow(self, surface: VisibleSurface, pose: Pose) -> tuple[Tensor, Tensor]:
        """Return the true flow of a surface to another pose, and its visibility there.

        Shapes: -> flow (B, 2, H, W) in pixels, visible (B, 1, H, W), 0 or 1.
        """
        x, y = pose.select(surface.layer).plane_to_frame(surface.x, surface.y)
        height, width = self.generator.config.size
        right, bottom = width - 1 + ROUNDING, height - 1 + ROUNDING
        visible = (x >= -ROUNDING) & (x <= right) & (y >= -ROUNDING) & (y <= bottom)
        for layer, (rows, columns) in self.windows(pose):
            near = visible & (surface.layer < layer)
            if len(self) > 1:
                visible &= ~(
                    near & (self.opacity(layer, *pose.layer(layer).frame_to_plane(x, y)) > 0.5)
                )
                continue
            near &= (y >= rows.start) & (y < rows.stop) & (x >= columns.start) & (x < columns.stop)
            places = pose.layer(layer).frame_to_plane(x[near][None, None], y[near][None, None])
            visible[near] = self.opacity(layer, *places)[0, 0] <= 0.5
        return torch.stack((x - self.x, y - self.y), dim=1), visible[:, None].float()

    def surface(self, pose: Pose) -> VisibleSurface:
        """Find the front layer of each pixel, the last that covers more than half of it."""
        x, y, _ = pose.layer(0).frame_to_plane(self.x, self.y)
        front = torch.zeros_like(x, dtype=torch.long)
        for layer, part in self.windows(pose):
            here = (slice(None), *part)
            place = pose.layer(layer).frame_to_plane(self.x[part], self.y[part])
            cover = self.opacity(layer, *place) > 0.5
            front[here] = front[here].masked_fill(cover, layer)
            x[here], y[here] = (
                torch.where(cover, new, old[here])
                for new, old in zip(place[:2], (x, y), strict=True)
            )
        return VisibleSurface(front, x, y)

    def sharp(self, time: Tensor) -> Tensor:
        """Render without degradations. Shapes: time (B,) -> (B, 3, H, W)."""
        return torch.cat([part._render_sharp(time[which]) for which, part in self.portions()])

    def portions(self) -> Iterator[tuple[list[int], "SceneBatch"]]:
        """Split the batch into parts that suit the device: indices and scenes."""
        height, width = self.generator.config.size
        size = max(PIXELS_PER_BATCH.get(self.generator.device.type, 2**23) // (height * width), 1)
        for part in torch.arange(len(self)).split(size):
            yield part.tolist(), self.subset(part.tolist()) if len(self) > size else self

    def _render_sharp(self, time: Tensor) -> Tensor:
        """Render a few scenes without degradations."""
        pose = self.pose(time)
        image = self.colour(0, *pose.layer(0).frame_to_plane(self.x, self.y)[:2])
        for layer, part in self.windows(pose):
            x, y, in_view = pose.layer(layer).frame_to_plane(self.x[part], self.y[part])
            opacity = self.opacity(layer, x, y, in_view)[:, None]
            image[:, :, part[0], part[1]].lerp_(self.colour(layer, x, y), opacity)
        return image

    def windows(self, pose: Pose) -> Iterator[tuple[int, tuple[slice, slice]]]:
        """Yield each visible foreground layer and its rows and columns, far layers first."""
        matrix = pose.to_frame.unflatten(-1, (3, 3))
        for layer in range(1, self.appearance.present.shape[1]):
            part = self.window(layer, matrix)
            if part is not None:
                yield layer, part

    def window(self, layer: int, matrix: Tensor) -> tuple[slice, slice] | None:
        """Return rows and columns that contain a layer; None if it is invisible.

        For several scenes this is the whole frame.
        """
        motion, appearance, _, _ = self.parameters
        if not appearance.present[:, layer].any():
            return None
        height, width = self.generator.config.size
        everything = slice(0, height), slice(0, width)
        if len(self) > 1:
            return everything
        reach = appearance.radius[0, layer] + motion.bend.amplitude[0, layer]
        found = bounding_box(matrix[0, layer], *reach.tolist())
        if found is None:
            return everything
        (left, top), (right, bottom) = (corner.round().long().tolist() for corner in found)
        if right < -1 or bottom < -1 or left > width or top > height:
            return None
        return slice(max(top - 1, 0), bottom + 2), slice(max(left - 1, 0), right + 2)

    def pose(self, time: Tensor) -> Pose:
        """Return the pose of all layers. Shapes: time (B,)."""
        motion = self.parameters.motion
        return motion.pose(time, motion.matrix(time), self.generator.device)

    def colour(self, layer: int, x: Tensor, y: Tensor) -> Tensor:
        """Sample the texture of a layer. Shapes: x, y (B, H, W) -> (B, 3, H, W)."""
        zoom = self.appearance.texture_zoom[:, layer, None, None]
        shift = self.appearance.texture_shift[:, layer, :, None, None]
        side = self.generator.textures.side
        u = mirror_coordinates(x * zoom + shift[:, 0], side)
        v = mirror_coordinates(y * zoom + shift[:, 1], side)
        texture = self.generator.textures.sample(self.appearance.texture[:, layer], u, v)
        gain, offset = self.appearance.gain[:, layer], self.appearance.offset[:, layer]
        return (gain[..., None, None] * texture + offset[..., None, None]).clamp_(0, 1)

    def opacity(self, layer: int, x: Tensor, y: Tensor, in_view: Tensor) -> Tensor:
        """Return the share of each pixel that a layer covers. Shapes: (B, H, W) each -> same."""
        radius = self.appearance.radius[:, layer, :, None, None]
        scale = (self.generator.masks.side - 1) / 2
        u, v = (x / radius[:, 0] + 1) * scale, (y / radius[:, 1] + 1) * scale
        distance = self.generator.masks.sample(self.appearance.mask[:, layer], u, v)[:, 0]
        covered = (distance * radius.prod(1).sqrt() + 0.5).clamp_(0, 1)
        return covered * (in_view & self.appearance.present[:, layer, None, None])

    def subset(self, indices: list[int]) -> "SceneBatch":
        """Return some scenes of the batch."""
        motion, appearance, degradations, time = self.parameters
        return SceneBatch(
            SceneParameters(
                motion.subset(indices),
                LayerAppearance(*(field[indices] for field in appearance)),
                type(degradations)(*(field[indices] for field in degradations)),
                time[indices],
            ),
            self.generator,
        )
