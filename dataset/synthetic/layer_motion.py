"""Motion of layers: exactly invertible maps between the plane of a layer and the frame.

A point (x, y) of a layer's plane, in pixels around its middle, is at time t in the frame at

    camera(t) . place(t) . bend_t(x, y)

`bend_t` is non-rigid: it shifts x by a sine of y, then y by a sine of the new x; its inverse
subtracts the shifts in reverse order. `place` and `camera` are homographies (rotation, scaling,
perspective, translation along an arc with acceleration). So true flows are exact.

All parameters are float64 on the CPU; `Pose` holds what a device needs at one time.
"""

from typing import NamedTuple

import torch
from torch import Tensor

NEAR_PLANE = 0.05  # least homogeneous coordinate of visible points


class ProjectiveMotion(NamedTuple):
    """A time-dependent homography over t = 0 .. 1; at t = 1/2 a rotation by `angle` at `middle`.

    Shapes: (...) unless stated.
    """

    middle: Tensor  # (..., 2), position of the plane's origin at t = 1/2
    travel: Tensor  # (..., 2), from t = 0 to 1, pixels
    arc: Tensor  # height of the path's arc, in units of its length
    acceleration: Tensor  # -1 .. 1; 0 is constant speed
    angle: Tensor  # at t = 1/2, radians
    turn: Tensor  # from t = 0 to 1, radians
    growth: Tensor  # log of the size at t = 1 over that at t = 0
    tilt: Tensor  # (..., 2), change of perspective from t = 0 to 1, per pixel

    def matrix(self, time: Tensor) -> Tensor:
        """Return the map to the frame. Shapes: time, broadcastable to (...) -> (..., 3, 3)."""
        since = time - 0.5
        progress = since + self.acceleration * since**2
        bow = self.arc * 4 * since**2
        across = torch.stack((-self.travel[..., 1], self.travel[..., 0]), dim=-1)
        place = self.middle + progress[..., None] * self.travel + bow[..., None] * across
        angle, size = self.angle + progress * self.turn, (progress * self.growth).exp()
        cos, sin = size * angle.cos(), size * angle.sin()
        tilt = progress[..., None] * self.tilt
        zero, one = torch.zeros_like(cos), torch.ones_like(cos)
        turned = stack_rows((cos, -sin, zero), (sin, cos, zero), (zero, zero, one))
        tilted = stack_rows((one, zero, zero), (zero, one, zero), (tilt[..., 0], tilt[..., 1], one))
        moved = stack_rows(
            (one, zero, place[..., 0]), (zero, one, place[..., 1]), (zero, zero, one)
        )
        return moved @ tilted @ turned


class NonRigidMotion(NamedTuple):
    """The two sines of `bend_t`; each shift is amplitude * sin(pi * pace * t + start) * sin(...).

    If not `curved`, the strength changes linearly from its first to its last value.

    Shapes: (..., 2): shift of x along y, shift of y along x.
    """

    amplitude: Tensor  # pixels
    frequency: Tensor  # radians per pixel
    phase: Tensor
    pace: Tensor
    start: Tensor
    curved: Tensor  # 0 or 1

    def strength(self, time: Tensor) -> Tensor:
        """Return the amplitudes at a time. Shapes: time, broadcastable to (...) -> (..., 2)."""
        time = time[..., None]
        swing = (torch.pi * self.pace * time + self.start).sin()
        first, last = self.start.sin(), (torch.pi * self.pace + self.start).sin()
        even = first + time * (last - first)
        return self.amplitude * (even + self.curved * (swing - even))


