"""The command `sgm-vfi`: one parser whose sub-commands are the commands of the packages."""

import argparse
import sys
from collections.abc import Sequence
from importlib import import_module

import sgm_vfi
from sgm_vfi.command_errors import CommandParser
from sgm_vfi.startup import announce_loading

COMMANDS = {  # sub-command -> (module with a `main`, what it does)
    "interpolate": ("sgm_vfi.video.command", "interpolate frames between images or in videos"),
    "benchmark": ("sgm_vfi.benchmark.__main__", "measure interpolators"),
    "train": ("sgm_vfi.training.__main__", "train networks, plot curves, release weights"),
    "dataset": ("sgm_vfi.dataset.__main__", "verify, pack and write data sets"),
    "weights": ("sgm_vfi.model.fetch", "list and fetch trained weights"),
    "app": ("sgm_vfi.app.__main__", "serve a page to try interpolators in the browser"),
    "export": (
        "sgm_vfi.model.export.__main__",
        "write a network as ONNX, TorchScript, pt2 or ncnn",
    ),
}


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the sub-command that is named first, with the arguments after it."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    lines = [f"  {name:<12} {help_}" for name, (_, help_) in COMMANDS.items()]
    parser = CommandParser(
        prog="sgm-vfi",
        description=sgm_vfi.__doc__,
        epilog="\n".join(["commands:", *lines, "", "sgm-vfi COMMAND -h explains one of them."]),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"sgm-vfi {sgm_vfi.__version__}")
    parser.add_argument("command", choices=COMMANDS, metavar="COMMAND")
    args = parser.parse_args(arguments[:1])
    announce_loading(f"sgm-vfi {args.command}")
    import_module(COMMANDS[args.command][0]).main(arguments[1:])


if __name__ == "__main__":
    main()
