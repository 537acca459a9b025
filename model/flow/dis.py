"""DIS: Fast Optical Flow using Dense Inverse Search (Kroeger et al., ECCV 2016), by OpenCV.

Stages, in order: frames become 8-bit grey on the CPU and are padded; OpenCV searches patches from
coarse to fine, optionally from given flows, and refines the result variationally, one thread per
pair. Tensors: frames (B, 3, H, W), RGB in [0, 1]; flows (B, 2, H, W), (u, v) in pixels. It has
no trained weights and no gradient.
"""

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from itertools import repeat
from typing import Any

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from sgm_vfi.model.flow.estimator import FlowEstimator

LUMA = (0.299, 0.587, 0.114)  # shares of red, green and blue in grey
MAX_REFINED_PIXELS = 2**19  # larger frames have no variational refinement
LARGEST_PATCH = 16  # pixels: as many as OpenCV adds around a frame; it reads outside of them


class DISFlow(FlowEstimator):
    """OpenCV's DIS optical flow on the CPU; deterministic, for frames of any size.

    Args: OpenCV's medium preset.
        finest_scale: the search ends on frames halved that many times; the rest is interpolated.
        patch_size: of the squares that are searched for, in pixels of the halved frame.
        patch_stride: distance between them.
        iterations: gradient descent steps per patch and scale.
        refinements: fixed-point steps of the variational refinement per scale, on frames of at
            most half a megapixel. On larger ones it costs a third of the time and gains nothing.
    """

    def __init__(
        self,
        finest_scale: int = 1,
        patch_size: int = 8,
        patch_stride: int = 3,
        *,
        iterations: int = 25,
        refinements: int = 5,
    ) -> None:
        super().__init__()
        if not 0 <= finest_scale <= 4:
            raise ValueError(f"finest_scale is 0 to 4 halvings, got {finest_scale}.")
        if not 4 <= patch_size <= LARGEST_PATCH:
            raise ValueError(f"patch_size is 4 to {LARGEST_PATCH} pixels, got {patch_size}.")
        if not 1 <= patch_stride <= patch_size:
            raise ValueError(f"patch_stride is 1 to {patch_size} pixels, got {patch_stride}.")
        self.finest_scale = finest_scale
        self.patch_size = patch_size
        self.patch_stride = patch_stride
        self.iterations = iterations
        self.refinements = refinements

    @torch.no_grad()
    def forward(self, source: Tensor, target: Tensor, start: Tensor | None = None) -> Tensor:
        """Return the flow; patches begin at `start`, (B, 2, H, W), where that fits better."""
        height, width = source.shape[-2:]
        pad = (0, self.padding(width), 0, self.padding(height))
        starts = repeat(None) if start is None else to_opencv_flow(start, pad)
        greys = to_grey_uint8(source, pad), to_grey_uint8(target, pad)
        refinements = self.refinements if height * width <= MAX_REFINED_PIXELS else 0
        flow = np.stack(
            map_in_threads(
                lambda *given: self.create_search(refinements).calc(*given), *greys, starts
            )
        )
        return torch.from_numpy(flow[:, :height, :width]).movedim(-1, 1).to(source).contiguous()

    def estimate_both(self, seen0: Tensor, seen1: Tensor) -> tuple[Tensor, Tensor]:
        """Return flow_01 and flow_10 of two frames, searched at the same time."""
        return self.search_both(seen0, seen1)

    def search_both(
        self, frame0: Tensor, frame1: Tensor, starts: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Return flow_01 and flow_10; `starts` are those of both, stacked on the batch axis."""
        frames = torch.cat((frame0, frame1)), torch.cat((frame1, frame0))
        flow_01, flow_10 = self(*frames, starts).chunk(2)
        return flow_01, flow_10

    def padding(self, side: int) -> int:
        """Return the padding of a side: OpenCV fails on small frames and on odd halved sizes."""
        smallest = 4 * self.patch_size << self.finest_scale
        return max(smallest - side, -side % (1 << self.finest_scale))

    def create_search(self, refinements: int) -> cv2.DISOpticalFlow:
        """Create a search object; threads cannot share one, because it keeps buffers."""
        searcher = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
        searcher.setFinestScale(self.finest_scale)
        searcher.setPatchSize(self.patch_size)
        searcher.setPatchStride(self.patch_stride)
        searcher.setGradientDescentIterations(self.iterations)
        searcher.setVariationalRefinementIterations(refinements)
        return searcher


def map_in_threads(function: Callable[..., Any], *columns: Iterable[Any]) -> list[Any]:
    """Map a function over samples in threads; OpenCV releases the interpreter lock."""
    with ThreadPoolExecutor() as pool:
        return list(pool.map(function, *columns))


def to_opencv_flow(flow: Tensor, pad: tuple[int, int, int, int]) -> np.ndarray:
    """Shapes: (B, 2, H, W) -> (B, H + pad, W + pad, 2), a copy."""
    padded = F.pad(flow.detach().cpu().float(), pad, mode="replicate")
    return padded.movedim(1, -1).contiguous().numpy()


def to_grey_uint8(frame: Tensor, pad: tuple[int, int, int, int]) -> np.ndarray:
    """Shapes: RGB in [0, 1], (B, 3, H, W) -> 8-bit grey, (B, H + pad, W + pad)."""
    frame = F.pad(frame.detach().cpu().float(), pad, mode="replicate")
    grey = torch.einsum("bchw,c->bhw", frame, torch.tensor(LUMA))
    return (grey * 255).round().clamp(0, 255).byte().numpy()
