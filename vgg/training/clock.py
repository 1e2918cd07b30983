"""Time and memory that a process uses."""

from __future__ import annotations

import math
import re
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import NamedTuple

_OUT_OF_MEMORY = re.compile(
    r"out of memory|OutOfMemory|MemoryError|RESOURCE_EXHAUSTED|ResourceExhausted|allocate (CPU )?memory|bad_alloc",
    re.IGNORECASE,
)
STATUS = Path("/proc/self/status")


class Clock:
    """Measures where the time of a process goes, in seconds, from the creation of the clock."""

    def __init__(self) -> None:
        self.start, self.last = time.perf_counter(), 0.0
        self.spent = {"step": 0.0, "evaluation": 0.0, "checkpoint": 0.0}

    @contextmanager
    def measure(self, what: str) -> Iterator[None]:
        """Add the time of the block to that of ``what``; ``last`` is the duration of the block."""
        start = time.perf_counter()
        yield
        self.last = time.perf_counter() - start
        self.spent[what] += self.last

    def training(self) -> float:
        """Return the seconds so far, without those of evaluation and of checkpoints."""
        return time.perf_counter() - self.start - self.spent["evaluation"] - self.spent["checkpoint"]

    def shares(self) -> dict[str, float]:
        """Return the shares of the whole time by purpose; ``other`` is the rest."""
        whole = time.perf_counter() - self.start
        shares = {what: seconds / whole for what, seconds in self.spent.items()}
        return {**shares, "other": 1 - sum(shares.values())}


class Step(NamedTuple):
    """The number of ``images`` of a training step, its ``seconds``, and whether it may have compiled: ``cold``.

    A step is cold when its process has not yet trained on a batch of that size.
    """

    images: int
    seconds: float
    cold: bool


def speed(steps: Sequence[Step], epochs: Sequence[float]) -> dict[str, float | None]:
    """Return speeds per image: those of a run are its images divided by their seconds, without cold steps.

    ``epochs`` are the seconds of the epochs that were trained without interruption. ``step_seconds`` is the time of a
    full batch, and ``compile_seconds`` what the first step of each size took longer than its images take otherwise.
    ``epoch_seconds`` is the median without the first epoch.
    """
    full = max(step.images for step in steps)
    warm = [step for step in steps if not step.cold] or steps
    step_seconds = full * math.fsum(step.seconds for step in warm) / sum(step.images for step in warm)
    first = {step.images: step for step in reversed(steps)}
    return {
        "images_per_second": full / step_seconds,
        "step_seconds": step_seconds,
        "epoch_seconds": median(epochs[1:] or epochs) if epochs else None,
        "compile_seconds": sum(max(step.seconds - n / full * step_seconds, 0.0) for n, step in first.items()),
    }


def peak_bytes() -> int:
    """Return the largest resident memory of this process so far, in bytes.

    ``ru_maxrss`` is used only where the system has no ``/proc``, because on Linux it counts the parent's memory too.
    """
    lines = STATUS.read_text().splitlines() if STATUS.exists() else []
    if peak := [line.split()[1] for line in lines if line.startswith("VmHWM")]:
        return int(peak[0]) * 1024
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def out_of_memory(error: Exception) -> bool:
    """Return whether ``error``, from any framework, says that memory is exhausted."""
    return _OUT_OF_MEMORY.search(f"{type(error).__name__}: {error}") is not None
