"""Texts of other processes, made fit for terminals, tables and pages."""

from __future__ import annotations

LONGEST, LINES = 2_000, 40
"""The numbers of characters and of lines of a text that a table or a page shows."""


def printable(text: str, *, lines: bool = False) -> str:
    r"""Return ``text`` with an escape such as ``\x1b`` for each character that does not print.

    Such are control characters, halves of surrogate pairs, and characters that change the direction of writing. If
    ``lines``, line breaks and tabs are kept.
    """
    kept = "\n\t" if lines else ""
    return "".join(c if c.isprintable() or c in kept else c.encode("unicode_escape").decode() for c in text)


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
