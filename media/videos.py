"""Clips: video files and folders of frames, read one frame at a time."""

import logging
from abc import ABC, abstractmethod
from collections.abc import Container, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import av
import numpy as np
from av.video.reformatter import ColorRange, Colorspace
from torch import Tensor

from sgm_vfi.media.display_matrix import Orientation, parse_display_matrix, read_display_matrix
from sgm_vfi.media.images import (
    BITS,
    as_frame,
    describe_path,
    is_image,
    list_frames,
    natural_sort_key,
    read_samples,
)

VIDEO_SUFFIXES = (
    *(".mp4", ".mov", ".m4v", ".3gp", ".mkv", ".webm", ".avi", ".y4m"),
    *(".mpg", ".mpeg", ".ts", ".m2ts", ".mts", ".wmv", ".flv", ".ogv"),
)
HD_HEIGHT = 720  # rows from which untagged video counts as BT.709, as players have it
MATRIX_UNSPECIFIED = 2  # of the colour matrices in ITU-T H.273
# Bilinear, accurate rounding, chroma at full width (swscale's flags; PyAV names not all of them).
SCALING = 0x2 | 0x40000 | 0x2000

logger = logging.getLogger(__name__)


class VideoError(ValueError):
    """A path that holds no usable clip: the message names it and says what to do."""


class FrameReaderInfo(NamedTuple):
    """What is known about a clip before its frames are used."""

    num_frames: int
    height: int  # pixels, after rotation
    width: int
    bits: int  # per sample: 8 or 16


@dataclass(frozen=True)
class FrameReader(ABC):
    """Consecutive frames of one size."""

    name: str
    path: Path

    @abstractmethod
    def probe(self) -> FrameReaderInfo:
        """Count the frames, and find damage before any work is done where that is to be had."""

    @abstractmethod
    def read_samples(
        self, wanted: Container[int] | None = None
    ) -> Iterator[tuple[int, np.ndarray]]:
        """Index and RGB samples (H, W, 3) of each frame that is wanted (None: of all)."""

    def read_frames(self, wanted: Container[int] | None = None) -> Iterator[tuple[int, Tensor]]:
        """Index and frame of each frame that is wanted (None: of all), in order, one at a time.

        Shapes: -> (3, H, W), RGB in [0, 1], on the CPU.
        """
        first = None
        for index, samples in self.read_samples(wanted):
            first = samples if first is None else first
            if samples.shape != first.shape or samples.dtype != first.dtype:
                raise VideoError(
                    f"The frames of {self.path} differ: frame {index} is "
                    f"{describe_format(samples)}, earlier ones are {describe_format(first)}. "
                    f"A clip has frames of one size and depth."
                )
            yield index, as_frame(samples)


class ImageFolderReader(FrameReader):
    """A folder of images, in natural order."""

    def probe(self) -> FrameReaderInfo:
        """Count the images and read the first."""
        files = list_frames(self.path)
        samples = read_samples(files[0])
        return FrameReaderInfo(len(files), *samples.shape[:2], BITS[samples.dtype])

    def read_samples(
        self, wanted: Container[int] | None = None
    ) -> Iterator[tuple[int, np.ndarray]]:
        """Reads no image that is not wanted."""
        for index, file in enumerate(list_frames(self.path)):
            if wanted is None or index in wanted:
                yield index, read_samples(file)


class VideoReader(FrameReader):
    """The first video stream of a file, as a player shows it: its matrix, range and orientation.

    Streams of more than 8 bits give 16-bit samples. Where no matrix is stated it is BT.709 from
    720 rows up and BT.601 below. Timestamps and transparency are left out of account.
    """

    def probe(self) -> FrameReaderInfo:
        """Decode the whole file, without turning it into RGB: there is no shorter way to know."""
        count, first = 0, None
        for count, picture in enumerate(self.decode(), start=1):  # noqa: B007
            first = first or picture
        if first is None:
            raise VideoError(f"{self.path} holds a video stream without a single frame.")
        samples = to_rgb_samples(first)
        return FrameReaderInfo(count, *samples.shape[:2], BITS[samples.dtype])

    def read_samples(
        self, wanted: Container[int] | None = None
    ) -> Iterator[tuple[int, np.ndarray]]:
        """Decodes every picture up to the last wanted one, converts none that is not wanted."""
        for index, picture in enumerate(self.decode()):
            if wanted is None or index in wanted:
                yield index, to_rgb_samples(picture)

    def decode(self) -> Iterator[av.VideoFrame]:
        """Decode the stream in display order; damage is an error, never a guessed picture."""
        count = 0
        try:
            with av.open(self.path) as container:
                if not container.streams.video:
                    raise VideoError(f"{self.path} holds no video stream.")
                stream = container.streams.video[0]
                if stream.codec_context is None:  # PyAV would crash
                    raise VideoError(self.damage_message(count, "its codec is unknown"))
                stream.thread_type = "AUTO"
                for packet in container.demux(stream):
                    if packet.is_corrupt:
                        raise VideoError(
                            self.damage_message(count, "a truncated or corrupt packet")
                        )
                    for picture in packet.decode():
                        if picture.is_corrupt:
                            raise VideoError(self.damage_message(count, "a corrupt picture"))
                        count += 1
                        yield picture
                promised = stream.frames
        except av.error.FFmpegError as error:
            raise VideoError(self.damage_message(count, error.strerror or str(error))) from error
        if count < promised:
            logger.warning("%s gave %d of the %d frames it promises", self.path, count, promised)

    def damage_message(self, count: int, what: str) -> str:
        """A message for what stopped the decoder after `count` pictures."""
        return (
            f"Cannot decode {self.path} beyond its first {count} frames: {what}. "
            f"It is damaged or no video: repair it (for example by re-encoding) or leave it out."
        )


