"""Frame readers: video files and folders of images, read one frame at a time."""

import logging
from abc import ABC, abstractmethod
from collections.abc import Container, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import av
import numpy as np
from av.video.reformatter import ColorRange
from torch import Tensor

from sgm_vfi.media.colour_matrices import find_matrix, has_matrix
from sgm_vfi.media.declared_frames import DeclaredFrames
from sgm_vfi.media.display_matrix import Orientation, parse_display_matrix, read_display_matrix
from sgm_vfi.media.images import (
    BITS,
    as_frame,
    describe_path,
    is_image,
    list_frames,
    natural_sort_key,
    printable_name,
    read_samples,
)
from sgm_vfi.media.open_local_media import VideoError, choose_video_stream, open_input

VIDEO_SUFFIXES = (
    *(".mp4", ".mov", ".m4v", ".3gp", ".mkv", ".webm", ".avi", ".y4m"),
    *(".mpg", ".mpeg", ".ts", ".m2ts", ".mts", ".wmv", ".flv", ".ogv"),
)
# swscale flags: bilinear, accurate rounding, full chroma interpolation.
SCALING = 0x2 | 0x40000 | 0x2000

logger = logging.getLogger(__name__)


class FrameReaderInfo(NamedTuple):
    """Frame count, size and bit depth of a frame reader."""

    num_frames: int
    height: int  # pixels, after rotation
    width: int
    bits: int  # per sample: 8 or 16

    @classmethod
    def of(cls, num_frames: int, samples: np.ndarray) -> "FrameReaderInfo":
        """Describe frames like the given one. Shapes: samples (H, W, 3)."""
        height, width = samples.shape[:2]
        return cls(num_frames, height, width, BITS[samples.dtype])


