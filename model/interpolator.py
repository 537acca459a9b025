"""The contract that every interpolator meets."""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from fractions import Fraction
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

LARGEST_DENOMINATOR = 8  # of a flow scale: 1/2, 1/4, 4/5, 3/8, ...


class Interpolation(NamedTuple):
    """What an interpolator gives back.

    `explanation` holds pictures of the way there, by name, all at the size of the frames and in
    their pixels: `initial_flow`, `compensation`, `merged_flow` and `flow` (B, 4, H, W), (u, v)
    towards frame 0, then towards frame 1; `difference` and `keypoints` (B, 2, H, W), on frame 0,
    then on frame 1; `blend` (B, 1, H, W), the share of frame 0; `static` (B, 1, H, W), what does
    not move. A network gives those it has.
    """

    frame: Tensor  # the prediction, (B, 3, H, W) in [0, 1]
    merged: tuple[Tensor, ...] = ()  # blends before refinement, in training mode, for supervision
    explanation: dict[str, Tensor] | None = None  # when asked for


class Window(NamedTuple):
    """A part of the frame, in pixels: rows top to bottom (exclusive), columns left to right."""

    top: int
    bottom: int
    left: int
    right: int

    def crop(self, tensor: Tensor) -> Tensor:
        """Shapes: (B, C, H, W) -> (B, C, bottom - top, right - left), a view."""
        return tensor[..., self.top : self.bottom, self.left : self.right]

    def expanded(self, margin: int, frame: Tensor) -> "Window":
        """With `margin` pixels around it, as far as the frame (B, C, H, W) has them."""
        height, width = frame.shape[-2:]
        return Window(
            max(self.top - margin, 0),
            min(self.bottom + margin, height),
            max(self.left - margin, 0),
            min(self.right + margin, width),
        )

    def relative_to(self, outer: "Window") -> "Window":
        """The same pixels, counted from the corner of a window that holds this one."""
        rows = (row - outer.top for row in (self.top, self.bottom))
        return Window(*rows, *(column - outer.left for column in (self.left, self.right)))


class Interpolator(nn.Module, ABC):
    """Synthesises I_t between I_0 and I_1.

    Frames are RGB in [0, 1], (B, 3, H, W); `time` is (B, 1, 1, 1) in (0, 1). A network that was
    trained on anything else (BGR, [0, 255], mean-subtracted) converts at its own door.

    Call `prepare` once per pair of frames and `interpolate` once per time; `forward` does both.
    """

    stride: int = 1  # height and width must be multiples of this
    any_time: bool = True  # False where only t = 1/2 was trained
    uses_context_frames: bool = (
        False  # True where `prepare` also takes the frames `before` and `after`
    )
    largest_flow_scale: int = 1  # more where motion may be estimated on enlarged frames
    precision: str = "fp32"  # that its compute_modules infer in

    @abstractmethod
    def prepare(self, frame0: Tensor, frame1: Tensor, flow_scale: float = 1.0) -> Any:
        """Do once what serves every time between two frames; the result is for `interpolate` alone.

        `flow_scale` estimates motion on frames resized by it; synthesis stays at full size. Where
        the network looks around, `before` and `after` are the frames on either side, as far away
        as the two are from each other, or None: only it takes these keywords.
        """

    @abstractmethod
    def interpolate(self, state: Any, time: Tensor, *, explain: bool = False) -> Interpolation:
        """The frame at `time`, from what `prepare` returned."""

    def advance(
        self,
        state: Any,
        frame1: Tensor,
        frame2: Tensor,
        flow_scale: float = 1.0,
        **around: Tensor | None,
    ) -> Any:
        """What `prepare` gives of two frames, where `state` is of the pair that frame1 ends.

        A network that keeps what depends on one frame only reuses it; the result is the same. Where
        it looks around, `before` is the frame that this pair began with, or None; and the frame
        `after` that pair, if one was given, was frame2.
        """
        return self.prepare(frame1, frame2, flow_scale, **around)

    def forward(
        self,
        frame0: Tensor,
        frame1: Tensor,
        time: Tensor,
        flow_scale: float = 1.0,
        *,
        explain: bool = False,
        target: Tensor | None = None,
    ) -> Any:
        """The frame at `time`; with the true one as `target`, what `training_forward` gives.

        Shapes: frames (B, 3, H, W), time (B, 1, 1, 1) -> frame (B, 3, H, W).
        """
        if time.shape != (len(frame0), 1, 1, 1):
            raise ValueError(
                f"A time for every sample has the shape ({len(frame0)}, 1, 1, 1), got "
                f"{tuple(time.shape)}: time_like(frame0, 0.5) gives one."
            )
        if target is not None:
            return self.training_forward(frame0, frame1, time, target)
        return self.interpolate(self.prepare(frame0, frame1, flow_scale), time, explain=explain)

    def training_forward(self, frame0: Tensor, frame1: Tensor, time: Tensor, target: Tensor) -> Any:
        """What the loss of this network needs, with the true frame at hand.

        For networks that learn from more than their result. Training calls it by `forward`, which
        is where processes find out about gradients.

        Shapes: frames and target (B, 3, H, W), time (B, 1, 1, 1).
        """
        raise NotImplementedError(f"{type(self).__name__} learns from its result alone.")

    def size_multiple(self, flow_scale: float = 1.0) -> int:
        """Smallest number whose multiples are good sizes: so are they after scaling by it."""
        return self.stride * _denominator(flow_scale, self.largest_flow_scale)

    def compute_modules(self) -> Iterator[nn.Module]:
        """The parts that may compute in half precision and be compiled, if there are any.

        They are called with tensors and lists of tensors, and hold no state.
        """
        yield from ()


