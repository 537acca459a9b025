"""Long trials, of which the suite runs short forms.

python -m tests.stress kills --runs 200
python -m tests.stress fuzz --files 500
python -m tests.stress busy
python -m tests.stress progress CLIP.mp4
"""

import argparse
import sys
from collections.abc import Sequence

from tests.stress import busy, fuzz, kills, progress

COMMANDS = {"kills": kills, "fuzz": fuzz, "busy": busy, "progress": progress}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one trial; return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tests.stress", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for name, module in COMMANDS.items():
        own = commands.add_parser(name, help=module.__doc__, description=module.__doc__)
        module.add_arguments(own)
        own.set_defaults(run=module.run)
    args = parser.parse_args(arguments)
    return int(args.run(args))


if __name__ == "__main__":
    sys.exit(main())
