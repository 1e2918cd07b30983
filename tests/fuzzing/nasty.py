"""Values, texts and files that readers stumble over."""

from __future__ import annotations

import copy
import os
import shutil
import socket
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

RAW = "@@raw@@"
"""A text that begins and ends with this stands for what is between, without quotes."""
TEXTS = (
    *("", " ", "\0", "\n", "\r\n", "[/x]", "[bold red]", "\x1b[31m", "\x07", "../../x", "/dev/zero", "~", "%s", "{0}"),
    *("é", "日本語", "\u202e", "\ud800", "\ufeff", "-", "--help", "nan", "1e5", "$HOME", "x" * 300, "y" * 200_000),
    *("<script>alert(1)</script>", "'; rm -rf x", "a\nb", "con", ".", "..", "a/b", "\\", '"', "#", "=", "[[", "null"),
)
TOKENS = (
    *("1e999", "-1e999", "NaN", "Infinity", "-Infinity", "1" * 5000, "-" + "9" * 4301, "0x10", "1_000", "-0", "1."),
    *("[" * 100_000, "[" * 900 + "]" * 900, '{"a":' * 900 + "1" + "}" * 900, "[" + "0," * 10**5 + "0]", "true"),
    *("1979-05-27", "07:32:00", "inf", "nan", "'''x'''", '"\\ud800"', "[1, 2", "{", ",", "nul"),
)
NUMBERS = (
    *(0, 1, 2, 3, -1, 255, 256, 65_535, 2**31 - 1, 2**31, 2**32, 2**53 + 1, 2**63 - 1, 2**63, 2**64, 10**18, -(2**63)),
    *(0.0, -0.0, 0.5, 1.5, -1.5, 1e-320, 1e-30, 1e18, 1e300, 0.1, 10**9, 10**6),
)
OTHERS: tuple[Any, ...] = (True, False, None, [], {}, [[]], [None], {"": {}}, {"a": 1}, [0] * 1000, [[0, 0]] * 3)
PREFIXES = (
    *(b"\x89PNG\r\n\x1a\n", b"\x7fELF\x02\x01\x01", b"PK\x03\x04", b"\x1f\x8b\x08", b"%PDF-1.4\n", b"GIF89a", b"MZ"),
    *(b"\x89HDF\r\n\x1a\n", b"\x80\x04\x95", b"BZh9", b"\xfd7zXZ", b"#!/bin/sh\n", b"\xff\xfe", b"\xfe\xff"),
    *(b"SQLite format 3\0", b"<!DOCTYPE html>\n", b"---\n- yaml\n", b"\x93NUMPY\x01\x00", b"\xef\xbb\xbf", bytes(4096)),
)
"""How files of other kinds begin."""


def value(random: Random) -> Any:
    """Return a value that is wrong in most places."""
    pool = random.choice((TEXTS, TOKENS, NUMBERS, OTHERS))
    chosen = random.choice(pool)
    return f"{RAW}{chosen}{RAW}" if pool is TOKENS else copy.deepcopy(chosen)


def _linked(target: str) -> Callable[[Path], None]:
    return lambda path: path.symlink_to(target)


def _sparse(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(8 << 30)


def _socket(path: Path) -> None:
    here = Path.cwd()
    os.chdir(path.parent)  # the path of a socket must be short
    with socket.socket(socket.AF_UNIX) as one:
        one.bind(path.name)
    os.chdir(here)


PLACES: dict[str, Callable[[Path], None]] = {
    "nothing": lambda path: None,
    "a folder": lambda path: path.mkdir(),
    "a pipe": os.mkfifo,
    "a socket": _socket,
    "zeros without an end": _linked("/dev/zero"),
    "a terminal": _linked("/dev/tty"),
    "no data": _linked("/dev/null"),
    "a link to itself": lambda path: path.symlink_to(path.name),
    "a link to nothing": _linked("nowhere"),
    "8 GiB of holes": _sparse,
    "an empty file": lambda path: path.touch(),
    "memory": _linked("/proc/self/mem"),
}
"""What may be where a file is expected."""


def put(random: Random, path: Path) -> None:
    """Put something that is not a regular file, or is none of a usual size, at ``path``."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    path.unlink(missing_ok=True)
    PLACES[random.choice(list(PLACES))](path)
