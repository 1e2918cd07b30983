"""Files that commands write where a user says: an output replaces a file only if that is empty or of the same kind."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from . import limits
from .errors import VGGError, mismatch
from .files import check_file, opened, path_of, read_object
from .texts import one_line

HEAD = 1000
"""The number of bytes at the beginning of a file by which its kind is told."""
_DO = "choose another name, or move that file elsewhere"


class Kind(NamedTuple):
    """A kind of file: its name, and whether a file at a path, which begins with some bytes, is one."""

    name: str
    fits: Callable[[Path, bytes], bool]


def _is_html(_: Path, head: bytes) -> bool:
    return head.removeprefix(b"\xef\xbb\xbf").lstrip().lower().startswith((b"<!doctype html", b"<html"))


def _is_junit(_: Path, head: bytes) -> bool:
    return head.lstrip().startswith(b"<") and b"<testsuite" in head


def _is_weights(_: Path, head: bytes) -> bool:
    """Return whether a file begins with the length of a header in JSON, and with that header."""
    return head[8:9] == b"{" and int.from_bytes(head[:8], "little") < limits.RESULT


def _is_check(path: Path, head: bytes) -> bool:
    try:
        return head.lstrip().startswith(b"{") and "checks" in read_object(path)
    except VGGError:
        return False


PAGE = Kind("an HTML page", _is_html)
JUNIT = Kind("a file of JUnit XML", _is_junit)
WEIGHTS = Kind("a safetensors file", _is_weights)
CHECK = Kind("a JSON result of vgg check", _is_check)


def check_output(option: str, path: Path, kind: Kind) -> None:
    """Raise ``VGGError`` when ``path`` cannot be written, or holds a file that is neither of that kind nor empty.

    ``option`` names the path in the message.
    """
    check_file(option, path)
    check_replaced(option, path, kind)


def check_replaced(option: str, path: Path, kind: Kind) -> None:
    """Raise ``VGGError`` when ``path`` is a file that is neither of that kind nor empty: it would be lost."""
    if not os.path.isfile(path):  # noqa: PTH113  # it never raises
        return
    try:
        with opened(path) as file:
            head = file.read(HEAD)
    except OSError as error:
        raise mismatch(option, f"{one_line(path)}, which cannot be read ({error.strerror})", kind.name, _DO) from error
    if head and not kind.fits(path, head):
        raise mismatch(option, f"{one_line(path)}, a file of something else", f"a new file, or {kind.name}", _DO)


def check_apart(paths: Mapping[str, Any]) -> None:
    """Raise ``VGGError`` when two of ``paths``, {option: path or None}, are one file: the later output replaces it."""
    options = dict[str, str]()
    for option, path in paths.items():
        if path is None:
            continue
        place = os.path.realpath(path_of(option, path))
        if place in options:
            raise mismatch(option, f"{one_line(path)}, which {options[place]} names too", "another file")
        options[place] = option
