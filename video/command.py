"""The command `sgm-vfi interpolate`, which is also `demo_2x.py`."""

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from sgm_vfi.command_errors import INTERRUPTED, report_errors
from sgm_vfi.engine.graceful_stop import StopRequest
from sgm_vfi.media.image_output_paths import require_output_folder
from sgm_vfi.media.images import WRITABLE_SUFFIXES, is_image
from sgm_vfi.media.sequences import find_sequence, is_video
from sgm_vfi.model import DEFAULT
from sgm_vfi.model.cli_options import (
    add_network_options,
    argument_type,
    describe_weights,
    parse_time,
)
from sgm_vfi.model.zoo import default_interpolator, describe_default
from sgm_vfi.short_help import ShortHelpParser
from sgm_vfi.storage.file_lock import require_unlocked
from sgm_vfi.video.animated_output import ANIMATIONS
from sgm_vfi.video.batch import expand_inputs, find_batch, run_batch
from sgm_vfi.video.compare_networks import ComparedNetwork, load_compared_network
from sgm_vfi.video.folder_to_folder_job import interpolate_folder
from sgm_vfi.video.job import inference_settings, run_job, work_folder
from sgm_vfi.video.job_paths import (
    default_output,
    lock_path,
    receipt_path,
    require_no_finished_job,
    worst_frames_path,
)
from sgm_vfi.video.job_plan import VideoPlan, plan_video
from sgm_vfi.video.load_network import LoadedNetwork, load_network_for_size
from sgm_vfi.video.memory_fallback import find_distinct_times
from sgm_vfi.video.mux import CONTAINERS
from sgm_vfi.video.options import (
    VideoOptions,
    add_video_options,
    given_video_options,
    read_video_options,
)
from sgm_vfi.video.pair_job import interpolate_pair
from sgm_vfi.video.plan_text import describe_plan
from sgm_vfi.video.progress_and_cancel import InterpolationCancelled, JobMonitor
from sgm_vfi.video.progress_bar import FrameBar
from sgm_vfi.video.segments_and_ranks import read_segment_rank
from sgm_vfi.video.time_estimate import describe_duration
from sgm_vfi.video.working_encoders import describe_encoders
from sgm_vfi.video.y4m_stream_job import is_pipe, run_pipe

EXAMPLES = """Interpolate frames between two images, the images of a folder, or those of a video.

  %(prog)s                             two photographs that come with scikit-image
  %(prog)s A.png B.png                 the frame between two images, and pictures of it
  %(prog)s A.png B.png --output C.png  only the frame
  %(prog)s FOLDER --multi 4            a folder with four times as many frames
  %(prog)s FOLDER --output B.mp4 --rate 24     a video of a folder, with twice as many frames
  %(prog)s CLIP.mp4                    a video with twice as many frames
  %(prog)s CLIP.mp4 --fps 60           a video of the same duration at another rate
  %(prog)s CLIP.mp4 --slow 4           slow motion
  ffmpeg ... | %(prog)s - -o B.mp4             a y4m stream, frame by frame; or to another: -o -
  %(prog)s CLIP.mp4 --start 0:10 --end 0:20    a part of a video
  %(prog)s FOLDER_OF_VIDEOS --output RESULTS   every video of a folder; or A.mp4 B.mp4, '*.mp4'

A video keeps its sound, subtitles, chapters, metadata, colours and rotation. Repeat a command to
continue it after an interruption. Images have 8 or 16 bits per sample; given ones
keep their pixels."""


LIST_CODECS = "list"  # instead of a codec


def main(arguments: Sequence[str] | None = None, *, prog: str = "sgm-vfi interpolate") -> None:
    """Run the command; errors become messages and exit codes."""
    args = parse_arguments(arguments, prog)
    is_pair = len(args.inputs) == 2 and all(map(is_image, args.inputs))
    then = "begins again" if is_pair else "goes on"
    with report_errors(prog, f"All files are whole. The same command {then}."):
        try:
            run(args)
        except InterpolationCancelled as error:
            print(f"\n{prog}: interrupted. {error.kept}. The same command {then}.", file=sys.stderr)
            sys.exit(INTERRUPTED)


