"""Verify, pack and write data sets.

sgm-vfi dataset verify vimeo90k /data/vimeo_triplet         report missing and damaged files
sgm-vfi dataset pack x4k1000fps /data/X4K1000FPS /fast/X4K  decode once, for fast training
sgm-vfi dataset write vimeo90k small_vimeo --scenes 16      write a small synthetic stand-in
sgm-vfi dataset speed vimeo90k /data/vimeo_triplet          measure samples per second on one core
sgm-vfi dataset sheet sheet.png                             draw synthetic scenes with their flow
"""

import argparse
import sys
import time
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import sgm_vfi.startup  # noqa: F401 - before PyTorch

# isort: split
import cv2
import torch
from torch import Tensor

from sgm_vfi.command_errors import CommandParser, report_errors
from sgm_vfi.dataset import vimeo90k, x4k1000fps
from sgm_vfi.dataset.packed_cache import PackedFrameStack, is_packed, write_packed
from sgm_vfi.dataset.stand_in_data_sets import TREE_LAYOUTS, write_stand_in
from sgm_vfi.dataset.synthetic import SceneGenerator, SyntheticConfig, SyntheticLoader
from sgm_vfi.dataset.triplet_sampling import SampleKey
from sgm_vfi.dataset.verify import DATA_SETS, verify_data_set
from sgm_vfi.media.images import parse_size, write_frame
from sgm_vfi.media.visualise import Picture, flow_to_image, make_grid, measure_flow_range

