"""The interface for other programs: load an interpolator and call it with frames."""

from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path
from typing import Any, TypeAlias, overload

import numpy as np
import torch
from torch import Tensor

from sgm_vfi.model.inference.bisection import support_times
from sgm_vfi.model.inference.padding import Padded
from sgm_vfi.model.interpolator import Interpolator, require_finite, time_like
from sgm_vfi.model.zoo import load_interpolator

Frame: TypeAlias = Tensor | np.ndarray[Any, Any]
Time: TypeAlias = float | Fraction
TOLERANCE = 0.01  # by which values may leave [0, 1], as resized frames do


def load(
    name_or_path: str | Path,
    *,
    device: torch.device | str = "cpu",
    num_key_points: float | None = None,
) -> "FrameInterpolator":
    """Load an interpolator by its name or from a file of weights.

    >>> from sgm_vfi import load
    >>> interpolate = load("blend")
    >>> frame0, frame1 = torch.zeros(3, 30, 50), torch.ones(3, 30, 50)
    >>> interpolate(frame0, frame1).shape
    torch.Size([3, 30, 50])

    Args:
        name_or_path: a row of the zoo, an experiment, or a file of weights.
        device: where the network computes; frames may be anywhere.
        num_key_points: share of cells to match, in [0, 1], or -1 for all; None as trained.

    Raises:
        FileNotFoundError: no such name, or its weights are not in place.
        CheckpointError: the file is damaged or does not fit.
    """
    network = load_interpolator(name_or_path, num_key_points=num_key_points)
    return FrameInterpolator(network.to(device))


def unwrap_network(network: "Interpolator | FrameInterpolator | str") -> Interpolator:
    """Return the network of what `load` returned, or of a name; a network stands for itself."""
    if isinstance(network, str):
        return load_interpolator(network)
    return network.network if isinstance(network, FrameInterpolator) else network


class FrameInterpolator:
    """A network that takes frames of any size as tensors or as NumPy arrays.

    Computes in float32, whatever the type of the frames; results have the form, type and device
    of the frames. A network trained for t = 1/2 reaches other times by bisection, to within 1/64.
    Several threads may call it at the same time.

    >>> interpolate = load("blend")
    >>> black, white = np.zeros((30, 50, 3), np.uint8), np.full((30, 50, 3), 255, np.uint8)
    >>> int(interpolate(black, white, Fraction(1, 5)).max())
    51
    >>> [frame.shape for frame in interpolate(black, white, [0.25, 0.5, 0.75])]
    [(30, 50, 3), (30, 50, 3), (30, 50, 3)]
    >>> batch0, batch1 = torch.zeros(2, 3, 30, 50), torch.ones(2, 3, 30, 50)
    >>> times = torch.tensor([0.25, 0.75]).view(2, 1, 1, 1)
    >>> interpolate(batch0, batch1, times).mean(dim=(1, 2, 3))
    tensor([0.2500, 0.7500])
    """

    def __init__(self, network: Interpolator) -> None:
        self.network = network.eval()

    @overload
    def __call__(
        self, frame0: Frame, frame1: Frame, time: Time | Tensor = ..., *, flow_scale: float = ...
    ) -> Frame: ...

    @overload
    def __call__(
        self, frame0: Frame, frame1: Frame, time: Iterable[Time], *, flow_scale: float = ...
    ) -> list[Frame]: ...

    @torch.inference_mode()
    def __call__(
        self,
        frame0: Frame,
        frame1: Frame,
        time: Time | Tensor | Iterable[Time] = 0.5,
        *,
        flow_scale: float = 1.0,
    ) -> Frame | list[Frame]:
        """Interpolate at one time, or at each of several.

        Args:
            time: a number in (0, 1); several of them, for a list of frames; or one for each
                sample of a batch, a tensor (B, 1, 1, 1).
            flow_scale: estimates motion on frames resized by it.

        Shapes: tensors (3, H, W) or (B, 3, H, W) in [0, 1], or uint8 arrays (H, W, 3) -> the same.

        Raises:
            ValueError: the frames or the time are of a wrong form, type or range.
        """
        first, second = self._to_batches(frame0, frame1)
        times = _list_times(time, first)
        values = [value for one in times for value in one.flatten().tolist()]
        network = Padded(support_times(self.network, values))
        state = network.prepare(first, second, flow_scale)
        frames = [_restore(self._interpolate(network, state, one), frame0) for one in times]
        return frames if _is_list(time) else frames[0]

    def _interpolate(self, network: Interpolator, state: Any, time: Tensor) -> Tensor:
        frame = network.interpolate(state, time).frame
        require_finite(frame, type(self.network).__name__, f"at time {time.flatten().tolist()}")
        return frame

    def _to_batches(self, frame0: Frame, frame1: Frame) -> list[Tensor]:
        _require_pair(frame0, frame1)
        weight = next(self.network.parameters(), None)
        device = torch.device("cpu") if weight is None else weight.device
        return [_to_batch(frame).to(device) for frame in (frame0, frame1)]