class TileableInterpolator(Interpolator):
    """An interpolator whose synthesis can be done window by window, exactly.

    The motion always comes from the whole frame; `synthesise` looks no further than `halo` pixels
    around a window.
    """

    halo: int = 0  # a multiple of `stride`

    @abstractmethod
    def estimate(self, state: Any, time: Tensor, *, explain: bool = False) -> Any:
        """The motion at `time`, of the whole frame."""

    @abstractmethod
    def synthesise(self, state: Any, motion: Any, window: Window | None = None) -> Interpolation:
        """The frame, or that part of it that `window` (aligned to `stride`) cuts out."""

    def interpolate(self, state: Any, time: Tensor, *, explain: bool = False) -> Interpolation:
        """Estimate the motion and synthesise the whole frame."""
        return self.synthesise(state, self.estimate(state, time, explain=explain))


def time_like(frame: Tensor, time: float) -> Tensor:
    """One time for every sample. Shapes: frame (B, ...) -> (B, 1, 1, 1)."""
    if not 0 < time < 1:
        raise ValueError(f"A time between two frames lies in (0, 1), got {time}.")
    return torch.full((len(frame), 1, 1, 1), time, dtype=frame.dtype, device=frame.device)


def flow_scale_fraction(flow_scale: float, largest: int = 1) -> Fraction:
    """`flow_scale` as the ratio of small whole numbers that it must be, so that sizes fit."""
    denominator = _denominator(flow_scale, largest)
    return Fraction(round(flow_scale * denominator), denominator)


def require_time(time: Tensor, interpolator: Interpolator) -> None:
    """Refuse a time that the weights were not trained for."""
    if not interpolator.any_time and (time != 0.5).any():
        name = type(interpolator).__name__
        raise ValueError(
            f"These weights of {name} know t = 1/2 only, got {time.flatten().tolist()}. Halve the "
            f"interval down to it, Bisected({name}(...)), or take weights for any time."
        )


def _denominator(flow_scale: float, largest: int) -> int:
    """Of that ratio; by itself, as compilers cannot follow fractions."""
    for denominator in range(1, LARGEST_DENOMINATOR + 1):
        if 0 < flow_scale <= largest + 1e-6:  # so it can be rounded
            numerator = round(flow_scale * denominator)
            if numerator and abs(numerator / denominator - flow_scale) <= 1e-6:
                return denominator
    raise ValueError(
        f"flow_scale is a ratio of small whole numbers in (0, {largest}], such as 1, 1/2, 1/4 "
        f"or 4/5 (denominators up to {LARGEST_DENOMINATOR}), got {flow_scale:g}."
    )


def require_frames(
    frame0: Tensor, frame1: Tensor, interpolator: Interpolator, flow_scale: float | None = None
) -> None:
    """Refuse two tensors that are no pair of frames, or of a size that would be misaligned.

    Good sizes are multiples of the stride; with a `flow_scale`, of what is asked for at that scale.
    """
    name = type(interpolator).__name__
    if frame0.shape != frame1.shape or frame0.ndim != 4 or frame0.shape[1] != 3:
        raise ValueError(
            f"{name} takes two frames of one shape (B, 3, H, W), "
            f"got {tuple(frame0.shape)} and {tuple(frame1.shape)}."
        )
    if not frame0.is_floating_point() or not frame1.is_floating_point():
        raise ValueError(
            f"{name} takes floating-point frames in [0, 1], got {frame0.dtype} and {frame1.dtype}. "
            f"Divide bytes by 255."
        )
    height, width = frame0.shape[-2:]
    multiple = interpolator.stride if flow_scale is None else interpolator.size_multiple(flow_scale)
    if height % multiple or width % multiple or not height or not width:
        scaled = f"At flow_scale {flow_scale:g} " if flow_scale not in (None, 1) else ""
        raise ValueError(
            f"{scaled}{name} takes heights and widths divisible by {multiple}, "
            f"got {height}x{width}. Wrap it: Padded({name}(...))."
        )
