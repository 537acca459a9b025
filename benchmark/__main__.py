"""Measure interpolators.

sgm-vfi benchmark xtest-l-2k --path DATA/X4K1000FPS --model ours-small-1-2 classical
sgm-vfi benchmark all --path DATA --model ours-small-1-2 --output results
torchrun --nproc_per_node=4 -m benchmark all --path DATA --model ours-small-1-2
sgm-vfi benchmark footage --path my_video.mp4 --model blend classical --gap 1 2
sgm-vfi benchmark synthetic --model ours-local-small ours-small-1-2 classical
sgm-vfi benchmark speed --model ours-small-1-2 --size 448x256 960x544
sgm-vfi benchmark splat --size 1024x544 2048x1088
sgm-vfi benchmark operations --size 960x544
sgm-vfi benchmark device_check
sgm-vfi benchmark curation --list SNU-FILM/test-hard.txt --path SNU-FILM
sgm-vfi benchmark figure --path A.png B.png TRUTH.png --model blend dis --crop 100,50,96,96
sgm-vfi benchmark report output/footage.json
sgm-vfi benchmark compare output/before.json output/after.json
"""

import argparse
import os
import shlex
import sys
from collections.abc import Sequence

import sgm_vfi.startup  # noqa: F401 - before PyTorch
from sgm_vfi.benchmark import (
    check_device_speed_and_tests,
    compare_results,
    crop_figure,
    curation,
    footage_command,
    operation_speed,
    report_page,
    runner,
    speed,
    splat_speed,
    synthetic,
)
from sgm_vfi.benchmark.protocols import PROTOCOLS
from sgm_vfi.command_errors import CommandParser, report_errors

PROG = "sgm-vfi benchmark"
FOLDERS = ", ".join(dict.fromkeys(protocol.folders[0] for protocol in PROTOCOLS.values()))
ALL = f"every protocol whose data is below --path, in folders named {FOLDERS}"
COMMANDS = {
    "footage": footage_command,
    "synthetic": synthetic,
    "speed": speed,
    "splat": splat_speed,
    "operations": operation_speed,
    "device_check": check_device_speed_and_tests,
    "curation": curation,
    "figure": crop_figure,
    "report": report_page,
    "compare": compare_results,
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one of the commands; return the exit status."""
    arguments = sys.argv[1:] if arguments is None else arguments
    parser = CommandParser(
        prog=PROG,
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    command = shlex.join([*PROG.split(), *arguments])
    for name, module in COMMANDS.items():
        own = commands.add_parser(name, help=module.__doc__, description=module.__doc__)
        module.add_arguments(own)
        own.set_defaults(run=module.run, command=command)
    sources = {name: protocol.source for name, protocol in PROTOCOLS.items()}
    for name, about in (*sources.items(), ("all", ALL)):
        own = commands.add_parser(name, help=about, description=about)
        runner.add_arguments(own)
        is_all = name == "all"
        protocols = tuple(PROTOCOLS) if is_all else (name,)
        own.set_defaults(
            run=runner.run, protocols=protocols, is_parent_folder=is_all, command=command
        )
    return run_command(parser, arguments)


def run_published_command(
    description: str, protocols: Sequence[str], arguments: Sequence[str] | None = None
) -> int:
    """Run protocols as a command of their own; return the exit status."""
    parser = CommandParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    runner.add_arguments(parser)
    command = shlex.join(["python", *sys.argv])
    parser.set_defaults(
        run=runner.run, protocols=protocols, is_parent_folder=False, command=command
    )
    return run_command(parser, arguments)


def run_command(parser: CommandParser, arguments: Sequence[str] | None) -> int:
    """Parse the arguments and run; exit with a message on errors that a user can cause."""
    args = parser.parse_args(arguments)
    is_distributed = getattr(args, "is_distributed", False)
    with report_errors(parser.prog, "The same command resumes: every row is kept."):
        if not is_distributed and int(os.environ.get("WORLD_SIZE", "1")) > 1:
            raise ValueError("This is measured by one process: start it with python, not torchrun.")
        return args.run(args) or 0


if __name__ == "__main__":
    sys.exit(main())