def _is_list(time: object) -> bool:
    is_scalar = isinstance(time, np.ndarray) and time.ndim in (0, 4)
    return not is_scalar and not isinstance(time, int | float | Fraction | Tensor | np.number)


def _list_times(time: Any, batch: Tensor) -> list[Tensor]:
    """Return each time as a tensor (B, 1, 1, 1)."""
    if isinstance(time, np.ndarray) and time.ndim in (0, 4):
        time = torch.as_tensor(time)
    if not isinstance(time, Tensor):
        try:
            times = [float(one) for one in time] if _is_list(time) else [float(time)]
        except (TypeError, ValueError, OverflowError) as error:
            raise ValueError(
                f"Expected a time in (0, 1), several of them, or a tensor ({len(batch)}, 1, 1, 1), "
                f"got {time!r}."
            ) from error
        if not times:
            raise ValueError("Expected one time or more, got none.")
        return [time_like(batch, one) for one in times]
    if time.ndim and time.shape != (len(batch), 1, 1, 1):
        raise ValueError(
            f"Expected times of shape ({len(batch)}, 1, 1, 1), one for each sample, got "
            f"{tuple(time.shape)}."
        )
    if not ((time > 0) & (time < 1)).all():
        raise ValueError(f"Expected times in (0, 1), got {time.flatten().tolist()}.")
    return [time.to(batch).expand(len(batch), 1, 1, 1)]


def _require_pair(frame0: Frame, frame1: Frame) -> None:
    """Raise ValueError if the frames do not fit each other or are of a wrong form."""
    if not isinstance(frame0, np.ndarray | Tensor):
        raise ValueError(f"Expected frames as tensors or arrays, got {type(frame0).__name__}.")
    if type(frame0) is not type(frame1) or frame0.dtype != frame1.dtype:
        kinds = (f"{type(frame).__name__} {_dtype_of(frame)}" for frame in (frame0, frame1))
        raise ValueError(f"Expected two frames of one type, got {' and '.join(kinds)}.")
    if frame0.shape != frame1.shape:
        raise ValueError(
            f"Expected two frames of one shape, got {tuple(frame0.shape)} and "
            f"{tuple(frame1.shape)}."
        )
    for name, frame in (("frame0", frame0), ("frame1", frame1)):
        if isinstance(frame, np.ndarray):
            _require_array(frame)
        else:
            _require_tensor(frame)
            _require_range(frame, name)


def _dtype_of(frame: object) -> str:
    return str(getattr(frame, "dtype", "without dtype"))


def _require_array(frame: Any) -> None:
    if frame.dtype != np.uint8 or frame.ndim != 3 or frame.shape[2] != 3 or not frame.size:
        raise ValueError(
            f"Expected arrays (H, W, 3) of uint8, RGB, got {frame.shape} of {frame.dtype}."
        )


def _require_tensor(frame: Any) -> None:
    if not isinstance(frame, Tensor):
        raise ValueError(f"Expected tensors or NumPy arrays, got {type(frame).__name__}.")
    if frame.ndim not in (3, 4) or frame.shape[-3] != 3 or not frame.numel():
        raise ValueError(
            f"Expected tensors (3, H, W) or (B, 3, H, W) that are not empty, got "
            f"{tuple(frame.shape)}."
        )
    if not frame.is_floating_point():
        raise ValueError(
            f"Expected floating-point tensors in [0, 1], got {frame.dtype}; divide bytes by 255."
        )


def _require_range(frame: Tensor, name: str) -> None:
    """Raise ValueError for a value that is no number, or outside of [0, 1]."""
    bad = ~frame.isfinite()
    if bad.any():
        *sample, channel, row, column = bad.nonzero()[0].tolist()
        of = f" of sample {sample[0]}" if sample else ""
        raise ValueError(
            f"{name} holds {int(bad.sum())} values that are not numbers (NaN or infinite), the "
            f"first in row {row}, column {column}, channel {channel}{of}. Repair the frame first."
        )
    low, high = (value.item() for value in frame.aminmax())
    if not (low >= -TOLERANCE and high <= 1 + TOLERANCE):
        raise ValueError(
            f"Expected values in [0, 1], got {low:g} to {high:g}; divide values up to 255 by 255."
        )


def _to_batch(frame: Frame) -> Tensor:
    """Shapes: -> (B, 3, H, W), float32 in [0, 1]."""
    if isinstance(frame, np.ndarray):
        return torch.from_numpy(np.ascontiguousarray(frame)).movedim(-1, 0)[None].float() / 255
    return (frame if frame.ndim == 4 else frame[None]).float()


def _restore(result: Tensor, like: Frame) -> Frame:
    """Give a result the form, type and device of a frame."""
    if isinstance(like, np.ndarray):
        levels = (result[0].clamp(0, 1) * 255).round().byte()
        return levels.movedim(0, -1).contiguous().cpu().numpy()
    return (result if like.ndim == 4 else result[0]).to(like)
