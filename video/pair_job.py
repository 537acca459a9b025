"""Two images: the frames between them, and pictures that explain how they were made."""

import argparse
from collections.abc import Sequence
from pathlib import Path
from time import perf_counter
from typing import NamedTuple

import skimage.data
import torch
from torch import Tensor
from tqdm import tqdm

from sgm_vfi.media.image_colour_information import find_common_colours
from sgm_vfi.media.image_output_paths import (
    is_image_output,
    pair_output_paths,
    require_no_result,
    require_not_input,
    require_writable_path,
)
from sgm_vfi.media.images import as_frame, read_frame, require_image_format, write_frame
from sgm_vfi.media.sequences import find_sequence, probe_frames
from sgm_vfi.media.visualise import fit_to_box, visualise_pair, write_animation
from sgm_vfi.model import Interpolation, Interpolator, time_like
from sgm_vfi.model.inference.bisection import support_times
from sgm_vfi.model.inference.sequence import interpolate_loop
from sgm_vfi.model.interpolator import require_finite
from sgm_vfi.video.folder_to_folder_job import load_network_for_times
from sgm_vfi.video.progress_and_cancel import InterpolationCancelled, JobMonitor
from sgm_vfi.video.reliability import measure_reliability

PICTURES = ("comparison.jpg", "flow.jpg", "explain.jpg", "animation.webp")
ANIMATION_TIMES = [eighths / 8 for eighths in range(1, 8)]
ANIMATION_SIDE = 640  # pixels at most


class PairResult(NamedTuple):
    """What was made between two images."""

    files: Sequence[Path]  # the new frames
    middle: Path  # the one nearest to t = 1/2
    pictures: Sequence[Path]
    reliability: float | None  # of the middle frame, if the network explains its flow
    seconds: float


def interpolate_pair(args: argparse.Namespace, monitor: JobMonitor | None = None) -> PairResult:
    """Write the frames between two images; into a folder, also pictures that explain them.

    Raises:
        InterpolationCancelled: the monitor asked for it.
    """
    output = args.output or Path("output")
    frame0, frame1, bits = read_pair(args.inputs, args.device)
    files = pair_output_paths(output, args.times)
    has_pictures = not is_image_output(output)
    pictures = [output / name for name in PICTURES] if has_pictures else []
    require_not_input([*files, *pictures], args.inputs)
    require_no_result([*files, *pictures], overwrite=args.overwrite)
    require_image_format(files[0], bits)
    require_writable_path(files[0])
    network = load_network_for_times(args, args.times)
    files[0].parent.mkdir(parents=True, exist_ok=True)
    colours = find_common_colours(args.inputs, files[0])
    middle = min(args.times, key=lambda time: abs(time - 0.5))
    shown = Interpolation(frame0)
    start, monitor = perf_counter(), monitor or JobMonitor()
    monitor.start(0, len(files))
    state = network.prepare(frame0, frame1, args.flow_scale)
    for file, time in zip(files, tqdm(args.times, disable=len(files) == 1), strict=True):
        if monitor.is_cancelled():
            raise InterpolationCancelled(f"Cancelled after {monitor.done} of {len(files)} frames.")
        result = network.interpolate(state, time_like(frame0, time), explain=time == middle)
        require_finite(result.frame, args.model, f"at {time:.3g} of the way, for {file}")
        shown = result if time == middle else shown
        write_frame(file, result.frame[0], bits, *colours)
        monitor.advance()
    seconds, (height, width) = perf_counter() - start, frame0.shape[-2:]
    print(f"time    {seconds:.2f} s for {len(files)} of {width}x{height}")
    print("files   " + "\n        ".join(map(str, files)))
    if has_pictures:
        title = f"new frame, t = {middle:.3g}"
        write_pictures(output, (frame0, frame1), shown, title, with_steps=args.explain)
        animate(output / "animation.webp", network, frame0, frame1)
        print(f"        {output / 'animation.webp'}")
    reliability = measure_reliability(frame0, frame1, shown)
    written = [path for path in pictures if path.is_file()]
    return PairResult(files, files[args.times.index(middle)], written, reliability, seconds)


def read_pair(inputs: list[Path], device: torch.device) -> tuple[Tensor, Tensor, int]:
    """Read two frames (1, 3, H, W) and their bits per sample; without inputs, sample photographs.

    The photographs are those of scikit-image.
    """
    if inputs:
        *_, bits = probe_frames(find_sequence(inputs))
        pair = map(read_frame, inputs)
    else:
        bits, pair = 8, map(as_frame, skimage.data.stereo_motorcycle()[:2])
    frame0, frame1 = (frame[None].to(device) for frame in pair)
    return frame0, frame1, bits


def write_pictures(
    folder: Path,
    pair: tuple[Tensor, Tensor],
    result: Interpolation,
    title: str,
    *,
    with_steps: bool,
) -> None:
    """Write a comparison of the frames, the flow, and, if wanted, the steps of the network."""
    explanation = {name: value[0].cpu() for name, value in (result.explanation or {}).items()}
    frame0, frame1, frame = (frame[0].cpu() for frame in (*pair, result.frame))
    pictures = visualise_pair(frame0, frame1, frame, title, explanation)
    for name in ("comparison", "flow", "explain")[: 3 if with_steps else 2]:
        if name in pictures:
            write_frame(folder / f"{name}.jpg", pictures[name])
            print(f"        {folder / name}.jpg")


def animate(file: Path, network: Interpolator, frame0: Tensor, frame1: Tensor) -> None:
    """Write an animation from one frame to the other and back, of reduced size for web pages."""
    box = (ANIMATION_SIDE, ANIMATION_SIDE)
    small0, small1 = (fit_to_box(frame[0], *box, enlarge=False)[None] for frame in (frame0, frame1))
    times = tqdm(ANIMATION_TIMES, "animating", leave=False)
    cycle = interpolate_loop(support_times(network, ANIMATION_TIMES), small0, small1, times)
    write_animation(file, [frame[0] for frame in cycle], milliseconds=80)
