"""Put new frames between the ones you have.

  python demo_2x.py                             the two photographs that come with scikit-image
  python demo_2x.py A.png B.png                 two images: the frame between, and pictures of it
  python demo_2x.py A.png B.png --output C.png  that frame alone
  python demo_2x.py FOLDER --multi 4            a folder of frames: another, four times as dense
  python demo_2x.py FOLDER --output B.mp4 --rate 24     a video of them, new ones between
  python demo_2x.py CLIP.mp4                    a video: another with twice as many frames
  python demo_2x.py CLIP.mp4 --fps 60           at another rate, as long as before
  python demo_2x.py CLIP.mp4 --slow 4           in slow motion

Of a video all else is kept: sound, subtitles, chapters, metadata, colours, rotation. The same
command goes on where an interrupted one was. --dry_run says what would be done.

Images may have 8 or 16 bits; new frames have as many. Given frames keep their pixels.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from time import perf_counter
from typing import Any

import skimage.data
import torch
from torch import Tensor
from tqdm import tqdm

from sgm_vfi.media.colour_profiles import find_common_profile
from sgm_vfi.media.images import (
    WRITABLE_SUFFIXES,
    as_frame,
    is_image,
    read_frame,
    require_image_format,
    write_frame,
)
from sgm_vfi.media.output_paths import (
    explain_full_disk,
    is_image_output,
    pair_output_paths,
    require_no_other_images,
    require_not_input,
    require_output_folder,
    require_writable_path,
)
from sgm_vfi.media.sequences import find_sequence, fingerprint_files, is_video, probe_frames
from sgm_vfi.media.visualise import fit_to_box, visualise_pair, write_animation
from sgm_vfi.model import DEFAULT, Interpolation, Interpolator, time_like
from sgm_vfi.model.cli_options import (
    add_network_options,
    argument_type,
    describe_weights,
    load_network,
    parse_multiple,
    parse_time,
)
from sgm_vfi.model.inference.bisection import Bisected, support_times
from sgm_vfi.model.inference.sequence import interpolate_loop, interpolate_sequence
from sgm_vfi.model.zoo import default_interpolator
from sgm_vfi.video.command import describe_inference, fill_video
from sgm_vfi.video.from_images import film_folder
from sgm_vfi.video.memory_fallback import MemoryBudget
from sgm_vfi.video.mux import CONTAINERS
from sgm_vfi.video.options import add_video_options, given_video_options
from sgm_vfi.video.segments import FolderProgress

PICTURES = ("comparison.jpg", "flow.jpg", "explain.jpg", "animation.webp")  # of a pair
ANIMATED_TIMES = [eighths / 8 for eighths in range(1, 8)]
ANIMATED_SIDE = 640  # pixels at most
WEIGHTS_HINT = """
Used `sift+dis`: SIFT matches and DIS optical flow, no trained weights. For SGM-VFI put a published
checkpoint in its place, log/ours-1-2-points/ckpt/ours-1-2-points.pth, and add
--exp_name ours-1-2-points; or name any checkpoint: --model PATH."""


def main(arguments: Sequence[str] | None = None) -> None:
    args = parse(arguments)
    try:
        run(args)
    except (ValueError, OSError) as error:
        sys.exit(f"demo_2x.py: {in_words(error)}")
    except torch.OutOfMemoryError:
        sys.exit(
            f"demo_2x.py: {args.device} ran out of memory. Estimate motion on smaller frames "
            f"(--flow_scale 1/2), synthesise in windows (--tile 512), or take --device cpu."
        )
    except KeyboardInterrupt:
        then = "goes on" if len(args.inputs) == 1 else "begins again"  # of a pair nothing is noted
        print(
            f"demo_2x.py: interrupted; all files are whole. The same command {then}.",
            file=sys.stderr,
        )
        sys.exit(130)


def in_words(error: Exception) -> str:
    """An error's message, without the system's number for it."""
    if isinstance(error, OSError) and error.filename and error.strerror:
        return f"{error.filename}: {error.strerror}."
    return str(error)


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="demo_2x.py",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("inputs", nargs="*", type=Path, metavar="INPUT", help="see above")
    parser.add_argument(
        "--output", type=Path, help="where to write (default: output, or output/FOLDER)"
    )
    times = parser.add_mutually_exclusive_group()
    times.add_argument(
        "--multi",
        type=argument_type(parse_multiple),
        metavar="N",
        help="N times as many frames: N - 1 new ones in every gap (default: 2)",
    )
    times.add_argument(
        "--time",
        type=argument_type(parse_time),
        action="append",
        metavar="T",
        help="a new frame at T in every gap, such as 0.25 or 1/3; may be repeated",
    )
    add_video_options(parser, times)
    parser.add_argument(
        "--explain",
        action="store_true",
        help="also show the steps of the network: as a picture, or as a video OUTPUT_explain",
    )
    add_network_options(parser)
    args = parser.parse_args(arguments)
    if len(args.inputs) > 2:
        parser.error(
            f"give two images, a folder of frames or a video, got {len(args.inputs)} inputs"
        )
    multi = args.multi or 2
    args.times = sorted(set(args.time or [number / multi for number in range(1, multi)]))
    return args


@torch.inference_mode()
def run(args: argparse.Namespace) -> None:
    if len(args.inputs) == 1 and is_video(args.inputs[0]):
        if args.rate:
            raise ValueError("--rate is for folders of frames; of a video say --fps or --slow.")
        fill_video(args.inputs[0], args)
        return
    is_film = args.output is not None and args.output.suffix.lower() in CONTAINERS
    if is_film and len(args.inputs) == 1 and args.inputs[0].is_dir():
        film_folder(args)
        return
    check_names(args)
    require_no_video_options(args)
    fill = fill_folder if len(args.inputs) == 1 else fill_pair
    fill(args)
    if args.model == DEFAULT == default_interpolator():  # nothing trained has come with the project
        print(WEIGHTS_HINT)


def check_names(args: argparse.Namespace) -> None:
    """Refuse what is no sequence of images, and an output that is no image and no folder."""
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


def network_named(args: argparse.Namespace) -> Interpolator:
    """The network that is asked for, at the times that are asked for; says which it is."""
    network = support_times(load_network(args), args.times)
    print(f"model   {describe_weights(args.model)} on {args.device}")
    if isinstance(network, Bisected):
        print(
            f"times   to within 1/{2 ** (network.depth + 1)}, by halving: it was made for t = 1/2"
        )
    return network


def require_no_video_options(args: argparse.Namespace) -> None:
    """Refuse what would do nothing where images become images."""
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


def fill_folder(args: argparse.Namespace) -> None:
    """Write the frames of a folder, and new ones between them, as PNG files into another."""
    paths = find_sequence(args.inputs)
    output = args.output or Path("output", args.inputs[0].resolve().name)
    step = 1 + len(args.times)
    total = step * (len(paths) - 1) + 1
    files = [output / f"{number:06d}.png" for number in range(1, total + 1)]
    require_not_input(files, paths)
    require_no_other_images(files)
    require_writable_path(files[0])
    *_, bits = probe_frames(tqdm(paths, "checking", leave=False))
    network = network_named(args)
    output.mkdir(parents=True, exist_ok=True)
    progress = FolderProgress(
        files, image_settings(network, args) | {"frames": fingerprint_files(paths)}
    )
    first = progress.done() // step  # of the given frames: new ones are made from pair to pair
    if first:
        print(f"resume  after {files[first * step - 1]}")
    profile = find_common_profile(paths, files[0])
    start, done = perf_counter(), first * step
    frames = (read_frame(path)[None].to(args.device) for path in paths[first:])
    denser = interpolate_sequence(network, frames, args.times, args.flow_scale)
    with explain_full_disk(output):
        for frame in tqdm(denser, total=total, initial=done, unit="frame"):
            progress.note(done)
            write_frame(files[done], frame[0], bits, profile)
            done += 1
    progress.finish()
    count = (len(paths) - 1 - first) * len(args.times)
    print(f"time    {perf_counter() - start:.1f} s for {count} new frames")
    print(f"files   {files[0]} to {files[-1].name}, with the given frames among them")


def image_settings(network: Interpolator, args: argparse.Namespace) -> dict[str, Any]:
    """All that decides about new frames but the frames."""
    wanted = MemoryBudget(args.flow_scale, args.tile)
    about = describe_inference(network, wanted, args.device, flip_ensemble=args.flip_ensemble)
    return about | {"model": describe_weights(args.model), "times": args.times}


def fill_pair(args: argparse.Namespace) -> None:
    """Write the new frames between two, and into a folder pictures of how they came about."""
    output = args.output or Path("output")
    frame0, frame1, bits = read_pair(args.inputs, args.device)
    files = pair_output_paths(output, args.times)
    beside = [] if is_image_output(output) else [output / name for name in PICTURES]
    require_not_input([*files, *beside], args.inputs)
    require_image_format(files[0], bits)
    require_writable_path(files[0])
    network = network_named(args)
    files[0].parent.mkdir(parents=True, exist_ok=True)
    profile = find_common_profile(args.inputs, files[0])
    middle = min(args.times, key=lambda time: abs(time - 0.5))
    shown = Interpolation(frame0)
    start = perf_counter()
    state = network.prepare(frame0, frame1, args.flow_scale)
    for file, time in zip(files, tqdm(args.times, disable=len(files) == 1), strict=True):
        result = network.interpolate(state, time_like(frame0, time), explain=time == middle)
        shown = result if time == middle else shown
        write_frame(file, result.frame[0], bits, profile)
    seconds, (height, width) = perf_counter() - start, frame0.shape[-2:]
    print(f"time    {seconds:.2f} s for {len(files)} of {width}x{height}")
    print("files   " + "\n        ".join(map(str, files)))
    if beside:
        notes = {name: note[0].cpu() for name, note in (shown.explanation or {}).items()}
        three = (frame[0].cpu() for frame in (frame0, frame1, shown.frame))
        pictures = visualise_pair(*three, f"new frame, t = {middle:.3g}", notes)
        for name in ("comparison", "flow", "explain")[: 3 if args.explain else 2]:
            if name in pictures:
                write_frame(output / f"{name}.jpg", pictures[name])
                print(f"        {output / name}.jpg")
        animate(output / "animation.webp", network, frame0, frame1)
        print(f"        {output / 'animation.webp'}")


def read_pair(inputs: list[Path], device: torch.device) -> tuple[Tensor, Tensor, int]:
    """Two frames (1, 3, H, W) and their bits per sample; without inputs the photographs."""
    if inputs:
        *_, bits = probe_frames(find_sequence(inputs))
        pair = map(read_frame, inputs)
    else:
        bits, pair = 8, map(as_frame, skimage.data.stereo_motorcycle()[:2])
    frame0, frame1 = (frame[None].to(device) for frame in pair)
    return frame0, frame1, bits


def animate(file: Path, network: Interpolator, frame0: Tensor, frame1: Tensor) -> None:
    """Show the way there and back, on reduced frames: a web page is no place for larger ones."""
    box = (ANIMATED_SIDE, ANIMATED_SIDE)
    small0, small1 = (fit_to_box(frame[0], *box, enlarge=False)[None] for frame in (frame0, frame1))
    times = tqdm(ANIMATED_TIMES, "animating", leave=False)
    cycle = interpolate_loop(support_times(network, ANIMATED_TIMES), small0, small1, times)
    write_animation(file, [frame[0] for frame in cycle], milliseconds=80)


if __name__ == "__main__":
    main()
