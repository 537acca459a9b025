"""Export an interpolator as ONNX, TorchScript, pt2 or ncnn, for other programs.

    sgm-vfi export ifrnet_gopro --format onnx --size 1280x720
    sgm-vfi export log/mine/ckpt/mine.safetensors --format torchscript --output mine.pt

The file is for frames of one size. Its inputs are `frame0` and `frame1`, (1, 3, H, W), RGB in
[0, 1], and `time`, (1, 1, 1, 1) in (0, 1), if the network supports any time; its output is `frame`.
An ncnn archive holds network.param and network.bin, with in0, in1, in2 and out0 for these.
It is compared with the network before it is kept.
"""

import argparse
import logging
from collections.abc import Iterator, Sequence
from pathlib import Path

from sgm_vfi.command_errors import CommandParser, report_errors
from sgm_vfi.model.cli_options import (
    add_device_option,
    add_scale_and_points,
    argument_type,
    parse_size,
)
from sgm_vfi.model.export.export_graph_and_check import export
from sgm_vfi.model.export.formats import FORMATS, INPUTS
from sgm_vfi.model.interpolator import flow_scale_fraction
from sgm_vfi.model.zoo import ZOO, load_interpolator


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command."""
    parser = CommandParser(
        prog="sgm-vfi export",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("model", help="name of a network, file of weights, or file.py:Class")
    parser.add_argument("--format", choices=FORMATS, required=True, help="of the file")
    parser.add_argument(
        "--size",
        type=argument_type(parse_size),
        default=(256, 448),
        metavar="WIDTHxHEIGHT",
        help="size of the frames in pixels (default: 448x256)",
    )
    add_scale_and_points(parser)
    add_device_option(
        parser, default="cpu", help="device that a TorchScript file will run on (default: cpu)"
    )
    parser.add_argument(
        "--output", type=Path, help="default: MODEL-WIDTHxHEIGHT and the suffix of the format, here"
    )
    args = parser.parse_args(arguments)
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    with report_errors(parser.prog):
        print("\n".join(report(args)))


def report(args: argparse.Namespace) -> Iterator[str]:
    """Export, and yield lines about the file and its differences from the network."""
    network = load_interpolator(args.model, num_key_points=args.num_key_points).to(args.device)
    flow_scale_fraction(args.flow_scale, network.largest_flow_scale)
    height, width = args.size
    ending = FORMATS[args.format].ending
    stem = args.model if args.model in ZOO else Path(args.model).stem  # "rife_v4.6" has no suffix
    path = args.output or Path(f"{stem}-{width}x{height}{ending}")
    inputs = ", ".join(INPUTS if network.any_time else INPUTS[:2])
    about = {
        "network": args.model,
        "size": f"{width}x{height}",
        "flow_scale": f"{args.flow_scale:g}",
        "time": "any" if network.any_time else "1/2",
        "frames": "RGB in [0, 1], (1, 3, height, width)",
    }
    agreement = export(network, args.format, args.size, path, scale=args.flow_scale, about=about)
    yield f"{path}: {path.stat().st_size / 1e6:.1f} MB, frames of {width}x{height}"
    times = ", ".join(f"{time:g}" for time in agreement.times)
    yield f"takes {inputs}; gives frame" + ("" if network.any_time else " at t = 1/2")
    yield (
        f"compared with the network at t = {times}, in {agreement.runner}: difference "
        f"{agreement.mean:.1e} on average, {agreement.largest:.1e} at most, of frames in [0, 1]"
    )


if __name__ == "__main__":
    main()
