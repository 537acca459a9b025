"""Finished segments become the output, once: joined, verified, renamed."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from sgm_vfi.storage.atomic_write import rename_durably
from sgm_vfi.storage.file_identity import hash_path, require_unchanged
from sgm_vfi.video.animated_output import is_animation_output, write_animation
from sgm_vfi.video.job_paths import is_folder, receipt_path, require_empty
from sgm_vfi.video.job_plan import VideoPlan
from sgm_vfi.video.mux import EncodedSegment, assemble
from sgm_vfi.video.segment_writers import MAIN, join_folders
from sgm_vfi.video.slow_sound import SoundFile, choose_sound_codec, stretch_sound
from sgm_vfi.video.verify import OutputMismatchError, find_mismatches, find_time_mismatches
from sgm_vfi.video.work_folder import WorkFolder

Records = Mapping[int, dict[str, Any]]  # of finished segments, by number


def find_finished(
    plan: VideoPlan, settings: dict[str, Any], work: WorkFolder
) -> dict[str, Any] | None:
    """Return the receipt of the same job if its output is there, whole and unchanged.

    It is, where a run was killed after all its work.
    """
    receipt = read_receipt(receipt_path(plan.output))
    again = plan.options.restart or plan.options.overwrite
    if again or receipt.get("settings") != json.loads(json.dumps(settings)):
        return None
    hashes = receipt.get("hashes") or {}
    outputs = plan.outputs.values()
    if not all(path.exists() and hashes.get(path.name) == hash_path(path) for path in outputs):
        return None
    return receipt | {"finished before": True}


def read_receipt(path: Path) -> dict[str, Any]:
    """Read a receipt; nothing if there is none that can be read."""
    try:
        receipt = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return receipt if isinstance(receipt, dict) else {}


def join_segments(plan: VideoPlan, work: WorkFolder, records: Records) -> None:
    """Make the output and its views from finished segments."""
    require_unchanged(plan.inputs)
    if is_folder(plan.output):
        join_images(plan, work, records)
        return
    sounds = [
        stretch_sound(
            plan.source,
            index,
            work.whole_path(f"sound{index}", ".mka"),
            choose_sound_codec(plan.output.suffix.lower()),
            how=plan.options.slow_sound,
            ratio=plan.copied.stretch,
        )
        for index in plan.copied.encoded_again
    ]
    for name, output in plan.outputs.items():
        join_video(plan, work, name, records, output, sounds)


def join_video(
    plan: VideoPlan,
    work: WorkFolder,
    name: str,
    records: Records,
    output: Path,
    sounds: Sequence[SoundFile],
) -> None:
    """Join the segments of the video or of a view, verify the result, and rename it.

    Args:
        name: of the view.
    """
    segments = [
        EncodedSegment(work.segment_path(number, name), record["outputs"][name]["reorder"])
        for number, record in records.items()
    ]
    is_animation = is_animation_output(output)
    whole = work.whole_path(name, ".mkv" if is_animation else output.suffix)
    is_main = name == MAIN
    assemble(
        whole,
        plan.source,
        segments,
        plan.clock(),
        plan.copied,
        with_rotation=is_main,
        sounds=sounds,
    )
    found = find_mismatches(whole, plan) if is_main else find_time_mismatches(whole, plan)
    if found:
        raise OutputMismatchError(
            f"{whole} is not as planned: {'; '.join(found)}. It stays there to be looked at."
        )
    if is_animation:
        video, whole = whole, work.whole_path(name, output.suffix)
        write_animation(video, whole, plan.duration)
    require_unchanged(plan.inputs)  # whose other streams were copied
    rename_durably(whole, output)


def join_images(plan: VideoPlan, work: WorkFolder, records: Records) -> None:
    """Join the images of all segments into one folder, and rename it."""
    whole = work.whole_path(MAIN, "")
    times = (output_frame.timestamp for output_frame in plan.output_frames())
    count = join_folders(whole, [work.segment_path(number) for number in records], times)
    if count != plan.timeline.num_frames:
        raise OutputMismatchError(
            f"{whole} holds {count} frames for {plan.timeline.num_frames}. It stays there."
        )
    if plan.output.is_dir() and hash_path(plan.output) == hash_path(whole):
        return  # a run was killed right after renaming it
    require_empty(plan.output)
    plan.output.parent.mkdir(parents=True, exist_ok=True)
    if plan.output.is_dir():
        plan.output.rmdir()
    rename_durably(whole, plan.output)
