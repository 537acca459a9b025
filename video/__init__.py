"""Frame interpolation of videos: the public interface.

from sgm_vfi.video import VideoOptions, Target, interpolate, interpolate_file

interpolate_file("in.mp4", "out.mp4", VideoOptions(target=Target(fps=60)))
for seconds, frame in interpolate(frames, rate=25): ...
"""

from sgm_vfi.video.encoding_options import EncodingOptions
from sgm_vfi.video.job import interpolate_file
from sgm_vfi.video.memory_fallback import MemoryBudget
from sgm_vfi.video.options import VideoOptions
from sgm_vfi.video.output_timestamps import Target
from sgm_vfi.video.stream_api import TimedFrame, interpolate

__all__ = [
    "EncodingOptions",
    "MemoryBudget",
    "Target",
    "TimedFrame",
    "VideoOptions",
    "interpolate",
    "interpolate_file",
]
