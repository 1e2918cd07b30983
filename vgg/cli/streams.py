"""Standard output and standard error: what cannot be written, or not in their encoding, does not end a command."""

from __future__ import annotations

import io
import os
import sys
from typing import Any, cast

from ..core.errors import mismatch
from .parser import USAGE


class File(io.FileIO):
    """A stream's file. Once it cannot be written, everything is dropped; ``failure`` says why, except for a pipe."""

    failure = ""

    def write(self, data: Any) -> int:
        """Write ``data`` or drop it, and return how many of its bytes that were."""
        try:
            return super().write(data)
        except OSError as error:
            self.failure = "" if isinstance(error, BrokenPipeError) else str(error.strerror)
            os.dup2(os.open(os.devnull, os.O_WRONLY), self.fileno())
            return len(data)


def install() -> File:
    """Replace standard output and standard error, and return the file of standard output.

    A reader that has left, as ``head`` does, loses the rest of the output; the command goes on to its end. A character
    that the encoding lacks is written as an escape. A stream that is closed drops everything.
    """
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:  # the lowest free number is the stream's own
            setattr(sys, name, os.fdopen(os.open(os.devnull, os.O_RDWR), mode, closefd=False))
    output = File(sys.stdout.fileno(), "w", closefd=False)
    errors = File(sys.stderr.fileno(), "w", closefd=False)
    sys.stdout = _text(output, sys.stdout.encoding, lines=sys.stdout.isatty())
    sys.stderr = _text(errors, sys.stderr.encoding, lines=True)
    return output


def finish(output: File, status: int) -> int:
    """Write what is left and return the exit status: ``status``, or that of wrong usage if output was lost."""
    sys.stdout.flush()
    if output.failure:
        error = mismatch("standard output", output.failure, "a file, a pipe or a terminal that can be written")
        print(f"vgg: {error}", file=sys.stderr)
    sys.stderr.flush()
    return status or (USAGE if output.failure else 0)


def _text(file: File, encoding: str, *, lines: bool) -> io.TextIOWrapper:
    buffer = io.BufferedWriter(cast("io.RawIOBase", file))
    return io.TextIOWrapper(buffer, encoding, "backslashreplace", line_buffering=lines)