class Pose(NamedTuple):
    """The maps between planes and frame at one time.

    Shapes: (..., 9), (..., 9), (..., 6), with any leading dimensions.
    """

    to_frame: Tensor  # 3 x 3, row by row
    to_plane: Tensor
    bend: Tensor  # strength, frequency and phase, of x and y each

    def layer(self, index: int) -> "Pose":
        """Return the pose of one layer, broadcastable to (B, H, W, ...)."""
        return Pose(*(part[:, index, None, None] for part in self))

    def select(self, layer: Tensor) -> "Pose":
        """Return the pose of each pixel's layer. Shapes: (B, H, W) -> (B, H, W, 9) ..."""
        scenes, layers = self.to_frame.shape[:2]
        first = torch.arange(0, scenes * layers, layers, device=layer.device).view(-1, 1, 1)
        row = (first + layer).flatten()
        return Pose(
            *(part.flatten(0, 1).index_select(0, row).view(*layer.shape, -1) for part in self)
        )

    def frame_to_plane(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Map frame pixels to the plane; the third value is true where the plane is in view."""
        x, y, depth = project(self.to_plane, x, y)
        strength_x, strength_y, frequency_x, frequency_y, phase_x, phase_y = self.bend.unbind(-1)
        y = y - strength_y * (frequency_y * x + phase_y).sin()
        x = x - strength_x * (frequency_x * y + phase_x).sin()
        return x, y, depth > NEAR_PLANE

    def plane_to_frame(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """Map plane positions to frame pixels, the inverse of `frame_to_plane`."""
        strength_x, strength_y, frequency_x, frequency_y, phase_x, phase_y = self.bend.unbind(-1)
        x = x + strength_x * (frequency_x * y + phase_x).sin()
        y = y + strength_y * (frequency_y * x + phase_y).sin()
        return project(self.to_frame, x, y)[:2]


class LayerMotion(NamedTuple):
    """Motion of all layers of a batch of scenes: fields of shape (B, L) or (B, L, 2)."""

    place: ProjectiveMotion
    camera: ProjectiveMotion  # equal for all layers except for the travel, larger for near ones
    bend: NonRigidMotion

    def matrix(self, time: Tensor) -> Tensor:
        """Return the maps of bent planes. Shapes: time (B,), float64, CPU -> (B, L, 3, 3)."""
        time = time[:, None]
        from_middle = torch.eye(3, dtype=time.dtype).repeat(*self.camera.middle.shape[:2], 1, 1)
        from_middle[..., :2, 2] = -self.camera.middle
        return self.camera.matrix(time) @ from_middle @ self.place.matrix(time)

    def pose(self, time: Tensor, matrix: Tensor, device: torch.device) -> Pose:
        """Return the pose at a time. Shapes: time (B,), float64, CPU; `matrix` of that time."""
        bend = self.bend
        bends = torch.cat((bend.strength(time[:, None]), bend.frequency, bend.phase), dim=-1)
        flat = torch.cat((matrix.flatten(-2), matrix.inverse().flatten(-2), bends), dim=-1)
        return Pose(*flat.float().to(device).split((9, 9, 6), dim=-1))

    def subset(self, indices: list[int]) -> "LayerMotion":
        """Return the motion of some scenes of the batch."""
        place, camera = (
            ProjectiveMotion(*(field[indices] for field in part))
            for part in (self.place, self.camera)
        )
        return LayerMotion(place, camera, NonRigidMotion(*(field[indices] for field in self.bend)))


def stack_rows(*values: tuple[Tensor, Tensor, Tensor]) -> Tensor:
    """Stack rows to a 3 x 3 matrix. Shapes: (...) each -> (..., 3, 3)."""
    return torch.stack([torch.stack(row, dim=-1) for row in values], dim=-2)


def project(matrix: Tensor, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Apply a homography. Shapes: (..., 9), (...), (...) -> x, y and the divisor."""
    a, b, c, d, e, f, g, h, i = matrix.unbind(-1)
    divisor = g * x + h * y + i
    safe = divisor.clamp(min=NEAR_PLANE)
    return (a * x + b * y + c) / safe, (d * x + e * y + f) / safe, divisor


def bounding_box(matrix: Tensor, reach_x: float, reach_y: float) -> tuple[Tensor, Tensor] | None:
    """Return the frame's bounding box of the part of a plane up to `reach` from its middle.

    None if that part reaches behind the camera.

    Shapes: matrix (3, 3) -> the smallest and largest (x, y), (2,) each.
    """
    x, y = reach_x, reach_y
    corners = torch.tensor([[x, x, -x, -x], [y, -y, y, -y], [1, 1, 1, 1]], dtype=matrix.dtype)
    corners = matrix @ corners
    if corners[2].min() <= NEAR_PLANE:
        return None
    places = corners[:2] / corners[2]
    return places.amin(1), places.amax(1)
