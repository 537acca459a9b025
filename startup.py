"""Settings of a process that runs a command; imported by every command before PyTorch.

OpenMP threads of PyTorch spin while they wait for work. Beside other busy processes they take the
processor from the threads that they wait for. A short spin costs nothing on an idle machine.
"""

import io
import os
import sys
from collections.abc import MutableMapping

SPIN_COUNT = "3000"  # iterations before a waiting thread of GNU OpenMP sleeps
SPIN_VARIABLES = ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY")


def limit_spinning(environment: MutableMapping[str, str]) -> None:
    """Set `GOMP_SPINCOUNT`, unless the user decides how threads wait.

    Has no effect after PyTorch was imported, as OpenMP reads the variable when it is loaded.
    """
    if not any(name in environment for name in SPIN_VARIABLES):
        environment["GOMP_SPINCOUNT"] = SPIN_COUNT


def announce_loading(prog: str) -> None:
    """Print a line if the import of PyTorch lies ahead, which takes seconds."""
    if "torch" not in sys.modules and os.environ.get("RANK", "0") == "0":
        print(f"{prog}: loading PyTorch ...", file=sys.stderr, flush=True)


def print_any_file_name() -> None:
    """Let printed texts hold file names that are not UTF-8, as their bytes are."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="surrogateescape")


limit_spinning(os.environ)
print_any_file_name()
