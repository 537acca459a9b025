"""Measure interpolators.

python -m benchmark xtest-l-2k --path DATA/X4K1000FPS --model ours-small-1-2 classical
python -m benchmark all --path DATA --model ours-small-1-2 --output results
torchrun --nproc_per_node=4 -m benchmark all --path DATA --model ours-small-1-2
python -m benchmark footage --path my_video.mp4 --model blend classical --gap 1 2
python -m benchmark synthetic --model ours-local-small ours-small-1-2 classical
python -m benchmark speed --model ours-small-1-2 --size 448x256 960x544
python -m benchmark splat --size 1024x544 2048x1088
python -m benchmark report output/footage.json
python -m benchmark compare output/before.json output/after.json
"""

import argparse
import os
import shlex
import sys
from collections.abc import Sequence

from sgm_vfi.benchmark import compare, footage, runner, speed, synthetic
from sgm_vfi.benchmark import report_page as page
from sgm_vfi.benchmark import splat_speed as splat
from sgm_vfi.benchmark.protocols import PROTOCOLS

FOLDERS = ", ".join(dict.fromkeys(protocol.folders[0] for protocol in PROTOCOLS.values()))
ALL = f"every protocol whose data is below --path, in folders named {FOLDERS}"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one of the measurements; returns the exit status."""
    arguments = sys.argv[1:] if arguments is None else arguments
    parser = argparse.ArgumentParser(
        prog="python -m benchmark",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(required=True, metavar="MEASUREMENT")
    command = shlex.join(["python", "-m", "benchmark", *arguments])
    measurements = {
        "footage": footage,
        "synthetic": synthetic,
        "speed": speed,
        "splat": splat,
        "report": page,
        "compare": compare,
    }
    for name, measurement in measurements.items():
        about = measurement.__doc__
        own = commands.add_parser(name, help=about, description=about)
        measurement.add_arguments(own)
        own.set_defaults(run=measurement.run, command=command)
    sources = {name: protocol.source for name, protocol in PROTOCOLS.items()}
    for name, about in (*sources.items(), ("all", ALL)):
        own = commands.add_parser(name, help=about, description=about)
        runner.add_arguments(own)
        chosen = tuple(PROTOCOLS) if name == "all" else (name,)
        own.set_defaults(run=runner.run, protocols=chosen, below=name == "all", command=command)
    return conclude(parser, arguments)


def published_command(
    about: str, protocols: Sequence[str], arguments: Sequence[str] | None = None
) -> int:
    """Run some protocols as a command of its own; returns the exit status."""
    parser = argparse.ArgumentParser(
        description=about, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    runner.add_arguments(parser)
    command = shlex.join(["python", *sys.argv])
    parser.set_defaults(run=runner.run, protocols=protocols, below=False, command=command)
    return conclude(parser, arguments)


def conclude(parser: argparse.ArgumentParser, arguments: Sequence[str] | None) -> int:
    """Do what the arguments ask; errors that the user can mend end it with a message."""
    args = parser.parse_args(arguments)
    try:
        if not getattr(args, "shared", False) and int(os.environ.get("WORLD_SIZE", "1")) > 1:
            raise ValueError("This is measured by one process: start it with python, not torchrun.")
        return args.run(args) or 0
    except KeyboardInterrupt:
        parser.exit(130, "\nInterrupted. The same command goes on from here: every row is kept.\n")
    except (ValueError, OSError) as error:
        parser.exit(2, f"error: {error}\n")


if __name__ == "__main__":
    sys.exit(main())
