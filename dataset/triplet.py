"""Frame triplets (two input frames and the target between them) and lists of their files."""

from collections.abc import Iterable, Sequence
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor


class TripletPaths(NamedTuple):
    """Image files of one triplet."""

    frame0: Path
    target: Path
    frame1: Path
    time: float = 0.5  # of the target, in (0, 1)

    @property
    def frames(self) -> tuple[Path, Path, Path]:
        """The three image files."""
        return self.frame0, self.target, self.frame1


class GroundTruth(NamedTuple):
    """Ground-truth flow and visibility of rendered scenes.

    `flow_ab` maps each pixel of frame a to its surface's position in frame b, in pixels, channel 0
    to the right, channel 1 down. `visible_ab` is 1 if that position is inside frame b and not
    occluded there, otherwise 0.

    Shapes: flows (B, 2, H, W), visibilities (B, 1, H, W).
    """

    flow_01: Tensor
    flow_10: Tensor
    flow_t0: Tensor
    flow_t1: Tensor
    visible_01: Tensor
    visible_10: Tensor
    visible_t0: Tensor
    visible_t1: Tensor

    def resized(self, scale: float) -> "GroundTruth":
        """Resize; a pixel is visible if all pixels that contribute to it are."""
        flows = (resize_bilinear(flow, scale) * scale for flow in self[:4])
        visible = (resize_bilinear(mask, scale).ge(0.999).to(mask.dtype) for mask in self[4:])
        return GroundTruth(*flows, *visible)


class Triplet(NamedTuple):
    """A batch of triplets or, without the batch dimension, one triplet.

    Data sets return bytes (uint8), which `to` converts to floats.

    Shapes: frames (B, 3, H, W), RGB in [0, 1] once floating point; time (B, 1, 1, 1) in (0, 1).
    """

    frame0: Tensor
    target: Tensor
    frame1: Tensor
    time: Tensor
    truth: GroundTruth | None = None

    def to(self, device: torch.device | str) -> "Triplet":
        """Move to `device` and convert bytes to floats in [0, 1]."""
        frame0, target, frame1 = (
            as_float(frame.to(device, non_blocking=True))
            for frame in (self.frame0, self.target, self.frame1)
        )
        time = self.time.to(device, non_blocking=True)
        truth = self.truth and GroundTruth(
            *(part.to(device, non_blocking=True) for part in self.truth)
        )
        return Triplet(frame0, target, frame1, time, truth)

    def inputs(self) -> tuple[Tensor, Tensor, Tensor]:
        """Return the inputs of a network: both frames and the time."""
        return self.frame0, self.frame1, self.time

    def target_flow(self) -> tuple[Tensor, Tensor]:
        """Return the true flow from the target to frames 0 and 1, in pixels, and its visibility.

        Shapes: -> (B, 4, H, W), (B, 4, H, W).
        """
        truth = self.require_truth()
        visible = (mask.expand_as(truth.flow_t0) for mask in (truth.visible_t0, truth.visible_t1))
        return torch.cat((truth.flow_t0, truth.flow_t1), dim=1), torch.cat((*visible,), dim=1)

    def downsampled_flow(self, side: int) -> tuple[Tensor, Tensor]:
        """Return the true flow 0 -> 1, then 1 -> 0, at 1/side resolution, and its visibility.

        Flows are in pixels of that resolution.

        Shapes: -> (2B, 2, H / side, W / side), (2B, 1, H / side, W / side).
        """
        truth = self.require_truth().resized(1 / side)
        flow = torch.cat((truth.flow_01, truth.flow_10))
        return flow, torch.cat((truth.visible_01, truth.visible_10))

    def require_truth(self) -> GroundTruth:
        """Return the ground truth; raise ValueError if there is none."""
        if self.truth is None:
            raise ValueError("Only synthetic scenes have true motion: set data.truth=true.")
        return self.truth

    def resized(self, scale: float) -> "Triplet":
        """Resize bilinearly without antialiasing, as in the published training.

        Shapes: (B, 3, H, W) -> (B, 3, scale * H, scale * W), rounded down.
        """
        if scale == 1:
            return self
        frame0, target, frame1 = (
            resize_bilinear(frame, scale) for frame in (self.frame0, self.target, self.frame1)
        )
        truth = self.truth and self.truth.resized(scale)
        return Triplet(frame0, target, frame1, self.time, truth)


def stack_triplets(samples: Sequence[Triplet]) -> Triplet:
    """Collate single triplets without ground truth into a batch.

    Shapes: (3, H, W) each -> (B, 3, H, W).
    """
    shapes = {tuple(sample.frame0.shape) for sample in samples}
    if len(shapes) > 1:
        raise ValueError(
            f"Frames of one batch have one size, got {sorted(shapes)}. "
            f"Crop them to one size, or use batches of one."
        )
    frame0, target, frame1, time = (
        torch.stack(parts) for parts in zip(*(sample[:4] for sample in samples), strict=True)
    )
    return Triplet(frame0, target, frame1, time)


def as_float(frame: Tensor) -> Tensor:
    """Convert bytes to floats in [0, 1]; return floats unchanged."""
    return frame if frame.is_floating_point() else frame.float() / 255


def resize_bilinear(tensor: Tensor, scale: float) -> Tensor:
    """Resize (B, C, H, W) with half-pixel centres and no antialiasing."""
    return F.interpolate(tensor, scale_factor=scale, mode="bilinear", align_corners=False)


def read_lines(path: Path) -> list[str]:
    """Read the lines of a text file without blank ones."""
    if not path.is_file():
        raise FileNotFoundError(f"There is no list file {path} ({path.resolve()}).")
    lines = (line.strip() for line in path.read_text(encoding="utf-8-sig").splitlines())
    return [line for line in lines if line]


def read_triplet_list(path: Path, root: Path, anchors: Iterable[str]) -> list[TripletPaths]:
    """Read a list file whose lines name the first, middle and last frame of a triplet."""
    triplets = []
    for number, line in enumerate(read_lines(path), start=1):
        names = line.split()
        if len(names) != 3:
            raise ValueError(
                f"{path}, entry {number}: a line names three frames (first, middle, last), "
                f"got {len(names)}: {line!r}."
            )
        frame0, target, frame1 = (resolve_listed_path(name, root, anchors) for name in names)
        triplets.append(TripletPaths(frame0, target, frame1))
    return triplets


def resolve_listed_path(name: str, root: Path, anchors: Iterable[str]) -> Path:
    """Resolve a path of a list file that was written on another machine.

    Candidates are the path itself if absolute, the path under `root`, and its part from any folder
    in `anchors` (folders that a data set's root may hold) under `root`. Returns the first that is
    a file, else the first in a folder that exists, else the first.
    """
    pure = PurePosixPath(name.replace("\\", "/"))
    parts, known = pure.parts, set(anchors)
    starts = [depth for depth, part in enumerate(parts) if depth and part in known]
    candidates = [root / pure] + [root.joinpath(*parts[depth:]) for depth in starts]
    found = [path for path in candidates if path.is_file()]
    found += [path for path in candidates if path.parent.is_dir()]
    return (found + candidates)[0]
