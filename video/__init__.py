"""Footage in, smoother or slower footage out. This is all that a user imports.

from video import Options, Target, interpolate, interpolate_file

interpolate_file("in.mp4", "out.mp4", Options(target=Target(fps=60)))
for seconds, frame in interpolate(frames, rate=25): ...
"""

from video.command import interpolate_file
from video.encoding import Wish
from video.options import Options
from video.stream import Timed, interpolate
from video.synthesis import Effort
from video.timeline import Target

__all__ = ["Effort", "Options", "Target", "Timed", "Wish", "interpolate", "interpolate_file"]
