"""A picture of the least reliable frames of a finished output."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sgm_vfi.media.frame_readers import ImageFolderReader, VideoReader
from sgm_vfi.media.images import write_frame
from sgm_vfi.media.visualise import Picture, make_grid
from sgm_vfi.video.job_paths import is_folder, worst_frames_path
from sgm_vfi.video.job_plan import VideoPlan

COLUMNS, WIDTH = 2, 1600  # of the picture


def write_worst_frames(plan: VideoPlan, worst: Sequence[dict[str, Any]]) -> Path:
    """Write the least reliable frames in one picture beside the receipt, the worst first.

    Args:
        worst: score and time in seconds of each frame, as in the receipt.
    """
    scores = {entry["seconds"]: entry["score"] for entry in worst}
    places = {
        number: float(frame.timestamp)
        for number, frame in enumerate(plan.output_frames())
        if float(frame.timestamp) in scores
    }
    kind = ImageFolderReader if is_folder(plan.output) else VideoReader
    shown = [
        (scores[places[number]], places[number], frame)
        for number, frame in kind(plan.output.name, plan.output).read_frames(places)
    ]
    pictures = [
        Picture(f"{seconds:.2f} s, score {score:.2f}", frame)
        for score, seconds, frame in sorted(shown, key=lambda entry: entry[:2])
    ]
    path = worst_frames_path(plan.output)
    write_frame(path, make_grid(pictures, COLUMNS, WIDTH))
    return path
