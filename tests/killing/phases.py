"""The phases of a run, as its files and processes show them."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from random import Random

from .processes import TARGETS, Command

EPOCHS, STEPS = 3, 8
"""Of a whole run: epochs, and steps of each."""
PROGRESS = 6
"""Steps that a life takes at most before it is aimed at."""
PHASES = ("environment", "import", "compile", "step", "evaluation", "checkpoint", "finish")
LATEST = {"environment": 1.0, "import": 2.0, "compile": 1.0, "step": 0.01, "evaluation": 0.02, "finish": 0.1}
"""Seconds that a phase takes, where no undisturbed run has shown it."""


@dataclass
class Watch:
    """Watches a run that ``command`` has begun or resumed; ``base`` is the number of steps that were behind it."""

    command: Command
    run: Path
    random: Random
    seconds: dict[str, float] = field(default_factory=lambda: dict(LATEST))

    def __post_init__(self) -> None:
        self.base = steps(self.run)
        self.goal = self.base + self.random.randint(1, PROGRESS)

    def wait(self, phase: str) -> bool:
        """Wait for a random moment in this phase. Return False when the command ended before it."""
        begun: dict[str, Callable[[], bool]] = {
            "environment": self.command.begun.exists,
            "import": lambda: self.command.find("worker", self.random) is not None,
            "compile": self._described,
            "step": lambda: self._described() and steps(self.run) >= self.goal,
            "evaluation": lambda: steps(self.run) > self.base and steps(self.run) % STEPS == 0,
            "checkpoint": self._saves,
            "finish": lambda: self._described() and _rows(self.run, '"test_loss"') >= EPOCHS,
        }
        while not begun[phase]():
            if not self.command.running:
                return False
            time.sleep(0.02 if phase == "import" else 0.0005)
        time.sleep(self.random.random() * self.seconds.get(phase, 0.0))
        return self.command.running

    def _described(self) -> bool:
        """Return whether this command has written ``run.json``, which it does once the framework is imported."""
        try:
            return (self.run / "run.json").stat().st_mtime_ns > self.command.started
        except OSError:
            return False

    def _saves(self) -> bool:
        """Return whether a checkpoint is being written, or was by this command."""
        paths = list((self.run / "checkpoints").glob("*")) if self._described() else []
        try:
            new = [path for path in paths if path.stat().st_mtime_ns > self.command.started]
        except OSError:  # it was renamed meanwhile
            return True
        return any(path.name.startswith(".") for path in new) or (bool(new) and steps(self.run) >= self.goal)


def steps(run: Path) -> int:
    """Return the number of steps that the run has noted."""
    return _rows(run, '"loss"')


def _rows(run: Path, key: str) -> int:
    try:
        return (run / "metrics.jsonl").read_text().count(key)
    except OSError:
        return 0


def timed(command: Command, run: Path) -> tuple[dict[str, float], tuple[str, ...]]:
    """Watch an undisturbed run to its end; return the seconds that its phases took, and its targets."""
    watch, times = Watch(command, run, Random(0), {}), [time.monotonic()]
    watch.goal = 1
    for phase in ("import", "compile", "step", "finish"):
        watch.wait(phase)
        times.append(time.monotonic())
        if phase == "compile":
            targets = tuple(target for target in TARGETS if command.find(target, watch.random) is not None)
    command.process.wait()
    times.append(time.monotonic())
    spans = [end - start for start, end in pairwise(times)]
    each = spans[3] / (EPOCHS * STEPS)
    seconds = {
        **dict(zip(("environment", "import", "compile"), spans, strict=False)),
        "step": each,
        "evaluation": each,
        "finish": spans[4],
    }
    return seconds, targets
