"""Measure interpolators.

python -m benchmark footage --path my_video.mp4 --model blend classical --gap 1 2
"""

import argparse
import shlex
import sys
from collections.abc import Sequence

from benchmark import footage


def main(arguments: Sequence[str] | None = None) -> None:
    """Run one of the measurements; errors that the user can mend end it with a message."""
    arguments = sys.argv[1:] if arguments is None else arguments
    parser = argparse.ArgumentParser(
        prog="python -m benchmark",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(required=True, metavar="MEASUREMENT")
    own = commands.add_parser("footage", help=footage.__doc__, description=footage.__doc__)
    footage.add_arguments(own)
    own.set_defaults(run=footage.run, command=shlex.join(["python", "-m", "benchmark", *arguments]))

    args = parser.parse_args(arguments)
    try:
        args.run(args)
    except KeyboardInterrupt:
        parser.exit(130, "\nInterrupted. The same command goes on from here: every row is kept.\n")
    except (ValueError, OSError) as error:
        parser.exit(2, f"error: {error}\n")


if __name__ == "__main__":
    main()
