"""Base class of interpolators that wrap another, and helpers for their results."""

from collections.abc import Callable, Iterator, Mapping

from torch import Tensor, nn

from sgm_vfi.model.interpolator import Interpolation, Interpolator


class Wrapper(Interpolator):
    """Interpolator with the requirements of the wrapped one, unless a subclass changes them."""

    def __init__(self, inner: Interpolator) -> None:
        super().__init__()
        self.inner = inner
        self.stride = inner.stride
        self.any_time = inner.any_time
        self.uses_context_frames = inner.uses_context_frames
        self.largest_flow_scale = inner.largest_flow_scale

    def size_multiple(self, flow_scale: float = 1.0) -> int:
        """Return what the inner interpolator asks for."""
        return self.inner.size_multiple(flow_scale)

    def compute_modules(self) -> Iterator[nn.Module]:
        """Return those of the inner interpolator."""
        return self.inner.compute_modules()


def map_frames(
    function: Callable[[Tensor], Tensor], around: Mapping[str, Tensor | None]
) -> dict[str, Tensor | None]:
    """Map a function over the context frames that are given."""
    return {name: None if frame is None else function(frame) for name, frame in around.items()}


def map_tensors(function: Callable[..., Tensor], *results: Interpolation) -> Interpolation:
    """Map a function over the corresponding tensors of one or more results of one layout."""
    first = results[0]
    frame = function(*(result.frame for result in results))
    merged = zip(*(result.merged for result in results), strict=True)
    explanation = None
    if first.explanation is not None:
        notes = [result.explanation or {} for result in results]
        explanation = {name: function(*(note[name] for note in notes)) for name in notes[0]}
    return Interpolation(frame, tuple(function(*stage) for stage in merged), explanation)
