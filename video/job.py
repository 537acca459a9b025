"""A video from beginning to end: planned, made, joined, checked."""

import time
from collections.abc import Iterable, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from sgm_vfi.media.paths import going_on_when_full
from sgm_vfi.video.estimate import explained_names
from sgm_vfi.video.frame_producer import Maker, Shot
from sgm_vfi.video.image_output import FolderWriter, gather, is_folder
from sgm_vfi.video.memory_fallback import Synthesis
from sgm_vfi.video.mux import Piece, assemble
from sgm_vfi.video.output_paths import parts_path, receipt_path
from sgm_vfi.video.pipeline import Writing, run
from sgm_vfi.video.plan import Plan
from sgm_vfi.video.segment_ranks import ALONE, Share, enter, wait_for_all
from sgm_vfi.video.segments import Segment, Workplace
from sgm_vfi.video.verify import BrokenPromiseError, check, check_times, receipt, write_receipt
from sgm_vfi.video.writer import MAIN, SegmentWriter

LISTED = 10  # least reliable frames in the receipt


def perform(
    plan: Plan,
    synthesis: Synthesis,
    device: torch.device,
    network: dict[str, Any],
    share: Share = ALONE,
) -> dict[str, Any] | None:
    """Make the output of a plan, or what is missing of it, and check it.

    Args:
        network: what is to be known about the network, to tell one run from another.

    Returns: the receipt; None in all processes but the first.
    """
    settings = plan.settings() | network
    work = workplace(plan)
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
    with going_on_when_full(work.folder):
        made = make_segments(plan, synthesis, work, device, share)
        if share.rank > 0:
            return None
        wait_for_all(work, numbers)
        seconds = time.perf_counter() - begun
        records = finished(plan, work)
        put_together(plan, work, records)
    facts = {
        "frames made in this run": made,
        "seconds": round(seconds, 3),
        "reduced": synthesis.reductions,
        "effort": str(synthesis.effort),
        **judged(plan, records),
    }
    content = receipt(plan, settings, facts)
    write_receipt(receipt_path(plan.output), content)
    work.remove()
    return content


def workplace(plan: Plan) -> Workplace:
    """Where the finished segments of a plan wait."""
    return Workplace(parts_path(plan.output), "" if is_folder(plan.output) else ".mkv")


def make_segments(
    plan: Plan, synthesis: Synthesis, work: Workplace, device: torch.device, share: Share
) -> int:
    """Make this process's share of the segments that are not finished.

    Returns: how many frames were made.
    """

    def is_mine(segment: Segment) -> bool:
        return share.has(segment.number) and work.record(segment.number) is None

    mine = {s.number: len(s.moments) for s in plan.segments() if is_mine(s)}
    if not mine:
        return 0
    explained = explained_names(plan, synthesis, device) if plan.options.explain else ()

    def todo() -> Iterable[Segment]:
        pieces = plan.segments(uses_context_frames=synthesis.uses_context_frames)
        return (segment for segment in pieces if segment.number in mine)

    def open_piece(number: int) -> Writing[Shot]:
        if is_folder(plan.output):
            return FolderWriter(work.begun(number), plan.encoding, plan.source.orientation)
        return SegmentWriter(
            {name: work.begun(number, name) for name in plan.reels},
            plan.encoding,
            layout=plan.options.compare or "side",
            orientation=plan.source.orientation,
            explained=explained,
        )

    total = sum(mine.values())
    with tqdm(total=total, unit="frame", disable=None if share.rank == 0 else True) as bar:
        maker = Maker(synthesis, plan.judgement)
        lead = plan.judgement.lead
        run(plan.source, todo, maker, open_piece, work, device, lead=lead, progress=bar.update)
    return total


def finished(plan: Plan, work: Workplace) -> list[dict[str, Any]]:
    """What is known about every segment."""
    records = []
    for segment in plan.segments():
        record = work.record(segment.number)
        assert record is not None, f"segment {segment.number} is not finished"
        records.append(record)
    return records


def put_together(plan: Plan, work: Workplace, records: Sequence[dict[str, Any]]) -> None:
    """Make the output of finished segments."""
    if is_folder(plan.output):
        gather_frames(plan, work, len(records))
        return
    for name, output in plan.reels.items():
        join(plan, work, name, records, output)


def join(
    plan: Plan, work: Workplace, name: str, records: Sequence[dict[str, Any]], output: Path
) -> None:
    """Put the finished segments of a reel together, check the whole, and give it its name."""
    pieces = [
        Piece(work.piece(number, name), record["reels"][name]["reorder"])
        for number, record in enumerate(records)
    ]
    whole = work.folder / f"whole{name}{output.suffix}"
    assemble(whole, plan.source, pieces, plan.clock(), plan.kept, turned=name == MAIN)
    broken = check(whole, plan) if name == MAIN else check_times(whole, plan)
    if broken:
        raise BrokenPromiseError(
            f"{whole} is not as planned: {'; '.join(broken)}. It stays there to be looked at."
        )
    whole.replace(output)


def gather_frames(plan: Plan, work: Workplace, num_segments: int) -> None:
    """Put the frames of all segments into one folder, and give it its name."""
    whole = work.folder / "whole"
    times = (moment.shown for moment in plan.moments())
    count = gather(whole, [work.piece(number) for number in range(num_segments)], times)
    if count != plan.timeline.num_frames:
        raise BrokenPromiseError(
            f"{whole} holds {count} frames for {plan.timeline.num_frames}. It stays there."
        )
    plan.output.parent.mkdir(parents=True, exist_ok=True)
    if plan.output.is_dir():
        plan.output.rmdir()  # empty, or it would have been refused
    whole.replace(plan.output)


def judged(plan: Plan, records: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """How far the new frames were trusted, over all segments."""
    facts: dict[str, Any] = {"frames made by the network": sum(r["made"] for r in records)}
    if plan.options.min_reliability is not None:
        worst = sorted(entry for record in records for entry in record["worst"])[:LISTED]
        facts["refused as unreliable"] = sum(record["refused"] for record in records)
        facts["least reliable"] = [
            {"score": score, "seconds": float(Fraction(shown))} for score, shown in worst
        ]
    return facts
