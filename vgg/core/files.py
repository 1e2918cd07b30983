"""Files: written completely or not at all, and checked before the work for whether they can be written."""

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


def cache() -> Path:
    """Return the folder for what vgg downloads and builds, which may not exist yet."""
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache", "vgg").expanduser()


def check_file(option: str, path: Path) -> None:
    """Raise ``VGGError`` when ``path`` cannot be written: it is a directory, or rights or disk space are missing.

    ``option`` names the path in the message.
    """
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
    """Raise ``VGGError`` when standard output cannot be written: a file on a full disk, or ``/dev/full``."""
    try:
        number = sys.stdout.fileno()
    except (OSError, io.UnsupportedOperation):  # standard output is kept in memory
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
    """Write ``data`` to a temporary file and rename it to ``path``. Raises ``VGGError`` when that fails."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with temporary.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        raise unwritable(path, error) from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink()


def sweep(folder: Path) -> None:
    """Remove the temporary files that a killed process left in ``folder``. No other process may be writing there."""
    for temporary in folder.glob(".*.[0-9]*"):
        temporary.unlink()


def unwritable(path: Path, error: OSError) -> VGGError:
    """Return the ``VGGError`` that says why ``path`` cannot be written."""
    full = error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
    do = "free some space, then go on with --resume" if full else "choose another place"
    return VGGError(f"{path}: cannot be written ({error.strerror}); {do}")
