"""A video job from beginning to end: segments are made, joined and verified."""

import time
from collections.abc import Iterable, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from sgm_vfi.media.output_paths import explain_full_disk
from sgm_vfi.model import DEFAULT, Interpolator, load_interpolator
from sgm_vfi.model.api import FrameInterpolator, unwrap_network
from sgm_vfi.model.fingerprint import describe_network, fingerprint
from sgm_vfi.video.estimate import find_explanation_names
from sgm_vfi.video.frame_producer import FrameProducer
from sgm_vfi.video.job_paths import (
    default_output,
    is_folder,
    receipt_path,
    require_no_finished_job,
    work_path,
)
from sgm_vfi.video.memory_fallback import (
    MemoryAwareInterpolator,
    MemoryBudget,
    find_distinct_times,
    fit_budget,
    measure_free_memory,
)
from sgm_vfi.video.mux import EncodedSegment, assemble
from sgm_vfi.video.options import VideoOptions
from sgm_vfi.video.pipeline import OutputWriter, run_pipeline
from sgm_vfi.video.plan import VideoPlan, plan_video
from sgm_vfi.video.progress import Cancel, JobMonitor, Progress
from sgm_vfi.video.segments import Segment, SegmentRank, WorkFolder, wait_for_segments
from sgm_vfi.video.verify import (
    OutputMismatchError,
    build_receipt,
    find_mismatches,
    find_time_mismatches,
    write_receipt,
)
from sgm_vfi.video.writer import MAIN, FolderWriter, SegmentWriter, join_folders

NUM_LISTED = 10  # least reliable frames in the receipt


def interpolate_file(
    path: str | Path,
    output: str | Path | None = None,
    options: VideoOptions | None = None,
    *,
    network: Interpolator | FrameInterpolator | str | None = None,
    budget: MemoryBudget | None = None,
    progress: Progress | None = None,
    cancel: Cancel | None = None,
) -> dict[str, Any]:
    """Write a video with a higher, a lower or a slowed-down frame rate, and all else kept.

    A call with the same arguments continues an interrupted one.

    Args:
        path: a video, or a folder of images if `options.rate` is given.
        output: its suffix names the container; by default a file in the folder `output`.
        network: any interpolator on its device, what `load` returned, or a name; by default the one
            that needs no weights.
        budget: memory limits; by default what the free memory allows.
        progress: called with the number of output frames that are done, and of all.
        cancel: an event, or a function that returns whether to stop; asked after every frame.

    Returns: the receipt, which is also written beside the output; for a dry run, the part that is
    known before the job.

    Raises:
        ValueError: the input cannot be read, or the options cannot be satisfied.
        InterpolationCancelled: `cancel` asked for it. Finished segments are kept.
    """
    options = options or VideoOptions()
    network = None if network is None else unwrap_network(network)
    model = DEFAULT if network is None else type(network).__name__.lower()
    path = Path(path)
    output = default_output(path, options, model) if output is None else Path(output)
    if not options.dry_run:
        require_no_finished_job(path, output, options)
    plan = plan_video(path, output, options)
    if options.dry_run:
        return build_receipt(plan, plan.settings(), {})
    if network is None:
        network = load_interpolator(DEFAULT)
    device = next(network.parameters(), torch.zeros(0)).device
    settings = inference_settings(network, budget or MemoryBudget(), device)
    budget = budget or fit_budget(
        network, MemoryBudget(), plan.source.height, plan.source.width, measure_free_memory(device)
    )
    interpolator = MemoryAwareInterpolator(
        network, budget, find_distinct_times(m.time for m in plan.output_frames())
    )
    monitor = JobMonitor(progress, cancel)
    receipt = run_job(plan, interpolator, device, settings, monitor=monitor)
    assert receipt is not None, "rank 0 returns the receipt"
    return receipt


def inference_settings(
    network: Interpolator,
    wanted: MemoryBudget,
    device: torch.device,
    *,
    flip_ensemble: bool = False,
) -> dict[str, Any]:
    """Return all that decides about new frames except the frames, to tell one job from another.

    Args:
        wanted: limits before free memory was measured, which may differ the next time.
    """
    return {
        "network": describe_network(network),
        "weights": fingerprint(network),
        "flow_scale": wanted.flow_scale,
        "tile": wanted.tile,
        "flip_ensemble": flip_ensemble,
        "device": device.type,
    }


