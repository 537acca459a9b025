"""What demo_2x.py does with a video: it plans, says so, works, checks and says what came out."""

import argparse
import os
from pathlib import Path

import torch

from model.options import bare_network, origin
from video.job import perform, share_from
from video.options import options_from
from video.plan import described, make_plan
from video.synthesis import Effort, Synthesis, distinct_times


def fill_video(path: Path, args: argparse.Namespace) -> None:
    """Write a video with more (or fewer) frames than another."""
    if args.time:
        raise ValueError("--time is for images; of a video say --multi, --fps or --slow.")
    share = share_from(os.environ)
    options = options_from(args)
    plan = make_plan(path, args.output, options)
    if share.rank == 0:
        print(described(plan))
    if options.dry_run:
        return
    if args.device.type == "cuda" and args.device.index is None:
        args.device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", 0)))
    synthesis = Synthesis(
        bare_network(args),
        Effort(args.flow_scale, args.tile),
        distinct_times(moment.time for moment in plan.moments()),
        flip_ensemble=args.flip_ensemble,
    )
    if share.rank == 0:
        print(f"model   {origin(args.model)} on {args.device}")
        if synthesis.precision:
            print(f"times   {synthesis.precision}")
    receipt = perform(plan, synthesis, args.device, network_settings(args), share)
    if receipt is not None:
        print(f"time    {receipt['seconds']:.1f} s for {receipt['frames made in this run']} frames")
        for reel in plan.reels.values():
            print(f"file    {reel}, checked against the plan")
        print(f"receipt {plan.output}.json")


def network_settings(args: argparse.Namespace) -> dict[str, object]:
    """All options that decide about new frames."""
    return {
        "model": origin(args.model),
        "num_key_points": args.num_key_points,
        "flow_scale": args.flow_scale,
        "tile": args.tile,
        "flip_ensemble": args.flip_ensemble,
        "precision": args.precision,
        "device": args.device.type,
    }
