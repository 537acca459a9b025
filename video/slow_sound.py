"""Sound that is encoded again, and for slow motion stretched in time with the pictures."""

from collections.abc import Iterator
from fractions import Fraction
from itertools import chain
from pathlib import Path
from typing import Literal, NamedTuple

import av

from sgm_vfi.media.open_local_media import open_input, open_output
from sgm_vfi.video.metadata_tags import copyable_tags
from sgm_vfi.video.output_timestamps import to_pts
from sgm_vfi.video.source_video import SourceVideo

SlowSound = Literal["drop", "stretch", "pitch"]

MIN_TEMPO = Fraction(1, 2)  # of FFmpeg's filter atempo
BITS_PER_CHANNEL = 96_000  # a second
OPUS_RATE = 48_000  # samples a second, the only rate that all builds of Opus take


class SoundFile(NamedTuple):
    """A file with one stretched stream."""

    path: Path
    stream_index: int  # in the source
    start: Fraction  # seconds


def stretch_sound(
    source: SourceVideo, index: int, path: Path, codec: str, *, how: SlowSound, ratio: Fraction
) -> SoundFile:
    """Write one sound stream of a source, or of its part, stretched in time.

    Args:
        path: of a Matroska file.
        codec: an encoder of FFmpeg; see `choose_sound_codec`.
        how: `stretch` keeps the pitch, `pitch` lowers it as a slower tape does.
        ratio: how many times as long the sound lasts.
    """
    first = source.offset + source.timestamps[0]
    begin, end = measure_stream(source.path, index)
    begin, end = max(begin, first), min(end, source.offset + source.end)
    with open_input(source.path) as original, open_output(path, format="matroska") as container:
        stream = original.streams[index]
        assert isinstance(stream, av.AudioStream)
        rate = OPUS_RATE if codec == "libopus" else stream.rate
        layout = stream.layout.name
        encoded = container.add_stream(codec, rate=rate, layout=layout)
        assert isinstance(encoded, av.AudioStream)
        encoded.bit_rate = BITS_PER_CHANNEL * stream.layout.nb_channels
        filters = [
            ("atrim", f"start={float(begin)}:end={float(end)}"),
            ("asetpts", "PTS-STARTPTS"),
            *tempo_filters(how, ratio, stream.rate),
            ("apad", ""),
            ("atrim", f"end={float((end - begin) * ratio)}"),
            ("aformat", f"sample_fmts=fltp:sample_rates={rate}:channel_layouts={layout}"),
        ]
        count = 0
        for frame in filter_sound(original, stream, filters):
            frame.pts, frame.time_base = count, Fraction(1, rate)
            count += frame.samples
            container.mux(encoded.encode(frame))
        container.mux(encoded.encode(None))
    return SoundFile(path, index, (begin - first) * ratio)


def choose_sound_codec(suffix: str) -> str:
    """Return the encoder of sound for a container, which its players support."""
    return "libopus" if suffix == ".webm" else "aac"


def add_sound(
    container: av.container.OutputContainer,
    made: av.container.InputContainer,
    sound: SoundFile,
    original: av.container.InputContainer,
    source: SourceVideo,
) -> Iterator[tuple[Fraction, av.Packet]]:
    """Add a stretched stream to an output, and return its packets with their times in seconds.

    Args:
        made: the open file of the stretched stream.
        original: the open source, whose metadata of the stream is kept.
    """
    stream = container.add_stream_from_template(made.streams.audio[0], opaque=True)
    template = original.streams[sound.stream_index]
    stream.metadata.update(copyable_tags(template.metadata))
    stream.disposition = template.disposition
    return read_sound_packets(made, source.timestamps[0] + sound.start, stream)


def read_sound_packets(
    container: av.container.InputContainer, start: Fraction, stream: av.AudioStream
) -> Iterator[tuple[Fraction, av.Packet]]:
    """Yield the packets of a stretched stream for a stream of the output, and their times.

    Args:
        start: of the sound in the output, in seconds.
    """
    for packet in container.demux(container.streams[0]):
        if packet.pts is None:  # the end
            continue
        moved = to_pts(start, packet.time_base)
        packet.pts += moved
        packet.dts = packet.pts
        packet.stream = stream
        yield packet.pts * packet.time_base, packet


def tempo_filters(how: SlowSound, ratio: Fraction, rate: int) -> list[tuple[str, str]]:
    """Return the filters of FFmpeg that make sound so many times as long, with their options."""
    if ratio == 1:
        return []
    if how == "pitch":
        return [("asetrate", str(round(rate / ratio))), ("aresample", str(rate))]
    filters, tempo = [], 1 / ratio
    while tempo < MIN_TEMPO:
        filters.append(("atempo", str(float(MIN_TEMPO))))
        tempo /= MIN_TEMPO
    return [*filters, ("atempo", f"{float(tempo):.9f}")]


def filter_sound(
    container: av.container.InputContainer,
    stream: av.AudioStream,
    filters: list[tuple[str, str]],
) -> Iterator[av.AudioFrame]:
    """Decode a stream and yield its frames after a chain of filters."""
    graph = av.filter.Graph()
    nodes = [graph.add_abuffer(template=stream)]
    nodes += [graph.add(name, options) for name, options in filters]
    nodes.append(graph.add("abuffersink"))
    graph.link_nodes(*nodes).configure()
    for frame in chain(container.decode(stream), (None,)):
        try:
            nodes[0].push(frame)
        except av.error.EOFError:  # the part that is used is over
            return
        while True:
            try:
                filtered = graph.pull()
            except (av.error.BlockingIOError, av.error.EOFError):
                break
            assert isinstance(filtered, av.AudioFrame)
            yield filtered


def measure_stream(path: Path, index: int) -> tuple[Fraction, Fraction]:
    """Return when the first packet of a stream begins and the last one ends, in seconds."""
    times = []
    with open_input(path) as container:
        for packet in container.demux(container.streams[index]):
            if packet.pts is not None:
                begin = packet.pts * packet.time_base
                times += [begin, begin + (packet.duration or 0) * packet.time_base]
    return min(times, default=Fraction(0)), max(times, default=Fraction(0))
