"""Cells for the promises, which are judged inside the backend's process."""

from __future__ import annotations

import math
from collections.abc import Iterator

from ...backends import DTYPES
from ...core.comparator import EXACT, Verdict
from ...process.client import Jobs
from ..cell import Cell, on
from . import PROMISES


def cells() -> Iterator[tuple[str, Cell]]:
    """Yield a cell for each promise and dtype, or one for both dtypes side by side."""
    for name, promise in PROMISES.items():
        if promise.both:
            yield f"promises {name}", Cell(on(kept, name, *DTYPES), promise.level, DTYPES)
            continue
        for dtype in DTYPES:
            yield f"promises {name} {dtype}", Cell(on(kept, name, dtype), promise.level, (dtype,))


def kept(worker: Jobs, name: str, *dtypes: str) -> Verdict:
    """Judge whether the backend keeps the promise of that name in each dtype."""
    for dtype in dtypes:
        if reason := worker.promise(name, dtype):
            return Verdict(math.inf, EXACT, "", reason)
    return Verdict(0.0, EXACT)
