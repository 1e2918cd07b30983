"""Where results go: a place that cannot be written is refused before the work, not after it."""

from __future__ import annotations

import io
import os
import stat
import sys
import tempfile
from pathlib import Path

from .errors import mismatch


def check_file(option: str, path: Path) -> None:
    """Refuse a file that cannot be written: a directory, one without rights, or one on a full disk."""
    path = path.absolute()
    wanted = "a file in a folder that can be written"
    if path.is_dir() or (path.exists() and not os.access(path, os.W_OK)):
        raise mismatch(option, path, wanted)
    if path.exists() and not path.is_file():  # a device or a pipe
        return
    try:
        with tempfile.NamedTemporaryFile(dir=path.parent) as file:
            file.write(bytes(4096))
            file.flush()
    except OSError as error:
        raise mismatch(option, path, wanted, str(error.strerror)) from error


def check_standard_output() -> None:
    """Refuse a standard output that cannot be written: a file on a full disk, or ``/dev/full``."""
    try:
        number = sys.stdout.fileno()
    except (OSError, io.UnsupportedOperation):  # one that is kept in memory
        return
    mode, wanted = os.fstat(number).st_mode, "a file, a pipe or a terminal that can be written"
    if stat.S_ISREG(mode) and not os.fstatvfs(number).f_bavail:
        raise mismatch("standard output", "a file on a full disk", wanted)
    if stat.S_ISCHR(mode) and not os.isatty(number):
        try:
            os.write(number, b"\n")  # JSON may begin with a blank line
        except OSError as error:
            raise mismatch("standard output", error.strerror, wanted) from error
