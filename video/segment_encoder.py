"""Encoding of one segment of video."""

import os
from fractions import Fraction
from pathlib import Path

import av
from torch import Tensor

from sgm_vfi.media.open_local_media import open_output
from sgm_vfi.video.av_frames import to_video_frame
from sgm_vfi.video.encoder_choice import EncoderSettings, EncodingError

X264_THREADS = 8  # on every machine, so that a continued job gives the same bits
SEGMENT_RATE = 25  # frames per second at which a segment alone plays


class SegmentEncoder:
    """Encodes consecutive frames as a Matroska file that can be joined with others.

    The file plays at 25 frames per second; joining sets the final timestamps.
    """

    def __init__(self, path: Path, encoding: EncoderSettings) -> None:
        self.encoding = encoding
        os.environ.setdefault("SVT_LOG", "1")  # SVT-AV1 prints errors only
        rate = encoding.frame_rate.limit_denominator(2**16)
        self.container = open_output(path, format="matroska")
        try:
            stream = self.container.add_stream(
                encoding.encoder,
                rate=rate,
                options=dict(encoding.options),
                width=encoding.width,
                height=encoding.height,
                pix_fmt=encoding.pixel_format.layout.pix_fmt,
            )
        except ValueError as error:
            raise EncodingError(
                f"Segments are kept as Matroska, which cannot hold {encoding.encoder}. Use --codec "
                f"h264 or ffv1."
            ) from error
        assert isinstance(stream, av.VideoStream)  # `choose_encoding` accepts no other encoder
        self.stream = stream
        context, tags = stream.codec_context, encoding.tags
        context.colorspace, context.color_range = tags.matrix, tags.colour_range
        context.color_primaries, context.color_trc = tags.primaries, tags.transfer
        if encoding.encoder == "libx264":  # its bits depend on how many threads encode
            context.thread_type, context.thread_count = "FRAME", X264_THREADS
        if encoding.pixel_aspect:
            context.sample_aspect_ratio = encoding.pixel_aspect
        self.time_base = 1 / rate
        context.time_base = self.time_base
        self.count = self.muxed = self.reorder = 0

    def write(self, frame: Tensor) -> None:
        """Encode a frame. Shapes: (1, 3, H, W), RGB in [0, 1], on any device."""
        picture = to_video_frame(frame, self.encoding.pixel_format)
        picture.pts, picture.time_base = self.count, self.time_base
        self.count += 1
        try:
            packets = self.stream.encode(picture)
        except av.error.FFmpegError as error:
            raise EncodingError(
                f"{self.encoding} cannot encode {picture.width}x{picture.height} "
                f"{picture.format.name} at {float(1 / self.time_base):.5g} fps: {error.strerror}. "
                f"Use --codec h264 or ffv1."
            ) from error
        self._mux(packets)

    def close(self) -> dict[str, int]:
        """Finish the file and return its number of frames and its largest reordering."""
        self._mux(self.stream.encode(None))
        self.container.close()
        return {"frames": self.count, "reorder": self.reorder}

    def _mux(self, packets: list[av.Packet]) -> None:
        for packet in packets:
            self.reorder = max(self.reorder, self.muxed - (packet.pts or 0))
            self.muxed += 1
            packet.time_base = Fraction(1, SEGMENT_RATE)
            self.container.mux(packet)
