"""Base classes of interpolators: `prepare` once per pair of frames, `interpolate` per time."""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from fractions import Fraction
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

LARGEST_DENOMINATOR = 8  # of a flow scale: 1/2, 1/4, 4/5, 3/8, ...


class Interpolation(NamedTuple):
    """Result of an interpolator.

    `explanation` holds intermediate maps by name, at the size of the frames and in their pixels:
    `initial_flow`, `compensation`, `merged_flow` and `flow` (B, 4, H, W), (u, v) towards frame 0,
    then towards frame 1; `difference` and `keypoints` (B, 2, H, W), on frame 0, then on frame 1;
    `blend` (B, 1, H, W), the share of frame 0; `static` (B, 1, H, W), static regions. Which maps
    there are depends on the network.
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
        """Return the window with a margin, clipped to the frame (B, C, H, W)."""
        height, width = frame.shape[-2:]
        return Window(
            max(self.top - margin, 0),
            min(self.bottom + margin, height),
            max(self.left - margin, 0),
            min(self.right + margin, width),
        )

    def relative_to(self, outer: "Window") -> "Window":
        """Return this window in coordinates of a window that contains it."""
        rows = (row - outer.top for row in (self.top, self.bottom))
        return Window(*rows, *(column - outer.left for column in (self.left, self.right)))


class Interpolator(nn.Module, ABC):
    """Synthesises I_t between I_0 and I_1.

    Frames are RGB in [0, 1], (B, 3, H, W); `time` is (B, 1, 1, 1) in (0, 1). A network trained on
    other frames (BGR, [0, 255], mean-subtracted) converts them itself. Frames may be of any
    floating-point type; motion and results are float32, or float64 where the weights are.

    Call `prepare` once per pair of frames and `interpolate` once per time; `forward` does both.
    """

    stride: int = 1  # height and width must be multiples of this
    any_time: bool = True  # whether it was trained for times other than 1/2
    uses_context_frames: bool = (
        False  # True where `prepare` also takes the frames `before` and `after`
    )
    largest_flow_scale: int = 1  # above 1: motion may be estimated on enlarged frames
    precision: str = "fp32"  # of `compute_modules` in evaluation mode
    source_code: str = ""  # checksum of the file of a class of the user

    @abstractmethod
    def prepare(self, frame0: Tensor, frame1: Tensor, flow_scale: float = 1.0) -> Any:
        """Compute what all times between two frames share; the result is passed to `interpolate`.

        `flow_scale` estimates motion on frames resized by it; synthesis stays at full size. A
        network that uses context frames also takes `before` and `after`, the frames on either
        side at the same distance, or None.
        """

    @abstractmethod
    def interpolate(self, state: Any, time: Tensor, *, explain: bool = False) -> Interpolation:
        """Return the frame at `time`, from the state that `prepare` returned."""

    def advance(
        self,
        state: Any,
        frame1: Tensor,
        frame2: Tensor,
        flow_scale: float = 1.0,
        **around: Tensor | None,
    ) -> Any:
        """Prepare the pair that follows: `state` is of the pair whose second frame is `frame1`.

        The result equals that of `prepare`; a network may reuse features of `frame1`. With context
        frames, `before` is the first frame of the preceding pair, or None, and the `after` that
        was given for that pair, if any, was `frame2`.
        """
        return self.prepare(frame1, frame2, flow_scale, **around)

    def forward(
        self,
        frame0: Tensor,
        frame1: Tensor,
        time: Tensor | float,
        flow_scale: float = 1.0,
        *,
        explain: bool = False,
        target: Tensor | None = None,
    ) -> Any:
        """Return the frame at `time`; with a `target`, what `training_forward` returns.

        Shapes: frames (B, 3, H, W), time (B, 1, 1, 1) -> frame (B, 3, H, W).
        """
        time = expand_time(frame0, time)
        if target is not None:
            return self.training_forward(frame0, frame1, time, target)
        return self.interpolate(self.prepare(frame0, frame1, flow_scale), time, explain=explain)

    def training_forward(self, frame0: Tensor, frame1: Tensor, time: Tensor, target: Tensor) -> Any:
        """Return what the loss of this network needs, given the true frame.

        For networks whose loss needs more than the result. Training calls it through `forward`, as
        DistributedDataParallel requires.

        Shapes: frames and target (B, 3, H, W), time (B, 1, 1, 1).
        """
        raise NotImplementedError(
            f"{type(self).__name__} has no training output: its loss needs the result alone."
        )

    def size_multiple(self, flow_scale: float = 1.0) -> int:
        """Return the number that heights and widths must be divisible by at this scale."""
        return self.stride * _denominator(flow_scale, self.largest_flow_scale)

    def compute_modules(self) -> Iterator[nn.Module]:
        """Yield the modules that may run in half precision and be compiled.

        Their arguments are tensors and lists of tensors, and they hold no state.
        """
        yield from ()


class TileableInterpolator(Interpolator):
    """An interpolator that can synthesise window by window, with equal results.

    Motion is estimated on the whole frame; `synthesise` reads `halo` pixels around a window.
    """

    halo: int = 0  # a multiple of `stride`

    @abstractmethod
    def estimate(self, state: Any, time: Tensor, *, explain: bool = False) -> Any:
        """Return the motion at `time` of the whole frame."""

    @abstractmethod
    def synthesise(self, state: Any, motion: Any, window: Window | None = None) -> Interpolation:
        """Return the frame, or a window of it that is aligned to `stride`."""

    def interpolate(self, state: Any, time: Tensor, *, explain: bool = False) -> Interpolation:
        """Estimate the motion and synthesise the whole frame."""
        return self.synthesise(state, self.estimate(state, time, explain=explain))


def time_like(frame: Tensor, time: float) -> Tensor:
    """Return one time for every sample. Shapes: frame (B, ...) -> (B, 1, 1, 1)."""
    if not 0 < time < 1:
        raise ValueError(f"A time between two frames lies in (0, 1), got {time}.")
    return torch.full((len(frame), 1, 1, 1), time, dtype=frame.dtype, device=frame.device)


def expand_time(frame: Tensor, time: Tensor | float) -> Tensor:
    """Return a time for every sample, given these or one number.

    Shapes: frame (B, ...), time (B, 1, 1, 1) or a number -> (B, 1, 1, 1).
    """
    if isinstance(time, Tensor) and time.shape == (len(frame), 1, 1, 1):
        return time
    try:
        return time_like(frame, float(time))
    except (TypeError, RuntimeError, ValueError) as error:
        got = getattr(time, "shape", repr(time))
        raise ValueError(
            f"Expected a time in (0, 1), or a tensor of shape ({len(frame)}, 1, 1, 1), got "
            f"{got if isinstance(got, str) else tuple(got)}."
        ) from error


def flow_scale_fraction(flow_scale: float, largest: int = 1) -> Fraction:
    """Return `flow_scale` as a fraction of small whole numbers, or raise ValueError."""
    denominator = _denominator(flow_scale, largest)
    return Fraction(round(flow_scale * denominator), denominator)


def require_time(time: Tensor, interpolator: Interpolator) -> None:
    """Raise ValueError for a time that the weights were not trained for."""
    if not interpolator.any_time and (time != 0.5).any():
        name = type(interpolator).__name__
        raise ValueError(
            f"These weights of {name} know t = 1/2 only, got {time.flatten().tolist()}. Halve the "
            f"interval down to it, Bisected({name}(...)), or take weights for any time."
        )


def _denominator(flow_scale: float, largest: int) -> int:
    """Return the denominator of the scale; torch.compile does not support fractions."""
    for denominator in range(1, LARGEST_DENOMINATOR + 1):
        if 0 < flow_scale <= largest + 1e-6:  # so it can be rounded
            numerator = round(flow_scale * denominator)
            if numerator and abs(numerator / denominator - flow_scale) <= 1e-6:
                return denominator
    raise ValueError(
        f"flow_scale is a ratio of small whole numbers in (0, {largest}], such as 1, 1/2, 1/4 "
        f"or 4/5 (denominators up to {LARGEST_DENOMINATOR}), got {flow_scale:g}."
    )


def convert_frames(
    frame0: Tensor, frame1: Tensor, interpolator: Interpolator, flow_scale: float | None = None
) -> tuple[Tensor, Tensor]:
    """Check a pair of frames, and return it in the type in which the interpolator computes.

    Raises:
        ValueError: as `require_frames`; or the weights are in half precision.
    """
    require_frames(frame0, frame1, interpolator, flow_scale)
    weight = next(interpolator.parameters(), None)
    if weight is None:
        common = torch.promote_types(frame0.dtype, frame1.dtype)
        dtype = torch.promote_types(common, torch.float32)
    else:
        dtype = weight.dtype
    if dtype not in (torch.float32, torch.float64):
        raise ValueError(
            f"The weights of {type(interpolator).__name__} are {dtype}, in which motion is not "
            f"exact. Keep them in float32; for speed use set_inference_precision(network, 'bf16')."
        )
    first, second = (x if x.dtype == dtype else x.to(dtype) for x in (frame0, frame1))
    return first, second


def require_finite(frame: Tensor, network: str, where: str) -> None:
    """Raise ValueError if a result holds NaN or infinite values.

    Args:
        network: its name.
        where: which frame it is, such as "at 0.5 between a.png and b.png".
    """
    total = frame.sum(dtype=torch.float32)  # ten times as fast to test as all values
    if not (total.isfinite() or frame.isfinite().all()):
        raise ValueError(
            f"{network} predicts values that are not numbers (NaN or infinite) {where}. Is it "
            f"trained? Its weights may be damaged or of a training that diverged: take others; "
            f"with --precision fp16, take bf16 or fp32."
        )


def require_frames(
    frame0: Tensor, frame1: Tensor, interpolator: Interpolator, flow_scale: float | None = None
) -> None:
    """Raise ValueError if two tensors are no pair of frames, or their size is not accepted.

    Sizes are multiples of the stride; with a `flow_scale`, of `size_multiple` at that scale.
    """
    name = type(interpolator).__name__
    if frame0.shape != frame1.shape or frame0.ndim != 4 or frame0.shape[1] != 3:
        raise ValueError(
            f"{name} takes two frames of one shape (B, 3, H, W), "
            f"got {tuple(frame0.shape)} and {tuple(frame1.shape)}."
        )
    if not len(frame0):
        raise ValueError(f"{name} takes one pair of frames or more, got a batch of none.")
    if frame0.device != frame1.device:
        raise ValueError(
            f"{name} takes frames on one device, got {frame0.device} and {frame1.device}."
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
