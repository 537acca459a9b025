"""Writers of one segment: as video with its views, or as a folder of images."""

import os
import shutil
from collections.abc import Iterable, Sequence
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from sgm_vfi.media.colour_matrices import UNSPECIFIED, guess_matrix
from sgm_vfi.media.display_matrix import Orientation
from sgm_vfi.media.images import list_frames, write_frame
from sgm_vfi.media.png_colour_chunks import Chunk
from sgm_vfi.video.av_frames import ColourTags, apply_orientation
from sgm_vfi.video.colour_conversion import PLANE_LAYOUTS, PixelFormat
from sgm_vfi.video.comparison_views import REPEATED, CompareLayout, ExplainView, compare
from sgm_vfi.video.encoder_choice import EncoderSettings, EncodingError
from sgm_vfi.video.encoding_options import EncodingOptions
from sgm_vfi.video.produce_output_frames import ProducedFrame
from sgm_vfi.video.segment_encoder import SegmentEncoder
from sgm_vfi.video.source_video import SourceVideo

MAIN, COMPARE, EXPLAIN = "", "compare", "explain"  # names of the video and its views
TIMESTAMPS = "timestamps.txt"  # in the format that mkvmerge and others read, version 2
UPRIGHT = Orientation()
VIEW_OPTIONS = (("crf", "18"), ("preset", "veryfast"))


class SegmentWriter:
    """Writes one segment of the video and of each view that is wanted.

    Args:
        paths: of the video and each view, by name.
        layout: of the comparison.
        labels: of the frames in the comparison.
        orientation: that the source asks for; views are apply_orientation.
        explained: names in the network's explanations.
    """

    def __init__(
        self,
        paths: dict[str, Path],
        encoding: EncoderSettings,
        *,
        layout: CompareLayout = "side",
        labels: tuple[str, str] = REPEATED,
        orientation: Orientation = UPRIGHT,
        explained: Sequence[str] = (),
    ) -> None:
        self.paths = paths
        self.encoding = encoding
        self.layout = layout
        self.labels = labels
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
            other = frame0
            if made.other is not None:
                other = apply_orientation(made.other, self.orientation)
            self._write_view(COMPARE, compare(other, frame, self.labels, self.layout))
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
        """Finish all files and return their facts by name."""
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


def choose_png_encoding(
    requested: EncodingOptions, source: SourceVideo, rate: Fraction
) -> EncoderSettings:
    """Return 8-bit or 16-bit PNG as the encoding; PNG has no options."""
    if requested != EncodingOptions():
        raise EncodingError(
            "A folder of PNG files takes no options of encoders. Name a video, such as "
            "--output out.mp4."
        )
    return EncoderSettings(
        encoder="png",
        pixel_format=source.pixel_format,
        tags=source.tags,
        options=(("bits", "8" if source.pixel_format.layout.bits == 8 else "16"),),
        height=source.height,
        width=source.width,
        pixel_aspect=source.header.pixel_aspect,
        frame_rate=rate,
    )


class FolderWriter:
    """Writes one segment as numbered PNG files; colours beyond RGB are clipped.

    Args:
        chunks: of PNG files, which state colours.
    """

    def __init__(
        self,
        folder: Path,
        encoding: EncoderSettings,
        orientation: Orientation,
        chunks: Sequence[Chunk] = (),
    ) -> None:
        shutil.rmtree(folder, ignore_errors=True)  # left by a killed process of the same number
        folder.mkdir()
        self.folder = folder
        self.bits = int(dict(encoding.options)["bits"])
        self.orientation = orientation
        self.chunks = chunks
        self.count = 0

    def write(self, made: ProducedFrame) -> None:
        """Write the next frame."""
        picture = apply_orientation(made.frame, self.orientation)[0]
        self.count += 1
        file = self.folder / f"{self.count:06d}.png"
        write_frame(file, picture, self.bits, chunks=self.chunks)

    def close(self) -> dict[str, Any]:
        """Return the number of frames."""
        return {"frames": self.count, "outputs": {"": {"frames": self.count}}}


def join_folders(whole: Path, folders: Sequence[Path], times: Iterable[Fraction]) -> int:
    """Put the images of all segments into one folder, numbered from 1, with their timestamps.

    The segments stay as they are, so that an interrupted call may be repeated.

    Returns: how many images there are.
    """
    shutil.rmtree(whole, ignore_errors=True)
    whole.mkdir()
    timestamps = ["# timestamp format v2"]
    timestamps += [f"{float(time * 1000):.6f}" for time in times]
    (whole / TIMESTAMPS).write_text("\n".join([*timestamps, ""]))
    files = [file for folder in folders for file in list_frames(folder)]
    for number, file in enumerate(files, start=1):
        link_or_copy(file, whole / f"{number:06d}.png")
    return len(files)


def link_or_copy(source: Path, target: Path) -> None:
    """Give a file a second name; copy it where the disk has no links."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)
