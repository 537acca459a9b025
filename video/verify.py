"""Verification of a finished file against its plan, and the receipt of a job."""

import json
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import torch

from sgm_vfi.media.frame_readers import VideoReader
from sgm_vfi.media.open_local_media import open_input
from sgm_vfi.storage.atomic_write import write_atomically
from sgm_vfi.video.job_plan import VideoPlan
from sgm_vfi.video.other_streams import read_streams
from sgm_vfi.video.output_against_request import find_format_changes
from sgm_vfi.video.progress_bar import show_progress


class OutputMismatchError(ValueError):
    """The finished file differs from its plan; the message lists the differences."""


def find_mismatches(file: Path, plan: VideoPlan) -> list[str]:
    """Decode a finished file and list its differences from the plan.

    Timestamps are compared relative to the first frame, as some containers let the earliest stream
    begin at 0, to within a time_base of the container's clock.
    """
    found = [
        text
        for text in find_format_changes(file, plan.source, plan.encoding)
        if text not in plan.copied.lost
    ]
    with open_input(file) as container:
        chapters = len(container.chapters())
    kinds = sorted(kind for kind, *_ in read_streams(file))
    wanted = sorted([*plan.copied.kinds, *("audio" for _ in plan.copied.encoded_again)])
    if kinds != wanted:
        found.append(f"streams beside the video: {kinds} for {wanted}")
    if plan.copied.chapters and chapters < plan.source.header.num_chapters:
        found.append(f"{chapters} chapters for {plan.source.header.num_chapters}")
    return found + find_time_mismatches(file, plan)


def find_time_mismatches(file: Path, plan: VideoPlan) -> list[str]:
    """List differences between the timestamps of a file and those of the plan."""
    with open_input(file) as container:
        time_base = container.streams.video[0].time_base
        declared = Fraction(container.duration or 0, av.time_base)
    assert time_base is not None
    count, late = 0, 0
    start = timestamp = length = Fraction(0)
    planned = (
        output_frame.timestamp - plan.timeline.start for output_frame in plan.output_frames()
    )
    pictures = VideoReader(file.name, file).decode()
    for picture in show_progress(pictures, "verifying", plan.timeline.num_frames):
        assert picture.pts is not None
        timestamp = picture.pts * (picture.time_base or time_base)
        start = start if count else timestamp
        count += 1
        wanted = next(planned, None)
        late += wanted is not None and abs(timestamp - start - wanted) > time_base
        length = (picture.duration or 0) * (picture.time_base or time_base)
    found = []
    if count != plan.timeline.num_frames:
        found.append(f"{count} frames for {plan.timeline.num_frames}")
    if late:
        found.append(f"{late} frames at another time than planned")
    ends = (timestamp + length - start, declared)  # containers may not say how long one frame lasts
    if length and all(abs(e - plan.duration) > 1 / plan.encoding.frame_rate for e in ends):
        found.append(f"{float(ends[0]):.3f} s for {float(plan.duration):.3f} s")
    return found


def build_receipt(
    plan: VideoPlan, settings: dict[str, Any], facts: dict[str, Any]
) -> dict[str, Any]:
    """Return what was made from what, and how, as JSON values.

    Args:
        settings: all that decides about pixels.
        facts: what is known after the job.
    """
    source, timeline = plan.source, plan.timeline
    return {
        "input": str(source.path),
        "output": str(plan.output),
        "source frames": len(source.timestamps),
        "frames": timeline.num_frames,
        "source duration": float(source.duration),
        "duration": float(plan.duration),
        "source rate": str(source.frame_rate),
        "rate": str(plan.rate),
        "copied streams": [
            str(s) for s in source.header.other_streams if s.index in plan.copied.streams
        ],
        "lost": list(plan.copied.lost),
        "notes": [*source.notes, *plan.encoding.notes, *plan.copied.notes],
        "cuts": [
            {"frame": cut, "seconds": float(timeline.source_times[cut])}
            for cut in sorted(plan.cuts)
        ],
        "holds": [
            {
                "seconds": float(source.timestamps[index - 1]),
                "duration": float(motion - source.timestamps[index - 1]),
            }
            for index, motion in timeline.holds.items()
        ],
        "colour tags": plan.encoding.tags._asdict(),
        "settings": settings,
        "torch": torch.__version__,
        "pyav": av.__version__,
        **facts,
    }


def write_receipt(path: Path, content: dict[str, Any]) -> None:
    """Write a receipt as JSON, whole or not at all."""
    write_atomically(path, json.dumps(content, indent=1).encode())
