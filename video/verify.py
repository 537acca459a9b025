"""The finished file, read back and compared with what was planned; and a receipt of all of it."""

import json
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import torch

from sgm_vfi.media.images import write_atomically
from sgm_vfi.media.videos import VideoReader
from sgm_vfi.video.mux import changes
from sgm_vfi.video.plan import VideoPlan


class OutputMismatchError(ValueError):
    """The finished file is not what was planned; the message says in what."""


def check(file: Path, plan: VideoPlan) -> list[str]:
    """Decode the finished file, and list in what it differs from the plan.

    Times are compared from the first frame on, as some containers let the earliest stream begin at
    0, to within a tick of the container's clock.
    """
    found = [
        text for text in changes(file, plan.source, plan.encoding) if text not in plan.kept.lost
    ]
    with av.open(file) as container:
        kinds = sorted(stream.type for stream in container.streams if stream.type != "video")
        chapters = len(container.chapters())
    wanted = sorted(
        o.kind for o in plan.source.header.other_streams if o.index in plan.kept.streams
    )
    if kinds != wanted:
        found.append(f"streams beside the video: {kinds} for {wanted}")
    if plan.kept.chapters and chapters < plan.source.header.num_chapters:
        found.append(f"{chapters} chapters for {plan.source.header.num_chapters}")
    return found + find_time_mismatches(file, plan)


def find_time_mismatches(file: Path, plan: VideoPlan) -> list[str]:
    """Compare when each frame is shown with the plan."""
    with av.open(file) as container:
        time_base = container.streams.video[0].time_base
    count, late, start, timestamp = 0, 0, Fraction(0), Fraction(0)
    planned = (
        output_frame.timestamp - plan.timeline.start for output_frame in plan.output_frames()
    )
    for picture in VideoReader(file.name, file).decode():
        timestamp = picture.pts * picture.time_base
        start = start if count else timestamp
        count += 1
        wanted = next(planned, None)
        late += wanted is not None and abs(timestamp - start - wanted) > time_base
        length = (picture.duration or 0) * picture.time_base
    found = []
    if count != plan.timeline.num_frames:
        found.append(f"{count} frames for {plan.timeline.num_frames}")
    if late:
        found.append(f"{late} frames at another time than planned")
    if length and abs(timestamp + length - start - plan.duration) > 1 / plan.encoding.frame_rate:
        found.append(f"{float(timestamp + length - start):.3f} s for {float(plan.duration):.3f} s")
    return found


def receipt(plan: VideoPlan, settings: dict[str, Any], facts: dict[str, Any]) -> dict[str, Any]:
    """What was made from what, how, and what is to be known about it."""
    source, timeline = plan.source, plan.timeline
    return {
        "input": str(source.path),
        "output": str(plan.output),
        "source frames": len(source.timestamps),
        "frames": timeline.num_frames,
        "source duration": float(source.duration),
        "duration": float(plan.duration),
        "source rate": str(source.frame_rate),
        "rate": str(timeline.num_frames / plan.duration),
        "copied streams": [
            str(s) for s in source.header.other_streams if s.index in plan.kept.streams
        ],
        "lost": list(plan.kept.lost),
        "notes": [*source.notes, *plan.encoding.notes],
        "cuts": [
            {"frame": cut, "seconds": float(source.timestamps[cut])} for cut in sorted(plan.cuts)
        ],
        "colour tags": plan.encoding.tags._asdict(),
        "settings": settings,
        "torch": torch.__version__,
        "pyav": av.__version__,
        **facts,
    }


def write_receipt(path: Path, content: dict[str, Any]) -> None:
    """Write it as JSON, whole or not at all."""
    write_atomically(path, json.dumps(content, indent=1).encode())
