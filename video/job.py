"""A video job from beginning to end: segments are made, joined and verified."""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import Any

import torch

from sgm_vfi.media.image_output_paths import explain_full_disk
from sgm_vfi.model import DEFAULT, Interpolator, load_interpolator
from sgm_vfi.model.api import FrameInterpolator, unwrap_network
from sgm_vfi.model.fingerprint import describe_network, fingerprint
from sgm_vfi.storage.atomic_write import remove_temporaries
from sgm_vfi.storage.file_identity import InputChangedError, hash_path
from sgm_vfi.storage.file_lock import require_unlocked
from sgm_vfi.video.compare_networks import ComparedNetwork
from sgm_vfi.video.finish_output import find_finished, join_segments
from sgm_vfi.video.job_paths import (
    default_output,
    is_folder,
    lock_path,
    receipt_path,
    require_empty,
    require_no_finished_job,
    require_no_other_result,
    work_path,
)
from sgm_vfi.video.job_plan import VideoPlan, plan_video
from sgm_vfi.video.least_reliable_frames_image import write_worst_frames
from sgm_vfi.video.make_segments import SegmentMaker
from sgm_vfi.video.memory_fallback import (
    MemoryAwareInterpolator,
    MemoryBudget,
    find_distinct_times,
    fit_budget,
    measure_free_memory,
)
from sgm_vfi.video.options import VideoOptions
from sgm_vfi.video.progress_and_cancel import Cancel, JobMonitor, Progress
from sgm_vfi.video.progress_bar import FrameBar
from sgm_vfi.video.segments_and_ranks import SegmentRank
from sgm_vfi.video.verify import build_receipt, write_receipt
from sgm_vfi.video.work_folder import WorkFolder

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
        network: an interpolator on its device, what `load` returned, or a name; by default the
            one that needs no weights.
        budget: memory limits; by default what the free memory allows.
        progress: called with the number of output frames that are done, and of all.
        cancel: an event, or a function that returns whether to stop; asked after every frame.

    Returns: the receipt, which is also written beside the output; for a dry run, the part that is
    known before the job.

    Raises:
        ValueError: the input cannot be read, or the options cannot be satisfied.
        InterpolationCancelled: `cancel` asked for it. What is finished is kept.
    """
    options = options or VideoOptions()
    network = None if network is None else unwrap_network(network)
    model = DEFAULT if network is None else type(network).__name__.lower()
    path = Path(path)
    output = default_output(path, options, model) if output is None else Path(output)
    if options.dry_run:
        plan = plan_video(path, output, options)
        return build_receipt(plan, plan.settings(), {})
    require_unlocked(lock_path(output), output, wait=options.wait)
    require_no_finished_job(path, output, options)
    plan = plan_video(path, output, options)
    network = load_interpolator(DEFAULT) if network is None else network
    return run_plan(plan, network, budget=budget, progress=progress, cancel=cancel)


def run_plan(
    plan: VideoPlan,
    network: Interpolator,
    *,
    budget: MemoryBudget | None = None,
    progress: Progress | None = None,
    cancel: Cancel | None = None,
) -> dict[str, Any]:
    """Do the work of a plan as `interpolate_file` does, with the same arguments and errors."""
    device = next(network.parameters(), torch.zeros(0)).device
    settings = inference_settings(network, budget or MemoryBudget(), device)
    interpolator = limit_memory(network, budget, plan, device)
    compared = None
    if (model := plan.options.compare_model) is not None:
        other = limit_memory(load_interpolator(model).to(device), budget, plan, device)
        compared = ComparedNetwork(other, (model, type(network).__name__))
    monitor = JobMonitor(progress, cancel)
    with FrameBar() as bar:
        receipt = run_job(
            plan, interpolator, device, settings, monitor=monitor, bar=bar, compared=compared
        )
    assert receipt is not None, "rank 0 returns the receipt"
    return receipt


def limit_memory(
    network: Interpolator, budget: MemoryBudget | None, plan: VideoPlan, device: torch.device
) -> MemoryAwareInterpolator:
    """Return a network within a budget; by default, one that fits the free memory."""
    height, width = plan.source.height, plan.source.width
    if budget is None:
        free = measure_free_memory(device)
        budget = fit_budget(network, MemoryBudget(), height, width, free)
    times = find_distinct_times(frame.time for frame in plan.output_frames())
    return MemoryAwareInterpolator(network, budget, times)


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
    bar: FrameBar | None = None,
    compared: ComparedNetwork | None = None,
) -> dict[str, Any] | None:
    """Make the output of a plan, or the missing part of it, and verify it.

    Args:
        monitor: reports the progress, and says when to stop.
        bar: on the terminal.
        compared: a second network, which the comparison shows.

    Returns: the receipt; None in all ranks but the first.

    Raises:
        InterpolationCancelled: the monitor asked for it; what is finished is kept.
    """
    rank = rank or SegmentRank()
    settings = plan.settings() | network_settings | (compared.settings if compared else {})
    work, lock = work_folder(plan), lock_path(plan.output)
    with rank.lock(lock, plan.output):
        if rank.rank == 0:
            remove_temporaries(receipt_path(plan.output))
        if (finished := find_finished(plan, settings, work)) is not None:
            if rank.rank > 0:
                return None
            work.remove_own(settings)
            return finished
        if rank.rank > 0 and not rank.wait_for_main(
            work, lock, lambda: find_finished(plan, settings, work) is not None
        ):
            return None
        if rank.rank == 0 and not work.is_open():
            if is_folder(plan.output):
                require_empty(plan.output)
            require_no_other_result(plan.source.path, plan.output, plan.options)
        resume, restart = plan.options.resume, plan.options.restart
        rank.open(work, settings, must_exist=resume, restart=restart)
        with explain_full_disk(work.folder), forget_work_of_changed_inputs(work):
            maker = SegmentMaker(
                plan, interpolator, work, device, rank, monitor or JobMonitor(), bar, compared
            )
            return finish_job(plan, maker, settings)


@contextmanager
def forget_work_of_changed_inputs(work: WorkFolder) -> Iterator[None]:
    """Delete a work folder without finished segments if an input changes, as it fits no more."""
    try:
        yield
    except InputChangedError:
        if not work.has_records():
            work.remove()
        raise


def finish_job(
    plan: VideoPlan, maker: SegmentMaker, settings: dict[str, Any]
) -> dict[str, Any] | None:
    """Make what is missing in the open work folder; rank 0 joins it and returns the receipt."""
    start = time.perf_counter()
    maker.run()
    if maker.rank.rank > 0:
        return None
    records = maker.wait_for_all()
    seconds = time.perf_counter() - start
    join_segments(plan, maker.work, records)
    facts = {
        "frames made in this run": maker.num_made,
        "seconds": round(seconds, 3),
        "reduced": maker.interpolator.reductions,
        "effort": str(maker.interpolator.budget),
        **summarise_reliability(plan, list(records.values())),
        "hashes": {path.name: hash_path(path) for path in plan.outputs.values()},
    }
    receipt = build_receipt(plan, settings, facts)
    if facts.get("least reliable"):
        write_worst_frames(plan, facts["least reliable"])
    write_receipt(receipt_path(plan.output), receipt)
    maker.work.remove()
    return receipt


def work_folder(plan: VideoPlan) -> WorkFolder:
    """Return the folder for the finished segments of a plan."""
    return WorkFolder(work_path(plan.output), "" if is_folder(plan.output) else ".mkv")


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
