"""Videos that end before the declared duration or number of frames."""

from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from statistics import median

import av

from sgm_vfi.media.declared_frames import DeclaredFrames
from sgm_vfi.media.open_local_media import choose_video_stream, open_input
from sgm_vfi.video.read_header import VideoHeader


def count_declared_frames(path: Path, header: VideoHeader) -> int:
    """Return how many frames the header declares; see `DeclaredFrames`."""
    with open_input(path, follow_playlists=header.follow_playlists) as container:
        stream = choose_video_stream(path, container, header.stream)
        declared = DeclaredFrames(stream)
        for packet in container.demux(stream):
            declared.add(packet)
    return declared.count


def find_missing_end(path: Path, header: VideoHeader) -> list[str]:
    """Return a note if the streams end before the declared duration.

    Matroska declares the end; other containers declare the duration from the start of the file.
    """
    end = Fraction(0)
    with open_input(path, follow_playlists=header.follow_playlists) as container:
        start = 0 if "matroska" in container.format.name else container.start_time or 0
        begin = Fraction(start, av.time_base)
        for packet in container.demux():
            if packet.pts is not None:
                begin = min(begin, packet.pts * packet.time_base)
                end = max(end, (packet.pts + (packet.duration or 0)) * packet.time_base)
    length, promised = end - min(begin, end), header.duration
    if promised - length < max(Fraction(1, 10), promised / 100):
        return []
    return [
        f"the file promises {float(promised):.3f} s and ends after {float(length):.3f} s: it was "
        f"probably cut off"
    ]


def estimate_frame_duration(timestamps: list[Fraction], frame_rate: Fraction | None) -> Fraction:
    """Return the median frame duration, for a frame of unknown duration."""
    if len(timestamps) > 1:
        return median(after - before for before, after in pairwise(timestamps))
    return 1 / frame_rate if frame_rate else Fraction(1, 25)
