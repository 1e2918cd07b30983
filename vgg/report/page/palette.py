"""The colours, dashes and markers by which drawings tell backends apart, and the texts that every part uses."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any, NamedTuple

from ...core.texts import printable

SHAPES = ("circle", "square", "triangle", "diamond", "down", "cross")
MARKERS = ("o", "s", "^", "D", "v", "X")
DASHES: tuple[Any, ...] = (
    "-",
    (0, (5, 1.5)),
    (0, (5, 1.5, 1, 1.5)),
    (0, (1.5, 1.2)),
    (0, (8, 2)),
    (0, (3, 1, 1, 1, 1, 1)),
)


class Mark(NamedTuple):
    """How a backend is drawn: the number of its colour in the style sheet, its dash, its marker and its shape."""

    number: int
    dash: Any
    marker: str
    shape: str


def marks(names: Iterable[str]) -> dict[str, Mark]:
    """Return ``{name: mark}``. From the seventh name on marks come again."""
    count = len(SHAPES)
    return {
        name: Mark(i % count, DASHES[i % count], MARKERS[i % count], SHAPES[i % count]) for i, name in enumerate(names)
    }


def finite(value: Any) -> bool:
    """Return whether ``value`` is a number that a drawing can show."""
    return type(value) in (int, float) and math.isfinite(value)


def short(count: float) -> str:
    """Return a count with three digits and a unit, such as ``43.1 M``."""
    for unit, size in (("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if count >= size:
            return f"{count / size:.3g} {unit}"
    return f"{count:.0f}"


def error(value: float | None) -> str:
    """Return an error or a limit as text."""
    return "over" if value is None else "0" if value == 0 else f"{value:.1e}"


def label(name: str, most: int = 24) -> str:
    """Return ``name`` as a label of a figure, cut, and without what Matplotlib reads as mathematics or cannot draw."""
    text = printable(name)
    return (text if len(text) <= most else f"{text[: most - 1]}\N{HORIZONTAL ELLIPSIS}").replace("$", r"\$")


def listed(names: Iterable[str]) -> str:
    """Return ``a, b and c``."""
    *first, last = [*names] or [""]
    return f"{', '.join(first)} and {last}" if first else last


def shape(extents: Iterable[int]) -> str:
    """Return a shape as text, such as ``16x224x224`` with multiplication signs."""
    return "\N{MULTIPLICATION SIGN}".join(map(str, extents))
