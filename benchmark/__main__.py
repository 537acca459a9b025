"""Measure interpolators.

python -m benchmark footage --path my_video.mp4 --model blend classical --gap 1 2
python -m benchmark speed --model ours-small-1-2 --size 448x256 960x544
"""

import argparse
import shlex
import sys
from collections.abc import Sequence

from benchmark import footage, speed


def main(arguments: Sequence[str] | None = None) -> None:
    """Run one of the measurements; errors that the user can mend end it with a message."""
    arguments = sys.argv[1:] if arguments is None else arguments
    parser = argparse.ArgumentParser(
        prog="python -m benchmark",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(required=True, metavar="MEASUREMENT")
    command = shlex.join(["python", "-m", "benchmark", *arguments])
    for name, measurement in (("footage", footage), ("speed", speed)):
        about = measurement.__doc__
        own = commands.add_parser(name, help=about, description=about)
        measurement.add_arguments(own)
        own.set_defaults(run=measurement.run, command=command)

    args = parser.parse_args(arguments)
    try:
        args.run(args)
    except KeyboardInterrupt:
        parser.exit(130, "\nInterrupted. The same command goes on from here: every row is kept.\n")
    except (ValueError, OSError) as error:
        parser.exit(2, f"error: {error}\n")


if __name__ == "__main__":
    main()
