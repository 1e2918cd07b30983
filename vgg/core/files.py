"""Files: written whole or not at all, and refused before the work where they cannot be written."""

from __future__ import annotations

import contextlib
import errno
import io
import os
import stat
import sys
import tempfile
from pathlib import Path

from .errors import VGGError, mismatch


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


def write_atomically(path: Path, data: bytes) -> None:
    """Write ``data`` to a file aside, then rename it to ``path``; an ``OSError`` becomes a ``VGGError``."""
    aside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with aside.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        aside.replace(path)
    except OSError as error:
        raise unwritable(path, error) from error
    finally:
        with contextlib.suppress(OSError):
            aside.unlink()


def sweep(folder: Path) -> None:
    """Remove what a killed process left half-written in ``folder``. Nobody else may be writing there."""
    for aside in folder.glob(".*.[0-9]*"):
        aside.unlink()


def unwritable(path: Path, error: OSError) -> VGGError:
    """What to raise where ``path`` cannot be written."""
    full = error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
    do = "free some space, then go on with --resume" if full else "choose another place"
    return VGGError(f"{path}: cannot be written ({error.strerror}); {do}")
