"""What a launcher says of the processes that train together, and how a client starts several."""

from __future__ import annotations

import os
from pathlib import Path

from ..core.errors import mismatch
from ..core.replicas import COUNT, PIPES, RANKS, Group, ranks_of
from .registry import Entry


def outer(entry: Entry) -> Group:
    """What a launcher around this very command said: one process alone, if there is none."""
    return Group(1, *ranks_of(entry.ranks))


def spread(entry: Entry, count: int, home: str) -> tuple[list[str], dict[str, str]]:
    """What stands between ``python`` and the worker's module for ``count`` replicas, and the worker's variables.

    A launcher's processes read their jobs from pipes in ``home``, where the first one passes them on.
    """
    if count < 1:
        raise mismatch("--replicas", count, "at least 1")
    named = {RANKS: " ".join(entry.ranks)}
    if count == 1 or not entry.launcher:
        return [], {COUNT: str(count), **named}
    if outer(entry).processes > 1:
        raise mismatch("--replicas", count, "1 under a launcher, whose every process is a replica")
    for rank in range(1, count):
        os.mkfifo(pipe(home, rank))
    return [word.format(count=count, home=home) for word in entry.launcher], {COUNT: "1", **named, PIPES: home}


def pipe(home: str, rank: int) -> Path:
    """Where the process of that rank reads its jobs."""
    return Path(home, f"rank{rank}")
