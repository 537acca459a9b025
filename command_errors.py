"""What all commands share: a parser whose errors are one line, and errors as one sentence."""

import argparse
import errno
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn

REFUSED = 2  # exit status: the request cannot be met
INTERRUPTED = 130  # exit status, as of programs that Ctrl-C ends
OUT_OF_MEMORY = "allocate memory"  # in PyTorch's error on a CPU, which is a plain RuntimeError
REMEDIES = {
    errno.ENOENT: "there is no such file or folder. Check the name",
    errno.EACCES: "permission is denied. Change the permissions, or name another place",
    errno.EPERM: "permission is denied. Change the permissions, or name another place",
    errno.EROFS: "the disk is read-only. Name another place",
    errno.EISDIR: "it is a folder. Name a file",
    errno.ENOTDIR: "a part of the path is a file, not a folder. Name another place",
    errno.EEXIST: "it exists. Name another place",
    errno.ENAMETOOLONG: "the name is longer than the file system allows. Choose a shorter one",
    errno.ELOOP: "its symbolic links lead in a circle. Name the file itself",
    errno.ENOSPC: "the disk is full. Make room, and run the same command again",
    errno.EDQUOT: "the disk quota is used up. Make room, and run the same command again",
    errno.EMFILE: "too many files are open. Raise the limit: ulimit -n 4096",
    errno.EIO: "the disk cannot be read. Copy the file to another one",
}


class CommandParser(argparse.ArgumentParser):
    """Parser whose errors are one line, without the usage of all options."""

    def error(self, message: str) -> NoReturn:
        """Exit with one line that names the command for help."""
        refuse(self.prog, f"{message.rstrip('.')} ({self.prog} -h explains the options)")


class RefusedRequest(SystemExit):
    """The end of a command whose request cannot be met, with its message."""

    def __init__(self, message: str) -> None:
        super().__init__(REFUSED)
        self.message = message

    def __str__(self) -> str:
        return self.message


def refuse(prog: str, message: str) -> NoReturn:
    """Print the message of a request that cannot be met, and exit."""
    text = f"{prog}: error: {message}"
    print(text, file=sys.stderr)
    raise RefusedRequest(text)


@contextmanager
def report_errors(prog: str, interrupted: str = "The same command begins again.") -> Iterator[None]:
    """Turn errors that a user can cause into one sentence and an exit status.

    Args:
        interrupted: what the same command does after Ctrl-C, as a sentence.
    """
    try:
        yield
    except KeyboardInterrupt:
        print(f"\n{prog}: interrupted. {interrupted}", file=sys.stderr)
        sys.exit(INTERRUPTED)
    except (ValueError, OSError, MemoryError, RuntimeError) as error:
        if isinstance(error, RuntimeError) and not is_out_of_memory(error):
            raise
        refuse(prog, describe_error(error))


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether memory ran out, of a GPU or of the computer."""
    named = isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError"
    return named or (isinstance(error, RuntimeError) and OUT_OF_MEMORY in str(error))


def describe_error(error: BaseException) -> str:
    """Return what went wrong and what to do, without the number of a system error."""
    if is_out_of_memory(error):
        return (
            "memory ran out. Estimate motion on smaller frames (--flow_scale 1/2), synthesise in "
            "tiles (--tile 512), take --device cpu instead of a GPU, or take smaller frames."
        )
    if isinstance(error, OSError) and error.strerror:
        names = [str(name) for name in (error.filename, error.filename2) if name is not None]
        reason = REMEDIES.get(error.errno or 0, error.strerror)
        return f"{' to '.join(names)}{': ' if names else ''}{reason.rstrip('.')}."
    return str(error) or type(error).__name__
