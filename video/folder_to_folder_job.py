"""A folder of images becomes a folder with more images."""

import argparse
from collections.abc import Sequence
from itertools import accumulate, pairwise
from pathlib import Path
from time import perf_counter
from typing import Any

from tqdm import tqdm

from sgm_vfi.media.image_colour_information import find_common_colours
from sgm_vfi.media.image_output_paths import (
    explain_full_disk,
    require_no_other_images,
    require_no_result,
    require_not_input,
    require_writable_path,
)
from sgm_vfi.media.images import read_frame, write_frame
from sgm_vfi.media.missing_frame_numbers import describe_missing, find_positions
from sgm_vfi.media.sequences import find_sequence, probe_frames
from sgm_vfi.model import Interpolator
from sgm_vfi.model.cli_options import describe_weights, load_network
from sgm_vfi.model.inference.bisection import Bisected, support_times
from sgm_vfi.model.inference.sequence import interpolate_sequence
from sgm_vfi.model.interpolator import require_finite
from sgm_vfi.storage.atomic_write import remove_temporaries, remove_trash
from sgm_vfi.storage.file_identity import (
    FileIdentity,
    fingerprint_files,
    identify_files,
    require_unchanged,
)
from sgm_vfi.storage.file_lock import FileLock, read_owner, require_unlocked
from sgm_vfi.storage.json_with_checksum import hash_json
from sgm_vfi.video.job import inference_settings
from sgm_vfi.video.job_paths import lock_path, work_path
from sgm_vfi.video.memory_fallback import MemoryBudget
from sgm_vfi.video.work_folder import WorkFolder


def interpolate_folder(args: argparse.Namespace) -> None:
    """Write the images of a folder and new ones between them, as PNG files, into another folder.

    Finished gaps between two images are recorded in a `WorkFolder` beside the output.
    """
    paths = find_sequence(args.inputs)
    output = args.output or Path("output", args.inputs[0].resolve().name)
    gaps = find_gap_times(paths, args.times, fill_missing=args.fill_missing)
    total = sum(1 + len(times) for times in gaps) + 1
    files = [output / f"{number:06d}.png" for number in range(1, total + 1)]
    work = WorkFolder(work_path(output))
    require_not_input(files, paths)
    require_no_other_images(files)
    require_unlocked(lock_path(output), output, wait=args.wait)
    was_killed = lock_path(output).exists()
    if not work.is_open() and not was_killed:
        require_no_result(files, overwrite=args.overwrite)
    for file in (files[0], work.folder / files[0].name):
        require_writable_path(file)
    identities = identify_files(paths)
    *_, bits = probe_frames(tqdm(paths, "checking", leave=False))
    network = load_network_for_times(args, sorted({time for times in gaps for time in times}))
    settings = describe_folder_job(args, network, identities)
    finished = hash_json(settings)
    is_finished = read_owner(lock_path(output)).get("finished") == finished
    with FileLock(lock_path(output), output) as lock, explain_full_disk(output):
        work_is_done = was_killed and is_finished and all(file.is_file() for file in files)
        remove_trash(work.folder)  # also where the command is refused below
        if work_is_done and not args.overwrite:
            lock.note(finished=finished)  # again, as this run may be killed too
            work.remove()
            print(f"done    {output} was finished before. --overwrite makes it again.")
            return
        if not work.is_open():
            require_no_result(files, overwrite=args.overwrite)
        remove_temporaries(output)
        work.open(settings, instead=f"delete {work.folder}, or name another output")
        write_missing_gaps(args, network, work, identities, files, bits, gaps)
        lock.note(finished=finished)
        work.remove()


def describe_folder_job(
    args: argparse.Namespace, network: Interpolator, identities: Sequence[FileIdentity]
) -> dict[str, Any]:
    """Return everything that the written images depend on."""
    budget = MemoryBudget(args.flow_scale, args.tile)
    ensemble = args.flip_ensemble
    return inference_settings(network, budget, args.device, flip_ensemble=ensemble) | {
        "model": describe_weights(args.model),
        "times": args.times,
        "fill_missing": args.fill_missing,
        "frames": fingerprint_files(identities),
    }


def write_missing_gaps(
    args: argparse.Namespace,
    network: Interpolator,
    work: WorkFolder,
    inputs: Sequence[FileIdentity],
    files: Sequence[Path],
    bits: int,
    gaps: Sequence[Sequence[float]],
) -> None:
    """Write the images from the first gap on that no earlier run has finished.

    Args:
        files: all images of the output, the given ones among them.
        gaps: times of the new images between every two given ones.
    """
    paths = [file.path for file in inputs]
    starts = list(accumulate((1 + len(times) for times in gaps), initial=0))
    files[0].parent.mkdir(parents=True, exist_ok=True)
    first = count_finished_gaps(work)
    if first:
        print(f"resume  after {files[starts[first] - 1]}")
    colours = find_common_colours(paths, files[0])
    start, done = perf_counter(), starts[first]
    frames = (read_frame(path)[None].to(args.device) for path in paths[first:])
    denser = interpolate_sequence(network, frames, lambda gap: gaps[first + gap], args.flow_scale)
    for frame in tqdm(denser, total=len(files), initial=done, unit="frame"):
        require_finite(frame, args.model, f"for {files[done]}")
        write_frame(files[done], frame[0], bits, *colours)
        done += 1
        if done in starts:
            gap = starts.index(done) - 1
            require_unchanged(inputs[gap : gap + 2])
            work.finish(gap, {"outputs": {}}, files[starts[gap] : done])
    count = sum(map(len, gaps[first:]))
    print(f"time    {perf_counter() - start:.1f} s for {count} new frames")
    print(f"files   {files[0]} to {files[-1].name}, with the given frames among them")


def find_gap_times(
    paths: Sequence[Path], times: Sequence[float], *, fill_missing: bool
) -> list[list[float]]:
    """Return the times of the new frames between every two images.

    Args:
        times: between two images if none is missing.
        fill_missing: also make the frames whose numbers are missing; prints which.
    """
    positions = find_positions(paths) if fill_missing else list(range(len(paths)))
    if missing := describe_missing(paths, positions):
        print(f"note    {missing}")
    return [
        [
            (slot + time) / (after - before)
            for slot in range(after - before)
            for time in (0, *times)
        ][1:]
        for before, after in pairwise(positions)
    ]


def count_finished_gaps(work: WorkFolder) -> int:
    """Return how many gaps, from the first on, an interrupted run has recorded and left whole."""
    gap = 0
    while work.read_record(gap) is not None:
        gap += 1
    return gap


def load_network_for_times(args: argparse.Namespace, times: Sequence[float]) -> Interpolator:
    """Load the network of the command line for some times, and print its name."""
    network = support_times(load_network(args), times)
    print(f"model   {describe_weights(args.model)} on {args.device}")
    if isinstance(network, Bisected):
        print(
            f"times   to within 1/{2 ** (network.depth + 1)}, by halving: it was made for t = 1/2"
        )
    return network
