"""Cells of the promises that only a look inside the backend's process can judge."""

from __future__ import annotations

import math
from collections.abc import Iterator

from ..client import Jobs
from ..compare import EXACT, Verdict
from ..promises import PROMISES
from .cell import Cell, on


def cells() -> Iterator[tuple[str, Cell]]:
    """One for each promise and dtype."""
    for name, promise in PROMISES.items():
        for dtype in ("float64", "float32"):
            needed = ("float64", "float32") if promise.both else (dtype,)
            yield f"promises {name} {dtype}", Cell(on(kept, name, dtype), promise.level, needed)


def kept(worker: Jobs, name: str, dtype: str) -> Verdict:
    """Nothing that the promise of that name forbids happens inside the backend's process."""
    broken = worker.promise(name, dtype)
    return Verdict(math.inf if broken else 0.0, EXACT, "", broken)