def run_job(
    plan: VideoPlan,
    interpolator: MemoryAwareInterpolator,
    device: torch.device,
    network_settings: dict[str, Any],
    rank: SegmentRank | None = None,
    *,
    monitor: JobMonitor | None = None,
) -> dict[str, Any] | None:
    """Make the output of a plan, or the missing part of it, and verify it.

    Returns: the receipt; None in all ranks but the first.
    """
    rank = rank or SegmentRank()
    settings = plan.settings() | network_settings
    work = work_folder(plan)
    numbers = [segment.number for segment in plan.segments()]
    resume, restart = plan.options.resume, plan.options.restart
    if not any(map(rank.owns, numbers)) or not rank.open(
        work, settings, plan.output, must_exist=resume, restart=restart
    ):
        return None
    start = time.perf_counter()
    with explain_full_disk(work.folder):
        num_made = make_segments(plan, interpolator, work, device, rank, monitor or JobMonitor())
        if rank.rank > 0:
            return None
        wait_for_segments(work, numbers)
        seconds = time.perf_counter() - start
        records = [work.read_record(number) or {} for number in numbers]
        join_segments(plan, work, records)
    facts = {
        "frames made in this run": num_made,
        "seconds": round(seconds, 3),
        "reduced": interpolator.reductions,
        "effort": str(interpolator.budget),
        **summarise_reliability(plan, records),
    }
    receipt = build_receipt(plan, settings, facts)
    write_receipt(receipt_path(plan.output), receipt)
    work.remove()
    return receipt


def work_folder(plan: VideoPlan) -> WorkFolder:
    """Return the folder for the finished segments of a plan."""
    return WorkFolder(work_path(plan.output), "" if is_folder(plan.output) else ".mkv")


def make_segments(
    plan: VideoPlan,
    interpolator: MemoryAwareInterpolator,
    work: WorkFolder,
    device: torch.device,
    rank: SegmentRank,
    monitor: JobMonitor,
) -> int:
    """Make the unfinished segments of this rank, and return how many frames they have."""
    missing = {
        segment.number: len(segment.output_frames)
        for segment in plan.segments()
        if rank.owns(segment.number) and work.read_record(segment.number) is None
    }
    if not missing:
        return 0
    names = find_explanation_names(plan, interpolator, device) if plan.options.explain else ()

    def missing_segments() -> Iterable[Segment]:
        every = plan.segments(uses_context_frames=interpolator.uses_context_frames)
        return (segment for segment in every if segment.number in missing)

    def open_writer(number: int) -> OutputWriter:
        if is_folder(plan.output):
            path = work.temporary_path(number)
            return FolderWriter(path, plan.encoding, plan.source.orientation)
        return SegmentWriter(
            {name: work.temporary_path(number, name) for name in plan.outputs},
            plan.encoding,
            layout=plan.options.compare or "side",
            orientation=plan.source.orientation,
            explained=names,
        )

    total = sum(missing.values())
    monitor.start(plan.timeline.num_frames - total, plan.timeline.num_frames)
    with tqdm(total=total, unit="frame", disable=None if rank.rank == 0 else True) as bar:
        run_pipeline(
            plan.source,
            missing_segments,
            FrameProducer(interpolator, plan.producer_options),
            open_writer,
            work,
            device,
            num_history=plan.producer_options.num_history,
            progress=bar.update,
            on_frame=monitor.advance,
        )
    return total


def join_segments(plan: VideoPlan, work: WorkFolder, records: Sequence[dict[str, Any]]) -> None:
    """Make the output and its views from finished segments."""
    if is_folder(plan.output):
        join_images(plan, work, len(records))
        return
    for name, output in plan.outputs.items():
        join_video(plan, work, name, records, output)


def join_video(
    plan: VideoPlan, work: WorkFolder, name: str, records: Sequence[dict[str, Any]], output: Path
) -> None:
    """Join the segments of the video or of a view, verify the result, and rename it.

    Args:
        name: of the view.
    """
    segments = [
        EncodedSegment(work.segment_path(number, name), record["outputs"][name]["reorder"])
        for number, record in enumerate(records)
    ]
    whole = work.folder / f"whole{name}{output.suffix}"
    is_main = name == MAIN
    assemble(whole, plan.source, segments, plan.clock(), plan.copied, with_rotation=is_main)
    found = find_mismatches(whole, plan) if is_main else find_time_mismatches(whole, plan)
    if found:
        raise OutputMismatchError(
            f"{whole} is not as planned: {'; '.join(found)}. It stays there to be looked at."
        )
    whole.replace(output)


def join_images(plan: VideoPlan, work: WorkFolder, num_segments: int) -> None:
    """Join the images of all segments into one folder, and rename it."""
    whole = work.folder / "whole"
    times = (output_frame.timestamp for output_frame in plan.output_frames())
    count = join_folders(whole, [work.segment_path(n) for n in range(num_segments)], times)
    if count != plan.timeline.num_frames:
        raise OutputMismatchError(
            f"{whole} holds {count} frames for {plan.timeline.num_frames}. It stays there."
        )
    plan.output.parent.mkdir(parents=True, exist_ok=True)
    if plan.output.is_dir():
        plan.output.rmdir()  # empty, or it would have been refused
    whole.replace(plan.output)


def summarise_reliability(plan: VideoPlan, records: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Summarise the reliability of new frames over all segments, for the receipt."""
    facts: dict[str, Any] = {"frames made by the network": sum(r["made"] for r in records)}
    if plan.options.min_reliability is not None:
        worst = sorted(entry for record in records for entry in record["worst"])[:NUM_LISTED]
        facts["refused as unreliable"] = sum(record["refused"] for record in records)
        facts["least reliable"] = [
            {"score": score, "seconds": float(Fraction(shown))} for score, shown in worst
        ]
    return facts
