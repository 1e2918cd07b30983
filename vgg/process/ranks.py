"""Ranks of processes that train together: as a launcher sets them, and how a client starts such processes."""

from __future__ import annotations

import os
from pathlib import Path

from ..core.errors import mismatch
from ..core.replicas import COUNT, PIPES, RANKS, Group, ranks_of
from .registry import Entry


def outer(entry: Entry) -> Group:
    """Return the group that a launcher around this command has set, or a group of one process when there is none.

    Raises ``VGGError`` when the launcher's variables are not what they should be.
    """
    return Group(1, *ranks_of(entry.ranks))


def spread(entry: Entry, count: int, home: str) -> tuple[list[str], dict[str, str]]:
    """Return (arguments, environment variables) that start a worker with ``count`` replicas.

    The arguments go between ``python`` and the worker's module. If there is a launcher, its first process passes jobs
    on to the others through pipes in the folder ``home``. Raises ``VGGError`` when ``count`` is not possible.
    """
    if count < 1:
        raise mismatch("--replicas", count, "at least 1")
    variables = {RANKS: " ".join(entry.ranks)}
    if count == 1 or not entry.launcher:
        return [], {COUNT: str(count), **variables}
    if outer(entry).processes > 1:
        raise mismatch("--replicas", count, "1 under a launcher, whose every process is a replica")
    for rank in range(1, count):
        os.mkfifo(pipe(home, rank))
    return [word.format(count=count, home=home) for word in entry.launcher], {COUNT: "1", **variables, PIPES: home}


def pipe(home: str, rank: int) -> Path:
    """Return the path of the pipe from which the process of this rank reads its jobs."""
    return Path(home, f"rank{rank}")
