"""Look after data sets.

python -m dataset verify vimeo90k /data/vimeo_triplet         is it all there, and good?
python -m dataset pack x4k1000fps /data/X4K1000FPS /fast/X4K  decode once, for fast training
python -m dataset write vimeo90k small_vimeo --scenes 16      a small stand-in, made here
python -m dataset speed vimeo90k /data/vimeo_triplet          samples a second that one core reads
python -m dataset sheet sheet.png                             what synthetic scenes look like
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from sgm_vfi.dataset import vimeo90k, x4k1000fps
from sgm_vfi.dataset.loading_speed import measure_reading, measure_rendering
from sgm_vfi.dataset.packed_cache import is_packed, write_packed
from sgm_vfi.dataset.stand_in import TREE_LAYOUTS, write_stand_in
from sgm_vfi.dataset.synthetic import SceneGenerator, SyntheticConfig
from sgm_vfi.dataset.synthetic.preview import render_contact_sheet
from sgm_vfi.dataset.verify import DATA_SETS, verify_data_set
from sgm_vfi.media.images import write_frame

TRAINING_SETS = {module.NAME: module for module in (vimeo90k, x4k1000fps)}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m dataset",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(dest="command", required=True)
    add_verify(commands)
    add_pack(commands)
    add_write(commands)
    add_speed(commands)
    add_sheet(commands)
    args = parser.parse_args(arguments)
    try:
        return args.run(args)
    except (ValueError, OSError) as error:
        print(error, file=sys.stderr)
        return 1


def add_verify(commands: argparse._SubParsersAction) -> None:
    """Options of `verify_data_set`."""
    command = commands.add_parser("verify", help="say what is there, missing or damaged")
    command.add_argument("name", choices=DATA_SETS)
    command.add_argument("path", type=Path, help="root of the data set")
    command.add_argument("--quick", action="store_true", help="read only the ends of the files")
    command.add_argument("--threads", type=int, default=2)
    command.set_defaults(run=run_verify)


def run_verify(args: argparse.Namespace) -> int:
    """Print the report; 1 where something is missing or damaged."""
    good, report = verify_data_set(args.name, args.path, quick=args.quick, threads=args.threads)
    print(report)
    return 0 if good else 1


def add_pack(commands: argparse._SubParsersAction) -> None:
    """Options of `pack`."""
    command = commands.add_parser(
        "pack",
        help="decode a training set once, into a packed cache",
        description="Decode all frames into large files, from which crops are read without "
        "decoding. Takes 3 bytes per pixel: 53 GB for Vimeo90K, 507 GB for X4K1000FPS's train.",
    )
    command.add_argument("name", choices=TRAINING_SETS)
    command.add_argument("path", type=Path, help="root of the data set")
    command.add_argument("output", type=Path, help="folder to make; use it as the root afterwards")
    command.add_argument("--threads", type=int, default=2)
    command.set_defaults(run=run_pack)


def run_pack(args: argparse.Namespace) -> int:
    """Pack each part into a folder of its own."""
    for part, stacks in TRAINING_SETS[args.name].list_packable(args.path).items():
        if is_packed(args.output / part):
            print(f"{args.output / part}: packed already, left as it is")
            continue
        size = write_packed(stacks, args.output / part, threads=args.threads)
        print(f"{args.output / part}: {len(stacks):,} clips, {size / 1e9:.3f} GB")
    return 0


def add_write(commands: argparse._SubParsersAction) -> None:
    """Options of `write`."""
    command = commands.add_parser("write", help="write a small stand-in for a data set")
    command.add_argument("name", choices=TREE_LAYOUTS)
    command.add_argument("path", type=Path, help="folder to make")
    command.add_argument("--scenes", type=int, default=8, help="training clips, or sequences")
    command.add_argument("--size", type=size, help="WIDTHxHEIGHT of all frames; else as published")
    command.add_argument("--seed", type=int, default=0)
    command.add_argument("--device", default="cpu")
    command.set_defaults(run=run_write)


def run_write(args: argparse.Namespace) -> int:
    """Write a tree."""
    frames = write_stand_in(
        args.name,
        args.path,
        scenes=args.scenes,
        size=args.size,
        seed=args.seed,
        device=args.device,
    )
    print(f"{args.path}: {frames:,} frames in the layout of {args.name}")
    return 0


def add_speed(commands: argparse._SubParsersAction) -> None:
    """Options of `speed`."""
    command = commands.add_parser("speed", help="samples a second, read by one core or rendered")
    command.add_argument("name", choices=(*TRAINING_SETS, "synthetic"))
    command.add_argument("path", type=Path, nargs="?", help="root; may be a packed cache")
    command.add_argument("--crop", type=int, help="side of the crops; else as published")
    command.add_argument("--samples", type=int, default=64)
    command.add_argument("--size", type=size, default=(256, 256), help="of synthetic frames")
    command.add_argument("--batch_size", type=int, default=8, help="of synthetic frames")
    command.add_argument("--device", default="cpu", help="of synthetic frames")
    command.set_defaults(run=run_speed)


def run_speed(args: argparse.Namespace) -> int:
    """Print samples a second."""
    if args.name == "synthetic":
        config = SyntheticConfig(size=args.size)
        print(measure_rendering(config, args.batch_size, args.samples, args.device))
    elif args.path is None:
        raise ValueError(f"Name the root of {args.name}: python -m dataset speed {args.name} PATH")
    else:
        print(measure_reading(TRAINING_SETS[args.name], args.path, args.samples, args.crop))
    return 0


def add_sheet(commands: argparse._SubParsersAction) -> None:
    """Options of `sheet`."""
    command = commands.add_parser("sheet", help="draw synthetic scenes with their true motion")
    command.add_argument("output", type=Path, help="picture to write")
    command.add_argument("--scenes", type=int, default=6)
    command.add_argument("--size", type=size, default=(256, 256), help="WIDTHxHEIGHT of a frame")
    command.add_argument("--seed", type=int, default=0)
    command.add_argument("--device", default="cpu")
    command.set_defaults(run=run_sheet)


def run_sheet(args: argparse.Namespace) -> int:
    """Write the picture."""
    maker = SceneGenerator(SyntheticConfig(size=args.size, any_time=True), args.device)
    write_frame(args.output, render_contact_sheet(maker, args.scenes, args.seed))
    print(f"{args.output}: {args.scenes} scenes")
    return 0


def size(text: str) -> tuple[int, int]:
    """WIDTHxHEIGHT -> (height, width)."""
    width, times, height = text.partition("x")
    if not times or not width.isdecimal() or not height.isdecimal():
        raise argparse.ArgumentTypeError(f"a size is WIDTHxHEIGHT, such as 256x256, got {text!r}")
    return int(height), int(width)


if __name__ == "__main__":
    sys.exit(main())
