"""What is written of a video: itself, as one piece of video per segment, and views to judge it."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from sgm_vfi.media.display_matrix import Orientation
from sgm_vfi.video.av_frames import UNSPECIFIED, ColourTags, apply_orientation, guess_matrix
from sgm_vfi.video.colour_conversion import PLANE_LAYOUTS, PixelFormat
from sgm_vfi.video.comparison import CompareLayout, ExplainView, compare
from sgm_vfi.video.encoding import EncoderSettings
from sgm_vfi.video.frame_producer import ProducedFrame
from sgm_vfi.video.segment_encoder import SegmentEncoder

MAIN, COMPARE, EXPLAIN = "", "compare", "explain"  # names of outputs
UPRIGHT = Orientation()
VIEW_OPTIONS = (("crf", "18"), ("preset", "veryfast"))


class SegmentWriter:
    """Writes one segment of the video and of each view that is wanted.

    Args:
        paths: where each view goes, by name.
        layout: of the comparison.
        orientation: that the source asks for; views are upright.
        explained: names in the network's explanations.
    """

    def __init__(
        self,
        paths: dict[str, Path],
        encoding: EncoderSettings,
        *,
        layout: CompareLayout = "side",
        orientation: Orientation = UPRIGHT,
        explained: Sequence[str] = (),
    ) -> None:
        self.paths = paths
        self.encoding = encoding
        self.layout = layout
        self.orientation = orientation
        self.view = ExplainView(explained)
        self.writers = {MAIN: SegmentEncoder(paths[MAIN], encoding)}

    def write(self, made: ProducedFrame) -> None:
        """Encode a frame, and draw and encode the views of it."""
        self.writers[MAIN].write(made.frame)
        if len(self.paths) == 1:
            return
        frame0, frame1, frame = (
            apply_orientation(x, self.orientation) for x in (made.frame0, made.frame1, made.frame)
        )
        if COMPARE in self.paths:
            self._write_view(COMPARE, compare(frame0, frame, layout=self.layout))
        if EXPLAIN in self.paths:
            notes = made.explanation
            if notes is not None:
                notes = {name: rotate_flow(note, self.orientation) for name, note in notes.items()}
            time = (
                f"t = {float(made.output_frame.time):.3g}"
                if made.output_frame.time
                else "source frame"
            )
            panel = self.view.panel(frame0, frame1, frame, time, notes)
            self._write_view(EXPLAIN, panel)

    def _write_view(self, name: str, picture: Tensor) -> None:
        if name not in self.writers:
            encoding = view_encoding(self.encoding, *picture.shape[-2:])
            self.writers[name] = SegmentEncoder(self.paths[name], encoding)
        self.writers[name].write(picture)

    def close(self) -> dict[str, Any]:
        """Finish all outputs."""
        facts = {name: writer.close() for name, writer in self.writers.items()}
        return {"frames": facts[MAIN]["frames"], "outputs": facts}


def rotate_flow(note: Tensor, orientation: Orientation) -> Tensor:
    """Mirror and turn an explanation; of flows, which have four channels, the vectors too.

    Shapes: (1, C, H, W) -> the same, or (1, C, W, H).
    """
    note = apply_orientation(note, orientation)
    if note.shape[1] == 4:
        if orientation.is_mirrored:
            note = note * note.new_tensor([-1, 1, -1, 1]).view(4, 1, 1)
        for _ in range(orientation.quarter_turns):
            right0, down0, right1, down1 = note.split(1, dim=1)
            note = torch.cat((down0, -right0, down1, -right1), dim=1)
    return note


def view_encoding(encoding: EncoderSettings, height: int, width: int) -> EncoderSettings:
    """A common encoding for pictures that are only looked at."""
    matrix = guess_matrix(height)
    return replace(
        encoding,
        encoder="libx264",
        pixel_format=PixelFormat(PLANE_LAYOUTS["yuv420p"], matrix),
        tags=ColourTags(matrix, 1, UNSPECIFIED, UNSPECIFIED),
        options=VIEW_OPTIONS,
        height=height,
        width=width,
        pixel_aspect=None,
    )