def parse_arguments(arguments: Sequence[str] | None, prog: str) -> argparse.Namespace:
    """Parse the command line; `times` are those of the new frames in every gap between images."""
    parser = ShortHelpParser(
        prog=prog,
        usage="%(prog)s [INPUT ...] [options]",
        description=EXAMPLES,
        formatter_class=partial(
            argparse.RawDescriptionHelpFormatter, max_help_position=26, width=100
        ),
    )
    parser.add_argument("inputs", nargs="*", type=Path, metavar="INPUT", help="see above")
    parser.add_argument(
        "-o",
        "--output",
        type=argument_type(parse_output),
        help="file or folder to write, or - for a y4m stream (default: output, or output/FOLDER)",
    )
    times = parser.add_mutually_exclusive_group()
    times.add_argument(
        "--time",
        type=argument_type(parse_time),
        action="append",
        metavar="T",
        help="images: a new frame at T in every gap, such as 0.25 or 1/3; may be repeated",
    )
    add_video_options(parser, times)
    add_network_options(parser)
    args = parser.parse_args(arguments)
    multi = args.multi or 2
    args.times = sorted(set(args.time or [number / multi for number in range(1, multi)]))
    return args


def parse_output(text: str) -> Path:
    """Parse the path of an output; "." and ".." get their names, which other names are made of."""
    path = Path(text)
    path = path.resolve() if path.name in ("", "..") else path
    if not text or not path.name:
        raise ValueError(f"name a file or a folder, got {text!r}")
    return path


@torch.inference_mode()
def run(args: argparse.Namespace) -> None:
    """Interpolate the inputs: a video, a folder that becomes a video or a folder, or a pair."""
    if args.codec == LIST_CODECS:
        print(describe_encoders())
        return
    if is_pipe(args):
        run_pipe(args)
        return
    args.inputs = expand_inputs(args.inputs)
    one = args.inputs[0] if len(args.inputs) == 1 else None
    is_file_name = args.output is not None and args.output.suffix
    to_video = is_file_name and args.output.suffix.lower() in (*CONTAINERS, *ANIMATIONS)
    if one is not None and (is_video(one) or (to_video and one.is_dir() and args.rate)):
        run_video(one, args.output, read_video_options(args), args)
        return
    if (videos := find_batch(args.inputs)) is not None:
        options = read_video_options(args)
        describe_weights(args.model)  # raises before the first video is read
        sys.exit(
            run_batch(
                videos,
                args.output,
                options,
                args.model,
                lambda path, output, bar: run_video(path, output, options, args, bar),
            )
        )
    if len(args.inputs) > 2:
        raise ValueError(f"Give two images, got {len(args.inputs)}; or their folder, or videos.")
    check_names(args)
    require_no_video_options(args)
    if one is not None:
        interpolate_folder(args)
    else:
        interpolate_pair(args)
    if args.model == DEFAULT == default_interpolator():  # no trained weights here
        print(f"\n{describe_default()}")


def check_names(args: argparse.Namespace) -> None:
    """Raise if the inputs are no images, or the output is neither an image nor a folder."""
    if args.inputs:
        find_sequence(args.inputs)
    if args.output is None:
        return
    if len(args.inputs) == 1:
        require_output_folder(
            args.output,
            f"name a folder; or a video, ending in {', '.join(CONTAINERS)}, and say how many "
            f"frames it shows a second, as in --rate 24.",
        )
    elif not is_image(args.output):
        require_output_folder(
            args.output,
            f"name an image, ending in {', '.join(WRITABLE_SUFFIXES)}, or a folder. For a video "
            f"put the images into a folder, and add --rate 24.",
        )


def require_no_video_options(args: argparse.Namespace) -> None:
    """Raise if options are given that have no effect where images become images."""
    if given := given_video_options(args):
        raise ValueError(
            f"Only videos take {', '.join(given)}. Between images use --multi or --time; or name a "
            f"video that the frames of a folder become: --output OUT.mp4 --rate 24."
        )
    if args.explain and (len(args.inputs) == 1 or (args.output and is_image(args.output))):
        raise ValueError(
            "--explain shows the steps of one new frame beside it, or those of a video: give two "
            "images and no --output or a folder, or a video."
        )


