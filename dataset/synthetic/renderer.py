"""Renders scenes: frames at any time, true flow between any two times, and what is hidden."""

from collections.abc import Iterator, Sequence
from copy import copy
from dataclasses import replace
from types import MappingProxyType
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from sgm_vfi.dataset.synthetic.config import SyntheticConfig
from sgm_vfi.dataset.synthetic.degradations import blur_defocus, simulate_codec
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

ATLAS_SEED = 20240229  # textures and shapes are the same in every run; scenes combine them

# Pixels rendered in one go: on a CPU as many as its cache holds, on a GPU as many as keep it busy.
PIXELS_PER_BATCH = MappingProxyType({"cpu": 2**16, "cuda": 2**23})


ROUNDING = 1e-3  # pixels that a place may lie outside of the frame and count as inside


class VisibleSurface(NamedTuple):
    """What each pixel of a frame shows. Shapes: (B, H, W)."""

    layer: Tensor  # the front layer there
    x: Tensor  # the place on that layer's plane
    y: Tensor


class SceneGenerator:
    """Draws scenes from seeds; keeps textures and shapes on the device.

    The same seed gives the same scene, alone or in any batch, on the same kind of device.
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
        """A maker of the same scenes at another size: only the texture's scale differs."""
        return self.with_config(replace(self.config, size=size))

    def with_config(self, config: SyntheticConfig) -> "SceneGenerator":
        """A maker of other scenes with the same textures and shapes."""
        other = copy(self)
        other.config = config
        return other

    def draw(self, seeds: Sequence[Sequence[int]]) -> "SceneBatch":
        """Draw one scene for each seed, which is a few whole numbers >= 0."""
        parameters = draw_scenes(seeds, self.config, self.textures.count, self.masks.count)
        return SceneBatch(parameters, self)


