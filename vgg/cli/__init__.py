"""The command line: errors and exit statuses. Each command has a module here; the work is done in ``vgg.api``."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Sequence
from pathlib import Path

from ..core.errors import BackendError, UnavailableError, VGGError
from ..core.texts import one_line
from .parser import COMMANDS, USAGE, parser

FAILED, BUG, INTERRUPTED = 1, 70, 130
LINES, CHARACTERS = 30, 2000
"""The most lines of an error, and the most characters of each: a worker's last words may be long."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status.

    0: done. 1: a check or a backend failed. 2: wrong usage, or nothing was judged. 70: a bug of vgg. 130: interrupted.
    """
    try:
        arguments = parser().parse_args(argv)
        return int(COMMANDS[arguments.command].run(arguments))
    except KeyboardInterrupt as stop:
        _say(str(stop) or "interrupted")
        return INTERRUPTED
    except Exception as error:  # noqa: BLE001 - nobody should see a traceback
        if "--debug" in (sys.argv if argv is None else argv):
            traceback.print_exc()
        return _failed(error)


def _failed(error: Exception) -> int:
    """Print one error, and return the exit status for it."""
    if isinstance(error, VGGError):
        _say(str(error))
        return FAILED if isinstance(error, BackendError) and not isinstance(error, UnavailableError) else USAGE
    if isinstance(error, FileNotFoundError) and _homeless():
        _say("the working directory: got one that has been removed, wanted one that is there; change to another")
        return USAGE
    if isinstance(error, MemoryError):
        _say("memory: got less than is needed, wanted more; take a smaller network, input or batch")
        return FAILED
    what = one_line(f"{type(error).__name__}: {error}")
    _say(f"this is a bug in vgg, please report it ({what}); --debug shows where")
    return BUG


def _homeless() -> bool:
    """Return whether the working directory of this process has been removed."""
    try:
        Path.cwd()
    except FileNotFoundError:
        return True
    return False


def _say(message: str) -> None:
    lines = [one_line(line, CHARACTERS) for line in message.split("\n")[:LINES]]
    print("vgg:", "\n".join(lines), file=sys.stderr)
