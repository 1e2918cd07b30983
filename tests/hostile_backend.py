"""The oracle, doing harm as ``VGG_HARM`` says: what a comparison must survive in one of its columns."""

from __future__ import annotations

import fcntl
import os
import resource
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vgg_oracle import DECLARED, build, dump, forward, load, loss_and_grads, trace, vgg_block
from vgg_oracle import facts as honest
from vgg_oracle import learner as healthy

if TYPE_CHECKING:
    from collections.abc import Callable

    from vgg_oracle import Learner, Model

    from vgg import Recipe

__all__ = ["DECLARED", "build", "dump", "facts", "forward", "learner", "load", "loss_and_grads", "trace", "vgg_block"]
HARM = os.environ["VGG_HARM"]
EVIL = "\ud800[/x]\x1b[2J\u202e\n<script>"
FACTS: dict[str, dict[str, Any]] = {
    "a number for a name": {"framework": 5},
    "junk in facts": {"versions": [[[]]], "flags": {"a": {"b": [None, {}]}}},
    "NaN in facts": {"flags": {"x": float("nan")}},
    "evil texts": {"framework": EVIL, "versions": {EVIL: EVIL}, "devices": [EVIL], "flags": {EVIL: EVIL}},
    "a set": {"flags": {1, 2}},
}


def facts() -> dict[str, Any]:
    """The oracle's, or others."""
    if HARM == "no result":
        os.write(_replies(), b'{"bytes": 0}\n')
    if HARM == "an event":
        os.write(_replies(), b'{"event": 5, "bytes": 0}\n')
    return {**honest(), **FACTS.get(HARM, {})}


def learner(model: Model, recipe: Recipe) -> Learner:
    """The oracle's, after the harm."""
    LEARNERS.get(HARM, _none)()
    return healthy(model, recipe)


def _replies() -> int:
    """The first file beyond the standard ones that is open for writing alone."""
    return next(n for n in range(3, 64) if _mode(n) == os.O_WRONLY)


def _mode(number: int) -> int | None:
    try:
        return fcntl.fcntl(number, fcntl.F_GETFL) & os.O_ACCMODE
    except OSError:
        return None


def _none() -> None:
    pass


def _raise() -> None:
    raise ValueError(EVIL + "x" * 3_000_000)


def _killed() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _needs_memory() -> None:
    resource.setrlimit(resource.RLIMIT_AS, (1 << 32, resource.RLIM_INFINITY))
    bytearray(1 << 34)


def _prints() -> None:
    for _ in range(100):
        sys.stderr.write("y" * 1_000_000)
    _killed()


LEARNERS: dict[str, Callable[[], None]] = {
    "an evil error": _raise,
    "killed": _killed,
    "needs memory": _needs_memory,
    "prints": _prints,
}
if HARM == "junk in its files":
    from vgg.training import loop

    run = loop.run

    def spoiling(backend: Any, out: Path, *arguments: Any, **options: Any) -> dict[str, Any]:
        """Leave files of other types."""
        summary = run(backend, out, *arguments, **options)
        (out / "metrics.jsonl").write_text('{"epoch": "x", "loss": {}}\n')
        (out / "evaluation.json").write_text("[5]")
        return summary

    loop.run = spoiling
