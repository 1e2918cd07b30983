"""Confusion matrices as heat maps: tables whose cells a screen reader reads, in steps of one colour."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

LARGEST = 20
"""The most classes of a matrix that a page shows; of more it shows the most frequent confusions."""
STEPS = 6
"""The number of colours beside that of 0."""


class Heat(NamedTuple):
    """The confusion matrix of a backend, summed over its runs: rows of (count, colour from 0 to ``STEPS``)."""

    classes: Sequence[str]
    rows: Sequence[tuple[str, Sequence[tuple[int, int]]]]
    right: int
    total: int


def heat(evaluations: Sequence[Mapping[str, Any]]) -> Heat | None:
    """Return the heat map of one backend's evaluations, or None when a matrix is missing or too large."""
    matrices, names = [one["confusion"] for one in evaluations], [one["classes"] for one in evaluations]
    if not matrices or None in matrices or len(names[0]) > LARGEST or any(other != names[0] for other in names):
        return None
    matrix = [[sum(cells) for cells in zip(*rows, strict=True)] for rows in zip(*matrices, strict=True)]
    rows = [
        (name, [(count, _step(count, sum(row))) for count in row]) for name, row in zip(names[0], matrix, strict=True)
    ]
    right = sum(row[i] for i, row in enumerate(matrix))
    return Heat(names[0], rows, right, sum(map(sum, matrix)))


def _step(count: int, total: int) -> int:
    """Return the colour of a count among those of its class: by its root, so that rare confusions are seen."""
    return math.ceil(math.sqrt(min(1.0, count / total)) * STEPS) if count > 0 and total > 0 else 0
