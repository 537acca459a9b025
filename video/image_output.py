"""Frames as a folder of files instead of a video."""

from collections.abc import Iterable, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

from sgm_vfi.media.display_matrix import Orientation
from sgm_vfi.media.images import list_frames, write_frame
from sgm_vfi.video.av_frames import apply_orientation
from sgm_vfi.video.encoding import EncoderSettings, EncodingError, EncodingOptions
from sgm_vfi.video.frame_producer import ProducedFrame
from sgm_vfi.video.mux import CopiedStreams
from sgm_vfi.video.source_video import SourceVideo

TIMES = "timestamps.txt"  # in the format that mkvmerge and others read, version 2


def is_folder(output: Path) -> bool:
    """Whether a name is that of a folder, as it has no suffix."""
    return not output.suffix


def require_empty(output: Path) -> None:
    """Refuse to write among other files."""
    if output.is_file() or (output.is_dir() and any(output.iterdir())):
        raise ValueError(f"{output} is there already. Name another folder, or empty it.")


def choose_png_encoding(
    requested: EncodingOptions, source: SourceVideo, rate: Fraction
) -> EncoderSettings:
    """PNG holds RGB of 8 or 16 bits, and there is nothing to choose."""
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


def find_folder_losses(source: SourceVideo) -> CopiedStreams:
    """Pictures alone; they are shown as the source asks."""
    lost = [f"{other}: a folder holds frames only" for other in source.header.other_streams]
    if source.header.pixel_aspect not in (None, 1):
        lost.append(f"the shape of its pixels, {source.header.pixel_aspect}")
    return CopiedStreams(lost=tuple(lost))


class FolderWriter:
    """Writes one segment as numbered PNG files."""

    def __init__(self, folder: Path, encoding: EncoderSettings, orientation: Orientation) -> None:
        folder.mkdir()
        self.folder = folder
        self.bits = int(dict(encoding.options)["bits"])
        self.orientation = orientation
        self.count = 0

    def write(self, made: ProducedFrame) -> None:
        """Write a frame; colours beyond RGB are lost."""
        picture = apply_orientation(made.frame, self.orientation)[0]
        self.count += 1
        write_frame(self.folder / f"{self.count:06d}.png", picture, self.bits)

    def close(self) -> dict[str, Any]:
        """Give what is to be known of the segment."""
        return {"frames": self.count, "outputs": {"": {"frames": self.count}}}


def gather(whole: Path, folders: Sequence[Path], times: Iterable[Fraction]) -> int:
    """Move the files of all segments into one folder, numbered from 1, with their times.

    May be done again where it was interrupted.

    Returns: how many frames there are.
    """
    whole.mkdir(exist_ok=True)
    timestamps = ["# timestamp format v2"]
    timestamps += [f"{float(time * 1000):.6f}" for time in times]
    (whole / TIMES).write_text("\n".join([*timestamps, ""]))
    done = len(list_frames(whole)) if any(whole.glob("*.png")) else 0
    for folder in folders:
        for file in sorted(folder.glob("*.png")):
            done += 1
            file.replace(whole / f"{done:06d}.png")
    return done
