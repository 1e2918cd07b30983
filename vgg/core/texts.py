"""Texts of users, files and workers, made safe for each use: a message, a terminal, a path.

Two other uses have one place each: pages are escaped by Jinja and ``html.escape``, and the console of
``vgg.report.terminal`` reads no markup.
"""

from __future__ import annotations

import reprlib

LONGEST, LINES = 2_000, 40
"""The numbers of characters and of lines of a text that a table or a page shows."""


class _Short(reprlib.Repr):
    """``repr`` that is short for every value, however long or deep, and never fails."""

    def __init__(self) -> None:
        super().__init__()
        self.maxlevel, self.maxstring, self.maxother = 4, 120, 120
        self.maxlist = self.maxtuple = self.maxdict = self.maxset = 8

    def repr_int(self, x: int, _level: int) -> str:
        """Return the digits, or the number of bits where Python refuses to write so many digits."""
        return repr(x) if x.bit_length() < 200 else f"an integer of {x.bit_length():,} bits"


_SHORT = _Short()


def shown(value: object) -> str:
    """Return ``repr(value)`` on one line, cut to a few dozen characters per part."""
    return printable(_SHORT.repr(value))


def cut(text: str, most: int) -> str:
    """Return ``text``, without its middle if it has more than ``most`` characters."""
    return text if len(text) <= most else f"{text[: most * 2 // 3]} ... {text[-most // 3 :]}"


def one_line(text: object, most: int = 400) -> str:
    """Return ``text`` as one line of about ``most`` characters that a terminal only shows."""
    if isinstance(text, (int, list, tuple, dict)):
        return cut(shown(text), most)
    try:
        return printable(cut(str(text), most))
    except Exception:  # noqa: BLE001 - an object of the user's
        return cut(shown(text), most)


def printable(text: str, keep: str = "") -> str:
    r"""Return ``text`` with an escape such as ``\x1b`` for each character that a terminal obeys or cannot show.

    The characters in ``keep`` stay as they are.
    """
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() or c in keep else ascii(c)[1:-1] for c in text)


def for_path(name: str) -> str:
    """Return ``name`` as a part of a file name: letters, digits, ``-``, ``_`` and ``.``, at most 40, no dot first."""
    return "".join(c if c.isalnum() or c in "-_." else "-" for c in name[:40]).lstrip("-.") or "unnamed"


def shortened(text: str, longest: int = LONGEST, lines: int = LINES) -> str:
    """Return ``text``, or its beginning and its end if it has more than ``longest`` characters or than ``lines``."""
    if len(text) > longest:
        first, last = longest * 3 // 4, longest // 4
        text = f"{text[:first]} [... {len(text) - first - last:,} characters ...] {text[-last:]}"
    rows = text.split("\n")
    if len(rows) > lines:
        first, last = lines * 3 // 4, lines // 4
        rows[first:-last] = [f"[... {len(rows) - first - last:,} lines ...]"]
    return "\n".join(rows)
