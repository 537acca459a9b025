"""A folder of images as the source of a video."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

from torch import Tensor
from tqdm import tqdm

from sgm_vfi.media.image_colour_information import find_common_colours
from sgm_vfi.media.images import FrameError, read_frame
from sgm_vfi.media.missing_frame_numbers import describe_missing, find_positions
from sgm_vfi.media.sequences import probe_frames
from sgm_vfi.video.av_frames import read_colour_tags, to_video_frame
from sgm_vfi.video.colour_conversion import PLANE_LAYOUTS, PixelFormat
from sgm_vfi.video.image_colour_tags import find_image_tags, read_image_hdr_metadata
from sgm_vfi.video.read_header import VideoHeader
from sgm_vfi.video.source_decoder import DecodedFrame
from sgm_vfi.video.source_video import SourceVideo
from sgm_vfi.video.trim import WHOLE, Trim

PNG = Path("frame.png")  # keeps all that images state about colours


@dataclass(frozen=True)
class ImageSequenceSource(SourceVideo):
    """Images that are shown one after the other at a constant rate."""

    files: Sequence[Path] = ()

    def planes(self, wanted: Iterable[int] | None = None) -> Iterator[tuple[int, list[Tensor]]]:
        """Yield index and samples as `SourceVideo` does; each image is read when it is needed."""
        for index in range(len(self.files)) if wanted is None else wanted:
            frame = read_frame(self.files[index % len(self.files)])[None]
            planes = self.pixel_format.to_planes(frame)
            yield index, self.resize(planes)


def select_images(
    folder: Path, files: Sequence[Path], tick: Fraction, trim: Trim, *, fill_missing: bool
) -> tuple[list[Path], list[int]]:
    """Return the images of a part of a sequence, and their positions from its first on.

    Raises:
        FrameError: no image is in the part.
    """
    places = find_positions(files) if fill_missing else range(len(files))
    kept = [
        (file, place)
        for file, place in zip(files, places, strict=True)
        if not trim.is_before(place, place * tick, tick)
        and not trim.is_over(place, place * tick, tick)
    ]
    if not kept:
        raise FrameError(f"{folder} has no frame in {trim}.")
    return [file for file, _ in kept], [place - kept[0][1] for _, place in kept]


def probe_images(
    folder: Path,
    files: Sequence[Path],
    rate: Fraction,
    watch: Callable[[Iterator[DecodedFrame]], Iterable[DecodedFrame]] | None = None,
    trim: Trim = WHOLE,
    *,
    fill_missing: bool = True,
) -> ImageSequenceSource:
    """Read all images once without keeping them, as `probe_video` does with a video.

    Args:
        rate: images per second.
        fill_missing: images whose numbers are missing count as time.
        watch: consumes the pictures as they are read; what it yields is ignored.

    Raises:
        FrameError: an image cannot be read, or is not of the size of the first.
    """
    tick = 1 / Fraction(rate)
    files, positions = select_images(folder, files, tick, trim, fill_missing=fill_missing)
    height, width, bits = probe_frames(tqdm(files, "checking", leave=False))
    pixel_format = PixelFormat(
        PLANE_LAYOUTS["gbrp" if bits == 8 else "gbrp16le"], is_full_range=True
    )
    timestamps = tuple(position * tick for position in positions)
    end = timestamps[-1] + tick
    missing = describe_missing(files, positions)
    if watch is not None:
        for _ in watch(read_pictures(files, timestamps, pixel_format)):
            pass
    colours = find_common_colours(files, PNG)
    first = to_video_frame(read_frame(files[0])[None], pixel_format)
    tags, notes = find_image_tags(colours, read_colour_tags(first))
    return ImageSequenceSource(
        path=folder,
        header=describe_sequence(len(files), tick, end),
        height=height,
        width=width,
        pixel_format=pixel_format._replace(native_pix_fmt=pixel_format.layout.pix_fmt),
        tags=tags,
        hdr_metadata=read_image_hdr_metadata(colours),
        timestamps=timestamps,
        end=end,
        display_matrix=None,
        notes=(missing, *notes) if missing else notes,
        trim=trim,
        files=files,
    )


def read_pictures(
    files: Sequence[Path], timestamps: Sequence[Fraction], pixel_format: PixelFormat
) -> Iterator[DecodedFrame]:
    """Decode images in order."""
    for index, file in enumerate(tqdm(files, "reading", leave=False)):
        picture = to_video_frame(read_frame(file)[None], pixel_format)
        yield DecodedFrame(index, timestamps[index], picture)


def describe_sequence(num_files: int, tick: Fraction, duration: Fraction) -> VideoHeader:
    """Return what the header of a video would say of a sequence of images."""
    return VideoHeader(
        codec="png",
        bit_rate=0,
        num_declared_frames=num_files,
        time_base=tick,
        frame_rate=1 / tick,
        pixel_aspect=None,
        duration=duration,
        other_streams=(),
        num_chapters=0,
        stream=0,
        other_videos=(),
    )