def run_video(
    path: Path,
    output: Path | None,
    options: VideoOptions,
    args: argparse.Namespace,
    bar: FrameBar | None = None,
) -> dict[str, Any] | None:
    """Plan a video job, print the plan, run the job, and print its result.

    Args:
        args: options of the network.
        bar: over the frames of several jobs.

    Returns: the receipt of the job, if it ran and this process is the first.
    """
    origin = describe_weights(args.model)  # fails before a long video is read
    if options.compare_model is not None:
        describe_weights(options.compare_model)
    output = output or default_output(path, options, args.model)
    rank = read_segment_rank(os.environ)
    if rank.rank == 0 and not options.dry_run:
        require_unlocked(lock_path(output), output, wait=options.wait)
        require_no_finished_job(path, output, options)
    plan = plan_video(path, output, options)
    say = print_plan_line if rank.rank == 0 else (lambda name, text: None)
    if rank.rank == 0:
        tqdm.write(describe_plan(plan))
    if args.device.type == "cuda" and args.device.index is None:
        args.device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", 0)))
    loaded, compared = load_networks(plan, args, say)
    if options.dry_run:
        if rank.rank == 0:
            say("time", describe_duration(plan, loaded.interpolator, args.device))
            if compared is not None:
                say("beside", describe_duration(plan, compared.interpolator, args.device))
        return None
    if work_folder(plan).is_open() and not options.restart:
        say("resume", f"where {work_folder(plan).folder} left off")
    settings = inference_settings(
        loaded.network, loaded.wanted, args.device, flip_ensemble=args.flip_ensemble
    ) | {"model": origin}
    opened = FrameBar(is_shown=rank.rank == 0) if bar is None else nullcontext(bar)
    with StopRequest() as stop, opened as shown:
        monitor = JobMonitor(cancel=lambda: stop.is_requested)
        watched: dict[str, Any] = {"monitor": monitor, "bar": shown, "compared": compared}
        receipt = run_job(plan, loaded.interpolator, args.device, settings, rank, **watched)
    if receipt is not None:
        print_result(plan, receipt)
    return receipt


def load_networks(
    plan: VideoPlan, args: argparse.Namespace, say: Callable[[str, object], None]
) -> tuple[LoadedNetwork, ComparedNetwork | None]:
    """Load the network of the command line for a plan, and the one to compare with, if any."""
    size = (plan.source.height, plan.source.width)
    times = find_distinct_times(frame.time for frame in plan.output_frames())
    loaded = load_network_for_size(args, *size, times, say)
    if (model := plan.options.compare_model) is None:
        return loaded, None
    return loaded, load_compared_network(args, model, size, times, say)


def print_plan_line(name: str, text: object) -> None:
    """Print one line of the plan."""
    tqdm.write(f"{name:8}{text}")


def print_result(plan: VideoPlan, receipt: dict[str, Any]) -> None:
    """Print what a finished job wrote, and how long it took."""
    if receipt.get("finished before"):
        print(f"done    {plan.output} was finished before. --overwrite makes it again.")
        return
    lines = [f"time    {receipt['seconds']:.1f} s for {receipt['frames made in this run']} frames"]
    if "least reliable" in receipt:
        refused = receipt["refused as unreliable"]
        worst = [f"{x['seconds']:.2f} s ({x['score']:.2f})" for x in receipt["least reliable"]]
        lines.append(
            f"judged  {refused} frames blended instead; least reliable: {', '.join(worst)}"
        )
    if receipt.get("least reliable"):
        lines.append(f"worst   {worst_frames_path(plan.output)} shows them")
    lines += [f"file    {file}, checked against the plan" for file in plan.outputs.values()]
    tqdm.write("\n".join([*lines, f"receipt {receipt_path(plan.output)}"]))


if __name__ == "__main__":
    main()
