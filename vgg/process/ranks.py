"""Ranks of processes that train together: as a launcher sets them, and how a client starts such processes."""

from __future__ import annotations

import os
import re
from pathlib import Path

from ..core.errors import mismatch
from ..core.replicas import COUNT, PIPES, RANKS, Group, ranks_of
from ..core.texts import shortened
from .registry import Entry

LAUNCHERS = re.compile(
    r"((LOCAL|GROUP|ROLE)_)?(RANK|WORLD_SIZE)|ROLE_NAME|MASTER_(ADDR|PORT)|TORCHELASTIC_\w+|TF_CONFIG|DMLC_\w+"
    r"|JAX_(COORDINATOR_\w+|NUM_PROCESSES|PROCESS_ID|LOCAL_DEVICE_IDS)"
)
"""The names of the environment variables that the launchers of all frameworks set."""


def outer(entry: Entry) -> Group:
    """Return the group that a launcher around this command has set, or a group of one process when there is none.

    Raises ``VGGError`` when the launcher's variables are not what they should be.
    """
    group = Group(1, *ranks_of(entry.ranks))
    for name, (pattern, wanted) in entry.meeting.items() if group.processes > 1 else ():
        value = os.environ.get(name, "")
        if not re.fullmatch(pattern, value):
            do = f"set it too, or unset {' and '.join(entry.ranks)} to use one process"
            raise mismatch(name, shortened(repr(value), 100) if value else "nothing", wanted, do)
    return group


def spread(entry: Entry, count: int, home: str, *, launched: bool = False) -> tuple[list[str], dict[str, str]]:
    """Return (arguments, environment variables) that start a worker with ``count`` replicas.

    The arguments go between ``python`` and the worker's module. If there is a launcher, its first process passes jobs
    on to the others through pipes in the folder ``home``. ``launched`` says that this process is one of a launcher's,
    whose variables the worker obeys. Raises ``VGGError`` when ``count`` is not possible.
    """
    if count < 1:
        raise mismatch("--replicas", count, "at least 1")
    variables = {RANKS: " ".join(entry.ranks)}
    if count == 1 or not entry.launcher:
        return [], {COUNT: str(count), **(variables if launched else {RANKS: ""}), PIPES: ""}
    if launched:
        raise mismatch("--replicas", count, "1 under a launcher, whose every process is a replica")
    for rank in range(1, count):
        os.mkfifo(pipe(home, rank))
    return [word.format(count=count, home=home) for word in entry.launcher], {COUNT: "1", **variables, PIPES: home}


def pipe(home: str, rank: int) -> Path:
    """Return the path of the pipe from which the process of this rank reads its jobs."""
    return Path(home, f"rank{rank}")
