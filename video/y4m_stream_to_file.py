"""A y4m stream becomes a video file or an animation; how long it is turns out at its end."""

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path

from torch import Tensor

from sgm_vfi.media.colour_matrices import UNSPECIFIED
from sgm_vfi.storage.atomic_write import replace_atomically
from sgm_vfi.video.animated_output import is_animation_output, write_animation
from sgm_vfi.video.av_frames import ColourTags, HDRMetadata
from sgm_vfi.video.colour_conversion import FULL_RANGE
from sgm_vfi.video.encoding_options import EncodingOptions
from sgm_vfi.video.job_plan import choose_video_encoding
from sgm_vfi.video.mux import CopiedStreams, EncodedSegment, FrameClock, assemble
from sgm_vfi.video.read_header import VideoHeader
from sgm_vfi.video.segment_encoder import SegmentEncoder
from sgm_vfi.video.source_video import SourceVideo
from sgm_vfi.video.y4m import Y4MHeader

NARROW_RANGE = 1  # in FFmpeg


def describe_stream(header: Y4MHeader, name: str) -> SourceVideo:
    """Describe a stream, of which nothing but its header was read, as a source of one frame."""
    return SourceVideo(
        path=Path(name),
        header=VideoHeader(
            codec="rawvideo",
            bit_rate=0,
            num_declared_frames=0,
            time_base=1 / header.rate,
            frame_rate=header.rate,
            pixel_aspect=header.pixel_aspect,
            duration=Fraction(0),
            other_streams=(),
            num_chapters=0,
            stream=0,
            other_videos=(),
        ),
        height=header.height,
        width=header.width,
        pixel_format=header.pixel_format,
        tags=ColourTags(
            UNSPECIFIED,
            FULL_RANGE if header.is_full_range else NARROW_RANGE,
            UNSPECIFIED,
            UNSPECIFIED,
        ),
        hdr_metadata=HDRMetadata(None, None),
        timestamps=(Fraction(0),),
        end=1 / header.rate,
        display_matrix=None,
        notes=(),
    )


@contextmanager
def open_stream_file(
    output: Path, source: SourceVideo, requested: EncodingOptions, rate: Fraction
) -> Iterator[Callable[[Tensor], None]]:
    """Give a function that encodes a frame (1, 3, H, W); after the block, the file is there.

    After an error nothing is left.

    Args:
        rate: output frames per second.
    """
    encoding = choose_video_encoding(requested, source, rate, output.suffix.lower())
    print(f"output  {output}: {encoding.pixel_format.layout.pix_fmt}, {encoding}")
    for note in (*source.notes, *encoding.notes):
        print(f"note    {note}")
    output.parent.mkdir(parents=True, exist_ok=True)
    with (
        tempfile.TemporaryDirectory(prefix=f".{output.stem}.", dir=output.parent) as folder,
        replace_atomically(output) as whole,
    ):
        segment, joined = Path(folder, "frames.mkv"), Path(folder, "joined.mkv")
        encoder = SegmentEncoder(segment, encoding)
        yield encoder.write
        facts = encoder.close()
        count = facts["frames"]
        is_animation = is_animation_output(output)
        assemble(
            joined if is_animation else whole,
            source,
            [EncodedSegment(segment, facts["reorder"])],
            FrameClock(1 / rate, iter(range(count)), count),
            CopiedStreams(),
        )
        if is_animation:
            write_animation(joined, whole, count / rate)
