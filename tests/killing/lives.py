"""One life of a command: it gets a signal at a random moment, and must end cleanly."""

from __future__ import annotations

import shutil
import signal
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from random import Random
from typing import Any

from .phases import PHASES, Watch
from .processes import Command, send

SIGNALS = ("SIGKILL", "SIGTERM", "SIGHUP", "SIGINT", "SIGSTOP SIGCONT", "SIGSTOP SIGKILL", "SIGSTOP")
"""Signals, two of which are sent a moment apart."""
ENDING = 120.0
"""Seconds in which a command must end after a signal."""
GRACE = 15.0
"""Seconds in which what the command started must end after it."""


@dataclass(frozen=True)
class Aim:
    """Which signal is sent to which process in which phase."""

    phase: str
    target: str
    signal: str

    def fits(self) -> bool:
        """Return whether there is such a moment, and whether anything is promised about it."""
        if self.signal == "SIGSTOP" and self.phase not in ("compile", "step"):
            return False  # each takes as long as the worker may be silent
        if self.target == "parent":
            return self.signal != "SIGSTOP"  # nobody ends a parent that was stopped
        return self.signal != "SIGINT" and (self.phase != "environment" or self.target == "uv")


def aims(targets: tuple[str, ...]) -> list[Aim]:
    """Return all that can be aimed at these targets."""
    every = (Aim(phase, target, name) for phase in PHASES for target in targets for name in SIGNALS)
    return [aim for aim in every if aim.fits()]


@dataclass
class Death:
    """How a life ended: whether the ``aim`` was ``hit``, its exit ``status``, and what was ``wrong``."""

    aim: Aim
    hit: bool
    status: int
    wrong: list[str]

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return {"what": "; ".join(self.wrong), "where": "", **asdict(self.aim), "status": self.status}


def live(command: Command, watch: Watch, aim: Aim, random: Random, usual: set[str]) -> Death:
    """Let the command run until the moment of ``aim``, and to its end; then look at what is left of it.

    ``usual`` are temporary files that were there before it.
    """
    hit = watch.wait(aim.phase) and _shoot(command, aim, random)
    ended = command.end(ENDING)
    wrong = [] if ended else [f"did not end in {ENDING:g} s"]
    left = command.survivors(GRACE if ended else 0)
    wrong += [f"orphan: {line}" for line in left if ended]
    status = command.process.returncode
    wrong += _complaints(aim, hit, status, command.said.read_text(errors="replace")) if ended else []
    return Death(aim, hit, status, wrong + _leftovers(command.tmp, aim, usual))


def _leftovers(tmp: Path, aim: Aim, usual: set[str]) -> list[str]:
    """Complain of temporary files, and remove them. What is killed cannot, and others must not be hindered."""
    names = sorted(path.name for path in tmp.iterdir() if path.name not in usual)
    if aim.target == "parent" and "KILL" in aim.signal:
        return []
    for name in names:
        shutil.rmtree(tmp / name, ignore_errors=True)
    return [f"left in the folder for temporary files: {' '.join(names)[:200]}"] * bool(names)


def _shoot(command: Command, aim: Aim, random: Random) -> bool:
    """Send the signals of ``aim``. Return False when there was no such process."""
    pid = command.find(aim.target, random)
    if pid is None:
        return False
    first, *rest = aim.signal.split()
    send(pid, signal.Signals[first])
    for name in rest:
        time.sleep(random.uniform(0.02, 0.4))
        send(pid, signal.Signals[name])
    return True


def _complaints(aim: Aim, hit: bool, status: int, said: str) -> list[str]:
    """Return what is wrong with the end of a command that has ended by itself."""
    last = signal.Signals[aim.signal.split()[-1]]
    allowed = {0}
    if hit:
        allowed |= {1, 2} if aim.target != "parent" else {1, 130, -last, 128 + last}
    wrong = [] if status in allowed else [f"exit status {status}: {said.strip()[-300:]}"]
    own = [line for line in said.splitlines() if line.startswith(("Traceback", "Exception ignored", "Fatal Python"))]
    return wrong + [f"{line}: {said.strip()[-300:]}" for line in own[:1]]