SIZE_HELP = "WIDTHxHEIGHT in pixels (default: 256x256)"
TRAINING_SETS = {module.NAME: module for module in (vimeo90k, x4k1000fps)}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return the exit status."""
    parser = CommandParser(
        prog="sgm-vfi dataset",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for add_command in (add_verify, add_pack, add_write, add_speed, add_sheet):
        add_command(commands)
    args = parser.parse_args(arguments)
    with report_errors(f"{parser.prog} {args.command}"):
        status: int = args.run(args)
    return status


def add_threads(command: argparse.ArgumentParser) -> None:
    """Add `--threads`."""
    command.add_argument("--threads", type=int, default=2, help="that read files (default: 2)")


def add_seed_and_device(command: argparse.ArgumentParser) -> None:
    """Add the options of a command that renders scenes."""
    command.add_argument("--seed", type=int, default=0, help="of the scenes (default: 0)")
    command.add_argument("--device", default="cpu", help="that renders them (default: cpu)")


def add_verify(commands: argparse._SubParsersAction) -> None:
    """Add the `verify` command."""
    command = commands.add_parser("verify", help="report missing and damaged files")
    command.add_argument("name", choices=DATA_SETS, help="data set")
    command.add_argument("path", type=Path, help="root of the data set")
    command.add_argument("--quick", action="store_true", help="read only the ends of the files")
    add_threads(command)
    command.set_defaults(run=run_verify)


def run_verify(args: argparse.Namespace) -> int:
    """Print the report; return 1 if a file is missing or damaged."""
    good, report = verify_data_set(args.name, args.path, quick=args.quick, threads=args.threads)
    print(report)
    return 0 if good else 1


def add_pack(commands: argparse._SubParsersAction) -> None:
    """Add the `pack` command."""
    command = commands.add_parser(
        "pack",
        help="decode a training set once into a packed cache",
        description="Decode all frames into large files, from which crops are read without "
        "decoding. Takes 3 bytes per pixel: 53 GB for Vimeo90K, 507 GB for X4K1000FPS's train.",
    )
    command.add_argument("name", choices=TRAINING_SETS, help="data set")
    command.add_argument("path", type=Path, help="root of the data set")
    command.add_argument("output", type=Path, help="folder to make; use it as the root afterwards")
    add_threads(command)
    command.set_defaults(run=run_pack)


def run_pack(args: argparse.Namespace) -> int:
    """Pack each part of the data set into its own folder."""
    for part, stacks in TRAINING_SETS[args.name].list_packable(args.path).items():
        if is_packed(args.output / part):
            print(f"{args.output / part}: packed already, unchanged")
            continue
        num_bytes = write_packed(stacks, args.output / part, threads=args.threads)
        print(f"{args.output / part}: {len(stacks):,} clips, {num_bytes / 1e9:.3f} GB")
    return 0


def add_write(commands: argparse._SubParsersAction) -> None:
    """Add the `write` command."""
    command = commands.add_parser("write", help="write a small synthetic stand-in for a data set")
    command.add_argument("name", choices=TREE_LAYOUTS, help="data set whose layout is written")
    command.add_argument("path", type=Path, help="folder to make")
    command.add_argument(
        "--scenes", type=int, default=8, help="training clips, or sequences (default: 8)"
    )
    command.add_argument("--size", help="WIDTHxHEIGHT of all frames (default: as published)")
    add_seed_and_device(command)
    command.set_defaults(run=run_write)


def run_write(args: argparse.Namespace) -> int:
    """Write the stand-in."""
    num_frames = write_stand_in(
        args.name,
        args.path,
        scenes=args.scenes,
        size=parse_size(args.size) if args.size else None,
        seed=args.seed,
        device=args.device,
    )
    print(f"{args.path}: {num_frames:,} frames in the layout of {args.name}")
    return 0


def add_speed(commands: argparse._SubParsersAction) -> None:
    """Add the `speed` command."""
    command = commands.add_parser("speed", help="measure samples per second, read or rendered")
    command.add_argument("name", choices=(*TRAINING_SETS, "synthetic"), help="training set")
    command.add_argument("path", type=Path, nargs="?", help="root; may be a packed cache")
    command.add_argument(
        "--crop", type=int, help="side of the crops, in pixels (default: as published)"
    )
    command.add_argument("--samples", type=int, default=64, help="that are timed (default: 64)")
    command.add_argument("--size", default="256x256", help=f"of synthetic frames, {SIZE_HELP}")
    command.add_argument("--batch_size", type=int, default=8, help="synthetic frames (default: 8)")
    command.add_argument(
        "--device", default="cpu", help="that renders synthetic frames (default: cpu)"
    )
    command.set_defaults(run=run_speed)


def run_speed(args: argparse.Namespace) -> int:
    """Print samples per second."""
    if args.name == "synthetic":
        config = SyntheticConfig(size=parse_size(args.size))
        print(measure_rendering(config, args.batch_size, args.samples, args.device))
    elif args.path is None:
        raise ValueError(f"Name the root of {args.name}: sgm-vfi dataset speed {args.name} PATH")
    else:
        print(measure_reading(TRAINING_SETS[args.name], args.path, args.samples, args.crop))
    return 0


def measure_reading(module: ModuleType, root: Path, samples: int, crop: int | None) -> str:
    """Measure how fast one worker on one core reads training samples."""
    cv2.setNumThreads(0)
    torch.set_num_threads(1)
    augmentation = module.PUBLISHED_AUGMENTATION
    dataset = module.build_training_set(root, replace(augmentation, crop=crop or augmentation.crop))
    dataset[SampleKey(0)]  # the first sample also opens files and imports modules
    keys = (SampleKey(n % len(dataset), epoch=n // len(dataset)) for n in range(samples))
    seconds, cpu_seconds = measure_seconds(dataset[key].frame0 for key in keys)
    kind = "packed" if isinstance(dataset.stacks[0], PackedFrameStack) else "image files"
    return (
        f"{module.NAME}, {kind}, crops of {dataset.augmentation.crop}: {samples / seconds:.1f} "
        f"samples/s on one core, {samples / cpu_seconds:.1f} per second of CPU time "
        f"({samples} samples)"
    )


def measure_rendering(
    config: SyntheticConfig, batch_size: int, samples: int, device: torch.device | str
) -> str:
    """Measure how fast training batches are rendered."""
    loader = SyntheticLoader(config, samples + batch_size, batch_size, device=device)
    batches = (batch.frame0 for batch in loader)
    measure_seconds([next(batches)])  # warm-up
    seconds, cpu_seconds = measure_seconds(batches)
    rendered = (len(loader) - 1) * batch_size
    height, width = config.size
    return (
        f"synthetic, {width}x{height}, batches of {batch_size}: {rendered / seconds:.1f} samples/s "
        f"on {device} with {torch.get_num_threads()} CPU threads, {rendered / cpu_seconds:.1f} per "
        f"second of CPU time ({rendered} samples)"
    )


def measure_seconds(tensors: Iterable[Tensor]) -> tuple[float, float]:
    """Exhaust an iterator of tensors; return wall-clock and CPU seconds until all are computed."""
    wall, cpu = time.perf_counter(), time.process_time()
    last = None
    for last in tensors:  # noqa: B007
        pass
    if last is not None and last.is_cuda:
        torch.cuda.synchronize(last.device)
    return time.perf_counter() - wall, time.process_time() - cpu


def add_sheet(commands: argparse._SubParsersAction) -> None:
    """Add the `sheet` command."""
    command = commands.add_parser("sheet", help="draw synthetic scenes with their true flow")
    command.add_argument("output", type=Path, help="image to write")
    command.add_argument("--scenes", type=int, default=6, help="rows of the sheet (default: 6)")
    command.add_argument("--size", default="256x256", help=f"of a frame, {SIZE_HELP}")
    add_seed_and_device(command)
    command.set_defaults(run=run_sheet)


def run_sheet(args: argparse.Namespace) -> int:
    """Write the contact sheet."""
    config = SyntheticConfig(size=parse_size(args.size), any_time=True)
    sheet = render_contact_sheet(SceneGenerator(config, args.device), args.scenes, args.seed)
    write_frame(args.output, sheet)
    print(f"{args.output}: {args.scenes} scenes")
    return 0


def render_contact_sheet(generator: SceneGenerator, scenes: int, seed: int) -> Tensor:
    """Render one scene per row: three frames, the flow from 0 to 1 and its visibility (white).

    Shapes: -> (3, h, w), on the CPU.
    """
    pictures = []
    for number in range(scenes):
        triplet = generator.draw([(seed, number)]).triplet(truth=True)
        truth = triplet.require_truth()
        flow, visible = truth.flow_01[0].cpu(), truth.visible_01[0].cpu()
        flow_range = measure_flow_range(flow)
        pictures += [
            Picture(f"scene {number}: frame 0", triplet.frame0[0]),
            Picture(f"time {triplet.time.item():.2f}", triplet.target[0]),
            Picture("frame 1", triplet.frame1[0]),
            Picture("true flow 0 to 1", flow_to_image(flow, flow_range), flow_range),
            Picture("visible in frame 1", visible.expand(3, -1, -1)),
        ]
    return make_grid(pictures, columns=5, width=1600)


if __name__ == "__main__":
    sys.exit(main())
