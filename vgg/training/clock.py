"""What a process takes: time and memory."""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import median

_OUT_OF_MEMORY = re.compile(
    r"out of memory|OutOfMemory|MemoryError|RESOURCE_EXHAUSTED|ResourceExhausted|allocate (CPU )?memory|bad_alloc",
    re.IGNORECASE,
)
STATUS = Path("/proc/self/status")


class Clock:
    """Where the time of a process goes, in seconds, from when it is made."""

    def __init__(self) -> None:
        self.start, self.last = time.perf_counter(), 0.0
        self.spent = {"step": 0.0, "evaluation": 0.0, "checkpoint": 0.0}

    @contextmanager
    def measure(self, what: str) -> Iterator[None]:
        """Count the time of the block as ``what``; ``last`` is how long it took."""
        start = time.perf_counter()
        yield
        self.last = time.perf_counter() - start
        self.spent[what] += self.last

    def training(self) -> float:
        """Seconds so far that went neither into evaluation nor into checkpoints."""
        return time.perf_counter() - self.start - self.spent["evaluation"] - self.spent["checkpoint"]

    def shares(self) -> dict[str, float]:
        """Of the whole, ``other`` being what is none of the named."""
        whole = time.perf_counter() - self.start
        shares = {what: seconds / whole for what, seconds in self.spent.items()}
        return {**shares, "other": 1 - sum(shares.values())}


def speed(steps: Sequence[float], epochs: Sequence[float], images: int) -> dict[str, float | None]:
    """Medians, from the seconds of every step, of ``images`` each, and of the epochs that were trained in one go; the
    first ones, which compile, aside.
    """
    steady = median(steps[1:] or steps)
    return {
        "images_per_second": images / steady,
        "step_seconds": steady,
        "epoch_seconds": median(epochs[1:] or epochs) if epochs else None,
        "compile_seconds": max(steps[0] - steady, 0.0),
    }


def peak_bytes() -> int:
    """The largest resident memory of this process so far; Linux' ``ru_maxrss`` would count its parent's too, and is
    asked only where the system does not tell the other.
    """
    told = STATUS.read_text().splitlines() if STATUS.exists() else []
    if peak := [line.split()[1] for line in told if line.startswith("VmHWM")]:
        return int(peak[0]) * 1024
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def out_of_memory(error: Exception) -> bool:
    """Whether that is what ``error``, of whichever framework, says."""
    return _OUT_OF_MEMORY.search(f"{type(error).__name__}: {error}") is not None