def to_rgb_samples(picture: av.VideoFrame) -> np.ndarray:
    """A decoded picture as it is displayed. Shapes: -> (H, W, 3), RGB, uint8 or uint16."""
    deep = any(component.bits > 8 for component in picture.format.components)
    matrix = picture.colorspace
    if matrix == MATRIX_UNSPECIFIED:
        matrix = Colorspace.ITU709 if picture.height >= HD_HEIGHT else Colorspace.ITU601
    rgb = picture.reformat(
        format="gbrp16le" if deep else "rgb24",  # full-width chroma breaks swscale's rgb48le
        interpolation=SCALING,
        src_colorspace=matrix,
        src_color_range=picture.color_range,
        dst_color_range=ColorRange.JPEG,
    )
    samples, orientation = rgb.to_ndarray(), parse_display_matrix(read_display_matrix(picture))
    require_quarter_turn(orientation)
    if orientation.is_mirrored:
        samples = np.flip(samples, axis=1)
    return np.rot90(samples, orientation.quarter_turns)


def require_quarter_turn(orientation: Orientation) -> None:
    """Refuse what cannot be shown upright without resampling."""
    if not orientation.is_quarter_turn:
        raise VideoError(f"Video is turned by whole quarters, got a tag of {orientation}.")


def find_frame_readers(paths: Iterable[Path]) -> list[FrameReader]:
    """Every clip that the paths name: video files, folders of frames, and folders of either.

    A clip is named by its place below the path that led to it, or by its whole path where that
    would name two alike. Hidden files and folders are left out.
    """
    found: dict[Path, FrameReader] = {}
    for path in paths:
        if path.is_file():
            if is_image(path):
                raise VideoError(
                    f"{path} is one image, not a clip: name its folder, {path.parent}."
                )
            found.setdefault(path, VideoReader(path.name, path))
            continue
        if not path.is_dir():
            raise VideoError(f"There is no clip at {path}: {describe_path(path)}.")
        clips = list(find_readers_below(path, path))
        if not clips:
            raise VideoError(
                f"{path} holds no clips: looked in it and below it for folders of images and for "
                f"files ending in {', '.join(VIDEO_SUFFIXES)}."
            )
        for clip in clips:
            found.setdefault(clip.path, clip)
    names = [clip.name for clip in found.values()]
    return [
        clip if names.count(clip.name) == 1 else type(clip)(str(clip.path), clip.path)
        for clip in found.values()
    ]


def find_readers_below(folder: Path, root: Path) -> Iterator[FrameReader]:
    """The frames in a folder as one clip, then its videos, then what its folders hold."""
    entries = sorted(
        (entry for entry in folder.iterdir() if not entry.name.startswith(".")),
        key=natural_sort_key,
    )
    if any(is_image(entry) and entry.is_file() for entry in entries):
        yield ImageFolderReader(relative_name(folder, root), folder)
    for entry in entries:
        if entry.suffix.lower() in VIDEO_SUFFIXES and entry.is_file():
            yield VideoReader(relative_name(entry, root), entry)
    for entry in entries:
        if entry.is_dir():
            yield from find_readers_below(entry, root)


def relative_name(path: Path, root: Path) -> str:
    """The path without the root, or the root's own name for itself."""
    return root.resolve().name if path == root else path.relative_to(root).as_posix()


def describe_format(samples: np.ndarray) -> str:
    """Size and depth in words. Shapes: (H, W, 3)."""
    return f"{samples.shape[1]}x{samples.shape[0]} with {BITS[samples.dtype]} bits"
