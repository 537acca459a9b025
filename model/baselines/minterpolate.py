"""FFmpeg's motion-compensated interpolation, the filter `minterpolate`, as a baseline."""

from fractions import Fraction
from itertools import pairwise
from typing import NamedTuple, cast

import av
import numpy as np
import torch
from av.filter import Graph
from torch import Tensor

from sgm_vfi.model.interpolator import Interpolation, Interpolator, require_frames

SMALLEST = 64  # pixels a side: FFmpeg's motion search needs a few blocks


class VideoFramePair(NamedTuple):
    """Both frames as FFmpeg takes them, per sample, and where results belong."""

    frames: list[tuple[np.ndarray, np.ndarray]]  # (H, W, 3), 8 bits
    like: Tensor


class MInterpolate(Interpolator):
    """`minterpolate` with its defaults (bidirectional block motion, overlapped compensation).

    It sees the two frames alone, each of them twice, as 8-bit YUV without chroma subsampling.
    """

    any_time = False

    def prepare(self, frame0: Tensor, frame1: Tensor, flow_scale: float = 1.0) -> VideoFramePair:
        """Convert both frames to 8 bits. Shapes: (B, 3, H, W)."""
        require_frames(frame0, frame1, self)
        first, second = (
            (frame.clamp(0, 1) * 255).round().byte().permute(0, 2, 3, 1).cpu().numpy()
            for frame in (frame0, frame1)
        )
        return VideoFramePair(list(zip(first, second, strict=True)), frame0)

    def interpolate(
        self, state: VideoFramePair, time: Tensor, *, explain: bool = False
    ) -> Interpolation:
        """Return the frame in the middle. Shapes: time (B, 1, 1, 1) -> frame (B, 3, H, W)."""
        middle = np.stack([interpolate_middle(*pair) for pair in state.frames])
        frame = torch.from_numpy(middle).permute(0, 3, 1, 2).to(state.like) / 255
        return Interpolation(frame)


def interpolate_middle(frame0: np.ndarray, frame1: np.ndarray) -> np.ndarray:
    """Run the filter on frame 0, frame 0, frame 1, frame 1. Shapes: (H, W, 3) -> (H, W, 3)."""
    rows, columns = frame0.shape[:2]
    below, right = max(SMALLEST - rows, 0), max(SMALLEST - columns, 0)
    padding = ((0, below), (0, right), (0, 0))
    frame0, frame1 = (np.pad(frame, padding, mode="edge") for frame in (frame0, frame1))
    height, width = frame0.shape[:2]
    graph = Graph()
    rate = Fraction(1)
    layout = av.VideoFormat("yuv444p", width, height)
    source = graph.add_buffer(width=width, height=height, format=layout, time_base=rate)
    steps = [source, graph.add("minterpolate", "fps=2:scd=none"), graph.add("buffersink")]
    for before, after in pairwise(steps):
        before.link_to(after)
    graph.configure()
    frames: list[av.VideoFrame] = []
    for pts, image in enumerate((frame0, frame0, frame1, frame1)):
        video = av.VideoFrame.from_ndarray(image, format="rgb24").reformat(format="yuv444p")
        video.pts, video.time_base = pts, rate
        source.push(video)
    source.push(None)
    while True:
        try:
            frames.append(cast(av.VideoFrame, graph.pull()))
        except (av.error.EOFError, av.error.BlockingIOError):
            break
    [middle] = [frame for frame in frames if frame.time == 1.5]
    return middle.to_ndarray(format="rgb24")[:rows, :columns]
