"""How long the segments of a job are, and which of them are missing.

A segment is about a minute of work: an interruption that cannot be announced loses no more. The
first one is short and measures the speed. Its result is kept in the work folder, so that all ranks
and all later runs split the job alike.
"""

import time
from collections.abc import Iterable, Iterator
from math import log2
from typing import Any

from sgm_vfi.storage.json_with_checksum import (
    DamagedFileError,
    read_checked_json,
    write_checked_json,
)
from sgm_vfi.video.frame_schedule import OutputFrame
from sgm_vfi.video.segments_and_ranks import POLL_SECONDS, Segment
from sgm_vfi.video.work_folder import LENGTH, WorkFolder

FIRST_FRAMES, FIRST_GAPS = 8, 3  # of the segment that measures the speed, at least
DEFAULT_FRAMES = 64  # if a crash left the first segment without a measurement
MIN_FRAMES, MAX_FRAMES = 8, 1024
SEGMENT_SECONDS = 60


def choose_length(seconds_per_frame: float) -> int:
    """Return how many output frames take about a minute, as a power of two within limits."""
    frames = SEGMENT_SECONDS / max(seconds_per_frame, 1e-9)
    return 2 ** round(log2(min(max(frames, MIN_FRAMES), MAX_FRAMES)))


def read_length(work: WorkFolder) -> int | None:
    """Return the length of segments that a run has measured, or None."""
    try:
        return int(read_checked_json(work.folder / LENGTH)["frames"])
    except (OSError, DamagedFileError):
        return None


def write_length(work: WorkFolder, length: int) -> None:
    """Keep the length of segments in the work folder."""
    write_checked_json(work.folder / LENGTH, {"frames": length})


def wait_for_length(work: WorkFolder) -> int | None:
    """Wait until rank 0 has measured the length; None: it has finished all of the work.

    If it fails, torchrun ends all ranks.
    """
    while (length := read_length(work)) is None and work.is_open():
        time.sleep(POLL_SECONDS)
    return length


def find_missing(segments: Iterable[Segment], work: WorkFolder) -> dict[int, int]:
    """Return the numbers of unfinished segments, and how many frames of each are finished.

    That is none, or as many as there were when the job was stopped.
    """
    missing = {}
    for number, frames in segments:
        done = 0
        while done < len(frames) and (record := work.read_record(number + done)) is not None:
            done += record["frames"]
        if done < len(frames):
            missing[number] = done
    return missing


def select_missing(segments: Iterable[Segment], missing: dict[int, int]) -> Iterator[Segment]:
    """Yield the unfinished segments without their finished frames; see `find_missing`."""
    for number, frames in segments:
        if number in missing:
            done = missing[number]
            yield Segment(number + done, frames[done:])


def find_records(work: WorkFolder, num_frames: int) -> dict[int, dict[str, Any]]:
    """Return the records of finished segments by number, up to the first missing frame.

    Args:
        num_frames: of the whole job.
    """
    records: dict[int, dict[str, Any]] = {}
    number = 0
    while number < num_frames and (record := work.read_record(number)) is not None:
        records[number] = record
        number += record["frames"]
    return records


def count_finished(work: WorkFolder) -> dict[int, int]:
    """Return the number of frames of every finished segment, by the number of the segment.

    The segments themselves are not looked at.
    """
    return {number: work.count_frames(number) for number in work.find_numbers()}


def select_unfinished(frames: Iterable[OutputFrame], work: WorkFolder) -> Iterator[OutputFrame]:
    """Yield the output frames of a job that are in no finished segment."""
    finished, until = count_finished(work), 0
    for number, frame in enumerate(frames):
        until = max(until, number + finished.get(number, 0))
        if number >= until:
            yield frame


def wait_for_segments(work: WorkFolder, num_frames: int) -> None:
    """Wait until every frame is in a finished segment; torchrun ends all ranks if one fails."""
    number = 0
    while number < num_frames:
        if count := work.count_frames(number):
            number += count
        else:
            time.sleep(POLL_SECONDS)
