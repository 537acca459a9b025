"""Small video files to test with."""

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import torch
from torch import Tensor

from sgm_vfi.video.av_frames import to_video_frame
from sgm_vfi.video.colour_conversion import PLANE_LAYOUTS, PixelFormat

DEFAULT = {"libx264": {"preset": "ultrafast"}, "ffv1": {"level": "3"}}  # options of encoders


def moving(count: int, height: int = 48, width: int = 64, step: int = 2) -> list[Tensor]:
    """A smooth random picture that moves to the left. Shapes: count times (1, 3, H, W)."""
    generator = torch.Generator().manual_seed(0)
    coarse = torch.rand(1, 3, 1 + height // 8, 1 + (width + step * count) // 8, generator=generator)
    wide = torch.nn.functional.interpolate(coarse, scale_factor=8, mode="bicubic").clamp(0, 1)
    return [wide[..., :height, k * step : k * step + width] for k in range(count)]


def write_clip(
    path: Path,
    frames: Sequence[Tensor],
    *,
    rate: Fraction | int = 25,
    stamps: Sequence[int] | None = None,
    tick: Fraction | None = None,
    codec: str = "libx264",
    pix_fmt: str = "yuv420p",
    options: dict[str, str] | None = None,
    tags: tuple[int, int, int, int] | None = None,
    aspect: Fraction | None = None,
    rotation: int = 0,
    mirrored: bool = False,
    audio: float = 0.0,
    chapters: Sequence[dict[str, Any]] = (),
    subtitle: Path | None = None,
    **metadata: str,
) -> Path:
    """Encode frames (1, 3, H, W), with so many seconds of sound, and what else is asked for."""
    matrix = tags[0] if tags else 6
    full = bool(tags and tags[1] == 2)
    pixel_format = PixelFormat(
        PLANE_LAYOUTS[pix_fmt], matrix if matrix in (1, 5, 6, 7, 9) else 6, full
    )
    height, width = frames[0].shape[-2:]
    with av.open(path, "w") as container:
        stream = container.add_stream(
            codec,
            rate=rate,
            options=options or DEFAULT.get(codec, {}),
            width=width,
            height=height,
            pix_fmt=pix_fmt,
        )
        stream.time_base = stream.codec_context.time_base = tick or 1 / Fraction(rate)
        if tags:
            context = stream.codec_context
            context.colorspace, context.color_range = tags[0], tags[1]
            context.color_primaries, context.color_trc = tags[2], tags[3]
        if aspect:
            stream.codec_context.sample_aspect_ratio = aspect
        if rotation or mirrored:  # and then left for right
            stream.set_display_rotation(rotation, hflip=mirrored)
        sound = container.add_stream("aac", rate=48000) if audio else None
        spoken = words = None
        if subtitle is not None:
            words = av.open(subtitle)
            spoken = container.add_stream_from_template(words.streams[0], opaque=True)
        container.metadata.update(metadata)
        if chapters:
            container.set_chapters(list(chapters))
        for number, frame in enumerate(frames):
            picture = to_video_frame(frame, pixel_format)
            picture.pts = number if stamps is None else stamps[number]
            picture.time_base = stream.codec_context.time_base
            container.mux(stream.encode(picture))
        container.mux(stream.encode(None))
        if sound is not None:
            for packet in hum(sound, audio):
                container.mux(packet)
        if spoken is not None:
            for packet in words.demux(words.streams[0]):
                if packet.size:
                    packet.stream = spoken
                    container.mux(packet)
            words.close()
    return path


def hum(stream: av.AudioStream, seconds: float) -> list[av.Packet]:
    """Packets of a low tone."""
    packets, size = [], 1024
    for start in range(0, int(seconds * 48000), size):
        wave = np.sin(np.arange(start, start + size) * 2 * np.pi * 220 / 48000)
        samples = np.tile(wave.astype(np.float32), (2, 1))
        sound = av.AudioFrame.from_ndarray(samples, format="fltp", layout="stereo")
        sound.sample_rate, sound.pts = 48000, start
        packets += stream.encode(sound)
    return packets + stream.encode(None)


def pictures(path: Path) -> list[av.VideoFrame]:
    """Every decoded picture."""
    with av.open(path) as container:
        return list(container.decode(video=0))


def samples(path: Path) -> list[bytes]:
    """Every picture's samples, to be compared bit by bit."""
    return [b"".join(bytes(plane) for plane in picture.planes) for picture in pictures(path)]


def times(path: Path) -> list[Fraction]:
    """When each picture is shown, in seconds."""
    return [picture.pts * picture.time_base for picture in pictures(path)]


def packets(path: Path, kind: str) -> list[bytes]:
    """The packets of all streams of a kind."""
    with av.open(path) as container:
        streams = [stream for stream in container.streams if stream.type == kind]
        return [bytes(packet) for packet in container.demux(streams) if packet.size]
