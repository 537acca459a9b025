"""A video from beginning to end: planned, made, joined, checked."""

import logging
import time
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import torch
from tqdm import tqdm

from video.encoding import PieceWriter
from video.pipeline import Maker, run
from video.plan import Plan
from video.report import BrokenPromiseError, check, receipt, write_receipt
from video.segments import Segment, Workplace
from video.synthesis import Synthesis
from video.target import Piece, assemble

logger = logging.getLogger(__name__)


class Share(NamedTuple):
    """Which of several processes this is, all of them given the same job."""

    rank: int = 0
    world: int = 1


ALONE = Share()


def share_from(environment: Mapping[str, str]) -> Share:
    """As torchrun says; one process is a world of one."""
    return Share(int(environment.get("RANK", 0)), int(environment.get("WORLD_SIZE", 1)))


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
    plan.output.parent.mkdir(parents=True, exist_ok=True)
    work = Workplace(plan.output.with_name(f"{plan.output.name}.parts"))
    options = plan.options
    if work.open(settings, must_exist=options.resume, restart=options.restart):
        logger.info("going on with unfinished work in %s", work.folder)
    begun = time.perf_counter()
    made = make_segments(plan, synthesis, work, device, share)
    seconds = time.perf_counter() - begun
    facts = {
        "frames made in this run": made,
        "seconds": round(seconds, 3),
        "reduced": synthesis.reductions,
    }
    join(plan, work)
    content = receipt(plan, settings, facts)
    write_receipt(plan.output.with_name(f"{plan.output.name}.json"), content)
    work.remove()
    return content


def make_segments(
    plan: Plan, synthesis: Synthesis, work: Workplace, device: torch.device, share: Share
) -> int:
    """Make this process's share of the segments that are not finished.

    Returns: how many frames were made.
    """

    def is_mine(segment: Segment) -> bool:
        return segment.number % share.world == share.rank and work.record(segment.number) is None

    mine = {s.number: len(s.moments) for s in plan.segments() if is_mine(s)}
    total = sum(mine.values())

    def todo() -> Iterable[Segment]:
        return (segment for segment in plan.segments() if segment.number in mine)

    with tqdm(
        total=plan.timeline.num_frames if share.world == 1 else total,
        initial=plan.timeline.num_frames - total if share.world == 1 else 0,
        unit="frame",
        disable=None,
    ) as bar:
        run(
            plan.source,
            todo,
            Maker(synthesis),
            lambda number: PieceWriter(work.begun(number), plan.encoding),
            work,
            device,
            bar.update,
        )
    return total


def join(plan: Plan, work: Workplace) -> None:
    """Put the finished segments together, check the whole, and give it its name."""
    pieces = []
    for segment in plan.segments():
        record = work.record(segment.number)
        assert record is not None, f"segment {segment.number} is not finished"
        pieces.append(Piece(work.piece(segment.number), record["reorder"]))
    whole = work.folder / f"whole{plan.output.suffix}"
    assemble(whole, plan.source, pieces, plan.clock(), plan.kept)
    broken = check(whole, plan)
    if broken:
        raise BrokenPromiseError(
            f"{whole} is not as planned: {'; '.join(broken)}. It stays there to be looked at."
        )
    whole.replace(plan.output)
