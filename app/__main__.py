"""Serve a page on this computer to try interpolators in the browser.

    sgm-vfi app                        then open http://127.0.0.1:7860
    sgm-vfi app --port 8000 --max_upload 500

Needs Gradio: pip install "sgm-vfi[app]". Files that are uploaded or made lie in one temporary
folder. Those of a page are deleted when it is closed, all others when the command ends.
"""

import argparse
import ipaddress
import os
import signal
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory

from sgm_vfi.app.session_files import PREFIX, SessionFiles
from sgm_vfi.command_errors import CommandParser, report_errors
from sgm_vfi.model.cli_options import add_device_option, argument_type, parse_positive

LOOPBACK = "127.0.0.1"
PORT, MAX_UPLOAD = 7860, 2000  # MB


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command."""
    parser = CommandParser(
        prog="sgm-vfi app",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--host", default=LOOPBACK, help="address to serve on (default: %(default)s)"
    )
    parser.add_argument(
        "--port", type=argument_type(parse_positive), default=PORT, help="default: %(default)s"
    )
    parser.add_argument(
        "--max_upload",
        type=argument_type(parse_positive),
        default=MAX_UPLOAD,
        metavar="MB",
        help="largest file that is accepted, in megabytes (default: %(default)s)",
    )
    add_device_option(parser)
    args = parser.parse_args(arguments)
    with report_errors(parser.prog):
        serve(args)


def serve(args: argparse.Namespace) -> None:
    """Serve the page until the process is told to end.

    Raises:
        ValueError: Gradio is not installed.
    """
    if find_spec("gradio") is None:
        raise ValueError(
            'the page needs Gradio, which is not installed: pip install "sgm-vfi[app]"'
        )
    if not is_loopback(args.host):
        print(
            f"sgm-vfi app: warning: on {args.host} other computers can use this page, without a "
            f"password: they can upload files and compute here.",
            file=sys.stderr,
        )
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    with TemporaryDirectory(prefix=PREFIX, ignore_cleanup_errors=True) as folder:
        sessions = SessionFiles(Path(folder))
        os.environ["GRADIO_TEMP_DIR"] = str(sessions.uploads)
        os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
        from sgm_vfi.app.page import launch  # after the variables, which Gradio reads on import

        launch(sessions, args)


def is_loopback(host: str) -> bool:
    """Return whether only this computer reaches an address."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


if __name__ == "__main__":
    main()