@dataclass(frozen=True)
class FrameReader(ABC):
    """Base class for readers of consecutive frames of one size."""

    name: str
    path: Path

    @abstractmethod
    def probe(self) -> FrameReaderInfo:
        """Count the frames and check what can be checked beforehand."""

    @abstractmethod
    def read_samples(
        self, wanted: Container[int] | None = None
    ) -> Iterator[tuple[int, np.ndarray]]:
        """Yield index and RGB samples (H, W, 3) of each wanted frame (None: all)."""

    def read_frames(self, wanted: Container[int] | None = None) -> Iterator[tuple[int, Tensor]]:
        """Yield index and frame of each wanted frame (None: all), in order.

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
    """Reads the images of a folder, in natural order."""

    def probe(self) -> FrameReaderInfo:
        """Count the images and read the first."""
        files = list_frames(self.path)
        return FrameReaderInfo.of(len(files), read_samples(files[0]))

    def read_samples(
        self, wanted: Container[int] | None = None
    ) -> Iterator[tuple[int, np.ndarray]]:
        """Read only the wanted images."""
        for index, file in enumerate(list_frames(self.path)):
            if wanted is None or index in wanted:
                yield index, read_samples(file)


@dataclass(frozen=True)
class VideoReader(FrameReader):
    """Reads the video stream of a file with its colour matrix, range and orientation.

    Streams of more than 8 bits give 16-bit samples. An unspecified matrix is BT.709 from 720 rows
    up and BT.601 below. Timestamps and transparency are ignored.

    Args:
        stream: index of the video stream in the file; by default, the one that players show.
        follow_playlists: allow playlists, which name other local files.
    """

    stream: int | None = None
    follow_playlists: bool = False

    def probe(self) -> FrameReaderInfo:
        """Decode the whole file to count its frames."""
        count, first = 0, None
        for count, picture in enumerate(self.decode(), start=1):  # noqa: B007
            first = first or picture
        if first is None:
            raise VideoError(f"{self.path} holds a video stream without a single frame.")
        return FrameReaderInfo.of(count, to_rgb_samples(first))

    def read_samples(
        self, wanted: Container[int] | None = None
    ) -> Iterator[tuple[int, np.ndarray]]:
        """Decode every picture, convert only the wanted ones."""
        for index, picture in enumerate(self.decode()):
            if wanted is None or index in wanted:
                yield index, to_rgb_samples(picture)

    def decode(self) -> Iterator[av.VideoFrame]:
        """Decode the stream in display order; raise VideoError on damage."""
        count = 0
        try:
            with open_input(self.path, follow_playlists=self.follow_playlists) as container:
                stream = choose_video_stream(self.path, container, self.stream)
                if stream.codec_context is None:  # PyAV would crash
                    raise VideoError(self.damage_message(count, "its codec is unknown"))
                stream.thread_type = "AUTO"
                declared = DeclaredFrames(stream)
                for packet in container.demux(stream):
                    declared.add(packet)
                    if packet.is_corrupt:
                        raise VideoError(
                            self.damage_message(count, "a truncated or corrupt packet")
                        )
                    for picture in packet.decode():
                        if picture.is_corrupt:
                            raise VideoError(self.damage_message(count, "a corrupt picture"))
                        require_supported_matrix(self.path, picture)
                        count += 1
                        yield picture
        except av.error.FFmpegError as error:
            raise VideoError(self.damage_message(count, error.strerror or str(error))) from error
        if count < declared.count:
            logger.warning(
                "%s gave %d of the %d frames it promises", self.path, count, declared.count
            )

    def damage_message(self, count: int, what: str) -> str:
        """Return the error message for a failure after `count` pictures."""
        return (
            f"Cannot decode {self.path} beyond its first {count} frames: {what}. "
            f"It is damaged or no video: repair it (for example by re-encoding) or leave it out."
        )


def to_rgb_samples(picture: av.VideoFrame) -> np.ndarray:
    """Convert a decoded picture to RGB in display orientation.

    Shapes: -> (H, W, 3), RGB, uint8 or uint16.
    """
    deep = any(component.bits > 8 for component in picture.format.components)
    matrix = find_matrix(picture) if has_matrix(picture) else picture.colorspace
    rgb = picture.reformat(
        format="gbrp16le" if deep else "rgb24",  # full-width chroma breaks swscale's rgb48le
        interpolation=SCALING,
        src_colorspace=matrix,
        src_color_range=picture.color_range,
        dst_color_range=ColorRange.JPEG,
    )
    orientation = parse_display_matrix(read_display_matrix(picture))
    require_quarter_turn(orientation)
    samples: np.ndarray = rgb.to_ndarray()
    if orientation.is_mirrored:
        samples = np.flip(samples, axis=1)
    return np.rot90(samples, orientation.quarter_turns)


def require_supported_matrix(path: Path, picture: av.VideoFrame) -> None:
    """Raise VideoError for a colour matrix that no conversion here supports."""
    try:
        find_matrix(picture) if has_matrix(picture) else None
    except ValueError as error:
        raise VideoError(f"{path} {error}") from error


def require_quarter_turn(orientation: Orientation) -> None:
    """Raise VideoError for a rotation that needs resampling."""
    if not orientation.is_quarter_turn:
        raise VideoError(f"Videos are rotated by multiples of 90 degrees, got {orientation}.")


def find_frame_readers(paths: Iterable[Path]) -> list[FrameReader]:
    """Find all clips in the paths: video files, folders of frames, and folders of either.

    A clip is named by its path relative to the given one, or by its whole path if two names were
    equal. Hidden files and folders are ignored.
    """
    found: dict[Path, FrameReader] = {}
    for path in paths:
        if path.is_file():
            if is_image(path):
                raise VideoError(
                    f"{path} is one image, not a clip: name its folder, {path.parent}."
                )
            found.setdefault(path, VideoReader(printable_name(path.name), path))
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
        clip
        if names.count(clip.name) == 1
        else type(clip)(printable_name(str(clip.path)), clip.path)
        for clip in found.values()
    ]


def find_readers_below(
    folder: Path, root: Path, visited: set[Path] | None = None
) -> Iterator[FrameReader]:
    """Yield the images of a folder as one clip, then its videos, then those of its subfolders.

    Args:
        visited: real paths of folders that are left out, as links may lead in a circle.
    """
    visited = set() if visited is None else visited
    if folder.resolve() in visited:
        return
    visited.add(folder.resolve())
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
            yield from find_readers_below(entry, root, visited)


def relative_name(path: Path, root: Path) -> str:
    """Return the path relative to the root, or the root's name for itself, to be printed."""
    name = root.resolve().name if path == root else path.relative_to(root).as_posix()
    return printable_name(name)


def describe_format(samples: np.ndarray) -> str:
    """Describe size and bit depth. Shapes: (H, W, 3)."""
    return f"{samples.shape[1]}x{samples.shape[0]} with {BITS[samples.dtype]} bits"
