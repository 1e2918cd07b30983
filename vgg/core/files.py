"""Files: written completely or not at all, and checked before they are read or written."""

from __future__ import annotations

import contextlib
import errno
import io
import os
import re
import stat
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from .errors import VGGError, mismatch


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


def drafts(folder: Path, ours: Callable[[str], bool]) -> list[Path]:
    """Return the temporary files in ``folder`` that ``write_atomically`` made for files whose names are ``ours``."""
    names = {path: re.fullmatch(r"\.(.+)\.[0-9]+", path.name) for path in folder.iterdir()} if folder.is_dir() else {}
    return [path for path, name in names.items() if name and ours(name[1]) and path.is_file()]


def sweep(folder: Path, ours: Callable[[str], bool]) -> None:
    """Remove the ``drafts`` that a killed process left in ``folder``. No other process may be writing there."""
    for draft in drafts(folder, ours):
        draft.unlink()


def check_kind(path: Path, wanted: str = "a file") -> None:
    """Raise ``VGGError`` when ``path`` is there and is neither missing nor what is ``wanted``: a file or a directory.

    A FIFO or a device would block whoever reads it, or never end.
    """
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        return
    except OSError as error:
        raise VGGError(f"{path}: cannot be read ({error.strerror}); put {wanted} there, or nothing") from error
    kind = next((name for name, test in _KINDS.items() if test(mode)), "something else")
    if kind != wanted:
        raise mismatch(str(path), kind, wanted, "move it elsewhere")


_KINDS: dict[str, Callable[[int], bool]] = {
    "a file": stat.S_ISREG,
    "a directory": stat.S_ISDIR,
    "a FIFO": stat.S_ISFIFO,
    "a socket": stat.S_ISSOCK,
    "a device": lambda mode: stat.S_ISCHR(mode) or stat.S_ISBLK(mode),
}


def read_object(path: Path) -> dict[str, Any]:
    """Read a file that holds one JSON object. Raises ``VGGError`` for anything else."""
    import json  # slow to import, and few commands need it

    check_kind(path)
    try:
        value = json.loads(path.read_bytes())
    except OSError as error:
        raise VGGError(f"{path}: cannot be read ({error.strerror}); put it back") from error
    except (ValueError, RecursionError) as error:
        raise mismatch(str(path), f"no JSON ({error})", "a JSON object", "put it back as vgg wrote it") from error
    if not isinstance(value, dict):
        raise mismatch(
            str(path), f"JSON of type {type(value).__name__}", "a JSON object", "put it back as vgg wrote it"
        )
    return value


def unwritable(path: Path, error: OSError) -> VGGError:
    """Return the ``VGGError`` that says why ``path`` cannot be written."""
    full = error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
    do = "free some space, then go on with --resume" if full else "choose another place"
    return VGGError(f"{path}: cannot be written ({error.strerror}); {do}")
