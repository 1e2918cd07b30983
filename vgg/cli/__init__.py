"""The command line: errors and exit statuses. Each command has a module here; the work is done in ``vgg.api``."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Sequence

from ..core.errors import BackendError, UnavailableError, VGGError
from .parser import COMMANDS, USAGE, parser

FAILED, INTERRUPTED = 1, 130


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status.

    0: done. 1: a check or a backend failed. 2: wrong usage, or nothing was judged. 130: interrupted.
    """
    arguments = parser().parse_args(argv)
    try:
        return int(COMMANDS[arguments.command].run(arguments))
    except KeyboardInterrupt as stop:
        print(f"vgg: {str(stop) or 'interrupted'}", file=sys.stderr)
        return INTERRUPTED
    except VGGError as error:
        if arguments.debug:
            traceback.print_exc()
        print(f"vgg: {error}", file=sys.stderr)
        return FAILED if isinstance(error, BackendError) and not isinstance(error, UnavailableError) else USAGE
