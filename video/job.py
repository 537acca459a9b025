"""A video from beginning to end: planned, made, joined, checked."""

import time
from collections.abc import Iterable, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from sgm_vfi.media.output_paths import explain_full_disk
from sgm_vfi.video.estimate import find_explanation_names
from sgm_vfi.video.frame_producer import FrameProducer
from sgm_vfi.video.image_output import FolderWriter, gather, is_folder
from sgm_vfi.video.memory_fallback import MemoryAwareInterpolator
from sgm_vfi.video.mux import EncodedSegment, assemble
from sgm_vfi.video.output_paths import parts_path, receipt_path
from sgm_vfi.video.pipeline import OutputWriter, run_pipeline
from sgm_vfi.video.plan import VideoPlan
from sgm_vfi.video.segment_ranks import SINGLE_PROCESS, SegmentRank, enter, wait_for_segments
from sgm_vfi.video.segments import Segment, WorkFolder
from sgm_vfi.video.verify import (
    OutputMismatchError,
    check,
    find_time_mismatches,
    receipt,
    write_receipt,
)
from sgm_vfi.video.writer import MAIN, SegmentWriter

LISTED = 10  # least reliable frames in the receipt


def run_job(
    plan: VideoPlan,
    interpolator: MemoryAwareInterpolator,
    device: torch.device,
    network: dict[str, Any],
    share: SegmentRank = SINGLE_PROCESS,
) -> dict[str, Any] | None:
    """Make the output of a plan, or what is missing of it, and check it.

    Args:
        network: what is to be known about the network, to tell one run from another.

    Returns: the receipt; None in all processes but the first.
    """
    settings = plan.settings() | network
    work = work_folder(plan)
    options = plan.options
    numbers = [segment.number for segment in plan.segments()]
    if not any(map(share.has, numbers)) or not enter(
        work,
        settings,
        share,
        plan.output,
        must_exist=options.resume,
        restart=options.restart,
    ):
        return None
    begun = time.perf_counter()
    with explain_full_disk(work.folder):
        made = make_segments(plan, interpolator, work, device, share)
        if share.rank > 0:
            return None
        wait_for_segments(work, numbers)
        seconds = time.perf_counter() - begun
        records = finished(plan, work)
        put_together(plan, work, records)
    facts = {
        "frames made in this run": made,
        "seconds": round(seconds, 3),
        "reduced": interpolator.reductions,
        "effort": str(interpolator.budget),
        **summarise_reliability(plan, records),
    }
    content = receipt(plan, settings, facts)
    write_receipt(receipt_path(plan.output), content)
    work.remove()
    return content


def work_folder(plan: VideoPlan) -> WorkFolder:
    """Where the finished segments of a plan wait."""
    return WorkFolder(parts_path(plan.output), "" if is_folder(plan.output) else ".mkv")


def make_segments(
    plan: VideoPlan,
    interpolator: MemoryAwareInterpolator,
    work: WorkFolder,
    device: torch.device,
    share: SegmentRank,
) -> int:
    """Make this process's share of the segments that are not finished.

    Returns: how many frames were made.
    """

    def is_mine(segment: Segment) -> bool:
        return share.has(segment.number) and work.record(segment.number) is None

    mine = {s.number: len(s.output_frames) for s in plan.segments() if is_mine(s)}
    if not mine:
        return 0
    explained = find_explanation_names(plan, interpolator, device) if plan.options.explain else ()

    def list_segments() -> Iterable[Segment]:
        pieces = plan.segments(uses_context_frames=interpolator.uses_context_frames)
        return (segment for segment in pieces if segment.number in mine)

    def open_writer(number: int) -> OutputWriter:
        if is_folder(plan.output):
            return FolderWriter(work.begun(number), plan.encoding, plan.source.orientation)
        return SegmentWriter(
            {name: work.begun(number, name) for name in plan.outputs},
            plan.encoding,
            layout=plan.options.compare or "side",
            orientation=plan.source.orientation,
            explained=explained,
        )

    total = sum(mine.values())
    with tqdm(total=total, unit="frame", disable=None if share.rank == 0 else True) as bar:
        producer = FrameProducer(interpolator, plan.producer_options)
        num_history = plan.producer_options.num_history
        run_pipeline(
            plan.source,
            list_segments,
            producer,
            open_writer,
            work,
            device,
            num_history=num_history,
            progress=bar.update,
        )
    return total


def finished(plan: VideoPlan, work: WorkFolder) -> list[dict[str, Any]]:
    """What is known about every segment."""
    records = []
    for segment in plan.segments():
        record = work.record(segment.number)
        assert record is not None, f"segment {segment.number} is not finished"
        records.append(record)
    return records


def put_together(plan: VideoPlan, work: WorkFolder, records: Sequence[dict[str, Any]]) -> None:
    """Make the output of finished segments."""
    if is_folder(plan.output):
        move_frames(plan, work, len(records))
        return
    for name, output in plan.outputs.items():
        join(plan, work, name, records, output)


def join(
    plan: VideoPlan, work: WorkFolder, name: str, records: Sequence[dict[str, Any]], output: Path
) -> None:
    """Put the finished segments of a view together, check the whole, and give it its name."""
    pieces = [
        EncodedSegment(work.piece(number, name), record["outputs"][name]["reorder"])
        for number, record in enumerate(records)
    ]
    whole = work.folder / f"whole{name}{output.suffix}"
    assemble(whole, plan.source, pieces, plan.clock(), plan.kept, turned=name == MAIN)
    broken = check(whole, plan) if name == MAIN else find_time_mismatches(whole, plan)
    if broken:
        raise OutputMismatchError(
            f"{whole} is not as planned: {'; '.join(broken)}. It stays there to be looked at."
        )
    whole.replace(output)


def move_frames(plan: VideoPlan, work: WorkFolder, num_segments: int) -> None:
    """Put the frames of all segments into one folder, and give it its name."""
    whole = work.folder / "whole"
    times = (output_frame.timestamp for output_frame in plan.output_frames())
    count = gather(whole, [work.piece(number) for number in range(num_segments)], times)
    if count != plan.timeline.num_frames:
        raise OutputMismatchError(
            f"{whole} holds {count} frames for {plan.timeline.num_frames}. It stays there."
        )
    plan.output.parent.mkdir(parents=True, exist_ok=True)
    if plan.output.is_dir():
        plan.output.rmdir()  # empty, or it would have been refused
    whole.replace(plan.output)


def summarise_reliability(plan: VideoPlan, records: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """How far the new frames were trusted, over all segments."""
    facts: dict[str, Any] = {"frames made by the network": sum(r["made"] for r in records)}
    if plan.options.min_reliability is not None:
        worst = sorted(entry for record in records for entry in record["worst"])[:LISTED]
        facts["refused as unreliable"] = sum(record["refused"] for record in records)
        facts["least reliable"] = [
            {"score": score, "seconds": float(Fraction(shown))} for score, shown in worst
        ]
    return facts