class SceneBatch:
    """A batch of scenes, which can be looked at at any time in [0, 1]."""

    def __init__(self, parameters: SceneParameters, maker: SceneGenerator) -> None:
        self.parameters = parameters
        self.maker = maker
        device = maker.device
        self.looks = LayerAppearance(
            *(field.to(device, non_blocking=True) for field in parameters.looks)
        )
        height, width = maker.config.size
        self.y, self.x = torch.meshgrid(
            torch.arange(height, device=device, dtype=torch.float32),
            torch.arange(width, device=device, dtype=torch.float32),
            indexing="ij",
        )

    def __len__(self) -> int:
        return len(self.parameters.time)

    def triplet(self, *, truth: bool = False) -> Triplet:
        """Frames 0 and 1 and the target, and, where asked for, true flows and visibility."""
        time = self.parameters.time
        moments = torch.cat((torch.zeros_like(time), time, torch.ones_like(time)))
        frames = self.subset([*range(len(self))] * 3).frame(moments).chunk(3)  # few large steps
        single = time.float().view(-1, 1, 1, 1).to(self.maker.device)
        return Triplet(*frames, single, self.truth() if truth else None)

    @torch.no_grad()
    def frame(self, time: Tensor) -> Tensor:
        """What a camera records: with motion blur, changing light and grain where drawn.

        Shapes: time (B,), float64 on the CPU -> (B, 3, H, W), RGB in [0, 1].
        """
        shutter = self.parameters.disturbances.shutter
        blurred = shutter.nonzero().flatten().tolist()
        sharp = (shutter == 0).nonzero().flatten().tolist()
        image = torch.empty(len(self), 3, *self.maker.config.size, device=self.maker.device)
        if sharp:
            image[sharp] = self.subset(sharp).sharp(time[sharp])
        if blurred:
            image[blurred] = self.exposed(blurred, time)
        image = self.grainy(self.focused(self.lit(image, time)), time).clamp_(0, 1)
        return self.coded(image)

    def exposed(self, chosen: list[int], time: Tensor) -> Tensor:
        """The mean of what some scenes show while the shutter is open."""
        moments = torch.arange(EXPOSURES, dtype=time.dtype).sub((EXPOSURES - 1) / 2) / EXPOSURES
        shutter = self.parameters.disturbances.shutter[chosen]
        instants = time[chosen, None] + shutter[:, None] * moments
        repeated = self.subset([scene for scene in chosen for _ in range(EXPOSURES)])
        return repeated.sharp(instants.flatten()).unflatten(0, instants.shape).mean(1)

    @torch.no_grad()
    def truth(self) -> GroundTruth:
        """True flows and visibility between frames 0, 1 and the target."""
        half = self.parameters.time
        zero, one = torch.zeros_like(half), torch.ones_like(half)
        four = self.subset([*range(len(self))] * 4)  # few large steps
        starts, ends = torch.cat((zero, one, half, half)), torch.cat((one, zero, zero, one))
        flows, visible = four.flow_between(starts, ends)
        return GroundTruth(*flows.chunk(4), *visible.chunk(4))

    def flow_between(self, start: Tensor, end: Tensor) -> tuple[Tensor, Tensor]:
        """True flow and visibility from one time to another. Shapes: times (B,) -> as `flow`."""
        parts = [
            scenes.flow(scenes.surface(scenes.pose(start[part])), scenes.pose(end[part]))
            for part, scenes in self.portions()
        ]
        flows, visible = zip(*parts, strict=True)
        return torch.cat(flows), torch.cat(visible)

    def flow(self, surface: VisibleSurface, pose: Pose) -> tuple[Tensor, Tensor]:
        """Where a frame's surface is at another time, and whether it is seen there.

        Shapes: -> flow (B, 2, H, W) in pixels, visible (B, 1, H, W), 0 or 1.
        """
        x, y = pose.select(surface.layer).plane_to_frame(surface.x, surface.y)
        height, width = self.maker.config.size
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
        """What is in front in each pixel: the layer that covers more than half of it."""
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
        """One instant, undisturbed. Shapes: time (B,) -> (B, 3, H, W)."""
        return torch.cat([part.at_once(time[which]) for which, part in self.portions()])

    def portions(self) -> Iterator[tuple[list[int], "SceneBatch"]]:
        """The batch in parts of a good size for the device: which scenes, and these."""
        height, width = self.maker.config.size
        size = max(PIXELS_PER_BATCH.get(self.maker.device.type, 2**23) // (height * width), 1)
        for part in torch.arange(len(self)).split(size):
            yield part.tolist(), self.subset(part.tolist()) if len(self) > size else self

    def at_once(self, time: Tensor) -> Tensor:
        """What `sharp` gives, of few scenes."""
        pose = self.pose(time)
        image = self.colour(0, *pose.layer(0).frame_to_plane(self.x, self.y)[:2])
        for layer, part in self.windows(pose):
            x, y, in_view = pose.layer(layer).frame_to_plane(self.x[part], self.y[part])
            opacity = self.opacity(layer, x, y, in_view)[:, None]
            image[:, :, part[0], part[1]].lerp_(self.colour(layer, x, y), opacity)
        return image

    def windows(self, pose: Pose) -> Iterator[tuple[int, tuple[slice, slice]]]:
        """Each layer that may be seen in front of the background, and where; far ones first."""
        matrix = pose.to_frame.unflatten(-1, (3, 3))
        for layer in range(1, self.looks.present.shape[1]):
            part = self.window(layer, matrix)
            if part is not None:
                yield layer, part

    def window(self, layer: int, matrix: Tensor) -> tuple[slice, slice] | None:
        """The rows and columns that hold all of a layer, or more; None where nothing is seen.

        Several scenes together fill most of the frame; then it is the whole of it.
        """
        motion, looks, _, _ = self.parameters
        if not looks.present[:, layer].any():
            return None
        height, width = self.maker.config.size
        everything = slice(0, height), slice(0, width)
        if len(self) > 1:
            return everything
        reach = looks.radius[0, layer] + motion.bend.amplitude[0, layer]
        found = bounding_box(matrix[0, layer], *reach.tolist())
        if found is None:
            return everything
        (left, top), (right, bottom) = (corner.round().long().tolist() for corner in found)
        if right < -1 or bottom < -1 or left > width or top > height:
            return None
        return slice(max(top - 1, 0), bottom + 2), slice(max(left - 1, 0), right + 2)

    def pose(self, time: Tensor) -> Pose:
        """Where all layers are."""
        motion = self.parameters.motion
        return motion.pose(time, motion.matrix(time), self.maker.device)

    def colour(self, layer: int, x: Tensor, y: Tensor) -> Tensor:
        """The texture at places of a layer's plane. Shapes: (B, H, W) twice -> (B, 3, H, W)."""
        zoom = self.looks.texture_zoom[:, layer, None, None]
        shift = self.looks.texture_shift[:, layer, :, None, None]
        side = self.maker.textures.side
        u = mirror_coordinates(x * zoom + shift[:, 0], side)
        v = mirror_coordinates(y * zoom + shift[:, 1], side)
        texture = self.maker.textures.sample(self.looks.texture[:, layer], u, v)
        gain, offset = self.looks.gain[:, layer], self.looks.offset[:, layer]
        return (gain[..., None, None] * texture + offset[..., None, None]).clamp_(0, 1)

    def opacity(self, layer: int, x: Tensor, y: Tensor, in_view: Tensor) -> Tensor:
        """The share of a pixel that a layer covers. Shapes: (B, H, W) each -> (B, H, W)."""
        radius = self.looks.radius[:, layer, :, None, None]
        scale = (self.maker.masks.side - 1) / 2
        u, v = (x / radius[:, 0] + 1) * scale, (y / radius[:, 1] + 1) * scale
        distance = self.maker.masks.sample(self.looks.mask[:, layer], u, v)[:, 0]
        covered = (distance * radius.prod(1).sqrt() + 0.5).clamp_(0, 1)
        return covered * (in_view & self.looks.present[:, layer, None, None])

    def lit(self, image: Tensor, time: Tensor) -> Tensor:
        """Apply the light of a time: a level and a slope over the frame."""
        start, end = self.parameters.disturbances.light.unbind(-1)  # (B, 3) each
        light = start.lerp(end, time[:, None]).float().to(image.device)[..., None, None]
        height, width = image.shape[-2:]
        field = light[:, 0] + light[:, 1] * (self.x / width - 0.5)
        return image * (field + light[:, 2] * (self.y / height - 0.5))[:, None]

    def focused(self, image: Tensor) -> Tensor:
        """Blur by the lens. Shapes: (B, 3, H, W), changed in place."""
        for scene, deviation in enumerate(self.parameters.disturbances.focus.tolist()):
            if deviation:
                image[scene] = blur_defocus(image[scene], deviation)
        return image

    def coded(self, image: Tensor) -> Tensor:
        """Lose what a codec loses. Shapes: (B, 3, H, W), changed in place."""
        for scene, step in enumerate(self.parameters.disturbances.coding.tolist()):
            if step:
                image[scene] = simulate_codec(image[scene], step)
        return image

    def grainy(self, image: Tensor, time: Tensor) -> Tensor:
        """Add the noise of one recording: other noise at another time, the same at the same."""
        _, _, strengths, seeds, _, _ = self.parameters.disturbances
        for scene, strength in enumerate(strengths.tolist()):
            if strength:
                moment = round(time[scene].item() * 2**20)
                random = torch.Generator(image.device).manual_seed(seeds[scene].item() ^ moment)
                shape, device = image.shape[1:], image.device
                image[scene] += strength * torch.randn(shape, generator=random, device=device)
        return image

    def subset(self, indices: list[int]) -> "SceneBatch":
        """Some scenes of the batch."""
        motion, looks, disturbances, time = self.parameters
        return SceneBatch(
            SceneParameters(
                motion.subset(indices),
                LayerAppearance(*(field[indices] for field in looks)),
                type(disturbances)(*(field[indices] for field in disturbances)),
                time[indices],
            ),
            self.maker,
        )
