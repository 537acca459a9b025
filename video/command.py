"""A video file from the command line, and from Python."""

import argparse
import os
from pathlib import Path
from typing import Any

import torch

from sgm_vfi.model import DEFAULT, Interpolator, load_interpolator
from sgm_vfi.model.cli_options import describe_weights, load_bare_network
from sgm_vfi.model.fingerprint import describe_network, fingerprint
from sgm_vfi.video.estimate import estimate_seconds_per_frame, interpolated_frames
from sgm_vfi.video.job import run_job, work_folder
from sgm_vfi.video.memory_fallback import (
    MemoryAwareInterpolator,
    MemoryBudget,
    find_distinct_times,
    fit_budget,
    measure_free_memory,
)
from sgm_vfi.video.options import VideoOptions, read_video_options
from sgm_vfi.video.plan import VideoPlan, describe_plan, format_bytes, plan_video
from sgm_vfi.video.segment_ranks import read_segment_rank
from sgm_vfi.video.verify import receipt


def interpolate_file(
    path: str | Path,
    output: str | Path | None = None,
    options: VideoOptions | None = None,
    *,
    network: Interpolator | None = None,
    budget: MemoryBudget | None = None,
) -> dict[str, Any]:
    """Write a video with more, or fewer, or slower frames than another, and all else kept.

    Goes on where an interrupted call with the same arguments was.

    Args:
        output: of which the suffix names the container; by default in the folder `output`.
        network: any interpolator, on its device; by default the one that needs no weights.
        effort: of the network; by default what the free memory allows.

    Returns: the receipt, which is also written beside the output; of a dry run what of it is known
    before any work.

    Raises:
        ValueError: the video cannot be read, or what is asked for cannot be done.
    """
    options = options or VideoOptions()
    plan = plan_video(Path(path), None if output is None else Path(output), options)
    if options.dry_run:
        return receipt(plan, plan.settings(), {})
    if network is None:
        network = load_interpolator(DEFAULT)
    weight = next(network.parameters(), torch.zeros(0))
    about = describe_inference(network, budget or MemoryBudget(), weight.device)
    budget = budget or fit_budget(
        network,
        MemoryBudget(),
        plan.source.height,
        plan.source.width,
        measure_free_memory(weight.device),
    )
    interpolator = MemoryAwareInterpolator(
        network, budget, find_distinct_times(m.time for m in plan.output_frames())
    )
    return run_job(plan, interpolator, weight.device, about)


def fill_video(path: Path, args: argparse.Namespace) -> None:
    """Do what demo_2x.py was asked to."""
    describe_weights(args.model)  # a wrong name is found before a long video is read
    run_plan(plan_video(path, args.output, read_video_options(args)), args)


def run_plan(plan: VideoPlan, args: argparse.Namespace) -> None:
    """Say what is planned, work, check, and say what came out."""
    share = read_segment_rank(os.environ)
    if share.rank == 0:
        print(describe_plan(plan))
    if args.device.type == "cuda" and args.device.index is None:
        args.device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", 0)))
    network = load_bare_network(args)
    wanted = MemoryBudget(args.flow_scale, args.tile)
    free = measure_free_memory(args.device)
    budget = fit_budget(network, wanted, plan.source.height, plan.source.width, free)
    times = find_distinct_times(output_frame.time for output_frame in plan.output_frames())
    try:
        interpolator = MemoryAwareInterpolator(
            network, budget, times, flip_ensemble=args.flip_ensemble
        )
    except TypeError as error:  # it cannot be tiled
        raise ValueError(f"--tile {args.tile} with {args.model}: {error}") from error
    if share.rank == 0:
        print(f"model   {describe_weights(args.model)} on {args.device}")
        if budget != wanted:
            print(f"memory  {format_bytes(free)} free: {budget} instead of {wanted}")
        if interpolator.time_precision:
            print(f"times   {interpolator.time_precision}")
        print(f"time    {describe_duration(plan, interpolator, args.device)}")
    if plan.options.dry_run:
        return
    if share.rank == 0 and work_folder(plan).is_open() and not plan.options.restart:
        print(f"resume  where {work_folder(plan).folder} left off")
    about = describe_inference(network, wanted, args.device, flip_ensemble=args.flip_ensemble)
    done = run_job(
        plan, interpolator, args.device, about | {"model": describe_weights(args.model)}, share
    )
    if done is not None:
        print(f"time    {done['seconds']:.1f} s for {done['frames made in this run']} frames")
        if "least reliable" in done:
            refused = done["refused as unreliable"]
            worst = [f"{x['seconds']:.2f} s ({x['score']:.2f})" for x in done["least reliable"]]
            print(f"judged  {refused} frames blended instead; least reliable: {', '.join(worst)}")
        for view in plan.outputs.values():
            print(f"file    {view}, checked against the plan")
        print(f"receipt {plan.output}.json")


def describe_duration(
    plan: VideoPlan, interpolator: MemoryAwareInterpolator, device: torch.device
) -> str:
    """How long new frames will take, by the first ones."""
    count = sum(1 for _ in interpolated_frames(plan))
    seconds = estimate_seconds_per_frame(plan, interpolator, device)
    minutes, rest = divmod(round(count * seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return (
        f"about {hours}:{minutes:02d}:{rest:02d} on one such device, {seconds:.2g} s for each of "
        f"{count} new frames"
    )


def describe_inference(
    network: Interpolator,
    wanted: MemoryBudget,
    device: torch.device,
    *,
    flip_ensemble: bool = False,
) -> dict[str, Any]:
    """All that decides about new frames but the frames, to tell one run from another.

    Args:
        wanted: before memory was looked at: there may be more of it next time.
    """
    return {
        "network": describe_network(network),
        "weights": fingerprint(network),
        "flow_scale": wanted.flow_scale,
        "tile": wanted.tile,
        "flip_ensemble": flip_ensemble,
        "device": device.type,
    }
