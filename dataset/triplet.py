"""Two frames and one between them: what a network learns from and is measured on."""

from collections.abc import Iterable, Sequence
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor


class TripletPaths(NamedTuple):
    """Where the frames of one triplet lie on disk."""

    frame0: Path
    target: Path
    frame1: Path
    time: float = 0.5  # of the target, in (0, 1)


class GroundTruth(NamedTuple):
    """True motion and visibility, which only rendered scenes have.

    `flow_ab` says, for each pixel of frame a, where its surface is in frame b: pixels, channel 0
    to the right, channel 1 down. `visible_ab` is 1 where that place lies inside frame b and
    nothing covers it there, and 0 elsewhere.

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
        """At another size; a pixel counts as visible where all that it is made of was."""
        flows = (resize_bilinear(flow, scale) * scale for flow in self[:4])
        visible = (resize_bilinear(mask, scale).ge(0.999).to(mask.dtype) for mask in self[4:])
        return GroundTruth(*flows, *visible)


class Triplet(NamedTuple):
    """A batch of triplets, or, without the batch dimension, one of them.

    Data sets give bytes (uint8), which are a quarter of the size to move; `to` makes them floats.

    Shapes: frames (B, 3, H, W), RGB in [0, 1] once floating point; time (B, 1, 1, 1) in (0, 1).
    """

    frame0: Tensor
    target: Tensor
    frame1: Tensor
    time: Tensor
    truth: GroundTruth | None = None

    def to(self, device: torch.device | str) -> "Triplet":
        """Move to `device`, and there from bytes to floats in [0, 1]."""
        frames = (as_float(frame.to(device, non_blocking=True)) for frame in self[:3])
        time = self.time.to(device, non_blocking=True)
        truth = self.truth and GroundTruth(
            *(part.to(device, non_blocking=True) for part in self.truth)
        )
        return Triplet(*frames, time, truth)

    def inputs(self) -> tuple[Tensor, Tensor, Tensor]:
        """What a network is given: both frames and the time."""
        return self.frame0, self.frame1, self.time

    def target_flow(self) -> tuple[Tensor, Tensor]:
        """From the target to frame 0, then to frame 1: true flow in pixels, and what of it is seen.

        Shapes: -> (B, 4, H, W), (B, 4, H, W).
        """
        truth = self.require_truth()
        visible = (mask.expand_as(truth.flow_t0) for mask in (truth.visible_t0, truth.visible_t1))
        return torch.cat((truth.flow_t0, truth.flow_t1), dim=1), torch.cat((*visible,), dim=1)

    def downsampled_flow(self, side: int) -> tuple[Tensor, Tensor]:
        """From frame 0 to 1, then back, of cells so many pixels wide: true flow, what is seen.

        Shapes: -> (2B, 2, H / side, W / side), in cells, and (2B, 1, H / side, W / side).
        """
        truth = self.require_truth().resized(1 / side)
        flow = torch.cat((truth.flow_01, truth.flow_10))
        return flow, torch.cat((truth.visible_01, truth.visible_10))

    def require_truth(self) -> GroundTruth:
        if self.truth is None:
            raise ValueError("Only synthetic scenes know their motion: set data.truth=true.")
        return self.truth

    def resized(self, scale: float) -> "Triplet":
        """Bilinear with half-pixel centres and no antialiasing, as the published training did.

        Shapes: (B, 3, H, W) -> (B, 3, scale * H, scale * W), rounded down.
        """
        if scale == 1:
            return self
        frames = (resize_bilinear(frame, scale) for frame in self[:3])
        return Triplet(*frames, self.time, self.truth and self.truth.resized(scale))


def stack_triplets(samples: Sequence[Triplet]) -> Triplet:
    """Make one batch of single triplets without truth. Shapes: (3, H, W) each -> (B, 3, H, W)."""
    shapes = {tuple(sample.frame0.shape) for sample in samples}
    if len(shapes) > 1:
        raise ValueError(
            f"Frames of one batch have one size, got {sorted(shapes)}. "
            f"Crop them to one size, or use batches of one."
        )
    return Triplet(*(torch.stack(parts) for parts in zip(*(s[:4] for s in samples), strict=True)))


def as_float(frame: Tensor) -> Tensor:
    """Bytes to [0, 1]; floats stay as they are."""
    return frame if frame.is_floating_point() else frame.float() / 255


def resize_bilinear(tensor: Tensor, scale: float) -> Tensor:
    """Resize (B, C, H, W) with half-pixel centres and no antialiasing."""
    return F.interpolate(tensor, scale_factor=scale, mode="bilinear", align_corners=False)


def read_lines(path: Path) -> list[str]:
    """The lines of a text file without blank ones, whichever line ends it has."""
    if not path.is_file():
        raise FileNotFoundError(f"There is no list file {path} ({path.resolve()}).")
    lines = (line.strip() for line in path.read_text(encoding="utf-8-sig").splitlines())
    return [line for line in lines if line]


def read_triplet_list(path: Path, root: Path, anchors: Iterable[str]) -> list[TripletPaths]:
    """Read lines of three paths, first, middle and last frame, separated by blanks."""
    triplets = []
    for number, line in enumerate(read_lines(path), start=1):
        names = line.split()
        if len(names) != 3:
            raise ValueError(
                f"{path}, entry {number}: a line names three frames (first, middle, last), "
                f"got {len(names)}: {line!r}."
            )
        triplets.append(TripletPaths(*(resolve_listed_path(name, root, anchors) for name in names)))
    return triplets


def resolve_listed_path(name: str, root: Path, anchors: Iterable[str]) -> Path:
    """Say where a path of a list file lies on this machine.

    Lists were written on other machines. So a path is looked for as it is, if absolute; under
    `root`; and under `root` from any of its folders on that `anchors` names, which are the
    folders that a data set's root may hold. Where none of these is a file, the result is where it
    is missing: in the first of these folders that exists.
    """
    pure = PurePosixPath(name.replace("\\", "/"))
    parts, known = pure.parts, set(anchors)
    starts = [depth for depth, part in enumerate(parts) if depth and part in known]
    candidates = [root / pure] + [root.joinpath(*parts[depth:]) for depth in starts]
    found = [path for path in candidates if path.is_file()]
    found += [path for path in candidates if path.parent.is_dir()]
    return (found + candidates)[0]
