"""Known failures: a strict TOML file that the users of the suite keep with their backend.

    [[known]]
    id = "forward mixed float64 *"     # a cell's name, or a pattern: *, ? and [...]
    error = [1e-8, 1e-6]               # the band of its error; or instead
    match = "no kernel for float64"    # a regular expression that matches in its reason
    reason = "our LRN computes in float32"
    link = "https://example.org/issues/1"
    backend = "mine"                   # optional; without it, every backend that is judged

A pattern stands for all cells that it matches, and each of them must fail as the entry says: a cell that passes, or
fails in another way, is a failure. An entry that matches no cell is an error.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import regex

from ..core import limits
from ..core.documents import toml_value
from ..core.errors import VGGError, mismatch, unknown
from ..core.files import path_of, read_text
from ..core.texts import shown
from ..core.values import number

TEXTS = {"id", "reason", "link"}
MEASURES = {"error", "match"}
WIDEST = 1000
"""The largest ratio of a band's ends: a known error is known to within a few orders of magnitude."""
PATIENCE = 1.0
"""Seconds that a pattern may take."""
ANY_ERROR = "error 1.0e+00 is over its limit 1.0e+00"
"""A reason like that of every error over its limit."""


@dataclass(frozen=True)
class Known:
    """One entry: which cells fail, how, and why."""

    id: str
    reason: str
    link: str
    backend: str = "*"
    error: tuple[float, float] | None = None
    match: str = ""

    @property
    def why(self) -> str:
        """The reason, with the link."""
        return f"{self.reason} ({self.link})"

    @property
    def how(self) -> str:
        """How its cells must fail, in words."""
        return f"an error from {self.error[0]:g} to {self.error[1]:g}" if self.error else f"a match of {self.match!r}"

    def covers(self, cell: tuple[str, str]) -> bool:
        """Return whether ``cell``, which is (backend, id), is one of its cells."""
        return self.backend in ("*", cell[0]) and fnmatchcase(cell[1], self.id)

    def foretells(self, error: float, reason: str) -> bool:
        """Return whether a failure with that error and reason is the known one."""
        if self.error:
            return self.error[0] <= error <= self.error[1]
        with contextlib.suppress(TimeoutError):
            return _matches(self.match, reason)
        return False


def read(path: str, cells: Sequence[tuple[str, str]]) -> dict[tuple[str, str], Known]:
    """Return the entry of every cell (backend, id) that is known to fail; raise ``VGGError`` if the file is invalid."""
    expected: dict[tuple[str, str], Known] = {}
    for entry in entries(path):
        covered = [cell for cell in cells if entry.covers(cell)]
        if not covered:
            raise _unmatched(path, entry, cells)
        if again := expected.keys() & {*covered}:
            raise mismatch(path, f"two entries for {' '.join(min(again))}", "one")
        expected |= dict.fromkeys(covered, entry)
    return expected


def entries(path: str | Path) -> list[Known]:
    """Return the entries of a file, whatever cells they cover. Raises ``VGGError`` if the file is invalid."""
    file = path_of("--known", path)
    text = read_text(file, "known failures", limits.DOCUMENT)
    try:
        content = toml_value(text)
    except VGGError as error:
        raise VGGError(f"{file}: not a readable TOML file ({error})") from error
    return _entries(str(file), content)


def _unmatched(path: str, entry: Known, cells: Sequence[tuple[str, str]]) -> VGGError:
    if any(fnmatchcase(check, entry.id) for _, check in cells):
        return unknown(f"backend in {path}:", entry.backend, {backend for backend, _ in cells})
    return unknown(f"id in {path}:", entry.id, {check for _, check in cells})


def _entries(path: str, content: dict[str, Any]) -> list[Known]:
    tables = content.get("known", [])
    if content.keys() - {"known"} or not isinstance(tables, list):
        raise mismatch(path, ", ".join(content), "tables headed [[known]] and nothing else")
    return [_entry(f"{path}: an entry", table) for table in tables]


def _entry(where: str, table: Any) -> Known:
    keys = set(table) if isinstance(table, dict) else set()
    if not TEXTS <= keys <= TEXTS | MEASURES | {"backend"}:
        raise mismatch(where, table, "id, reason, link, error or match, and perhaps backend")
    if len(keys & MEASURES) != 1:
        advice = "add the band of the measured error, or a pattern of the failure's text"
        raise mismatch(where, table, "error = [LOW, HIGH] or match = 'PATTERN', one of them", advice)
    if not all(isinstance(table[key], str) for key in keys - {"error"}):
        raise mismatch(where, table, "strings")
    return Known(
        **{**table, **({"error": _band(where, table["error"])} if "error" in keys else _pattern(where, table))}
    )


def _band(where: str, band: Any) -> tuple[float, float]:
    wanted = f"[LOW, HIGH], two finite numbers with 0 < LOW <= HIGH <= {WIDEST} * LOW"
    if not isinstance(band, list) or len(band) != 2:
        raise mismatch(where, f"error = {shown(band)}", wanted)
    low, high = (float(number(where, end, wanted)) for end in band)
    if not 0 < low <= high <= WIDEST * low < math.inf:
        raise mismatch(where, f"error = {shown(band)}", wanted)
    return low, high


def _pattern(where: str, table: dict[str, str]) -> dict[str, str]:
    """Return ``match`` of an entry; raise ``VGGError`` if it is so general that it would forgive every failure."""
    try:
        general = [text for text in ("", ANY_ERROR) if _matches(table["match"], text)]
    except (regex.error, TimeoutError, RecursionError, OverflowError, MemoryError) as error:
        raise mismatch(where, f"match = {table['match']!r}", f"a regular expression ({error})") from error
    if general:
        wanted = f"a pattern that does not match {general[0]!r}"
        raise mismatch(where, f"match = {table['match']!r}", wanted, "give the band of the error instead")
    return {"match": table["match"]}


def _matches(pattern: str, text: str) -> bool:
    """Return whether a pattern matches somewhere in a text. Raises ``TimeoutError`` when that cannot be found out.

    A pattern such as (.|.)*x takes longer than anybody can wait; Python's own ``re`` has no limit of time.
    """
    return regex.search(pattern, text, timeout=PATIENCE) is not None
