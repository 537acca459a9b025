"""A folder of images becomes a folder with more images."""

import argparse
from pathlib import Path
from time import perf_counter

from tqdm import tqdm

from sgm_vfi.media.colour_profiles import find_common_colours
from sgm_vfi.media.images import read_frame, write_frame
from sgm_vfi.media.output_paths import (
    explain_full_disk,
    require_no_other_images,
    require_no_result,
    require_not_input,
    require_writable_path,
)
from sgm_vfi.media.sequences import find_sequence, fingerprint_files, probe_frames
from sgm_vfi.model import Interpolator
from sgm_vfi.model.cli_options import describe_weights, load_network
from sgm_vfi.model.inference.bisection import Bisected, support_times
from sgm_vfi.model.inference.sequence import interpolate_sequence
from sgm_vfi.model.interpolator import require_finite
from sgm_vfi.video.job import inference_settings
from sgm_vfi.video.job_paths import work_path
from sgm_vfi.video.memory_fallback import MemoryBudget
from sgm_vfi.video.segments import WorkFolder


def interpolate_folder(args: argparse.Namespace) -> None:
    """Write the images of a folder and new ones between them, as PNG files, into another folder.

    Finished gaps between two images are recorded in a `WorkFolder` beside the output.
    """
    paths = find_sequence(args.inputs)
    output = args.output or Path("output", args.inputs[0].resolve().name)
    step = 1 + len(args.times)
    total = step * (len(paths) - 1) + 1
    files = [output / f"{number:06d}.png" for number in range(1, total + 1)]
    work = WorkFolder(work_path(output))
    require_not_input(files, paths)
    require_no_other_images(files)
    if not work.is_open():
        require_no_result(files, overwrite=args.overwrite)
    for file in (files[0], work.folder / files[0].name):
        require_writable_path(file)
    *_, bits = probe_frames(tqdm(paths, "checking", leave=False))
    network = load_network_for_times(args)
    settings = inference_settings(
        network,
        MemoryBudget(args.flow_scale, args.tile),
        args.device,
        flip_ensemble=args.flip_ensemble,
    )
    settings |= {
        "model": describe_weights(args.model),
        "times": args.times,
        "frames": fingerprint_files(paths),
    }
    work.open(settings, instead=f"delete {work.folder}, or name another output")
    output.mkdir(parents=True, exist_ok=True)
    first = count_finished_gaps(work, files, step)
    if first:
        print(f"resume  after {files[first * step - 1]}")
    colours = find_common_colours(paths, files[0])
    start, done = perf_counter(), first * step
    frames = (read_frame(path)[None].to(args.device) for path in paths[first:])
    denser = interpolate_sequence(network, frames, args.times, args.flow_scale)
    with explain_full_disk(output):
        for frame in tqdm(denser, total=total, initial=done, unit="frame"):
            require_finite(frame, args.model, f"for {files[done]}")
            write_frame(files[done], frame[0], bits, *colours)
            done += 1
            if done % step == 0:
                work.finish(done // step - 1, {"outputs": {}})
    work.remove()
    count = (len(paths) - 1 - first) * len(args.times)
    print(f"time    {perf_counter() - start:.1f} s for {count} new frames")
    print(f"files   {files[0]} to {files[-1].name}, with the given frames among them")


def count_finished_gaps(work: WorkFolder, files: list[Path], step: int) -> int:
    """Return how many gaps, from the first on, an interrupted run has recorded and left whole."""
    gap = 0
    while work.read_record(gap) is not None and all(
        file.is_file() for file in files[gap * step : (gap + 1) * step]
    ):
        gap += 1
    return gap


def load_network_for_times(args: argparse.Namespace) -> Interpolator:
    """Load the network of the command line for the times in `args.times`, and print its name."""
    network = support_times(load_network(args), args.times)
    print(f"model   {describe_weights(args.model)} on {args.device}")
    if isinstance(network, Bisected):
        print(
            f"times   to within 1/{2 ** (network.depth + 1)}, by halving: it was made for t = 1/2"
        )
    return network
