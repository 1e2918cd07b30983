"""Files: named by users, read within limits, checked before the work, and written completely or not at all."""

from __future__ import annotations

import contextlib
import errno
import io
import os
import re
import stat
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from . import limits
from .errors import VGGError, mismatch
from .texts import one_line, shown

KINDS = {stat.S_ISREG: "a file", stat.S_ISDIR: "a directory", stat.S_ISFIFO: "a pipe", stat.S_ISSOCK: "a socket"}


def path_of(what: str, value: Any) -> Path:
    """Return the path that a user means by ``value``, in which ``~`` is the home directory.

    ``what`` names it in the message. Raises ``VGGError`` when ``value`` cannot be a path.
    """
    text = os.fspath(value) if isinstance(value, (str, os.PathLike)) else None
    if not isinstance(text, str) or not text or "\0" in text or len(text) > limits.PATH:
        raise mismatch(what, shown(value), "a path")
    try:
        os.fsencode(text)
    except UnicodeEncodeError:
        raise mismatch(what, shown(value), "a path that the file system can hold") from None
    return Path(os.path.expanduser(text))  # noqa: PTH111  # Path.expanduser raises for a user that does not exist


def read_text(path: Path, kind: str, most: int) -> str:
    """Return the text of a file in UTF-8, without the byte order mark that some editors put first.

    ``kind`` says in the message what the file should be. Raises ``VGGError`` when the file cannot be read, is not a
    regular one, or has more than ``most`` bytes.
    """
    data = read_bytes(path, kind, most)
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        form = "UTF-16" if data[:2] in (b"\xff\xfe", b"\xfe\xff") else f"not UTF-8 from byte {error.start} on"
        raise _unreadable(path, kind, f"it is {form}; save it as UTF-8") from error


def read_bytes(path: Path, kind: str, most: int) -> bytes:
    """Return the bytes of a file. Raises ``VGGError`` as ``read_text`` does."""
    try:
        with opened(path) as file:
            data = file.read(most + 1)
    except (OSError, ValueError) as error:
        raise _unreadable(path, kind, getattr(error, "strerror", None) or error) from error
    if len(data) > most:
        raise _unreadable(path, kind, f"it has more than {most:,} bytes")
    return data


@contextlib.contextmanager
def opened(path: Path) -> Iterator[io.BufferedReader]:
    """Open a regular file for reading its bytes. A pipe could block for ever, and a device might never end.

    Raises ``OSError`` when the file cannot be opened or is not regular.
    """
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    with io.open(descriptor, "rb") as file:  # noqa: UP020  # a descriptor
        _check_regular(os.fstat(descriptor).st_mode)
        yield file


def _check_regular(mode: int) -> None:
    if not stat.S_ISREG(mode):
        raise OSError(errno.EINVAL, f"it is {_kind(mode)}, not a file")


def _kind(mode: int) -> str:
    return next((name for test, name in KINDS.items() if test(mode)), "a device")


def _unreadable(path: Path, kind: str, reason: object) -> VGGError:
    return VGGError(f"{one_line(path)}: cannot be read as {kind} ({one_line(reason)})")


@contextlib.contextmanager
def no_empty_folder(path: Path) -> Iterator[None]:
    """Remove the folder ``path``, and those above it, if the block has made them and left them empty."""
    new = [folder for folder in (path, *path.parents) if not os.path.lexists(folder)]
    try:
        yield
    finally:
        for folder in new:
            with contextlib.suppress(OSError):  # not empty, or not made
                folder.rmdir()


def cache() -> Path:
    """Return the folder for what vgg downloads and builds, which may not exist yet.

    A relative path in ``XDG_CACHE_HOME`` is ignored, as the XDG Base Directory Specification wants it.
    """
    folder = Path(os.path.expanduser(os.environ.get("XDG_CACHE_HOME", "")))  # noqa: PTH111  # it never raises
    return (folder if folder.is_absolute() else Path("~/.cache").expanduser()) / "vgg"


def check_file(option: str, path: Path) -> None:
    """Raise ``VGGError`` when ``path`` cannot be written: it is a directory, or rights or disk space are missing.

    ``option`` names the path in the message.
    """
    path = path.absolute()
    wanted, exists = "a file in a folder that can be written", os.path.exists(path)  # noqa: PTH110  # never raises
    if os.path.isdir(path) or (exists and not os.access(path, os.W_OK)):  # noqa: PTH112
        raise mismatch(option, path, wanted)
    if exists and not path.is_file():  # a device or a pipe
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


def write_atomically(path: Path, data: bytes, name: Path | None = None) -> None:
    """Write ``data`` to a temporary file and rename it to ``path``.

    Raises ``VGGError`` when that fails, and when ``path`` is no file: a rename would take the place of a device. The
    message calls the file ``name``, by default ``path``.
    """
    temporary = path.parent / f".{path.name}.{os.getpid()}"
    try:
        if os.path.exists(path):  # noqa: PTH110  # it never raises
            _check_regular(path.stat().st_mode)
        with temporary.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        raise unwritable(name or path, error) from error
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
    if _kind(mode) != wanted:
        raise mismatch(str(path), _kind(mode), wanted, "move it elsewhere")


def read_object(path: Path) -> dict[str, Any]:
    """Read a file of results that holds one JSON object. Raises ``VGGError`` for anything else."""
    import json  # slow to import, and few commands need it

    from .documents import table

    check_kind(path)
    data = read_bytes(path, "JSON", limits.RESULT)
    try:
        value = json.loads(data.decode(), object_pairs_hook=table)
    except (VGGError, ValueError, RecursionError) as error:
        raise mismatch(str(path), f"no JSON ({error})", "a JSON object", "put it back as vgg wrote it") from error
    if not isinstance(value, dict):
        raise mismatch(
            str(path), f"JSON of type {type(value).__name__}", "a JSON object", "put it back as vgg wrote it"
        )
    return value


def unwritable(path: Path, error: OSError) -> VGGError:
    """Return the ``VGGError`` that says why ``path`` cannot be written."""
    full = error.errno in (errno.ENOSPC, errno.EDQUOT)
    do = "free some space" if full else "choose another place"
    do = "raise the limit on the size of files (ulimit -f)" if error.errno == errno.EFBIG else do
    return VGGError(f"{one_line(path)}: cannot be written ({error.strerror}); {do}")
