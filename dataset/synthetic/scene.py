"""Renders scenes: frames at any time, true flow between any two times, and what is hidden."""

from collections.abc import Sequence
from copy import copy
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from dataset.synthetic.atlas import make_atlas, mirrored
from dataset.synthetic.config import SyntheticConfig
from dataset.synthetic.draw import EXPOSURES, Looks, Parameters, draw_scenes
from dataset.synthetic.masks import mask_tiles
from dataset.synthetic.motion import Pose
from dataset.synthetic.textures import texture_tiles
from dataset.triplet import Triplet, Truth

ATLAS_SEED = 20240229  # textures and shapes are the same in every run; scenes combine them


class Surface(NamedTuple):
    """What each pixel of a frame shows. Shapes: (B, H, W)."""

    layer: Tensor  # the front layer there
    x: Tensor  # the place on that layer's plane
    y: Tensor


class SceneMaker:
    """Draws scenes from seeds; keeps textures and shapes on the device.

    The same seed gives the same scene, alone or in any batch, on the same kind of device.
    """

    def __init__(self, config: SyntheticConfig, device: torch.device | str = "cpu") -> None:
        random = np.random.default_rng(ATLAS_SEED)
        self.config = config
        self.device = torch.device(device)
        self.textures = make_atlas(
            texture_tiles(config.textures, config.texture_size, random), device
        )
        self.masks = make_atlas(mask_tiles(config.masks, config.mask_size, random), device)

    def at_size(self, size: tuple[int, int]) -> "SceneMaker":
        """A maker of the same scenes at another size: only the texture's scale differs."""
        other = copy(self)
        other.config = replace(self.config, size=size)
        return other

    def draw(self, seeds: Sequence[Sequence[int]]) -> "Scenes":
        """Draw one scene for each seed, which is a few whole numbers >= 0."""
        parameters = draw_scenes(seeds, self.config, self.textures.count, self.masks.count)
        return Scenes(parameters, self)


class Scenes:
    """A batch of scenes, which can be looked at at any time in [0, 1]."""

    def __init__(self, parameters: Parameters, maker: SceneMaker) -> None:
        self.parameters = parameters
        self.maker = maker
        device = maker.device
        self.looks = Looks(*(field.to(device, non_blocking=True) for field in parameters.looks))
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
        zero, one = torch.zeros_like(self.parameters.time), torch.ones_like(self.parameters.time)
        time = self.parameters.time
        frames = [self.frame(moment) for moment in (zero, time, one)]
        single = time.float().view(-1, 1, 1, 1).to(self.maker.device)
        return Triplet(*frames, single, self.truth() if truth else None)

    @torch.no_grad()
    def frame(self, time: Tensor) -> Tensor:
        """What a camera records: with motion blur, changing light and grain where drawn.

        Shapes: time (B,), float64 on the CPU -> (B, 3, H, W), RGB in [0, 1].
        """
        image = self.sharp(time)
        shutter = self.parameters.disturbances.shutter
        blurred = shutter.nonzero().flatten().tolist()
        if blurred:
            part = self.subset(blurred)
            moments = torch.arange(EXPOSURES, dtype=time.dtype).sub((EXPOSURES - 1) / 2) / EXPOSURES
            exposures = (
                part.sharp(time[blurred] + shutter[blurred] * moment) for moment in moments
            )
            image[blurred] = sum(exposures) / EXPOSURES
        return self.grainy(self.lit(image, time), time).clamp_(0, 1)

    @torch.no_grad()
    def truth(self) -> Truth:
        """True flows and visibility between frames 0, 1 and the target."""
        half = self.parameters.time
        times = {"0": torch.zeros_like(half), "1": torch.ones_like(half), "t": half}
        poses = {name: self.pose(time) for name, time in times.items()}
        surfaces = {name: self.surface(pose) for name, pose in poses.items()}
        pairs = [self.flow(surfaces[a], poses[b]) for a, b in ("01", "10", "t0", "t1")]
        return Truth(*(flow for flow, _ in pairs), *(visible for _, visible in pairs))

    def flow(self, surface: Surface, pose: Pose) -> tuple[Tensor, Tensor]:
        """Where a frame's surface is at another time, and whether it is seen there.

        Shapes: -> flow (B, 2, H, W) in pixels, visible (B, 1, H, W), 0 or 1.
        """
        x, y = pose.select(surface.layer).plane_to_frame(surface.x, surface.y)
        height, width = self.maker.config.size
        visible = (x >= 0) & (x <= width - 1) & (y >= 0) & (y <= height - 1)
        for layer in range(1, self.looks.present.shape[1]):
            cover = self.opacity(layer, *pose.layer(layer).frame_to_plane(x, y)) > 0.5
            visible &= ~(cover & (surface.layer < layer))
        return torch.stack((x - self.x, y - self.y), dim=1), visible[:, None].float()

    def surface(self, pose: Pose) -> Surface:
        """What is in front in each pixel: the layer that covers more than half of it."""
        x, y, _ = pose.layer(0).frame_to_plane(self.x, self.y)
        front = torch.zeros_like(x, dtype=torch.long)
        for layer in range(1, self.looks.present.shape[1]):
            place_x, place_y, in_view = pose.layer(layer).frame_to_plane(self.x, self.y)
            cover = self.opacity(layer, place_x, place_y, in_view) > 0.5
            front = torch.where(cover, layer, front)
            x, y = torch.where(cover, place_x, x), torch.where(cover, place_y, y)
        return Surface(front, x, y)

    def sharp(self, time: Tensor) -> Tensor:
        """One instant, undisturbed. Shapes: time (B,) -> (B, 3, H, W)."""
        pose = self.pose(time)
        image = None
        for layer in range(self.looks.present.shape[1]):
            x, y, in_view = pose.layer(layer).frame_to_plane(self.x, self.y)
            colour = self.colour(layer, x, y)
            if image is None:
                image = colour
            else:
                image = image.lerp(colour, self.opacity(layer, x, y, in_view)[:, None])
        return image

    def pose(self, time: Tensor) -> Pose:
        """Where all layers are."""
        return self.parameters.motion.pose(time, self.maker.device)

    def colour(self, layer: int, x: Tensor, y: Tensor) -> Tensor:
        """The texture at places of a layer's plane. Shapes: (B, H, W) twice -> (B, 3, H, W)."""
        zoom = self.looks.texture_zoom[:, layer, None, None]
        shift = self.looks.texture_shift[:, layer, :, None, None]
        side = self.maker.textures.side
        u = mirrored(x * zoom + shift[:, 0], side)
        v = mirrored(y * zoom + shift[:, 1], side)
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

    def grainy(self, image: Tensor, time: Tensor) -> Tensor:
        """Add the noise of one recording: other noise at another time, the same at the same."""
        _, _, strengths, seeds = self.parameters.disturbances
        for scene, strength in enumerate(strengths.tolist()):
            if strength:
                moment = round(time[scene].item() * 2**20)
                random = torch.Generator(image.device).manual_seed(seeds[scene].item() ^ moment)
                shape, device = image.shape[1:], image.device
                image[scene] += strength * torch.randn(shape, generator=random, device=device)
        return image

    def subset(self, indices: list[int]) -> "Scenes":
        """Some scenes of the batch."""
        motion, looks, disturbances, time = self.parameters
        return Scenes(
            Parameters(
                motion.subset(indices),
                Looks(*(field[indices] for field in looks)),
                type(disturbances)(*(field[indices] for field in disturbances)),
                time[indices],
            ),
            self.maker,
        )
